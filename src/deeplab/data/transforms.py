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

from deeplab.data.labels import IGNORE, Pixels

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
        self.blank = np.full((crop_size, crop_size, 3), fill, np.uint8)
        self._kept = [np.empty(0, np.uint8), np.empty(0, np.uint8)]

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
        size = self.crop_size
        height, width = (
            min(size, side - start) for side, start in zip(scaled, corner, strict=True)
        )
        crop = np.empty((size, size, 3), np.uint8)
        if height < size or width < size:
            crop[:] = self.blank
        if scaled == img.shape[:2]:
            top, left = corner
            crop[:height, :width] = img[top : top + height, left : left + width]
            return crop
        y, step_y, rows = _span(img.shape[0], scaled[0], corner[0], height)
        x, step_x, columns = _span(img.shape[1], scaled[1], corner[1], width)
        # With a fourth channel, which nobody needs, OpenCV takes less than half of the time; and
        # the scratch arrays are kept, since the page faults of new ones would cost as much again.
        source = img[rows, columns]
        four = cv2.cvtColor(source, cv2.COLOR_RGB2RGBA, dst=self._scratch(0, *source.shape[:2]))
        warped = cv2.warpAffine(
            four,
            np.array([[step_x, 0, x], [0, step_y, y]]),
            (width, height),
            dst=self._scratch(1, height, width),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB, dst=crop[:height, :width])
        return crop

    def _scratch(self, number: int, height: int, width: int) -> Pixels:
        """A kept array of four channels, its content arbitrary."""
        needed = height * width * 4
        if len(self._kept[number]) < needed:
            self._kept[number] = np.empty(needed, np.uint8)
        return self._kept[number][:needed].reshape(height, width, 4)

    def apply_to_mask(
        self, mask: Pixels, scaled: tuple[int, int], corner: tuple[int, int], **_: Any
    ) -> Pixels:
        """The mask's crop, nearest."""
        rows = _nearest(mask.shape[0], scaled[0], corner[0], self.crop_size)
        columns = _nearest(mask.shape[1], scaled[1], corner[1], self.crop_size)
        crop = np.full((self.crop_size, self.crop_size), IGNORE, np.uint8)
        # Each row of the source once, then whole rows: twice as fast as both indices at a time.
        needed = mask[rows[0] : rows[-1] + 1].take(columns, axis=1)
        crop[: len(rows), : len(columns)] = needed.take(rows - rows[0], axis=0)
        return crop


def _span(source: int, scaled: int, start: int, length: int) -> tuple[float, float, slice]:
    """Where ``length`` scaled pixels from ``start`` lie in the source: the first one's place
    within the slice, their distance, and the slice that holds them and their neighbours."""
    step = _step(source, scaled)
    first, last = start * step, (start + length - 1) * step
    begin = int(first)
    return first - begin, step, slice(begin, min(source, int(last) + 2))


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
    """Pads whole images at the bottom and at the right to a height and width; never resizes.

    A larger image stays as it is.
    """

    def __init__(self, *, size: tuple[int, int], fill: tuple[int, int, int]) -> None:
        self.size, self.fill = size, fill

    def __call__(
        self, image: Pixels, label: Pixels, generator: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        h, w = label.shape
        height, width = max(self.size[0], h), max(self.size[1], w)
        padded_image = np.full((height, width, 3), self.fill, np.uint8)
        padded_image[:h, :w] = image
        padded_label = np.full((height, width), IGNORE, np.uint8)
        padded_label[:h, :w] = label
        return padded_image, padded_label
