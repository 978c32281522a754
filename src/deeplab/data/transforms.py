"""Augmentation and padding.

The paper's augmentation is a random scale and a random flip; its code also pads at the bottom and
at the right with the mean pixel and crops at a random position, in the order scale, pad, crop,
flip. Here all of it is one step that computes only the pixels of the crop, directly into the batch.

Departure: the mean pixel is rounded to uint8, so padding is 0.004 instead of 0 after the
normalization to [-1, 1].
"""

from functools import partial
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.class_set import Pixels
from deeplab.data.further_augmentations import augment, build_augmentations
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.data.settings import AugmentationSettings
from deeplab.utils.constants import IGNORE

MAX_WARPED = 4
"""Largest number of channels that OpenCV warps at once."""


class Transform(Protocol):
    """Function from an image and its label to the input and the target of the network."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of all results, or None if they vary."""
        ...

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
        focus: int | None = None,
    ) -> tuple[Pixels, Pixels]:
        """Transform an image ``(H, W, C)`` and a label ``(H, W)``.

        Args:
            image: the image.
            label: its label map.
            generator: random generator of the augmentation.
            out: arrays that the results are written to; None: new ones.
            focus: class that a crop shows a pixel of, if the label has it; None: any crop.
        """
        ...


class CropParams(NamedTuple):
    """Random parameters of a crop."""

    scaled: tuple[int, int]  # height and width of the scaled image
    corner: tuple[int, int]  # top and left of the crop, in scaled pixels
    flip: bool


class TrainTransform:
    """The paper's training augmentation; see the module docstring.

    Args:
        settings: size of the crop, scales, flip and further augmentations.
        fill: value of each channel of padding; labels are padded with 255.

    Raises:
        ValueError: albumentations has no such transform, or it does not take these arguments.
    """

    def __init__(self, settings: AugmentationSettings, *, fill: tuple[int, ...]) -> None:
        self.settings = settings
        self.shape = (settings.crop_size, settings.crop_size)
        self.fill = np.full((*self.shape, len(fill)), fill, np.uint8)
        self.augmentations = build_augmentations(settings.augmentations)
        self._scratch_arrays = [np.empty(0, np.uint8), np.empty(0, np.uint8)]

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
        focus: int | None = None,
    ) -> tuple[Pixels, Pixels]:
        crop, labels = out or (np.empty_like(self.fill), np.empty(self.shape, np.uint8))
        pixel = None if focus is None else _random_pixel(label, focus, generator)
        params = self.sample_params(label.shape, generator, pixel)
        self.crop_image(image, params, crop)
        self.crop_label(label, params, labels)
        if self.augmentations:
            augment(self.augmentations, generator, image=crop, mask=labels)
        return crop, labels

    def sample_params(
        self,
        size: tuple[int, ...],
        generator: np.random.Generator,
        pixel: tuple[int, int] | None = None,
    ) -> CropParams:
        """Draw the scale, corner and flip for an image.

        Args:
            size: height and width of the image.
            generator: random generator.
            pixel: row and column of a pixel of the image that the crop shows; None: any crop.
        """
        scales = self.settings.scales
        if scales.step > 0:
            count = round((scales.max - scales.min) / scales.step)
            factor = scales.min + scales.step * int(generator.integers(count + 1))
        else:
            factor = float(generator.uniform(scales.min, scales.max))
        height, width = (max(1, int(side * factor)) for side in size)
        shown = pixel or (None, None)
        top, left = (
            _random_start(crop, scaled, source, place, generator)
            for crop, scaled, source, place in zip(
                self.shape, (height, width), size, shown, strict=True
            )
        )
        flip = bool(generator.random() < self.settings.hflip_prob)
        return CropParams((height, width), (top, left), flip)

    def crop_image(self, image: Pixels, params: CropParams, crop: Pixels) -> None:
        """Write the crop of the image to ``crop``, bilinear with corners aligned."""
        (top, left), (height, width) = params.corner, self._content_size(params)
        if (height, width) != self.shape:
            crop[:] = self.fill
        target = crop[:height, self._columns(params, width)]
        if params.scaled == image.shape[:2]:
            source = image[top : top + height, left : left + width]
            if params.flip and source.shape[2] == RGB_CHANNELS:
                cv2.flip(source, 1, dst=target)
            else:
                np.copyto(target, source[:, ::-1] if params.flip else source)
            return
        y, step_y, rows = _span(image.shape[0], params.scaled[0], top, height)
        x, step_x, columns = _span(image.shape[1], params.scaled[1], left, width)
        if params.flip:
            x, step_x = x + (width - 1) * step_x, -step_x
        self._warp(image[rows, columns], np.array([[step_x, 0, x], [0, step_y, y]]), target)

    def _warp(self, source: Pixels, inverse: NDArray[np.float64], target: Pixels) -> None:
        """Write the pixels of the source at the places that an inverse matrix says."""
        (height, width), channels = target.shape[:2], source.shape[2]
        warp = partial(
            cv2.warpAffine,
            M=inverse,
            dsize=(width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if channels == RGB_CHANNELS:
            # OpenCV is more than twice as fast with a fourth, unused channel. The scratch arrays
            # are reused, since the page faults of new ones would double the time.
            rgba = self._scratch(0, *source.shape[:2])
            cv2.cvtColor(source, cv2.COLOR_RGB2RGBA, dst=rgba)
            warped = warp(rgba, dst=self._scratch(1, height, width))
            cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB, dst=target)
            return
        for first in range(0, channels, MAX_WARPED):
            four = np.zeros((*source.shape[:2], MAX_WARPED), np.uint8)  # two are rounded otherwise
            part = source[..., first : first + MAX_WARPED]
            four[..., : part.shape[2]] = part
            target[..., first : first + MAX_WARPED] = warp(four)[..., : part.shape[2]]

    def crop_label(self, label: Pixels, params: CropParams, crop: Pixels) -> None:
        """Write the crop of the label to ``crop``, with nearest neighbors."""
        height, width = self._content_size(params)
        if (height, width) != self.shape:
            crop[:] = IGNORE
        rows = _nearest(label.shape[0], params.scaled[0], params.corner[0], height)
        columns = _nearest(label.shape[1], params.scaled[1], params.corner[1], width)
        if params.flip:
            columns = columns[::-1]
        # Columns of each source row first, then whole rows: twice as fast as indexing both at once.
        needed = label[rows[0] : rows[-1] + 1].take(columns, axis=1)
        crop[:height, self._columns(params, width)] = needed.take(rows - rows[0], axis=0)

    def _content_size(self, params: CropParams) -> tuple[int, int]:
        """Return the height and width of the crop without padding."""
        height, width = (
            min(crop, side - start)
            for crop, side, start in zip(self.shape, params.scaled, params.corner, strict=True)
        )
        return height, width

    def _columns(self, params: CropParams, width: int) -> slice:
        """Return the columns without padding, which is right, or left after a flip."""
        return slice(self.shape[1] - width, None) if params.flip else slice(width)

    def _scratch(self, number: int, height: int, width: int) -> Pixels:
        """Return a reused array ``(height, width, 4)`` with arbitrary content."""
        needed = height * width * 4
        if len(self._scratch_arrays[number]) < needed:
            self._scratch_arrays[number] = np.empty(needed, np.uint8)
        return self._scratch_arrays[number][:needed].reshape(height, width, 4)


class EvalTransform:
    """Transform that pads whole images at the bottom and at the right, without resizing.

    A larger image keeps its size.
    """

    shape = None

    def __init__(self, *, size: tuple[int, int], fill: tuple[int, ...]) -> None:
        self.size, self.fill = size, fill

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
        focus: int | None = None,
    ) -> tuple[Pixels, Pixels]:
        padded_image = self.pad(image)
        padded_label = np.full(padded_image.shape[:2], IGNORE, np.uint8)
        padded_label[: label.shape[0], : label.shape[1]] = label
        return padded_image, padded_label

    def pad(self, image: Pixels) -> Pixels:
        """Return the padded image, without a label; the image itself if it is large enough."""
        h, w = image.shape[:2]
        if h >= self.size[0] and w >= self.size[1] and image.flags.writeable:  # for PyTorch
            return image
        shape = max(self.size[0], h), max(self.size[1], w), len(self.fill)
        padded = np.full(shape, self.fill, np.uint8)
        padded[:h, :w] = image
        return padded


def _random_start(
    crop: int, scaled: int, source: int, pixel: int | None, generator: np.random.Generator
) -> int:
    """Return the first scaled pixel of a crop along one axis, in which a source pixel is seen."""
    first, last = 0, max(scaled - crop, 0)
    if pixel is not None:
        place = round(pixel / _step(source, scaled)) if source > 1 and scaled > 1 else 0
        first, last = min(last, max(0, place - crop + 1)), min(last, place)
    return int(generator.integers(first, last + 1))


def _random_pixel(
    label: Pixels, value: int, generator: np.random.Generator
) -> tuple[int, int] | None:
    """Return the row and column of a random pixel with a value; None if there is none."""
    pixels = np.flatnonzero(label == value)
    if not pixels.size:
        return None
    row, column = divmod(int(generator.choice(pixels)), label.shape[1])
    return row, column


def _span(source: int, scaled: int, start: int, length: int) -> tuple[float, float, slice]:
    """Locate ``length`` scaled pixels from ``start`` in the source.

    Returns:
        The position of the first pixel within the slice, the distance of the pixels, and the slice
        that holds them and their neighbors.
    """
    step = _step(source, scaled)
    first, last = start * step, (start + length - 1) * step
    begin = int(first)
    return first - begin, step, slice(begin, min(source, int(last) + 2))


def _step(source: int, scaled: int) -> float:
    """Return the distance of two scaled pixels in source pixels, corners aligned."""
    return (source - 1) / (scaled - 1) if scaled > 1 else 0.0


def _nearest(source: int, scaled: int, start: int, length: int) -> NDArray[np.intp]:
    """Return the source pixels nearest to ``length`` scaled pixels from ``start``."""
    scaled_pixels = np.arange(start, start + length)
    return np.floor(scaled_pixels * _step(source, scaled) + 0.5).astype(np.intp)
