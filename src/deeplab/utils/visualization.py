"""Pictures of predictions for a person to look at."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]

IGNORE_COLOR = (224, 224, 192)
"""What 255 is painted in: VOC's color for it."""


class Example(NamedTuple):
    """One image with truth and prediction."""

    image_id: str
    image: Pixels  # (H, W, 3)
    truth: Pixels  # (H, W)
    prediction: Pixels  # (H, W)


class ClassificationExample(NamedTuple):
    """One picture with its labels and what it was taken for."""

    image: Pixels  # (H, W, 3)
    truth: Sequence[str]
    prediction: str


def overlay(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels, opacity: float = 0.65
) -> Pixels:
    """The image in gray with every class painted over it, but not one named background; 255 in its
    own color. (On the image's own colors the classes' could not be told.)"""
    colors = palette[label]
    colors[label == 255] = IGNORE_COLOR
    gray = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    painted = np.full(256, opacity)
    painted[_background(class_names)] = 0
    weight = painted[label][..., None]
    return (gray * (1 - weight) + colors * weight).round().astype(np.uint8)


def overlay_with_outlines(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels, opacity: float = 0.55
) -> Pixels:
    """The image in its own colors, overlay_with_outlines by class, with a light line inside each region's border
    that shows on dark pictures too; a class named background is left as it is."""
    colors, reach = palette[label], 2 * max(1, round(min(label.shape) / 500)) + 1
    around = np.ones((reach, reach), np.uint8)
    border = cv2.dilate(label, around) != cv2.erode(label, around)
    colors[border] = colors[border] // 2 + 127
    weight = np.where(border, np.float32(1), np.float32(opacity))
    weight[np.isin(label, _background(class_names))] = 0
    return np.asarray(cv2.blendLinear(image, colors, 1 - weight, weight), np.uint8)


def add_legend(
    picture: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels
) -> Pixels:
    """A overlay_with_outlines picture, and below it name and color of the classes that it shows, if any."""
    shown = np.setdiff1d(label, _background(class_names)).tolist()
    if not shown:
        return picture
    size = max(12, round(picture.shape[1] / 50))
    strip = legend([(class_names[i], rgb(palette[i])) for i in shown], picture.shape[1], size)
    height, width = picture.shape[0] + strip.height, max(picture.shape[1], strip.width)
    sheet = np.full((height, width, 3), 255, np.uint8)
    sheet[: picture.shape[0], : picture.shape[1]] = picture
    sheet[picture.shape[0] :, : strip.width] = np.asarray(strip)
    return sheet


def _background(class_names: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(class_names) if name == "background"]


def segmentation_figure(
    examples: Sequence[Example], class_names: Sequence[str], palette: Pixels, tile: int = 240
) -> Image.Image:
    """A sheet with a row per example: image, truth, prediction; the classes' colors below.

    Args:
        examples: the rows.
        class_names: the legend.
        palette: ``(256, 3)`` colors.
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
    entries = [(name, rgb(palette[i])) for i, name in enumerate(class_names)]
    strip = legend([*entries, ("ignored", IGNORE_COLOR)], width - 2 * margin)
    total = header + sum(row[0].height + margin for row in rows) + strip.height + margin
    sheet = Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((margin + column * (tile + margin), 5), title, fill="black")
    y = header
    for row in rows:
        for column, panel in enumerate(row):
            sheet.paste(panel, (margin + column * (tile + margin), y))
        y += row[0].height + margin
    sheet.paste(strip, (margin, y))
    return sheet


def classification_figure(
    examples: Sequence[ClassificationExample], tile: int = 160, columns: int = 6
) -> Image.Image:
    """A sheet of pictures; below each its labels, and what it was taken for in green or red.

    Args:
        examples: the pictures, row by row.
        tile: side of a picture, in pixels.
        columns: pictures in a row.
    """
    margin, line = 8, 14
    high = tile + 2 * line + margin
    lines = -(-len(examples) // columns)
    size = (columns * (tile + margin) + margin, lines * high + margin)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, example in enumerate(examples):
        x = margin + place % columns * (tile + margin)
        y = margin + place // columns * high
        sheet.paste(Image.fromarray(example.image).resize((tile, tile)), (x, y))
        right = "green" if example.prediction in example.truth else "red"
        draw.text((x, y + tile), _cut(draw, ", ".join(example.truth), tile), "black")
        draw.text((x, y + tile + line), _cut(draw, example.prediction, tile), right)
    return sheet


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """As much of a text as is no wider, in pixels."""
    while text and draw.textlength(text) > width:
        text = text[:-1]
    return text


def legend(entries: Sequence[tuple[str, Color]], width: int, size: int = 10) -> Image.Image:
    """A swatch and a name for each entry, in as many lines as it takes.

    Args:
        entries: names and colors.
        width: of the result in pixels; an entry that is longer makes it wider.
        size: of the letters.
    """
    line, gap, swatch = 2 * size, round(1.4 * size), round(1.2 * size)
    font = ImageFont.load_default(size)
    places, x, y, widest = [], 0, 0, width
    for name, color in entries:
        length = round(1.8 * size) + int(font.getlength(name)) + gap
        if x + length > width and x > 0:
            x, y = 0, y + line
        places.append((x, y, name, color))
        x += length
        widest = max(widest, x)
    strip = Image.new("RGB", (widest, y + line), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, name, color in places:
        top = y + (line - swatch) // 2
        draw.rectangle((x, top, x + swatch, top + swatch), fill=color, outline="gray")
        draw.text((x + round(1.8 * size), y + line // 2), name, "black", font, anchor="lm")
    return strip


def rgb(color: Pixels) -> Color:
    """A palette's row as Pillow takes a color."""
    red, green, blue = (int(value) for value in color)
    return red, green, blue
