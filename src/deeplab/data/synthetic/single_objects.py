"""Images of one textured shape each, drawn from a seed into one folder per class.

A classifier learns them in minutes on a CPU, without a download. Color is related to the class, but
neighbors in hue overlap; only the shape identifies the class.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deeplab.data.class_set import Pixels
from deeplab.data.synthetic.scenes import (
    SHAPES,
    get_or_draw_folder,
    random_shape_mask,
    simulate_camera,
    texture,
)

FORMAT = 1
"""Version of the drawing code; a higher number makes existing images be drawn again."""


@dataclass(frozen=True)
class ShapeClassesSpec:
    """All parameters of the images.

    Args:
        classes: names of ``SHAPES``.
        train, val: number of images of each split, balanced over the classes.
        min_size, max_size: range of an image's sides, in pixels.
        seed: random seed.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    min_size: int
    max_size: int
    seed: int

    def fingerprint(self) -> str:
        """Return a hash of the parameters and of the drawing code's version."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def get_or_draw_shape_images(root: str | Path, spec: ShapeClassesSpec) -> Path:
    """Return the folder below ``root`` with the images of ``spec``; draw them if it is missing."""
    return get_or_draw_folder(root, spec.fingerprint(), lambda draft: _draw_tree(draft, spec))


def _draw_tree(root: Path, spec: ShapeClassesSpec) -> None:
    (root / "spec.json").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    splits = {"train": spec.train, "val": spec.val}
    with tqdm(total=sum(splits.values()), desc=f"Drawing images in {root.parent}") as bar:
        for number, (split, count) in enumerate(splits.items()):
            for name in spec.classes:
                (root / split / name).mkdir(parents=True)
            for i in range(count):
                index = i % len(spec.classes)
                image = draw_shape_image(spec, index, np.random.default_rng((spec.seed, number, i)))
                path = root / split / spec.classes[index] / f"{i:05d}.jpg"
                Image.fromarray(image).save(path, quality=92, subsampling=0)
                bar.update()


def draw_shape_image(spec: ShapeClassesSpec, index: int, rng: np.random.Generator) -> Pixels:
    """Draw one image ``(H, W, 3)`` of the class with this index."""
    height, width = (int(n) for n in rng.integers(spec.min_size, spec.max_size + 1, 2))
    image = texture(height, width, hue=rng.uniform(), contrast=0.35, rng=rng)
    shape = SHAPES[spec.classes[index]]()
    mask = random_shape_mask(
        shape, height, width, rng, radius_range=(0.26, 0.42), center_range=(0.4, 0.6)
    )
    hue = index / len(spec.classes) + rng.normal(0, 0.06)
    image[mask > 0] = texture(height, width, hue=hue, contrast=0.25, rng=rng)[mask > 0]
    return simulate_camera(image, rng)


def check_shapes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are shapes, each once."""
    if len(set(classes)) < len(classes) or not set(classes) <= set(SHAPES):
        raise ValueError(
            f"expected some of {', '.join(SHAPES)}, each once; got {', '.join(classes)}"
        )
