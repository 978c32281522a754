"""One image on the page: its scores and its pictures, which open large."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from deeplab.data.class_set import ClassSet
from deeplab.tools.gallery.evaluations import Arm
from deeplab.tools.gallery.images import ERROR_COLOR, kinds, picture
from deeplab.tools.gallery.selection import class_iou, image_iou
from deeplab.utils.visualization import IGNORE_COLOR


def percent(value: float | None, digits: int = 1) -> str:
    """A part of 1 in percent; a dash where there is none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"


def points(value: float) -> str:
    """A difference of two parts of 1, in points of percent and with its sign."""
    return "–" if value != value else f"{100 * value:+.1f}".replace("-", "−")


def swatch(color: Sequence[int]) -> str:
    """A small square of a color."""
    return f'<i class="swatch" style="background:rgb({",".join(str(int(c)) for c in color)})"></i>'


def legend(classes: ClassSet) -> str:
    """Names and colors of the classes, and of what is no class."""
    entries = [*zip(classes.names, classes.palette, strict=False)]
    items = [f"<li>{swatch(color)}{escape(name)}</li>" for name, color in entries]
    items.append(f"<li>{swatch(IGNORE_COLOR)}<em>ignored</em></li>")
    items.append(f"<li>{swatch(ERROR_COLOR)}<em>wrong</em></li>")
    return f'<ul class="legend" aria-label="Colors">{"".join(items)}</ul>'


@dataclass(frozen=True)
class Cards:
    """Makes the cards of a page.

    Args:
        arms: the evaluations, one or two.
        classes: names and colors.
        sizes: width and height of the thumbnails, by the images' numbers.
    """

    arms: tuple[Arm, ...]
    classes: ClassSet
    sizes: dict[int, tuple[int, int]]

    def row(self, numbers: Sequence[int], notes: Sequence[str] = ()) -> str:
        """The cards of some images, each with a note that is HTML."""
        cards = [self.card(number, notes[i] if notes else "") for i, number in enumerate(numbers)]
        return f'<div class="cards">{"".join(cards)}</div>'

    def card(self, number: int, note: str = "") -> str:
        """One image."""
        name = escape(self.arms[0].ids[number])
        scores = [percent(float(image_iou(arm.confusion[number]))) for arm in self.arms]
        said = f"IoU {scores[0]}" if len(scores) == 1 else f"IoU A {scores[0]}, B {scores[1]}"
        note = f'<span class="note">{note}</span>' if note else ""
        return (
            f'<article class="card" aria-label="{name}"><header><p class="head">'
            f'<b class="name">{name}</b><span class="iou">{said}</span>{note}</p>'
            f"{self._chips(number)}</header>"
            f'<div class="shots">{self._shots(number, name)}</div></article>\n'
        )

    def _shots(self, number: int, name: str) -> str:
        width, height = self.sizes[number]
        return "".join(
            f'<a class="shot" href="{picture(number, kind, small=False)}" data-kind="{kind.title}">'
            f'<img src="{picture(number, kind, small=True)}" width="{width}" height="{height}" '
            f'loading="lazy" decoding="async" class="{kind.suffix}" alt="{kind.title} of {name}">'
            f"<span>{kind.title}</span></a>"
            for kind in kinds(len(self.arms))
        )

    def _chips(self, number: int) -> str:
        """The classes of the image with their IoU."""
        ious = np.stack([class_iou(arm.confusion[number]) for arm in self.arms])  # (arms, K)
        in_truth = self.arms[0].confusion[number].sum(1) > 0
        chips = []
        for k in np.flatnonzero(~np.isnan(ious).all(0)):
            values = " · ".join(percent(float(iou), 0).removesuffix(" %") for iou in ious[:, k])
            absent = "" if in_truth[k] else ' class="absent" title="predicted, not in the truth"'
            name, color = escape(self.classes.names[k]), swatch(self.classes.palette[k])
            chips.append(f"<li{absent}>{color}{name} <b>{values}</b></li>")
        return f'<ul class="chips" aria-label="IoU of its classes in percent">{"".join(chips)}</ul>'
