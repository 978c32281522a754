"""What rows cost, and where what they left is: the columns that are no scores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from deeplab.ablations.report.results import RowResult, SeedResult
from deeplab.ablations.report.sheet import Cell, Column, Link

UNLIKE = "≠"
"""Marks multiply-adds that are not the paper's."""

COST_TOLERANCE = 1e-3
"""Multiply-adds that differ from the paper's by more than this part are marked."""

Part = tuple[Column, Callable[[RowResult], Cell]]
"""A column, and what stands under it in a row."""


def multiply_adds(row: RowResult) -> list[float]:
    """By the paper's rule, in 10^9; several where the evaluations of a row differ."""
    found = [(e.result.get("cost") or {}).get("multiply_adds") for e in row.evaluations]
    return list(dict.fromkeys(each["paper"] / 1e9 for each in found if each))


def unlike_paper(row: RowResult) -> bool:
    """Whether the multiply-adds are not those that the paper prints."""
    printed = row.paper.multiply_adds
    return printed is not None and any(
        abs(counted - printed) > COST_TOLERANCE * printed for counted in multiply_adds(row)
    )


def costs() -> list[Part]:
    group = "multiply-adds, 10⁹"

    def here(row: RowResult) -> Cell:
        found = multiply_adds(row)
        text = " or ".join(_billions(value) for value in found)
        mark = f" {UNLIKE}" if unlike_paper(row) else ""
        return Cell(text + mark, data={"": found[0]} if len(found) == 1 else None)

    def parameters(row: RowResult) -> Cell:
        costs = [e.result.get("cost") or {} for e in row.evaluations]
        found = {int(cost["parameters"]) for cost in costs if "parameters" in cost}
        return number_cell(found.pop() / 1e6) if len(found) == 1 else Cell()

    return [
        (
            Column("paper", group, number=True, name=f"{group} paper"),
            lambda row: number_cell(row.paper.multiply_adds),
        ),
        (Column("here", group, number=True, name=f"{group} here"), here),
        (Column("parameters, M", number=True), parameters),
        (Column("time", "training", number=True, name="training time"), _training),
        (Column("memory, MB", "training", number=True, name="training memory, MB"), _taken),
        (Column("ms", "one image", number=True, name="one image, ms"), _latency),
        (Column("memory, MB", "one image", number=True, name="one image, memory, MB"), _memory),
        (Column("run"), _runs),
        (Column("files"), _files),
    ]


def _billions(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _training(row: RowResult) -> Cell:
    seconds = [float(s) for run in row.runs if (s := run.result.get("seconds")) is not None]
    if not seconds:
        return Cell()
    return Cell(duration(mean(seconds)), data={", s": mean(seconds)})


def _taken(row: RowResult) -> Cell:
    """Peak memory of a device in training, which is measured on GPUs."""
    peaks = [float(p) for run in row.runs if (p := run.result.get("peak_memory_bytes")) is not None]
    return Cell(f"{max(peaks) / 1e6:.0f}", data={"": max(peaks) / 1e6}) if peaks else Cell()


def _latency(row: RowResult) -> Cell:
    found = speeds(row.looks, "latency")
    return Cell(f"{1e3 * mean(found):.1f}", data={"": 1e3 * mean(found)}) if found else Cell()


def _memory(row: RowResult) -> Cell:
    found = speeds(row.looks, "peak_memory_bytes")
    return Cell(f"{mean(found) / 1e6:.0f}", data={"": mean(found) / 1e6}) if found else Cell()


def speeds(looks: Sequence[SeedResult], what: str) -> list[float]:
    """What was measured of one image: ``latency`` in seconds, ``peak_memory`` in bytes."""
    costs = [look.evaluation.result.get("cost") or {} for look in looks if look.evaluation]
    found = [(cost.get("measured") or {}).get(what) for cost in costs]
    return [float(value) for value in found if value is not None]


def _runs(row: RowResult) -> Cell:
    return Cell(links=tuple(Link(k.name, k.run.folder.path) for k in row.looks if k.run))


def _files(row: RowResult) -> Cell:
    """What can be opened, by its kind: "examples R1", "R2", "archive R1", "R2"."""
    kinds: dict[str, list[tuple[SeedResult, Path]]] = {}
    for look in row.looks:
        seen = [(kind, path) for kind, path in _pictures(look) if path.is_file()][:1]
        for kind, path in [*seen, *([("archive", look.archive)] if look.archive else [])]:
            kinds.setdefault(kind, []).append((look, path))
    links = []
    for kind, files in kinds.items():
        for place, (look, path) in enumerate(files):
            words = ((kind, place == 0), (look.name, len(row.looks) > 1))
            links.append(Link(" ".join(word for word, said in words if said), path))
    return Cell(links=tuple(links))


def _pictures(look: SeedResult) -> list[tuple[str, Path]]:
    """Where its predictions can be seen, the best place first."""
    if not look.evaluation:
        return []
    folder = look.evaluation.folder
    return [("gallery", folder.path / "gallery" / "index.html"), ("examples", folder.examples)]


def number_cell(value: float | None, how: str = ".2f") -> Cell:
    if value is None:
        return Cell()
    return Cell(format(value, how).replace("-", "−"), data={"": value})


def duration(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
    )
