"""Cards of the page: the scores of one image and its views, which open large."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.evaluations import LoadedEvaluation
from deeplab.tools.gallery.images import ERROR_COLOR, view_path, views
from deeplab.tools.gallery.selection import class_iou, image_iou
from deeplab.utils.visualization import IGNORE_COLOR

NO_VALUE = "\N{EN DASH}"

MINUS = "\N{MINUS SIGN}"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction as a percentage; a missing one (None or nan) as a dash."""
    return NO_VALUE if value is None or value != value else f"{100 * value:.{digits}f} %"


def percentage_points(value: float) -> str:
    """Format a difference of two fractions in percentage points, with its sign."""
    return NO_VALUE if value != value else f"{100 * value:+.1f}".replace("-", MINUS)


def color_square(color: Sequence[int]) -> str:
    """Return a small square in a color."""
    rgb = ",".join(str(int(channel)) for channel in color)
    return f'<i class="color-square" style="background:rgb({rgb})"></i>'


def legend(classes: ClassSet) -> str:
    """Return the names and colors of the classes, of ignored pixels and of wrong ones."""
    entries = [*zip(classes.names, classes.palette, strict=False)]
    items = [f"<li>{color_square(color)}{escape(name)}</li>" for name, color in entries]
    items.append(f"<li>{color_square(IGNORE_COLOR)}<em>ignored</em></li>")
    items.append(f"<li>{color_square(ERROR_COLOR)}<em>wrong</em></li>")
    return f'<ul class="legend" aria-label="Colors">{"".join(items)}</ul>'


@dataclass(frozen=True)
class CardRenderer:
    """Renderer of the page's cards.

    Args:
        evaluations: one evaluation, or the two that are compared.
        classes: names and colors.
        thumbnail_sizes: width and height of the thumbnails, by image index.
    """

    evaluations: tuple[LoadedEvaluation, ...]
    classes: ClassSet
    thumbnail_sizes: dict[int, tuple[int, int]]

    def render_all(self, indices: Sequence[int], notes: Sequence[str] = ()) -> str:
        """Return the cards of several images, each with a note in HTML."""
        cards = [self.render(index, notes[i] if notes else "") for i, index in enumerate(indices)]
        return f'<div class="cards">{"".join(cards)}</div>'

    def render(self, index: int, note: str = "") -> str:
        """Return the card of one image."""
        name = escape(self.evaluations[0].ids[index])
        ious = [
            percent(float(image_iou(evaluation.confusion[index])))
            for evaluation in self.evaluations
        ]
        iou_text = f"IoU {ious[0]}" if len(ious) == 1 else f"IoU A {ious[0]}, B {ious[1]}"
        note = f'<span class="note">{note}</span>' if note else ""
        return (
            f'<article class="card" aria-label="{name}"><header><p class="head">'
            f'<b class="name">{name}</b><span class="iou">{iou_text}</span>{note}</p>'
            f"{self._class_ious(index)}</header>"
            f'<div class="thumbnails">{self._thumbnails(index, name)}</div></article>\n'
        )

    def _thumbnails(self, index: int, name: str) -> str:
        width, height = self.thumbnail_sizes[index]
        return "".join(
            f'<a class="thumbnail" href="{view_path(index, view, small=False)}" '
            f'data-view="{view.title}">'
            f'<img src="{view_path(index, view, small=True)}" width="{width}" height="{height}" '
            f'loading="lazy" decoding="async" class="{view.suffix}" alt="{view.title} of {name}">'
            f"<span>{view.title}</span></a>"
            for view in views(len(self.evaluations))
        )

    def _class_ious(self, index: int) -> str:
        """Return the classes of the image with their IoU."""
        ious = np.stack(
            [class_iou(evaluation.confusion[index]) for evaluation in self.evaluations]
        )  # (evaluations, K)
        in_truth = self.evaluations[0].confusion[index].sum(1) > 0
        items = []
        for k in np.flatnonzero(~np.isnan(ious).all(0)):
            values = " · ".join(percent(float(iou), 0).removesuffix(" %") for iou in ious[:, k])
            absent = "" if in_truth[k] else ' class="absent" title="predicted, not in the truth"'
            name, square = escape(self.classes.names[k]), color_square(self.classes.palette[k])
            items.append(f"<li{absent}>{square}{name} <b>{values}</b></li>")
        label = "IoU of the image's classes in percent"
        return f'<ul class="class-ious" aria-label="{label}">{"".join(items)}</ul>'
