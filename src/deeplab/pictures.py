"""Pictures of predictions for a person to look at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]

IGNORE_COLOUR = (224, 224, 192)
"""What 255 is painted in: VOC's colour for it."""


class Example(NamedTuple):
    """One image with truth and prediction."""

    image_id: str
    image: Pixels  # (H, W, 3)
    truth: Pixels  # (H, W)
    prediction: Pixels  # (H, W)


def overlay(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels, opacity: float = 0.65
) -> Pixels:
    """The image in grey with every class painted over it, but not one named background; 255 in its
    own colour. (On the image's own colours the classes' could not be told.)"""
    colours = palette[label]
    colours[label == 255] = IGNORE_COLOUR
    grey = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    painted = np.full(256, opacity)
    painted[[i for i, name in enumerate(class_names) if name == "background"]] = 0
    weight = painted[label][..., None]
    return (grey * (1 - weight) + colours * weight).round().astype(np.uint8)


def example_sheet(
    examples: Sequence[Example], class_names: Sequence[str], palette: Pixels, tile: int = 240
) -> Image.Image:
    """A sheet with a row per example: image, truth, prediction; the classes' colours below.

    Args:
        examples: the rows.
        class_names: the legend.
        palette: ``(256, 3)`` colours.
        tile: width of a picture, in pixels.
    """
    margin, header, width = 8, 22, 3 * (tile + 8) + 8
    rows = []
    for example in examples:
        panels = (
            example.image,
            overlay(example.image, example.truth, class_names, palette),
            overlay(example.image, example.prediction, class_names, palette),
        )
        height = max(1, round(tile * example.truth.shape[0] / example.truth.shape[1]))
        rows.append([Image.fromarray(panel).resize((tile, height)) for panel in panels])
    legend = _legend(class_names, palette, width - 2 * margin)
    total = header + sum(row[0].height + margin for row in rows) + legend.height + margin
    sheet = Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((margin + column * (tile + margin), 5), title, fill="black")
    y = header
    for row in rows:
        for column, panel in enumerate(row):
            sheet.paste(panel, (margin + column * (tile + margin), y))
        y += row[0].height + margin
    sheet.paste(legend, (margin, y))
    return sheet


def _legend(class_names: Sequence[str], palette: Pixels, width: int) -> Image.Image:
    """A swatch and a name for each class, in as many lines as it takes."""
    line, gap = 20, 14
    entries = [(name, tuple(int(c) for c in palette[i])) for i, name in enumerate(class_names)]
    entries.append(("ignored", IGNORE_COLOUR))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, x, y = [], 0, 0
    for name, colour in entries:
        length = 18 + int(measure.textlength(name)) + gap
        if x + length > width and x > 0:
            x, y = 0, y + line
        places.append((x, y, name, colour))
        x += length
    legend = Image.new("RGB", (width, y + line), "white")
    draw = ImageDraw.Draw(legend)
    for x, y, name, colour in places:
        draw.rectangle((x, y + 4, x + 12, y + 16), fill=colour, outline="grey")
        draw.text((x + 18, y + 4), name, fill="black")
    return legend
