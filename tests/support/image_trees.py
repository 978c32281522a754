"""Small folders of labeled images for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def class_image(number: int, size=(40, 50)) -> np.ndarray:
    """Return noise around a color that identifies the class."""
    rng = np.random.default_rng(number)
    image = rng.normal(0, 12, (*size, 3)) + np.eye(3)[number % 3] * 160 + 40
    return image.clip(0, 255).astype(np.uint8)


def color_blocks(height: int, width: int, seed: int = 0, side: int = 9) -> np.ndarray:
    """Return an image of square blocks of random colors."""
    shape = (-(-height // side), -(-width // side), 3)
    small = np.random.default_rng(seed).integers(0, 256, shape)
    return np.kron(small, np.ones((side, side, 1)))[:height, :width].astype(np.uint8)


def folder_tree(root: Path, splits: dict[str, int], classes=("ant", "bee", "cat")) -> Path:
    """Write ``root/SPLIT/CLASS/N.jpg``, this number of images per class."""
    for split, count in splits.items():
        for k, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                path = root / split / name / f"{i}.jpg"
                Image.fromarray(class_image(3 * i + k)).save(path, quality=95)
    return root


def csv_tree(root: Path, splits: dict[str, list[str]], classes=("ant", "bee", "cat")) -> Path:
    """Write ``root/SPLIT.csv`` and its images, one for each text of labels."""
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    for split, labels in splits.items():
        lines = ["path,labels"]
        for i, text in enumerate(labels):
            image = np.mean([class_image(3 * i + classes.index(n)) for n in text.split()], axis=0)
            Image.fromarray(image.astype(np.uint8)).save(root / f"{split}-{i}.png")
            lines.append(f"{split}-{i}.png,{text}")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root
