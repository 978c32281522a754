"""What drawn images consist of: shapes, textures, and the blur and noise of a camera."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.class_set import Pixels

Contour = NDArray[np.float64]  # (points, 2)
Shape = list[list[Contour]]
"""Parts that are filled in order; the second contour of a part is a hole in the first."""


def simulate_camera(image: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    """Return ``(H, W, 3)`` from 0 to 1 with a slight blur and noise, as 8 bits."""
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.float32)
    image += rng.normal(0, 0.02, image.shape).astype(np.float32)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def texture(
    height: int, width: int, *, hue: float, contrast: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return colors ``(H, W, 3)`` from 0 to 1 around a hue: clouds, in half the cases stripes."""
    clouds = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (24, 0.2)):
        noise = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        clouds += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.uniform() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 14)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period)
        clouds = 0.6 * clouds + 0.4 * np.sin(phase).astype(np.float32)
    saturation, value = rng.uniform(0.25, 0.75), rng.uniform(0.4, 0.85)
    hsv = np.empty((height, width, 3), np.float32)
    hsv[..., 0] = 360 * ((hue + 0.06 * clouds) % 1)
    hsv[..., 1] = (saturation + 0.3 * contrast * clouds).clip(0, 1)
    hsv[..., 2] = (value + contrast * clouds).clip(0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.float32)


def random_shape_mask(
    shape: Shape,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    radius_range: tuple[float, float] = (0.12, 0.42),
    center_range: tuple[float, float] = (0.1, 0.9),
) -> Pixels:
    """Return a mask (0 or 1) of the shape with a random position, size and angle.

    The size is log-uniform, so small objects are common.

    Args:
        shape: contours of the shape.
        height: height of the mask, in pixels.
        width: width of the mask, in pixels.
        rng: random generator.
        radius_range: range of the radius, as fractions of the shorter side.
        center_range: range of the center, as fractions of the sides.
    """
    radius = min(height, width) * np.exp(rng.uniform(*np.log(radius_range)))
    angle = rng.uniform(0, 2 * np.pi)
    center = rng.uniform(*center_range, 2) * (width, height)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mask = np.zeros((height, width), np.uint8)
    for part in shape:
        points = [np.round((c @ rotation * radius + center) * 16).astype(np.int32) for c in part]
        cv2.fillPoly(mask, points, 1, shift=4)  # coordinates are in 1/16 pixel
    return mask


def _circle(radius: float, x: float = 0, y: float = 0) -> Contour:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def _polygon(corners: int, radius: float = 1) -> Contour:
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> Contour:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def _star() -> Contour:
    star = np.empty((10, 2))
    star[0::2] = _polygon(5)
    star[1::2] = -_polygon(5, 0.42)[[3, 4, 0, 1, 2]]
    return star


SHAPES: dict[str, Callable[[], Shape]] = {
    "disc": lambda: [[_circle(0.9)]],
    "ring": lambda: [[_circle(1), _circle(0.68)]],
    "square": lambda: [[_polygon(4)]],
    "triangle": lambda: [[_polygon(3)]],
    "star": lambda: [[_star()]],
    "cross": lambda: [[_box(-1, -0.3, 1, 0.3)], [_box(-0.3, -1, 0.3, 1)]],
    "lollipop": lambda: [[_box(-0.1, -0.3, 0.1, 1.3)], [_circle(0.5, 0, -0.6)]],
    "arrow": lambda: [
        [_box(-1.2, -0.11, 0.6, 0.11)],
        [np.array([[0.5, -0.5], [1.2, 0], [0.5, 0.5]])],
    ],
}
"""Shapes by class name, centered at the origin with a radius of about 1."""
