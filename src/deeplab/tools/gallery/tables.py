"""The tables of the page: what was evaluated, and the scores of each class."""

from html import escape

import numpy as np

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.cards import percent, points, swatch
from deeplab.tools.gallery.evaluations import Arm

RIGHT_ALIGNED = ' class="number"'


def summary_table(arms: tuple[Arm, ...]) -> str:
    """What was evaluated, how, and the scores: a column for each evaluation."""
    rows = [
        ("run", [escape(arm.evaluation.result["run"]) for arm in arms]),
        ("split", [_split(arm) for arm in arms]),
        ("strategy", [escape(arm.protocol["strategy"]["label"]) for arm in arms]),
        ("weights", [escape(str(arm.evaluation.result.get("weights", "–"))) for arm in arms]),
        ("mIoU", [_score(arm, "mIoU") for arm in arms]),
        ("pixel accuracy", [_score(arm, "pixel_accuracy") for arm in arms]),
    ]
    head = ""
    if len(arms) > 1:
        head = '<thead><tr><td></td><th scope="col">A</th><th scope="col">B</th></tr></thead>'
    body = "".join(
        f'<tr><th scope="row">{title}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for title, cells in rows
    )
    return f'<table class="summary">{head}<tbody>{body}</tbody></table>'


def _split(arm: Arm) -> str:
    return f"{escape(arm.protocol['split'])}, {len(arm.ids):,} images"


def _score(arm: Arm, key: str) -> str:
    return f'<b class="score">{arm.evaluation.result[key]:.2f} %</b>'


def class_table(arms: tuple[Arm, ...], classes: ClassSet) -> str:
    """IoU of each class as a bar and in percent, and how much of it there is."""
    total = arms[0].confusion.sum(0)
    parts = total.sum(1) / max(1, total.sum())
    images = (arms[0].confusion.sum(2) > 0).sum(0)
    rows = []
    for k, name in enumerate(classes.names):
        title = escape(name)
        if images[k]:  # no others have worst images to lead to
            title = f'<a href="#class-{k}">{title}</a>'
        cells = _iou_cells([_class_iou(arm, name) for arm in arms])
        rows.append(
            f'<tr><th scope="row">{swatch(classes.palette[k])}{title}</th>{cells}'
            f"<td{RIGHT_ALIGNED}>{percent(parts[k])}</td><td{RIGHT_ALIGNED}>{images[k]:,}</td></tr>"
        )
    titles = ["IoU"] if len(arms) == 1 else ["IoU A", "IoU B", "A − B"]
    head = "".join(
        f'<th scope="col"{RIGHT_ALIGNED}>{t}</th>' for t in (*titles, "pixels", "images")
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="IoU of each class">'
        f'<table class="classes"><thead><tr><th scope="col">class</th><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _iou_cells(ious: list[float]) -> str:
    """Bars, percents, and the difference of two."""
    bars = f'<td class="bars">{"".join(_bar(iou) for iou in ious)}</td>'
    cells = "".join(f"<td{RIGHT_ALIGNED}>{percent(iou)}</td>" for iou in ious)
    if len(ious) == 1:
        return bars + cells
    difference = ious[0] - ious[1]
    sign = "better" if difference > 0 else "worse" if difference < 0 else "equal"
    return f'{bars}{cells}<td class="number {sign}">{points(difference)}</td>'


def _class_iou(arm: Arm, name: str) -> float:
    """Nan where the class does not occur, which JSON writes as null."""
    value = arm.evaluation.result["class_IoU"][name]
    return float("nan") if value is None else float(value) / 100


def _bar(iou: float) -> str:
    width = 0 if np.isnan(iou) else 100 * iou
    return f'<span class="bar"><i style="width:{width:.1f}%"></i></span>'
