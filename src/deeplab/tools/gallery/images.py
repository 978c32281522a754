"""Image files of a gallery: image, truth, predictions and errors, small and large."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab.data.class_set import ClassSet
from deeplab.data.image_io import RGB, read_image, read_mask
from deeplab.data.items import Item
from deeplab.data.labels import read_label
from deeplab.data.pixel_format import PixelFormat
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.utils.constants import IGNORE
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import map_in_threads
from deeplab.utils.program import command
from deeplab.utils.progress import show_progress
from deeplab.utils.visualization import IGNORE_COLOR, as_rgb

Pixels = NDArray[np.uint8]

IMAGES_FOLDER = "images"
"""Folder of the image files, beside the page."""

ERROR_COLOR = (255, 0, 85)
"""Color of wrong pixels: no class of VOC, COCO or Cityscapes has it, and gray does not hide it."""


class View(NamedTuple):
    """One view of an image: the image itself, its truth, a prediction or its errors."""

    name: str
    """Name in file names."""
    suffix: str
    title: str
    """Title on the page."""


def views(num_evaluations: int) -> tuple[View, ...]:
    """Return the views of an image with the predictions of one or two evaluations, A and B."""
    result = [View("image", "jpg", "image"), View("truth", "png", "truth")]
    for name, suffix, title in (("prediction", "png", "prediction"), ("error", "jpg", "errors")):
        for letter in "AB"[:num_evaluations]:
            title_suffix = f" {letter}" if num_evaluations > 1 else ""
            result.append(View(f"{name}{letter}", suffix, f"{title}{title_suffix}"))
    return tuple(result)


def view_path(index: int, view: View, *, small: bool) -> str:
    """Return the path of a view relative to the page.

    It holds the image's index and not its id, which may contain any character.
    """
    return f"{IMAGES_FOLDER}/{index:06d}-{view.name}{'-small' if small else ''}.{view.suffix}"


@dataclass(frozen=True)
class GalleryImage:
    """An image of the split and all that its views show."""

    index: int
    item: Item
    predictions: tuple[Path, ...]
    confusions: tuple[ImageConfusions, ...]
    """Confusion matrices of all scored images, of each evaluation."""


@dataclass(frozen=True)
class ImageRenderer:
    """Writer of the views of images below ``folder``.

    Args:
        folder: folder of the page.
        classes: decoding and colors of the masks.
        thumbnail_width: width of small images in pixels; their height is at most 1.5 times that.
        max_image_size: longer side of large images in pixels; images are never enlarged.
        pixel_format: see ``deeplab.data.image_io.read_image``.
    """

    folder: Path
    classes: ClassSet
    thumbnail_width: int
    max_image_size: int
    pixel_format: PixelFormat = RGB

    def render_all(
        self, images: Sequence[GalleryImage], progress: bool
    ) -> dict[int, tuple[int, int]]:
        """Write the views of all images.

        Returns:
            Width and height of the thumbnails, by image index.

        Raises:
            UserError: a file is missing or damaged, or sizes differ.
        """
        sizes = map_in_threads(self.render, images, num_threads=cpu_count())
        bar = show_progress(sizes, "Rendering", len(images), "img", show=progress)
        return {image.index: size for image, size in zip(images, bar, strict=True)}

    def render(self, image: GalleryImage) -> tuple[int, int]:
        """Write the views of one image and return width and height of the thumbnails."""
        rendered = self._render_views(image)
        height, width = rendered[0].shape[:2]
        boxes = (
            (self.max_image_size, self.max_image_size),
            (self.thumbnail_width, self.thumbnail_width * 3 // 2),
        )
        for small, box in enumerate(boxes):
            size = _fit_size(width, height, box)
            for view, pixels in zip(views(len(image.predictions)), rendered, strict=True):
                target = self.folder / view_path(image.index, view, small=bool(small))
                self._write(target, pixels, size)
        return size

    def _render_views(self, image: GalleryImage) -> list[Pixels]:
        """Return RGB ``(H, W, 3)`` or labels ``(H, W)`` in the order of ``views``."""
        item = image.item
        rgb = as_rgb(read_image(item.image, self.pixel_format))
        truth = read_label(item, self.classes, (rgb.shape[0], rgb.shape[1]))
        predictions = [_read_prediction(path, truth) for path in image.predictions]
        for path, prediction, confusions in zip(
            image.predictions, predictions, image.confusions, strict=True
        ):
            _check_unchanged((item.mask, path), truth, prediction, confusions[image.index])
        errors = [error_map(rgb, truth, prediction) for prediction in predictions]
        return [rgb, truth, *predictions, *errors]

    def _write(self, path: Path, pixels: Pixels, size: tuple[int, int]) -> None:
        with atomic_write(path, flush=False) as draft:
            if pixels.ndim == 3:
                resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
                # Chroma subsampling would wash out the color of single wrong pixels.
                Image.fromarray(resized).save(draft, "JPEG", quality=85, subsampling=0)
            else:
                resized = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT)
                self._palette_image(np.asarray(resized, np.uint8)).save(draft, "PNG")

    def _palette_image(self, label: Pixels) -> Image.Image:
        """Return a palette image with no unused colors, which needs fewer bits per pixel."""
        num_classes = len(self.classes)
        image = Image.fromarray(np.minimum(label, num_classes).astype(np.uint8), mode="P")
        colors = [*self.classes.palette[:num_classes].tolist(), IGNORE_COLOR]
        image.putpalette([channel for color in colors for channel in color])
        return image


def _read_prediction(path: Path, truth: Pixels) -> Pixels:
    prediction = read_mask(path)
    if prediction.shape != truth.shape:
        sizes = [f"{label.shape[1]} x {label.shape[0]}" for label in (prediction, truth)]
        raise UserError(
            f"{path}: this prediction has {sizes[0]} pixels, its image {sizes[1]} (width x "
            "height). Set data.root to the folder that was evaluated."
        )
    return prediction


def _check_unchanged(
    files: tuple[Path, Path], truth: Pixels, prediction: Pixels, confusion: NDArray[np.int64]
) -> None:
    """Raise UserError unless this mask and this prediction give the recorded confusion matrix."""
    labeled, num_classes = truth != IGNORE, len(confusion)
    pairs = truth[labeled].astype(np.int64) * num_classes + prediction[labeled]
    if not np.array_equal(np.bincount(pairs, minlength=num_classes**2), confusion.ravel()):
        raise UserError(
            f"{files[0]}: this mask or its prediction ({files[1]}) has changed since it was "
            f"scored. Run {command('evaluate')} again with overwrite=true, and check that "
            "data.root is the "
            "folder that was evaluated."
        )


def error_map(image: Pixels, truth: Pixels, prediction: Pixels) -> Pixels:
    """Return the image ``(H, W, 3)`` in dim gray with wrong and ignored pixels in color."""
    dim = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2 + 24
    errors = np.repeat(dim[..., None], 3, axis=2).astype(np.uint8)
    errors[truth != prediction] = ERROR_COLOR
    errors[truth == IGNORE] = IGNORE_COLOR
    return errors


def _fit_size(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """Return the size that fits a box at the same aspect ratio, never enlarged."""
    scale = min(1.0, box[0] / width, box[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def remove_stale_images(folder: Path, images: Sequence[GalleryImage]) -> None:
    """Remove the image files of an earlier page that this page does not show."""
    num_evaluations = len(images[0].predictions)
    kept = {
        folder / view_path(image.index, view, small=small)
        for image in images
        for view in views(num_evaluations)
        for small in (False, True)
    }
    pattern = re.compile(r"\d{6,}-(image|truth|prediction[AB]|error[AB])(-small)?\.(jpg|png)")
    for path in (folder / IMAGES_FOLDER).iterdir():
        if pattern.fullmatch(path.name) and path not in kept:
            path.unlink()
