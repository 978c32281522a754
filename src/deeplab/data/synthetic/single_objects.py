"""Pictures of one textured shape each, drawn from a seed into folders of their class: what a
classifier can learn in minutes on a CPU, without a download.

Color tells something of the class, but neighbors in hue overlap; the shape tells the rest.
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
from deeplab.data.synthetic.scenes import SHAPES, developed, ensure_drawn, rasterize, texture

FORMAT = 1
"""Raise it when the drawing changes: pictures drawn before are then drawn anew."""


@dataclass(frozen=True)
class ShapeClassesSpec:
    """All that the pictures depend on.

    Args:
        classes: names of ``SHAPES``.
        train, val: pictures of each split, as many of each class as goes.
        min_size, max_size: range of a picture's sides, in pixels.
        seed: another seed, other pictures.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    min_size: int
    max_size: int
    seed: int

    def fingerprint(self) -> str:
        """The same for the same pictures."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def ensure_shape_classes(root: str | Path, spec: ShapeClassesSpec) -> Path:
    """The folder below ``root`` with the pictures of ``spec``; drawn if it is not there."""
    return ensure_drawn(root, spec.fingerprint(), lambda draft: _draw_tree(draft, spec))


def _draw_tree(root: Path, spec: ShapeClassesSpec) -> None:
    (root / "spec.json").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    splits = {"train": spec.train, "val": spec.val}
    with tqdm(total=sum(splits.values()), desc=f"Drawing pictures in {root.parent}") as bar:
        for number, (split, count) in enumerate(splits.items()):
            for name in spec.classes:
                (root / split / name).mkdir(parents=True)
            for i in range(count):
                index = i % len(spec.classes)
                image = draw_picture(spec, index, np.random.default_rng((spec.seed, number, i)))
                path = root / split / spec.classes[index] / f"{i:05d}.jpg"
                Image.fromarray(image).save(path, quality=92, subsampling=0)
                bar.update()


def draw_picture(spec: ShapeClassesSpec, index: int, rng: np.random.Generator) -> Pixels:
    """One picture ``(H, W, 3)`` of a class."""
    height, width = (int(n) for n in rng.integers(spec.min_size, spec.max_size + 1, 2))
    image = texture(height, width, hue=rng.uniform(), contrast=0.35, rng=rng)
    shape = SHAPES[spec.classes[index]]()
    mask = rasterize(shape, height, width, rng, radius=(0.26, 0.42), within=(0.4, 0.6))
    hue = index / len(spec.classes) + rng.normal(0, 0.06)
    image[mask > 0] = texture(height, width, hue=hue, contrast=0.25, rng=rng)[mask > 0]
    return developed(image, rng)


def check_shapes(classes: Sequence[str]) -> None:
    """Raise ValueError unless these are shapes, none of them twice."""
    if len(set(classes)) < len(classes) or not set(classes) <= set(SHAPES):
        raise ValueError(f"it is some of {', '.join(SHAPES)}, each once; got {', '.join(classes)}")
