"""The pictures of a table: accuracy over cost, and the curves around object borders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.ablations.report.results import TICK, RowResult
from deeplab.ablations.report.sheet import Picture
from deeplab.ablations.report.sheets import protocols
from deeplab.evaluation.curves import plot_boundary, plot_cost


def draw(
    name: str,
    columns: Sequence[str],
    rows: Sequence[RowResult],
    folder: Path,
    *,
    boundary: bool = False,
) -> list[Picture]:
    """Draw what the results have; of a table about object borders the curves first.

    Results under other conditions than the first ones are not drawn beside them.
    """
    if len(protocols(rows)) > 1:
        return []
    titled = {_label(columns, row): row for row in rows if row.evaluations}
    made = [_curves(name, titled, folder), _cost(name, titled, folder)]
    return [picture for picture in (made if boundary else reversed(made)) if picture]


def _curves(name: str, rows: Mapping[str, RowResult], folder: Path) -> Picture | None:
    found = {title: row.evaluations[0].result["boundary"]["bands"] for title, row in rows.items()}
    curves = {title: bands for title, bands in found.items() if bands}
    if not curves:
        return None
    picture = Picture(f"{name}-boundary.png", "mIoU over the width of the band around borders")
    plot_boundary(folder / picture.name, curves)
    return picture


def _cost(name: str, rows: Mapping[str, RowResult], folder: Path) -> Picture | None:
    points = [
        (title, row.evaluations[0].result["cost"]["multiply_adds"]["paper"] / 1e9, row.mean)
        for title, row in rows.items()
        if row.mean is not None
    ]
    if len({cost for _, cost, _ in points}) < 2:
        return None
    picture = Picture(f"{name}-cost.png", "mIoU over multiply-adds")
    plot_cost(folder / picture.name, points)
    return picture


def _label(columns: Sequence[str], row: RowResult) -> str:
    cells = zip(columns, row.label, strict=True)
    said = [column if cell == TICK else cell for column, cell in cells if cell]
    return f"{', '.join(said)} ({(row.protocol or {})['strategy']['name']})"
