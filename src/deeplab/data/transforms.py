"""Augmentation and padding; the one place that knows albumentations.

The paper's augmentation is a random scale and a random flip; its code also pads at the bottom and
at the right with the mean pixel and crops at a random place, in the order scale, pad, crop, flip.
Scale, pad and crop are one transform here, so that only the pixels of the crop are computed.

Departure: the mean pixel is rounded to uint8, so that padding is 0.004 instead of 0 behind the
normalisation to [-1, 1].
"""

import os
from typing import Any

import cv2
import numpy as np

from deeplab.data.voc import IGNORE, Pixels

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request to the network at import
import albumentations as A

cv2.setNumThreads(0)  # images are decoded in parallel, each by one thread


class RandomScaleCrop(A.DualTransform):
    """Scale by a random factor, pad to the crop and crop at a random place, corners aligned.

    Args:
        crop_size: side of the square crop, in pixels.
        scale_min, scale_max: range of the factor.
        scale_step: distance of the factors that are drawn; 0 draws from the whole range.
        fill: the RGB value of padding; labels are padded with 255.
    """

    def __init__(
        self,
        crop_size: int,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        fill: tuple[int, int, int],
    ) -> None:
        super().__init__(p=1)
        self.crop_size = crop_size
        self.scale_min, self.scale_max, self.scale_step = scale_min, scale_max, scale_step
        self.fill = fill

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the scaled size and the crop's corner, in scaled pixels."""
        rng = self.random_generator
        if self.scale_step > 0:
            count = round((self.scale_max - self.scale_min) / self.scale_step)
            factor = self.scale_min + self.scale_step * int(rng.integers(count + 1))
        else:
            factor = float(rng.uniform(self.scale_min, self.scale_max))
        scaled = [max(1, int(side * factor)) for side in data["image"].shape[:2]]
        corner = [int(rng.integers(max(side - self.crop_size, 0) + 1)) for side in scaled]
        return {"scaled": tuple(scaled), "corner": tuple(corner)}

    def apply(
        self, img: Pixels, scaled: tuple[int, int], corner: tuple[int, int], **_: Any
    ) -> Pixels:
        """The image's crop, bilinear."""
        top, left = corner
        height = min(self.crop_size, scaled[0] - top)
        width = min(self.crop_size, scaled[1] - left)
        step_y, step_x = _step(img.shape[0], scaled[0]), _step(img.shape[1], scaled[1])
        crop = np.empty((self.crop_size, self.crop_size, 3), np.uint8)
        crop[height:] = self.fill
        crop[:height, width:] = self.fill
        crop[:height, :width] = cv2.warpAffine(
            img,
            np.array([[step_x, 0, left * step_x], [0, step_y, top * step_y]]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return crop

    def apply_to_mask(
        self, mask: Pixels, scaled: tuple[int, int], corner: tuple[int, int], **_: Any
    ) -> Pixels:
        """The mask's crop, nearest."""
        rows = _nearest(mask.shape[0], scaled[0], corner[0], self.crop_size)
        columns = _nearest(mask.shape[1], scaled[1], corner[1], self.crop_size)
        crop = np.full((self.crop_size, self.crop_size), IGNORE, np.uint8)
        crop[: len(rows), : len(columns)] = mask[rows[:, None], columns]
        return crop


def _step(source: int, scaled: int) -> float:
    """Distance of two scaled pixels in source pixels, corners aligned."""
    return (source - 1) / (scaled - 1) if scaled > 1 else 0.0


def _nearest(source: int, scaled: int, start: int, length: int) -> np.ndarray[Any, np.dtype[Any]]:
    """The source pixels nearest to scaled pixels ``start`` and up to ``length - 1`` more."""
    scaled_pixels = np.arange(start, min(start + length, scaled))
    return np.floor(scaled_pixels * _step(source, scaled) + 0.5).astype(np.intp)


class TrainTransform:
    """The paper's training augmentation; see the head of the file.

    Args:
        crop_size, scale_min, scale_max, scale_step, fill: see ``RandomScaleCrop``.
        flip: probability of a left-right flip.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        flip: float,
        fill: tuple[int, int, int],
    ) -> None:
        scale_crop = RandomScaleCrop(crop_size, scale_min, scale_max, scale_step, fill)
        self.compose = A.Compose([scale_crop, A.HorizontalFlip(p=flip)])

    def __call__(
        self, image: Pixels, label: Pixels, generator: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        self.compose.set_random_seed(int(generator.integers(2**31)))
        result = self.compose(image=image, mask=label)
        return result["image"], result["mask"]


class EvalTransform:
    """Pads whole images at the bottom and at the right to ``size`` pixels a side; never resizes.

    A larger image stays as it is.
    """

    def __init__(self, *, size: int, fill: tuple[int, int, int]) -> None:
        self.size, self.fill = size, fill

    def __call__(
        self, image: Pixels, label: Pixels, generator: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        h, w = label.shape
        height, width = max(self.size, h), max(self.size, w)
        padded_image = np.empty((height, width, 3), np.uint8)
        padded_image[:] = self.fill
        padded_image[:h, :w] = image
        padded_label = np.full((height, width), IGNORE, np.uint8)
        padded_label[:h, :w] = label
        return padded_image, padded_label
