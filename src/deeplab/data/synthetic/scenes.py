"""Scenes of textured shapes, drawn from a seed into a VOC layout, without a download.

They show the paper's points in minutes on a CPU: several classes that color alone does not
distinguish, occlusion, thin parts (sticks, shafts, rings) and small objects, whose boundaries a
better decoder segments better. As in VOC, object borders are labeled 255.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from deeplab.data.class_set import Pixels, write_mask
from deeplab.data.settings import SceneSettings
from deeplab.data.synthetic.drawn_folder import drawing_keys, drawn_folder, get_or_draw_folder
from deeplab.data.synthetic.shapes import SHAPES, random_shape_mask, simulate_camera, texture
from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.progress import ProgressBar

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


def _draw_tree(root: Path, settings: SceneSettings) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    splits = {"train": settings.num_train, "val": settings.num_val}
    with ProgressBar(f"Drawing scenes in {root.parent}", sum(splits.values()), "img") as bar:
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


def check_classes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are background and then shapes, each once."""
    names = list(classes)
    unknown = [name for name in names[1:] if name not in SHAPES]
    if len(names) < 2 or names[0] != BACKGROUND or unknown or len(set(names)) < len(names):
        raise ValueError(
            f"expected background and then one or more of {', '.join(SHAPES)}, each once; got "
            f"{', '.join(names)}"
        )
