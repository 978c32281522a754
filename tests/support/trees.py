"""Small VOC trees for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab.data.class_set import voc_palette


class IdentityTransform:
    """A transform that changes nothing."""

    shape = None

    def __call__(self, image, label, generator, out=None, focus=None):
        return image, label


def write_sample(root: Path, image_id: str, image: np.ndarray, label: np.ndarray, masks: str):
    """Write an image as JPEG and its label as palette PNG."""
    for folder in ("JPEGImages", masks):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / "JPEGImages" / f"{image_id}.jpg", quality=95)
    mask = Image.fromarray(label, mode="P")
    mask.putpalette(voc_palette().tobytes())
    mask.save(root / masks / f"{image_id}.png")


def voc_tree(root: Path, splits: dict[str, int], *, classes: int = 21, size=(50, 60)) -> Path:
    """Write a tree with this number of images per split; label k is a flat area of gray 10 k."""
    rng = np.random.default_rng(0)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, count in splits.items():
        ids = [f"{split}_{i}" for i in range(count)]
        for image_id in ids:
            label = np.zeros(size, np.uint8)
            for _ in range(3):
                top, left = rng.integers(0, size[0] - 10), rng.integers(0, size[1] - 10)
                label[top : top + 20, left : left + 20] = rng.integers(1, classes)
            image = np.repeat(label[..., None] * 10, 3, axis=2)
            label[:2] = 255
            write_sample(root, image_id, image, label, "SegmentationClass")
        (lists / f"{split}.txt").write_text("\n".join(ids) + "\n")
    return root
