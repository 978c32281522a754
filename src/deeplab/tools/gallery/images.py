"""The picture files of a gallery: images, truth, predictions and errors, small and large."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deeplab.data.class_set import ClassSet
from deeplab.data.image_io import read_image, read_mask, size_problem
from deeplab.data.layouts.base import Item
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import cpu_count
from deeplab.utils.visualization import IGNORE_COLOR

Pixels = NDArray[np.uint8]

FOLDER = "pictures"
"""Beside the page."""

ERROR_COLOR = (255, 0, 85)
"""Of wrong pixels: no class of VOC, COCO or Cityscapes has it, and gray does not hide it."""


class Kind(NamedTuple):
    """One of the pictures of an image."""

    name: str
    """In file names."""
    suffix: str
    title: str
    """For a reader."""


def kinds(arms: int) -> tuple[Kind, ...]:
    """The pictures of an image with the predictions of one or two evaluations, A and B."""
    found = [Kind("image", "jpg", "image"), Kind("truth", "png", "truth")]
    for name, suffix, title in (("prediction", "png", "prediction"), ("error", "jpg", "errors")):
        for letter in "AB"[:arms]:
            which = f" {letter}" if arms > 1 else ""
            found.append(Kind(f"{name}{letter}", suffix, f"{title}{which}"))
    return tuple(found)


def picture(number: int, kind: Kind, *, small: bool) -> str:
    """The address of a picture, seen from the page. Ids may hold anything, numbers do not."""
    return f"{FOLDER}/{number:06d}-{kind.name}{'-small' if small else ''}.{kind.suffix}"


class Scene(NamedTuple):
    """An image of the split with all that is painted of it."""

    number: int
    item: Item
    predictions: tuple[Path, ...]
    confusions: tuple[NDArray[np.int64], ...]
    """What was counted when the predictions were scored, ``(K, K)`` by truth and prediction."""


@dataclass(frozen=True)
class Painter:
    """Writes the pictures of scenes below ``folder``.

    Args:
        folder: of the page.
        classes: how masks are read and in which colors they are shown.
        thumbnail: width of small pictures in pixels; they are half as high again at most.
        large: longer side of large pictures. None is larger than the image.
    """

    folder: Path
    classes: ClassSet
    thumbnail: int
    large: int

    def paint_all(self, scenes: Sequence[Scene], progress: bool) -> dict[int, tuple[int, int]]:
        """Paint every scene; width and height of the thumbnails by the scenes' numbers.

        Raises:
            UserError: a file is missing or damaged, or sizes differ.
        """
        pool = ThreadPoolExecutor(cpu_count())
        try:
            sizes = pool.map(self.paint, scenes)
            bar = tqdm(sizes, "Painting", total=len(scenes), unit="img", disable=not progress)
            return {scene.number: size for scene, size in zip(scenes, bar, strict=True)}
        finally:
            pool.shutdown(cancel_futures=True)

    def paint(self, scene: Scene) -> tuple[int, int]:
        """Width and height of the thumbnails."""
        pictures = self._pictures(scene)
        height, width = pictures[0].shape[:2]
        boxes = (self.large, self.large), (self.thumbnail, self.thumbnail * 3 // 2)
        for small, box in enumerate(boxes):
            size = _fit(width, height, box)
            for kind, pixels in zip(kinds(len(scene.predictions)), pictures, strict=True):
                target = self.folder / picture(scene.number, kind, small=bool(small))
                self._write(target, pixels, size)
        return size

    def _pictures(self, scene: Scene) -> list[Pixels]:
        """RGB ``(H, W, 3)`` or labels ``(H, W)``, in the order of ``kinds``."""
        item = scene.item
        image = read_image(item.image)
        truth = read_mask(item.mask, colored=self.classes.colored)
        if truth.shape[:2] != image.shape[:2]:
            raise size_problem(item.mask, truth.shape, image.shape)
        truth = self.classes.decode(truth, item.mask)
        predictions = [_read_prediction(path, truth) for path in scene.predictions]
        for path, prediction, counted in zip(
            scene.predictions, predictions, scene.confusions, strict=True
        ):
            _check_counted((item.mask, path), truth, prediction, counted)
        errors = [error_map(image, truth, prediction) for prediction in predictions]
        return [image, truth, *predictions, *errors]

    def _write(self, path: Path, pixels: Pixels, size: tuple[int, int]) -> None:
        with atomic_write(path) as draft:
            if pixels.ndim == 3:
                resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
                # without subsampling, which would wash out the color of single wrong pixels
                Image.fromarray(resized).save(draft, "JPEG", quality=85, subsampling=0)
            else:
                resized = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT)
                self._indexed(np.asarray(resized, np.uint8)).save(draft, "PNG")

    def _indexed(self, label: Pixels) -> Image.Image:
        """A palette picture with no more colors than there are classes: fewer bits a pixel."""
        number = len(self.classes)
        indexed = Image.fromarray(np.minimum(label, number).astype(np.uint8), mode="P")
        colors = [*self.classes.palette[:number].tolist(), IGNORE_COLOR]
        indexed.putpalette([channel for color in colors for channel in color])
        return indexed


def _read_prediction(path: Path, truth: Pixels) -> Pixels:
    prediction = read_mask(path)
    if prediction.shape != truth.shape:
        sizes = [f"{label.shape[0]} x {label.shape[1]}" for label in (prediction, truth)]
        raise UserError(
            f"{path}: this prediction is of {sizes[0]} pixels, its image of {sizes[1]} (height x "
            "width). Is data.root the folder that was evaluated?"
        )
    return prediction


def _check_counted(
    files: tuple[Path, Path], truth: Pixels, prediction: Pixels, counted: NDArray[np.int64]
) -> None:
    """Raise UserError unless the scores are those of these masks and predictions."""
    labeled, classes = truth != IGNORE, len(counted)
    pairs = truth[labeled].astype(np.int64) * classes + prediction[labeled]
    if not np.array_equal(np.bincount(pairs, minlength=classes**2), counted.ravel()):
        raise UserError(
            f"{files[0]}: this mask, or the prediction for it ({files[1]}), has changed since it "
            "was scored. Evaluate again: evaluate.py with overwrite=true. (Is data.root the folder "
            "that was evaluated?)"
        )


def error_map(image: Pixels, truth: Pixels, prediction: Pixels) -> Pixels:
    """The image ``(H, W, 3)`` in dim gray; wrong pixels and ignored ones in their own colors."""
    dim = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2 + 24
    errors = np.repeat(dim[..., None], 3, axis=2).astype(np.uint8)
    errors[truth != prediction] = ERROR_COLOR
    errors[truth == IGNORE] = IGNORE_COLOR
    return errors


def _fit(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of this shape in a box, not larger than it is."""
    scale = min(1.0, box[0] / width, box[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def remove_others(folder: Path, scenes: Sequence[Scene]) -> None:
    """Remove the pictures of an earlier page that this one does not show."""
    arms = len(scenes[0].predictions)
    kept = {
        folder / picture(scene.number, kind, small=small)
        for scene in scenes
        for kind in kinds(arms)
        for small in (False, True)
    }
    ours = re.compile(r"\d{6,}-(image|truth|prediction[AB]|error[AB])(-small)?\.(jpg|png)")
    for path in (folder / FOLDER).iterdir():
        if ours.fullmatch(path.name) and path not in kept:
            path.unlink()
