"""Reports: the files of one, for tables of the paper and for a grid of one's own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from deeplab.ablations.report.grid import grid_results
from deeplab.ablations.report.pictures import draw
from deeplab.ablations.report.results import Find, RowResult, table_results
from deeplab.ablations.report.sheet import Sheet
from deeplab.ablations.report.sheets import sheet
from deeplab.ablations.report.writers import comma_separated, latex, markdown, page
from deeplab.ablations.runs import Run
from deeplab.ablations.trainings import Asked, Training
from deeplab.files import write_text


def write_report(asked: Asked, found: Sequence[Training], find: Find, folder: Path) -> Path:
    """The report on tables; returns the page.

    Args:
        asked: the tables and the profile.
        found: their distinct trainings.
        find: which run a training is.
        folder: where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheets, results = [], []
    for name, table in asked.tables.items():
        rows = table_results(asked, name, found, find)
        comparable, stem = asked.profile.comparable, Path(name).stem
        setting = table.setting if comparable else f"In the paper: {table.setting}"
        pictures = draw(stem, table.columns, rows, folder, boundary=table.boundary)
        sheets.append(
            sheet(stem, table.title, setting, table.columns, rows, pictures, comparable=comparable)
        )
        results += rows
    head = [
        asked.profile.note or f"Profile {asked.profile_name}: {asked.profile.title}.",
        *_provenance(results),
        *_starts(found),
    ]
    return _write(sheets, "Ablations of DeepLabv3+", head, folder)


def write_grid_report(runs: Sequence[Run], keys: Sequence[str], folder: Path) -> Path:
    """The report on runs that differ in some keys; returns the page.

    Raises:
        UserError: they differ in others too, a key is unknown, or none is finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheets, results = [], []
    for name, rows in grid_results(runs, keys).items():
        pictures = draw(name, keys, rows, folder)
        title = f"{', '.join(keys)}: {name}"
        sheets.append(sheet(name, title, "Runs that differ in nothing else", keys, rows, pictures))
        results += rows
    return _write(sheets, "Runs side by side", _provenance(results), folder)


def _write(sheets: Sequence[Sheet], title: str, head: Sequence[str], folder: Path) -> Path:
    for one in sheets:
        write_text(folder / f"{one.name}.csv", comma_separated(one))
        write_text(folder / f"{one.name}.tex", latex(one))
    write_text(folder / "report.md", markdown(sheets, title, head, folder))
    target = folder / "index.html"
    write_text(target, page(sheets, title, head, folder))
    return target


def _provenance(rows: Sequence[RowResult]) -> list[str]:
    """When and of what version of the code the results are."""
    results = [e.result for row in rows for e in row.evaluations]
    if not results:
        return ["Nothing of it has been run yet."]
    dates = sorted(str(result["started"])[:10] for result in results)
    commits = _distinct(str(r["commit"])[:9] for r in results if r.get("commit"))
    changed = any(r.get("uncommitted_changes") for r in results)
    versions = f"{', '.join(commits) or 'unknown'}{' with uncommitted changes' if changed else ''}"
    torch = _distinct(str(r["versions"]["torch"]) for r in results if r.get("versions"))
    machines = _distinct(
        f"{r['machine']['accelerator']}, {r['machine']['precision']}"
        for r in results
        if r.get("machine")
    )
    several = "Results come from several versions of the code: " if len(commits) > 1 else "Version "
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return [
        f"Evaluated {when} on {' and '.join(machines)}, torch {' and '.join(torch)}. "
        f"{several}{versions}."
    ]


def _starts(found: Sequence[Training]) -> list[str]:
    runnable = [training for training in found if not training.missing]
    if all(t.start is None and not t.supply and not t.config.init_from for t in runnable):
        return [
            "Every training started from random weights; the paper's started from ImageNet's, "
            "without which its scores cannot be expected."
        ]
    return []


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
