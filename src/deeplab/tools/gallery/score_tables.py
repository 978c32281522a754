"""Tables of the page: the conditions of the evaluation, and the scores of each class."""

from html import escape

import numpy as np

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.cards import MINUS, NO_VALUE, color_square, percent, percentage_points
from deeplab.tools.gallery.evaluations import LoadedEvaluation

RIGHT_ALIGNED = ' class="number"'


def summary_table(evaluations: tuple[LoadedEvaluation, ...]) -> str:
    """Return the run, conditions and scores of the evaluations, one column for each."""
    rows = [
        ("run", [escape(e.stored.result["run"]) for e in evaluations]),
        ("split", [_split(e) for e in evaluations]),
        ("strategy", [escape(e.protocol["strategy"]["label"]) for e in evaluations]),
        ("weights", [escape(str(e.stored.result.get("weights", NO_VALUE))) for e in evaluations]),
        ("mIoU", [_score(e, "mIoU") for e in evaluations]),
        ("pixel accuracy", [_score(e, "pixel_accuracy") for e in evaluations]),
    ]
    head = ""
    if len(evaluations) > 1:
        head = '<thead><tr><td></td><th scope="col">A</th><th scope="col">B</th></tr></thead>'
    body = "".join(
        f'<tr><th scope="row">{title}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for title, cells in rows
    )
    return f'<table class="summary">{head}<tbody>{body}</tbody></table>'


def _split(evaluation: LoadedEvaluation) -> str:
    return f"{escape(evaluation.protocol['split'])}, {len(evaluation.ids):,} images"


def _score(evaluation: LoadedEvaluation, key: str) -> str:
    return f'<b class="score">{evaluation.stored.result[key]:.2f} %</b>'


def class_table(evaluations: tuple[LoadedEvaluation, ...], classes: ClassSet) -> str:
    """Return the IoU of each class as a bar and in percent, and how frequent the class is."""
    total = evaluations[0].confusion.sum(0)
    fractions = total.sum(1) / max(1, total.sum())
    num_images = (evaluations[0].confusion.sum(2) > 0).sum(0)
    rows = []
    for k, name in enumerate(classes.names):
        title = escape(name)
        if num_images[k]:  # the page has a section of worst images for these classes only
            title = f'<a href="#class-{k}">{title}</a>'
        cells = _iou_cells([_class_iou(evaluation, name) for evaluation in evaluations])
        rows.append(
            f'<tr><th scope="row">{color_square(classes.palette[k])}{title}</th>{cells}'
            f"<td{RIGHT_ALIGNED}>{percent(fractions[k])}</td>"
            f"<td{RIGHT_ALIGNED}>{num_images[k]:,}</td></tr>"
        )
    titles = ["IoU"] if len(evaluations) == 1 else ["IoU A", "IoU B", f"A {MINUS} B"]
    head = "".join(
        f'<th scope="col"{RIGHT_ALIGNED}>{t}</th>' for t in (*titles, "pixels", "images")
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="IoU of each class">'
        f'<table class="classes"><thead><tr><th scope="col">class</th><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _iou_cells(ious: list[float]) -> str:
    """Return bars and percentages, and with two evaluations their difference."""
    bars = f'<td class="bars">{"".join(_bar(iou) for iou in ious)}</td>'
    cells = "".join(f"<td{RIGHT_ALIGNED}>{percent(iou)}</td>" for iou in ious)
    if len(ious) == 1:
        return bars + cells
    difference = ious[0] - ious[1]
    sign = "better" if difference > 0 else "worse" if difference < 0 else "equal"
    return f'{bars}{cells}<td class="number {sign}">{percentage_points(difference)}</td>'


def _class_iou(evaluation: LoadedEvaluation, name: str) -> float:
    """Return the IoU as a fraction; nan if the class does not occur, which JSON writes as null."""
    value = evaluation.stored.result["class_IoU"][name]
    return float("nan") if value is None else float(value) / 100


def _bar(iou: float) -> str:
    width = 0 if np.isnan(iou) else 100 * iou
    return f'<span class="bar"><i style="width:{width:.1f}%"></i></span>'
