"""The page: its sections in order, and the one HTML file with style and script in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.cards import Cards, legend, percent, points, swatch
from deeplab.tools.gallery.confusion_matrix import matrix_svg
from deeplab.tools.gallery.evaluations import Arm
from deeplab.tools.gallery.images import kinds
from deeplab.tools.gallery.selection import Comparison, Pair, Selection, class_iou
from deeplab.tools.gallery.tables import class_table, summary_table


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation leads to."""

    id: str
    title: str
    intro: str
    body: str


def page(
    arms: tuple[Arm, ...],
    classes: ClassSet,
    selection: Selection,
    sizes: dict[int, tuple[int, int]],
) -> str:
    """The HTML of a gallery.

    Args:
        arms: the evaluations, one or two.
        classes: names and colors.
        selection: the images of each section.
        sizes: width and height of the thumbnails, by the images' numbers.
    """
    cards = Cards(arms, classes, sizes)
    sections = [_summary(arms, classes)]
    if selection.comparison:
        sections.append(_changes(selection.comparison, cards))
    sections += [
        _examples(selection, cards),
        _worst(selection, cards),
        _classes(selection, cards),
        _confusions(selection, cards),
    ]
    pictures = kinds(len(arms))
    return _template("page.html").substitute(
        title=escape(_title(arms)),
        style=_text("page.css"),
        script=_text("page.js"),
        pictures=len(pictures),
        navigation="".join(f'<a href="#{s.id}">{s.title}</a>' for s in sections),
        sections="\n".join(_section(section) for section in sections),
        kinds="".join(
            f'<button type="button"><kbd>{i}</kbd><span>{kind.title}</span></button>'
            for i, kind in enumerate(pictures, start=1)
        ),
    )


def _title(arms: tuple[Arm, ...]) -> str:
    """The runs; of one run its evaluations, which say what differs."""
    runs = [str(arm.evaluation.result["run"]) for arm in arms]
    if len({arm.run.path.resolve() for arm in arms}) == len(arms):
        return " against ".join(runs)
    return f"{runs[0]}: {' against '.join(arm.evaluation.folder.path.name for arm in arms)}"


def _text(name: str) -> str:
    return files("deeplab.tools.gallery").joinpath(name).read_text(encoding="utf-8")


def _template(name: str) -> Template:
    return Template(_text(name))


def _section(section: Section) -> str:
    intro = f'<p class="intro">{section.intro}</p>' if section.intro else ""
    return (
        f'<section id="{section.id}" aria-labelledby="{section.id}-title">'
        f'<h2 id="{section.id}-title">{section.title}</h2>{intro}\n{section.body}</section>'
    )


def _summary(arms: tuple[Arm, ...], classes: ClassSet) -> Section:
    body = f"{summary_table(arms)}{class_table(arms, classes)}{legend(classes)}"
    return Section("summary", "Summary", "", body)


def _examples(selection: Selection, cards: Cards) -> Section:
    return Section(
        "examples",
        "Examples",
        "Images at even distances in the split, whatever their score.",
        cards.row(selection.examples),
    )


def _worst(selection: Selection, cards: Cards) -> Section:
    return Section(
        "worst",
        "Worst images",
        f"Lowest IoU{_of_first(cards)} first: the mean over the classes in an image's truth or "
        "prediction.",
        cards.row(selection.worst),
    )


def _of_first(cards: Cards) -> str:
    return " of A" if len(cards.arms) == 2 else ""


def _classes(selection: Selection, cards: Cards) -> Section:
    confusion = cards.arms[0].confusion
    parts = []
    for k, numbers in enumerate(selection.by_class):
        if not numbers:
            continue
        name, color = escape(cards.classes.names[k]), swatch(cards.classes.palette[k])
        notes = [f"{name} {percent(class_iou(confusion[number])[k])}" for number in numbers]
        iou = percent(class_iou(confusion.sum(0))[k])
        summary = f'{color}{name} <span class="side">{iou}</span>'
        parts.append(_details(f"class-{k}", summary, cards.row(numbers, notes)))
    return Section(
        "classes",
        "Worst images of each class",
        f"Where the class's IoU{_of_first(cards)} is lowest, among the images with it in their "
        "truth.",
        "".join(parts),
    )


def _details(anchor: str, summary: str, body: str, *, opened: bool = False) -> str:
    return (
        f'<details id="{anchor}"{" open" if opened else ""}><summary>{summary}</summary>'
        f"{body}</details>\n"
    )


def _confusions(selection: Selection, cards: Cards) -> Section:
    total = cards.arms[0].confusion.sum(0)
    matrix = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        f"{matrix_svg(total, cards.classes.names)}</div>"
    )
    pairs = [_pair(i, pair, selection.pairs, cards) for i, pair in enumerate(selection.pairs)]
    return Section(
        "confusions",
        "Confused classes",
        f"What the pixels of each class were taken for{_of_first(cards)}, in percent. Colors show "
        "square roots, so that small parts can be seen.",
        f"{matrix}<h3>Pairs with most wrong pixels</h3>"
        f'<p class="intro">Each with the images that have most of them.</p>{"".join(pairs)}',
    )


def _pair(i: int, pair: Pair, pairs: Sequence[Pair], cards: Cards) -> str:
    names, palette = cards.classes.names, cards.classes.palette
    truth, prediction = escape(names[pair.truth]), escape(names[pair.prediction])
    width = 100 * pair.pixels / pairs[0].pixels
    summary = (
        f"{swatch(palette[pair.truth])}{truth} → {swatch(palette[pair.prediction])}{prediction} "
        f'<span class="side">{pair.pixels:,} pixels, {percent(pair.part)} of {truth}</span>'
        f'<span class="bar wrong"><i style="width:{width:.1f}%"></i></span>'
    )
    wrong = cards.arms[0].confusion[pair.images, pair.truth, pair.prediction]
    notes = [f"{count:,} pixels of {truth} as {prediction}" for count in wrong]
    return _details(f"pair-{i}", summary, cards.row(pair.images, notes), opened=i == 0)


def _changes(comparison: Comparison, cards: Cards) -> Section:
    counts = (("better", comparison.better), ("worse", comparison.worse))
    number = sum(count for _, count in counts) + comparison.equal
    tally = "".join(
        f'<li class="{name}"><b>{count:,}</b> {name}</li>'
        for name, count in (*counts, ("equal", comparison.equal))
    )
    parts = []
    for title, numbers in (("gained", comparison.gained), ("lost", comparison.lost)):
        notes = [_note(float(comparison.difference[i])) for i in numbers]
        row = cards.row(numbers, notes) if numbers else '<p class="intro">None.</p>'
        parts.append(f'<h3 id="{title}">{title.capitalize()} most</h3>{row}')
    return Section(
        "changes",
        "A against B",
        f"Image IoU of A less that of B, over {number:,} images.",
        f'<ul class="tally" aria-label="Images where A is">{tally}</ul>{"".join(parts)}',
    )


def _note(difference: float) -> str:
    return f'<b class="{"better" if difference > 0 else "worse"}">{points(difference)}</b>'
