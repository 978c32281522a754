"""From results to tables as they are read."""

from collections.abc import Sequence

from deeplab.ablations.report.results import RowResult, against_reference
from deeplab.ablations.report.sheet import Entry, Picture, Sheet, without_empty_columns
from deeplab.ablations.report.statistics import Difference
from deeplab.protocol import differences

COST_TOLERANCE = 1e-3
"""Multiply-adds that differ from the paper's by more than this part are marked."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

BANDS = ("gain in narrowest band", "paper's gain there")

RESULTS = (
    "seeds",
    "against reference",
    "mult-adds paper, B",
    "mult-adds, B",
    "parameters, M",
    "training",
    "ms/image",
    "memory, MB",
    "run",
    "gallery",
    "",
)
"""Columns behind the scores; the last one says why something is missing."""


def sheet(
    name: str,
    title: str,
    setting: str,
    columns: Sequence[str],
    rows: Sequence[RowResult],
    pictures: Sequence[Picture],
    *,
    comparable: bool = True,
) -> Sheet:
    """One table of results; those of other conditions than the first have a column of their own.

    With ``comparable`` false no difference to the paper's scores is stated.
    """
    groups = protocols(rows)
    several = len(groups) > 1
    ours = [f"mIoU {LETTERS[i]}, %" if several else "mIoU, %" for i in range(len(groups) or 1)]
    header = [*columns, "mIoU paper, %", *ours, "difference", *BANDS, *RESULTS]
    compared = [against_reference(rows, number) for number in range(len(rows))]
    lines = [
        _line(rows, row, groups, found, comparable=comparable)
        for row, found in zip(rows, compared, strict=True)
    ]
    kept, entries = without_empty_columns(header, lines)
    notes = _notes(rows, groups, compared)
    return Sheet(name, title, setting, kept, entries, tuple(notes), tuple(pictures))


def protocols(rows: Sequence[RowResult]) -> list[RowResult]:
    """The first row of each kind of conditions, but for the strategy."""
    firsts: list[RowResult] = []
    for row in rows:
        if row.protocol and not any(_same(row, first) for first in firsts):
            firsts.append(row)
    return firsts


def _same(row: RowResult, other: RowResult) -> bool:
    return not differences(other.protocol or {}, row.protocol or {}, without=["strategy"])


def _line(
    rows: Sequence[RowResult],
    row: RowResult,
    groups: Sequence[RowResult],
    compared: Difference | str | None,
    *,
    comparable: bool,
) -> list[Entry]:
    printed = (row.paper or {}).get("mIoU")
    score = _score(row)
    ours = [Entry(score if row.protocol and _same(row, first) else "") for first in groups]
    gap = ""
    if comparable and row.mean is not None and printed is not None:
        gap = f"{row.mean - printed:+.2f}"
    return [
        *(Entry(cell) for cell in row.label),
        Entry(_number(printed)),
        *(ours or [Entry(score)]),
        Entry(gap),
        Entry(_gain(rows, row)),
        Entry(_number((row.paper or {}).get("narrowest_band_gain"), "+.1f")),
        Entry(str(len(row.scores)) if row.scores else ""),
        _compared(compared, any(rows[r.reference] is row for r in rows if r.reference is not None)),
        *_cost(row),
        *_measured(row),
        *_links(row),
        Entry(row.status, faint=True),
    ]


def _score(row: RowResult) -> str:
    spread = f" ± {row.deviation:.2f}" if row.deviation is not None else ""
    return f"{row.mean:.2f}{spread}" if row.mean is not None else ""


def _gain(rows: Sequence[RowResult], row: RowResult) -> str:
    """In the narrowest band, above the row's reference; only where the paper states it."""
    if row.reference is None or not (row.paper or {}).get("narrowest_band_gain"):
        return ""
    ours, theirs = row.narrowest_band(), rows[row.reference].narrowest_band()
    return f"{ours - theirs:+.2f}" if ours is not None and theirs is not None else ""


def _compared(found: Difference | str | None, is_reference: bool) -> Entry:
    if is_reference:
        return Entry("the reference", faint=True)
    if not isinstance(found, Difference):
        return Entry(f"not comparable: {found}" if found else "", faint=True)
    low, high = 100 * found.low, 100 * found.high
    says = f"{100 * found.mean:+.2f} ({low:+.2f} to {high:+.2f})"
    return Entry(f"{says}, within noise" if found.noise else says, faint=found.noise)


def _cost(row: RowResult) -> list[Entry]:
    printed = (row.paper or {}).get("multiply_adds")
    if not row.evaluations:
        return [Entry(_number(printed)), Entry(""), Entry("")]
    cost = row.evaluations[0].result["cost"]
    counted = cost["multiply_adds"]["paper"] / 1e9
    other = printed is not None and abs(counted - printed) > COST_TOLERANCE * printed
    return [
        Entry(_number(printed)),
        Entry(f"{counted:.2f}{' (!)' if other else ''}"),
        Entry(f"{cost['parameters'] / 1e6:.2f}"),
    ]


def _measured(row: RowResult) -> list[Entry]:
    seconds = [run.result["seconds"] for run in row.runs if "seconds" in run.result]
    training = _duration(sum(seconds) / len(seconds)) if seconds else ""
    found = [e.result["cost"].get("measured") for e in row.evaluations]
    speed = next((m for m in found if m), None)
    if not speed:
        return [Entry(training), Entry(""), Entry("")]
    memory = speed.get("peak_memory")
    latency = f"{1e3 * speed['latency']:.1f}"
    return [Entry(training), Entry(latency), Entry(f"{memory / 1e6:.0f}" if memory else "")]


def _links(row: RowResult) -> list[Entry]:
    run = row.runs[0].folder.path if row.runs else None
    pages = [e.folder.path / "gallery" / "index.html" for e in row.evaluations]
    page = next((path for path in pages if path.is_file()), None)
    return [Entry(run.name if run else "", run), Entry("gallery" if page else "", page)]


def _notes(
    rows: Sequence[RowResult],
    groups: Sequence[RowResult],
    compared: Sequence[Difference | str | None],
) -> list[str]:
    notes = []
    for i, first in enumerate(groups[1:], 1):
        why = differences(groups[0].protocol or {}, first.protocol or {}, without=["strategy"])
        notes.append(f"mIoU {LETTERS[i]} was measured under other conditions: {'; '.join(why)}.")
    if any(isinstance(found, Difference) for found in compared):
        notes.append(
            "Against reference: difference of mIoU in points to the row that is compared with, and "
            "the interval that holds 95 % of 1,000 draws of images (and of seeds, where there are "
            "several). Where it holds 0 the difference is within noise."
        )
        if all(len(row.scores) < 2 for row in rows):
            notes.append(
                "With one seed a row the interval holds the chance of the images only: that "
                "training again would give another result is not in it."
            )
    shared = [row.runs[0].folder.path for row in rows if row.runs]
    if len(set(shared)) < len(shared):
        notes.append("Rows with the same run are one training, looked at in several ways.")
    if any(" (!)" in entry.text for row in rows for entry in _cost(row)):
        notes.append("(!) counted multiply-adds are not those that the paper prints.")
    return notes


def _number(value: float | None, how: str = ".2f") -> str:
    return "" if value is None else format(value, how)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
