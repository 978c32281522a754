"""Scenes of textured shapes, drawn from a seed into a VOC layout, without a download.

They show the paper's points in minutes on a CPU: several classes that color alone does not
distinguish, occlusion, thin parts (sticks, shafts, rings) and small objects, whose boundaries a
better decoder segments better. As in VOC, object borders are labeled 255.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deeplab.data.class_set import Pixels, write_mask
from deeplab.data.settings import SceneSettings, SyntheticSettings
from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_folder
from deeplab.utils.settings import added_keys

Contour = NDArray[np.float64]  # (points, 2)
Shape = list[list[Contour]]
"""Parts that are filled in order; the second contour of a part is a hole in the first."""

FORMAT = 1
"""Version of the drawing code; a higher number makes existing scenes be drawn again."""


def get_or_draw_scenes(root: str | Path, settings: SceneSettings) -> Path:
    """Return the folder below ``root`` with these scenes; draw them if it is missing."""
    return get_or_draw_folder(root, _keys(settings), lambda draft: _draw_tree(draft, settings))


def scenes_folder(root: str | Path, settings: SceneSettings) -> Path:
    """Return the folder below ``root`` that these scenes have once they are drawn."""
    return drawn_folder(root, _keys(settings))


def _keys(settings: SceneSettings) -> dict[str, Any]:
    return drawing_keys(settings, SceneSettings) | {"format": FORMAT}


def drawing_keys(settings: SyntheticSettings, schema: type[SyntheticSettings]) -> dict[str, Any]:
    """Return the settings that drawn images depend on."""
    return settings.model_dump(
        mode="json", include=set(schema.model_fields), exclude=added_keys(settings)
    )


def drawn_folder(root: str | Path, keys: Mapping[str, Any]) -> Path:
    """Return the folder of drawn images below ``root``; its name is a hash of ``keys``."""
    text = json.dumps(keys, sort_keys=True)
    return Path(root).expanduser() / hashlib.sha256(text.encode()).hexdigest()[:8]


def get_or_draw_folder(
    root: str | Path, keys: Mapping[str, Any], draw: Callable[[Path], None]
) -> Path:
    """Return the folder of drawn images below ``root``; let ``draw`` fill it if it is missing.

    Its name is a hash of ``keys``, on which the images depend. It gets its name when it is
    complete, so that neither an interruption nor a second process that draws the same images
    leaves an incomplete folder.

    Raises:
        UserError: ``root`` cannot be written.
    """
    target = drawn_folder(root, keys)
    if target.is_dir():
        return target
    try:
        with atomic_folder(target) as draft:
            draw(draft)
            (draft / "settings.json").write_text(json.dumps(keys, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"data.root={root}: cannot draw the images into this folder ({error.strerror}). Set "
            "data.root to a writable folder."
        ) from None
    return target


def _draw_tree(root: Path, settings: SceneSettings) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    splits = {"train": settings.num_train, "val": settings.num_val}
    with tqdm(total=sum(splits.values()), desc=f"Drawing scenes in {root.parent}") as bar:
        for number, (split, count) in enumerate(splits.items()):
            ids = [f"{split}_{i:05d}" for i in range(count)]
            for i, image_id in enumerate(ids):
                image, label = draw_scene(
                    settings, np.random.default_rng((settings.scene_seed, number, i))
                )
                jpeg = root / "JPEGImages" / f"{image_id}.jpg"
                Image.fromarray(image).save(jpeg, quality=92, subsampling=0)
                write_mask(root / "SegmentationClass" / f"{image_id}.png", label, flush=False)
                bar.update()
            (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(ids) + "\n")


def draw_scene(settings: SceneSettings, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Draw one scene: an image ``(H, W, 3)`` and a label ``(H, W)``."""
    height, width = (int(n) for n in rng.integers(settings.min_size, settings.max_size + 1, 2))
    image = texture(height, width, hue=rng.uniform(), contrast=0.35, rng=rng)
    label = np.zeros((height, width), np.uint8)
    border = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, settings.max_objects + 1))):
        index = _draw_class(settings, rng)
        mask = random_shape_mask(SHAPES[settings.classes[index]](), height, width, rng)
        hue = (index - 1) / (len(settings.classes) - 1) + rng.normal(0, 0.05)
        surface = texture(height, width, hue=hue, contrast=0.25, rng=rng)
        image[mask > 0] = surface[mask > 0]
        label[mask > 0] = index
        border[mask > 0] = 0
        border |= np.asarray(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))), np.uint8)
    label[border > 0] = IGNORE
    return simulate_camera(image, rng), label


def _draw_class(settings: SceneSettings, rng: np.random.Generator) -> int:
    """Return the class of an object."""
    if settings.class_shares is None:
        return int(rng.integers(1, len(settings.classes)))
    shares = np.array(settings.class_shares)
    return 1 + int(rng.choice(len(shares), p=shares / shares.sum()))


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


def check_classes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are background and then shapes, each once."""
    names = list(classes)
    unknown = [name for name in names[1:] if name not in SHAPES]
    if len(names) < 2 or names[0] != BACKGROUND or unknown or len(set(names)) < len(names):
        raise ValueError(
            f"expected background and then one or more of {', '.join(SHAPES)}, each once; got "
            f"{', '.join(names)}"
        )
