"""Images of one textured shape each, drawn from a seed into one folder per class.

A classifier learns them in minutes on a CPU, without a download. Color is related to the class, but
neighbors in hue overlap; only the shape identifies the class.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deeplab.data.class_set import Pixels
from deeplab.data.settings import SyntheticSettings
from deeplab.data.synthetic.drawn_folder import drawing_keys, drawn_folder, get_or_draw_folder
from deeplab.data.synthetic.shapes import SHAPES, random_shape_mask, simulate_camera, texture
from deeplab.utils.progress import ProgressBar

FORMAT = 1
"""Version of the drawing code; a higher number makes existing images be drawn again."""


def get_or_draw_shape_images(root: str | Path, settings: SyntheticSettings) -> Path:
    """Return the folder below ``root`` with these images; draw them if it is missing."""
    return get_or_draw_folder(root, _keys(settings), lambda draft: _draw_tree(draft, settings))


def shape_images_folder(root: str | Path, settings: SyntheticSettings) -> Path:
    """Return the folder below ``root`` that these images have once they are drawn."""
    return drawn_folder(root, _keys(settings))


def _keys(settings: SyntheticSettings) -> dict[str, Any]:
    return drawing_keys(settings, SyntheticSettings) | {"format": FORMAT}


def _draw_tree(root: Path, settings: SyntheticSettings) -> None:
    splits = {"train": settings.num_train, "val": settings.num_val}
    with ProgressBar(f"Drawing images in {root.parent}", sum(splits.values()), "img") as bar:
        for number, (split, count) in enumerate(splits.items()):
            for name in settings.classes:
                (root / split / name).mkdir(parents=True)
            for i in range(count):
                index = i % len(settings.classes)
                image = draw_shape_image(
                    settings, index, np.random.default_rng((settings.scene_seed, number, i))
                )
                path = root / split / settings.classes[index] / f"{i:05d}.jpg"
                Image.fromarray(image).save(path, quality=92, subsampling=0)
                bar.update()


def draw_shape_image(settings: SyntheticSettings, index: int, rng: np.random.Generator) -> Pixels:
    """Draw one image ``(H, W, 3)`` of the class with this index."""
    height, width = (int(n) for n in rng.integers(settings.min_size, settings.max_size + 1, 2))
    image = texture(height, width, hue=rng.uniform(), contrast=0.35, rng=rng)
    shape = SHAPES[settings.classes[index]]()
    mask = random_shape_mask(
        shape, height, width, rng, radius_range=(0.26, 0.42), center_range=(0.4, 0.6)
    )
    hue = index / len(settings.classes) + rng.normal(0, 0.06)
    image[mask > 0] = texture(height, width, hue=hue, contrast=0.25, rng=rng)[mask > 0]
    return simulate_camera(image, rng)


def check_shapes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are shapes, each once."""
    if len(set(classes)) < len(classes) or not set(classes) <= set(SHAPES):
        raise ValueError(
            f"expected some of {', '.join(SHAPES)}, each once; got {', '.join(classes)}"
        )
