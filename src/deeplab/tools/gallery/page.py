"""Page of a gallery: all that its template shows, in one HTML file with style and script."""

from typing import NamedTuple

from deeplab.data.class_set import ClassSet
from deeplab.metrics.iou import class_iou
from deeplab.tools.gallery.cards import (
    Card,
    CardMaker,
    ColoredClass,
    css_color,
    percent,
    percentage_points,
)
from deeplab.tools.gallery.confusion_matrix import lay_out_matrix
from deeplab.tools.gallery.evaluations import LoadedEvaluation
from deeplab.tools.gallery.images import ERROR_COLOR, view_path, views
from deeplab.tools.gallery.score_tables import class_rows, summary_rows
from deeplab.tools.gallery.selection import Comparison, ConfusedPair, Selection
from deeplab.utils.templates import render_template
from deeplab.utils.visualization import IGNORE_COLOR

MARKER = '<meta name="generator" content="deeplab gallery">'
"""Line of a page by which it is known as one that may be replaced."""


class ClassCards(NamedTuple):
    """Worst images of a class."""

    class_index: int
    colored: ColoredClass
    iou: float
    cards: list[Card]


class PairCards(NamedTuple):
    """Images with the most pixels of one class predicted as another."""

    truth: ColoredClass
    prediction: ColoredClass
    pixels: int
    fraction: float
    """Fraction of the pixels of the true class."""
    cards: list[Card]


def render_page(
    evaluations: tuple[LoadedEvaluation, ...],
    classes: ClassSet,
    selection: Selection,
    thumbnail_sizes: dict[int, tuple[int, int]],
) -> str:
    """Return the HTML of a gallery.

    Args:
        evaluations: one evaluation, or the two that are compared.
        classes: names and colors.
        selection: the images of each section.
        thumbnail_sizes: width and height of the thumbnails, by image index.
    """
    maker = CardMaker(evaluations, classes, thumbnail_sizes)
    total = evaluations[0].confusions.total
    return render_template(
        "deeplab.tools.gallery",
        "page.html",
        title=_title(evaluations),
        marker=MARKER,
        of_first=" of A" if len(evaluations) == 2 else "",
        views=views(len(evaluations)),
        view_path=view_path,
        summary=summary_rows(evaluations),
        class_rows=class_rows(evaluations, classes),
        classes=maker.colored,
        ignore_color=css_color(IGNORE_COLOR),
        error_color=css_color(ERROR_COLOR),
        comparison=selection.comparison,
        changes=_changes(selection.comparison, maker) if selection.comparison else {},
        examples=maker.cards(selection.examples),
        worst=maker.cards(selection.worst),
        worst_by_class=_worst_by_class(selection, maker),
        matrix=lay_out_matrix(total, classes.names),
        pairs=[_confused_pair(pair, maker) for pair in selection.confused_pairs],
        percent=percent,
        percentage_points=percentage_points,
    )


def _title(evaluations: tuple[LoadedEvaluation, ...]) -> str:
    """Return the names of the runs; for two evaluations of one run, those of the evaluations."""
    runs = [evaluation.stored.result.run for evaluation in evaluations]
    if len({evaluation.run.path.resolve() for evaluation in evaluations}) == len(evaluations):
        return " vs. ".join(runs)
    names = (evaluation.stored.folder.path.name for evaluation in evaluations)
    return f"{runs[0]}: {' vs. '.join(names)}"


def _changes(comparison: Comparison, maker: CardMaker) -> dict[str, list[Card]]:
    """Return the largest gains and losses."""
    selected = {"gains": comparison.gains, "losses": comparison.losses}
    return {
        name: [
            maker.card(index)._replace(difference=float(comparison.difference[index]))
            for index in indices
        ]
        for name, indices in selected.items()
    }


def _worst_by_class(selection: Selection, maker: CardMaker) -> list[ClassCards]:
    confusions = maker.evaluations[0].confusions
    total = class_iou(confusions.total)
    result = []
    for k, colored in enumerate(maker.colored):
        if indices := selection.by_class[k]:
            notes = [f"{colored.name} {percent(class_iou(confusions[i])[k])}" for i in indices]
            result.append(ClassCards(k, colored, float(total[k]), maker.cards(indices, notes)))
    return result


def _confused_pair(pair: ConfusedPair, maker: CardMaker) -> PairCards:
    truth, prediction = maker.colored[pair.truth], maker.colored[pair.prediction]
    wrong = maker.evaluations[0].confusions.pixels(pair.truth, pair.prediction)[pair.images]
    notes = [f"{count:,} pixels of {truth.name} predicted as {prediction.name}" for count in wrong]
    return PairCards(truth, prediction, pair.pixels, pair.fraction, maker.cards(pair.images, notes))
