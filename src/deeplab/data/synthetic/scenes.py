"""Scenes of textured shapes, drawn from a seed into a VOC layout: data that needs no download.

They are made so that what the paper is about can show in minutes on a CPU: several classes that
color alone does not tell apart, occlusion, thin parts (sticks, shafts, rings) and small objects,
whose boundaries a better decoder gets right. As in VOC, object borders are labeled 255.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deeplab.data.class_set import Pixels, write_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError

Contour = NDArray[np.float64]  # (points, 2)
Shape = list[list[Contour]]
"""Parts that are filled one after the other; a part's second contour is a hole in its first."""

FORMAT = 1
"""Raise it when the drawing changes: scenes drawn before are then drawn anew."""


@dataclass(frozen=True)
class ShapesSpec:
    """All that the scenes depend on.

    Args:
        classes: ``background`` and then names of ``SHAPES``.
        train, val: scenes of each split.
        min_size, max_size: range of a scene's sides, in pixels.
        max_objects: the most objects in a scene.
        seed: another seed, other scenes.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    min_size: int
    max_size: int
    max_objects: int
    seed: int

    def fingerprint(self) -> str:
        """The same for the same scenes."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def ensure_shapes(root: str | Path, spec: ShapesSpec) -> Path:
    """The folder below ``root`` with the scenes of ``spec``; they are drawn if it is not there."""
    return ensure_drawn(root, spec.fingerprint(), lambda draft: _draw_tree(draft, spec))


def ensure_drawn(root: str | Path, name: str, draw: Callable[[Path], None]) -> Path:
    """The folder ``name`` below ``root``, which ``draw`` fills if it is not there.

    The folder appears under its name when it is complete, so that neither an interruption nor a
    second process that draws the same leaves a half of it.
    """
    target = Path(root).expanduser() / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(
            f"data.root={root}: the pictures cannot be drawn there ({error.strerror}). Name a "
            "folder that can be written."
        ) from None
    try:
        draw(draft)
        draft.chmod(0o755)  # mkdtemp makes it for this user alone
        os.rename(draft, target)
    except OSError:
        if not target.is_dir():  # else another process was first, with the same pictures
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _draw_tree(root: Path, spec: ShapesSpec) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "spec.json").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    splits = {"train": spec.train, "val": spec.val}
    with tqdm(total=sum(splits.values()), desc=f"Drawing scenes in {root.parent}") as bar:
        for number, (split, count) in enumerate(splits.items()):
            ids = [f"{split}_{i:05d}" for i in range(count)]
            for i, image_id in enumerate(ids):
                image, label = draw_scene(spec, np.random.default_rng((spec.seed, number, i)))
                jpeg = root / "JPEGImages" / f"{image_id}.jpg"
                Image.fromarray(image).save(jpeg, quality=92, subsampling=0)
                write_mask(root / "SegmentationClass" / f"{image_id}.png", label)
                bar.update()
            (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(ids) + "\n")


def draw_scene(spec: ShapesSpec, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """One scene: image ``(H, W, 3)`` and label ``(H, W)``."""
    height, width = (int(n) for n in rng.integers(spec.min_size, spec.max_size + 1, 2))
    image = texture(height, width, hue=rng.uniform(), contrast=0.35, rng=rng)
    label = np.zeros((height, width), np.uint8)
    border = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, spec.max_objects + 1))):
        index = int(rng.integers(1, len(spec.classes)))
        mask = rasterize(SHAPES[spec.classes[index]](), height, width, rng)
        hue = (index - 1) / (len(spec.classes) - 1) + rng.normal(0, 0.05)
        surface = texture(height, width, hue=hue, contrast=0.25, rng=rng)
        image[mask > 0] = surface[mask > 0]
        label[mask > 0] = index
        border[mask > 0] = 0
        border |= np.asarray(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))), np.uint8)
    label[border > 0] = IGNORE
    return developed(image, rng), label


def developed(image: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    """What a camera makes of ``(H, W, 3)`` from 0 to 1: a little blurred, with noise, 8 bits."""
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.float32)
    image += rng.normal(0, 0.02, image.shape).astype(np.float32)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def texture(
    height: int, width: int, *, hue: float, contrast: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Colors ``(H, W, 3)`` from 0 to 1 around a hue: clouds, and stripes in half of the cases."""
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


def rasterize(
    shape: Shape,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    radius: tuple[float, float] = (0.12, 0.42),
    within: tuple[float, float] = (0.1, 0.9),
) -> Pixels:
    """A mask (0 or 1) of the shape at a random place, size and angle; small ones are common.

    Args:
        shape: its contours.
        height: of the mask, in pixels.
        width: of the mask, in pixels.
        rng: draws.
        radius: range, as parts of the shorter side.
        within: range of the center, as parts of the sides.
    """
    reach = min(height, width) * np.exp(rng.uniform(*np.log(radius)))
    angle = rng.uniform(0, 2 * np.pi)
    center = rng.uniform(*within, 2) * (width, height)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mask = np.zeros((height, width), np.uint8)
    for part in shape:
        points = [np.round((c @ turn * reach + center) * 16).astype(np.int32) for c in part]
        cv2.fillPoly(mask, points, 1, shift=4)  # the points count sixteenths of a pixel
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
"""The shapes by class name, around the origin and about one unit in radius."""


def check_classes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are background and shapes, none of them twice."""
    names = list(classes)
    wrong = [name for name in names[1:] if name not in SHAPES]
    if len(names) < 2 or names[0] != "background" or wrong or len(set(names)) < len(names):
        raise ValueError(
            f"it is background and then one or more of {', '.join(SHAPES)}, each once; "
            f"got {', '.join(names)}"
        )
