"""Page of a gallery: its sections in order, in one HTML file with style and script."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.cards import (
    CardRenderer,
    color_square,
    legend,
    percent,
    percentage_points,
)
from deeplab.tools.gallery.confusion_matrix_svg import matrix_svg
from deeplab.tools.gallery.evaluations import LoadedEvaluation
from deeplab.tools.gallery.images import views
from deeplab.tools.gallery.score_tables import class_table, summary_table
from deeplab.tools.gallery.selection import Comparison, ConfusedPair, Selection, class_iou


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in the navigation."""

    id: str
    title: str
    intro: str
    body: str


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
    cards = CardRenderer(evaluations, classes, thumbnail_sizes)
    sections = [_summary(evaluations, classes)]
    if selection.comparison:
        sections.append(_comparison(selection.comparison, cards))
    sections += [
        _examples(selection, cards),
        _worst(selection, cards),
        _classes(selection, cards),
        _confusions(selection, cards),
    ]
    page_views = views(len(evaluations))
    return Template(_read_resource("page.html")).substitute(
        title=escape(_title(evaluations)),
        style=_read_resource("page.css"),
        script=_read_resource("page.js"),
        num_views=len(page_views),
        navigation="".join(f'<a href="#{s.id}">{s.title}</a>' for s in sections),
        sections="\n".join(_section(section) for section in sections),
        view_buttons="".join(
            f'<button type="button"><kbd>{i}</kbd><span>{view.title}</span></button>'
            for i, view in enumerate(page_views, start=1)
        ),
    )


def _title(evaluations: tuple[LoadedEvaluation, ...]) -> str:
    """Return the names of the runs; for two evaluations of one run, those of the evaluations."""
    runs = [str(evaluation.stored.result["run"]) for evaluation in evaluations]
    if len({evaluation.run.path.resolve() for evaluation in evaluations}) == len(evaluations):
        return " vs. ".join(runs)
    names = (evaluation.stored.folder.path.name for evaluation in evaluations)
    return f"{runs[0]}: {' vs. '.join(names)}"


def _read_resource(name: str) -> str:
    return files("deeplab.tools.gallery").joinpath(name).read_text(encoding="utf-8")


def _section(section: Section) -> str:
    intro = f'<p class="intro">{section.intro}</p>' if section.intro else ""
    return (
        f'<section id="{section.id}" aria-labelledby="{section.id}-title">'
        f'<h2 id="{section.id}-title">{section.title}</h2>{intro}\n{section.body}</section>'
    )


def _summary(evaluations: tuple[LoadedEvaluation, ...], classes: ClassSet) -> Section:
    body = f"{summary_table(evaluations)}{class_table(evaluations, classes)}{legend(classes)}"
    return Section("summary", "Summary", "", body)


def _examples(selection: Selection, cards: CardRenderer) -> Section:
    return Section(
        "examples",
        "Examples",
        "Evenly spaced images of the split, whatever their score.",
        cards.render_all(selection.examples),
    )


def _worst(selection: Selection, cards: CardRenderer) -> Section:
    return Section(
        "worst",
        "Worst images",
        f"Images with the lowest IoU{_evaluation_suffix(cards)}, lowest first. The IoU of an image "
        "is the mean over the classes in its truth or prediction.",
        cards.render_all(selection.worst),
    )


def _evaluation_suffix(cards: CardRenderer) -> str:
    """Return the words that name the first of two evaluations; nothing if there is one only."""
    return " of A" if len(cards.evaluations) == 2 else ""


def _classes(selection: Selection, cards: CardRenderer) -> Section:
    confusion = cards.evaluations[0].confusion
    parts = []
    for k, indices in enumerate(selection.by_class):
        if not indices:
            continue
        name, square = escape(cards.classes.names[k]), color_square(cards.classes.palette[k])
        notes = [f"{name} {percent(class_iou(confusion[index])[k])}" for index in indices]
        iou = percent(class_iou(confusion.sum(0))[k])
        summary = f'{square}{name} <span class="side">{iou}</span>'
        parts.append(_collapsible(f"class-{k}", summary, cards.render_all(indices, notes)))
    return Section(
        "classes",
        "Worst images of each class",
        f"Images with the lowest IoU{_evaluation_suffix(cards)} for a class, among those with the "
        "class in their truth.",
        "".join(parts),
    )


def _collapsible(anchor: str, summary: str, body: str, *, is_open: bool = False) -> str:
    return (
        f'<details id="{anchor}"{" open" if is_open else ""}><summary>{summary}</summary>'
        f"{body}</details>\n"
    )


def _confusions(selection: Selection, cards: CardRenderer) -> Section:
    total = cards.evaluations[0].confusion.sum(0)
    matrix = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        f"{matrix_svg(total, cards.classes.names)}</div>"
    )
    pairs = [
        _confused_pair(i, pair, selection.confused_pairs, cards)
        for i, pair in enumerate(selection.confused_pairs)
    ]
    return Section(
        "confusions",
        "Confused classes",
        f"Predictions{_evaluation_suffix(cards)} for the pixels of each true class, in percent. "
        "Color intensity is the square root of the percentage, so that small ones are visible.",
        f"{matrix}<h3>Pairs with the most wrong pixels</h3>"
        '<p class="intro">Each with the images that contribute the most of them.</p>'
        f"{''.join(pairs)}",
    )


def _confused_pair(
    i: int, pair: ConfusedPair, pairs: Sequence[ConfusedPair], cards: CardRenderer
) -> str:
    names, palette = cards.classes.names, cards.classes.palette
    truth, prediction = escape(names[pair.truth]), escape(names[pair.prediction])
    width = 100 * pair.pixels / pairs[0].pixels
    summary = (
        f"{color_square(palette[pair.truth])}{truth} → "
        f"{color_square(palette[pair.prediction])}{prediction} "
        f'<span class="side">{pair.pixels:,} pixels, {percent(pair.fraction)} of {truth}</span>'
        f'<span class="bar wrong"><i style="width:{width:.1f}%"></i></span>'
    )
    wrong = cards.evaluations[0].confusion[pair.images, pair.truth, pair.prediction]
    notes = [f"{count:,} pixels of {truth} predicted as {prediction}" for count in wrong]
    return _collapsible(f"pair-{i}", summary, cards.render_all(pair.images, notes), is_open=i == 0)


def _comparison(comparison: Comparison, cards: CardRenderer) -> Section:
    counts = (
        ("better", comparison.num_better),
        ("worse", comparison.num_worse),
        ("equal", comparison.num_equal),
    )
    num_images = sum(count for _, count in counts)
    items = "".join(f'<li class="{name}"><b>{count:,}</b> {name}</li>' for name, count in counts)
    parts = []
    for name, indices in (("gains", comparison.gains), ("losses", comparison.losses)):
        notes = [_difference_note(float(comparison.difference[i])) for i in indices]
        row = cards.render_all(indices, notes) if indices else '<p class="intro">None.</p>'
        parts.append(f'<h3 id="{name}">Largest {name}</h3>{row}')
    return Section(
        "comparison",
        "A vs. B",
        f"Image IoU of A minus image IoU of B, over {num_images:,} images.",
        f'<ul class="counts" aria-label="Number of images where A is">{items}</ul>{"".join(parts)}',
    )


def _difference_note(difference: float) -> str:
    style = "better" if difference > 0 else "worse"
    return f'<b class="{style}">{percentage_points(difference)}</b>'
