"""Overlays, legends and example figures of predictions.

torchvision's ``draw_segmentation_masks`` has neither outlines nor a legend.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.text import printable

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]

IGNORE_COLOR = (224, 224, 192)
"""Color of ignored pixels (255), as in VOC."""


STRIP_ROWS = 512
"""Rows of an overlay that are computed at a time."""

MAX_NAME = 200
"""Longest name that is drawn, in characters."""


class Example(NamedTuple):
    """One image with its ground truth and prediction."""

    image_id: str
    image: Pixels  # (H, W, C)
    truth: Pixels  # (H, W)
    prediction: Pixels  # (H, W)


class ClassificationExample(NamedTuple):
    """One image with the names of its true classes and of the predicted class."""

    image: Pixels  # (H, W, 3)
    truth: Sequence[str]
    prediction: str


def as_rgb(image: Pixels) -> Pixels:
    """Return an image ``(H, W, C)`` as figures show it: its first three channels, or gray."""
    channels = image.shape[2]
    if channels == 3:
        return image
    return np.ascontiguousarray(image[..., :3] if channels > 3 else image[..., [0, 0, 0]])


def overlay(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels, opacity: float = 0.65
) -> Pixels:
    """Return an image ``(H, W, C)`` in gray with the class colors over it.

    A class named background is not colored; 255 has a color of its own. (On the image's own colors
    the class colors would be hard to tell apart.)
    """
    colors = palette[label]
    colors[label == IGNORE] = IGNORE_COLOR
    gray = np.asarray(Image.fromarray(as_rgb(image)).convert("L"))[..., None]
    opacities = np.full(256, opacity)
    opacities[_background(class_names)] = 0
    weight = opacities[label][..., None]
    return (gray * (1 - weight) + colors * weight).round().astype(np.uint8)


def overlay_with_outlines(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels, opacity: float = 0.55
) -> Pixels:
    """Return an image ``(H, W, C)`` in its own colors, tinted with the class colors, with outlines.

    The outline is a light line inside each region's border, visible on dark images too; a class
    named background is left unchanged.
    """
    radius, opacities = max(1, round(min(label.shape) / 500)), np.full(256, opacity, np.float32)
    opacities[_background(class_names)] = 0
    image = as_rgb(image)
    kernel, result = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8), np.empty_like(image)
    for top in range(0, len(label), STRIP_ROWS):  # in strips, which huge photos need
        rows, above = slice(top, top + STRIP_ROWS), min(top, radius)
        around = label[top - above : top + STRIP_ROWS + radius]
        border = cv2.dilate(around, kernel) != cv2.erode(around, kernel)
        border = border[above : above + STRIP_ROWS]
        colors, weight = palette[label[rows]], opacities[label[rows]]
        colors[border] = colors[border] // 2 + 127
        weight[border & (weight > 0)] = 1
        result[rows] = cv2.blendLinear(image[rows], colors, 1 - weight, weight)
    return result


def add_legend(image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels) -> Pixels:
    """Return an overlay with a legend below: its classes, or background if there is no other."""
    found = np.unique(label)
    shown = np.setdiff1d(found, _background(class_names))
    shown = (shown if len(shown) else found).tolist()
    size = max(12, round(image.shape[1] / 50))
    strip = legend([(class_names[i], rgb(palette[i])) for i in shown], image.shape[1], size)
    height, width = image.shape[0] + strip.height, max(image.shape[1], strip.width)
    figure = np.full((height, width, 3), 255, np.uint8)
    figure[: image.shape[0], : image.shape[1]] = image
    figure[image.shape[0] :, : strip.width] = np.asarray(strip)
    return figure


def legend_overlay(
    image: Pixels, label: Pixels, class_names: Sequence[str], palette: Pixels
) -> Pixels:
    """Return the overlay with outlined regions and the legend of its classes below."""
    overlay = overlay_with_outlines(image, label, class_names, palette)
    return add_legend(overlay, label, class_names, palette)


def _background(class_names: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(class_names) if name == BACKGROUND]


def segmentation_figure(
    examples: Sequence[Example], class_names: Sequence[str], palette: Pixels, tile: int = 240
) -> Image.Image:
    """Return a figure with a row for each example (image, truth, prediction) and a legend below.

    Args:
        examples: the rows.
        class_names: the entries of the legend.
        palette: ``(256, 3)`` colors.
        tile: width of a panel, in pixels.
    """
    margin, header, width = 8, 22, 3 * (tile + 8) + 8
    rows = []
    for example in examples:
        panels = (
            as_rgb(example.image),
            overlay(example.image, example.truth, class_names, palette),
            overlay(example.image, example.prediction, class_names, palette),
        )
        height = max(1, round(tile * example.truth.shape[0] / example.truth.shape[1]))
        rows.append([Image.fromarray(panel).resize((tile, height)) for panel in panels])
    entries = [(name, rgb(palette[i])) for i, name in enumerate(class_names)]
    if any((example.truth == IGNORE).any() for example in examples):
        entries.append(("ignored", IGNORE_COLOR))
    strip = legend(entries, width - 2 * margin)
    total = header + sum(row[0].height + margin for row in rows) + strip.height + margin
    figure = Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(figure)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((margin + column * (tile + margin), 5), title, fill="black")
    y = header
    for row in rows:
        for column, panel in enumerate(row):
            figure.paste(panel, (margin + column * (tile + margin), y))
        y += row[0].height + margin
    figure.paste(strip, (margin, y))
    return figure


def classification_figure(
    examples: Sequence[ClassificationExample], tile: int = 160, columns: int = 6
) -> Image.Image:
    """Return a figure of images, each with its true classes and the predicted class below.

    A correct prediction is green, a wrong one red.

    Args:
        examples: the images, row by row.
        tile: side of an image, in pixels.
        columns: images in a row.
    """
    margin, line_height = 8, 14
    row_height = tile + 2 * line_height + margin
    num_rows = -(-len(examples) // columns)
    size = (columns * (tile + margin) + margin, num_rows * row_height + margin)
    figure = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(figure)
    for index, example in enumerate(examples):
        x = margin + index % columns * (tile + margin)
        y = margin + index // columns * row_height
        figure.paste(Image.fromarray(example.image).resize((tile, tile)), (x, y))
        color = "green" if example.prediction in example.truth else "red"
        draw.text((x, y + tile), _truncated(draw, ", ".join(example.truth), tile), "black")
        draw.text((x, y + tile + line_height), _truncated(draw, example.prediction, tile), color)
    return figure


def _truncated(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Return as much of a text as fits into a width in pixels, in one line."""
    text = printable(text[:MAX_NAME])
    while text and draw.textlength(text) > width:
        text = text[:-1]
    return text


def legend(entries: Sequence[tuple[str, Color]], width: int, size: int = 10) -> Image.Image:
    """Return an image with a swatch and a name for each entry, wrapped into lines.

    Args:
        entries: names and colors.
        width: width of the image in pixels; an entry that is longer makes it wider.
        size: font size in pixels.
    """
    line_height, gap, swatch = 2 * size, round(1.4 * size), round(1.2 * size)
    font = ImageFont.load_default(size)
    positions, x, y, max_width = [], 0, 0, width
    for name, color in ((printable(name[:MAX_NAME]), color) for name, color in entries):
        length = round(1.8 * size) + int(font.getlength(name)) + gap
        if x + length > width and x > 0:
            x, y = 0, y + line_height
        positions.append((x, y, name, color))
        x += length
        max_width = max(max_width, x)
    strip = Image.new("RGB", (max_width, y + line_height), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, name, color in positions:
        top = y + (line_height - swatch) // 2
        draw.rectangle((x, top, x + swatch, top + swatch), fill=color, outline="gray")
        text_position = (x + round(1.8 * size), y + line_height // 2)
        draw.text(text_position, name, "black", font, anchor="lm")
    return strip


def rgb(color: Pixels) -> Color:
    """Return a palette's row as Pillow expects a color."""
    red, green, blue = (int(value) for value in color)
    return red, green, blue
