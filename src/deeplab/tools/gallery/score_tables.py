"""Tables of the page: the conditions of the evaluation, and the scores of each class."""

from typing import NamedTuple

from deeplab.data.class_set import ClassSet
from deeplab.metrics.definitions import format_percent
from deeplab.tools.gallery.cards import NO_VALUE, ColoredClass, colored_classes
from deeplab.tools.gallery.evaluations import LoadedEvaluation


class SummaryRow(NamedTuple):
    """A condition or a score, with its value in each evaluation."""

    title: str
    values: list[str]
    is_score: bool = False


def summary_rows(evaluations: tuple[LoadedEvaluation, ...]) -> list[SummaryRow]:
    """Return the run, conditions and scores of the evaluations."""
    return [
        SummaryRow("run", [e.stored.result.run for e in evaluations]),
        SummaryRow("split", [f"{e.protocol.split}, {len(e.ids):,} images" for e in evaluations]),
        SummaryRow("strategy", [e.protocol.strategy.label for e in evaluations]),
        SummaryRow("weights", [e.stored.result.weights or NO_VALUE for e in evaluations]),
        *(
            SummaryRow(m.label, [_score(e, m.key) for e in evaluations], is_score=True)
            for m in evaluations[0].stored.result.metrics
        ),
    ]


def _score(evaluation: LoadedEvaluation, key: str) -> str:
    return f"{format_percent(evaluation.stored.result.value(key))} %"


class ClassRow(NamedTuple):
    """Scores of a class, and how frequent it is."""

    class_index: int
    colored: ColoredClass
    ious: list[float]
    """IoU in each evaluation as a fraction; nan if the class does not occur."""
    fraction: float
    """Fraction of all pixels."""
    num_images: int


def class_rows(evaluations: tuple[LoadedEvaluation, ...], classes: ClassSet) -> list[ClassRow]:
    """Return the scores of each class."""
    confusions = evaluations[0].confusions
    total = confusions.total
    fractions = total.sum(1) / max(1, total.sum())
    num_images = (confusions.truth > 0).sum(0)
    return [
        ClassRow(
            k,
            colored,
            [_class_iou(evaluation, colored.name) for evaluation in evaluations],
            float(fractions[k]),
            int(num_images[k]),
        )
        for k, colored in enumerate(colored_classes(classes))
    ]


def _class_iou(evaluation: LoadedEvaluation, name: str) -> float:
    """Return the IoU as a fraction; nan if the class does not occur, which JSON writes as null."""
    value = evaluation.stored.result.class_IoU[name]
    return float("nan") if value is None else float(value) / 100
