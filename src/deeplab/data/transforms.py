"""Augmentation and padding.

The paper's augmentation is a random scale and a random flip; its code also pads at the bottom and
at the right with the mean pixel and crops at a random place, in the order scale, pad, crop, flip.
Here that is one step, so that only the pixels of the crop are computed, and into the batch at once.

Departure: the mean pixel is rounded to uint8, so that padding is 0.004 instead of 0 behind the
normalization to [-1, 1].
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.class_set import Pixels
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError

cv2.setNumThreads(0)  # images are decoded in parallel, each by one thread


class Transform(Protocol):
    """An image and its label to what the network gets."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of all results; None if they vary."""
        ...

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
    ) -> tuple[Pixels, Pixels]:
        """Image ``(H, W, 3)`` and label ``(H, W)`` to new ones, which are put into ``out``."""
        ...


class Draw(NamedTuple):
    """What is random in a crop."""

    scaled: tuple[int, int]  # height and width
    corner: tuple[int, int]  # top and left of the crop, in scaled pixels
    flip: bool


class TrainTransform:
    """The paper's training augmentation; see the head of the file.

    Args:
        crop_size: side of the square crop, in pixels.
        scale_min, scale_max: range of the random factor.
        scale_step: distance of the factors that are drawn; 0 draws from the whole range.
        hflip_prob: probability of a left-right flip.
        fill: the RGB value of padding; labels are padded with 255.
        augmentations: further transforms of albumentations, which the crop goes through: for each
            its name with its arguments.

    Raises:
        ValueError: albumentations has no such transform, or not with such arguments.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        hflip_prob: float,
        fill: tuple[int, int, int],
        augmentations: Sequence[Mapping[str, Mapping[str, Any]]] = (),
    ) -> None:
        self.shape = (crop_size, crop_size)
        self.scale_min, self.scale_max, self.scale_step = scale_min, scale_max, scale_step
        self.hflip_prob = hflip_prob
        self.fill = np.full((crop_size, crop_size, 3), fill, np.uint8)
        self.augmentations = compose(augmentations) if augmentations else None
        self._kept = [np.empty(0, np.uint8), np.empty(0, np.uint8)]

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
    ) -> tuple[Pixels, Pixels]:
        crop, labels = out or (np.empty((*self.shape, 3), np.uint8), np.empty(self.shape, np.uint8))
        draw = self.draw(label.shape, generator)
        self.crop_image(image, draw, crop)
        self.crop_label(label, draw, labels)
        if self.augmentations:
            self.augmentations.set_random_seed(int(generator.integers(2**31)))
            changed = self.augmentations(image=crop, mask=labels)
            check_augmented(changed["image"], crop)
            crop[:], labels[:] = changed["image"], changed["mask"]
        return crop, labels

    def draw(self, size: tuple[int, ...], generator: np.random.Generator) -> Draw:
        """Factor, corner and flip for an image of this height and width."""
        if self.scale_step > 0:
            count = round((self.scale_max - self.scale_min) / self.scale_step)
            factor = self.scale_min + self.scale_step * int(generator.integers(count + 1))
        else:
            factor = float(generator.uniform(self.scale_min, self.scale_max))
        height, width = (max(1, int(side * factor)) for side in size)
        top, left = (
            int(generator.integers(max(side - crop, 0) + 1))
            for side, crop in zip((height, width), self.shape, strict=True)
        )
        return Draw((height, width), (top, left), bool(generator.random() < self.hflip_prob))

    def crop_image(self, image: Pixels, draw: Draw, crop: Pixels) -> None:
        """Put the image's crop into ``crop``, bilinear with corners aligned."""
        (top, left), (height, width) = draw.corner, self._inside(draw)
        if (height, width) != self.shape:
            crop[:] = self.fill
        target = crop[:height, self._columns(draw, width)]
        if draw.scaled == image.shape[:2]:
            source = image[top : top + height, left : left + width]
            cv2.flip(source, 1, dst=target) if draw.flip else np.copyto(target, source)
            return
        y, step_y, rows = _span(image.shape[0], draw.scaled[0], top, height)
        x, step_x, columns = _span(image.shape[1], draw.scaled[1], left, width)
        if draw.flip:
            x, step_x = x + (width - 1) * step_x, -step_x
        # With a fourth channel, which nobody needs, OpenCV takes less than half of the time; and
        # the scratch arrays are kept, since the page faults of new ones would cost as much again.
        source = image[rows, columns]
        four = cv2.cvtColor(source, cv2.COLOR_RGB2RGBA, dst=self._scratch(0, *source.shape[:2]))
        warped = cv2.warpAffine(
            four,
            np.array([[step_x, 0, x], [0, step_y, y]]),
            (width, height),
            dst=self._scratch(1, height, width),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB, dst=target)

    def crop_label(self, label: Pixels, draw: Draw, crop: Pixels) -> None:
        """Put the label's crop into ``crop``, nearest."""
        height, width = self._inside(draw)
        if (height, width) != self.shape:
            crop[:] = IGNORE
        rows = _nearest(label.shape[0], draw.scaled[0], draw.corner[0], height)
        columns = _nearest(label.shape[1], draw.scaled[1], draw.corner[1], width)
        if draw.flip:
            columns = columns[::-1]
        # Each row of the source once, then whole rows: twice as fast as both indices at a time.
        needed = label[rows[0] : rows[-1] + 1].take(columns, axis=1)
        crop[:height, self._columns(draw, width)] = needed.take(rows - rows[0], axis=0)

    def _inside(self, draw: Draw) -> tuple[int, int]:
        """Height and width of what is not padding."""
        height, width = (
            min(crop, side - start)
            for crop, side, start in zip(self.shape, draw.scaled, draw.corner, strict=True)
        )
        return height, width

    def _columns(self, draw: Draw, width: int) -> slice:
        """Padding is at the right, and at the left behind the flip."""
        return slice(self.shape[1] - width, None) if draw.flip else slice(width)

    def _scratch(self, number: int, height: int, width: int) -> Pixels:
        """A kept array of four channels, its content arbitrary."""
        needed = height * width * 4
        if len(self._kept[number]) < needed:
            self._kept[number] = np.empty(needed, np.uint8)
        return self._kept[number][:needed].reshape(height, width, 4)


class EvalTransform:
    """Pads whole images at the bottom and at the right to a height and width; never resizes.

    A larger image stays as it is.
    """

    shape = None

    def __init__(self, *, size: tuple[int, int], fill: tuple[int, int, int]) -> None:
        self.size, self.fill = size, fill

    def __call__(
        self,
        image: Pixels,
        label: Pixels,
        generator: np.random.Generator,
        out: tuple[Pixels, Pixels] | None = None,
    ) -> tuple[Pixels, Pixels]:
        padded_image = self.pad(image)
        padded_label = np.full(padded_image.shape[:2], IGNORE, np.uint8)
        padded_label[: label.shape[0], : label.shape[1]] = label
        return padded_image, padded_label

    def pad(self, image: Pixels) -> Pixels:
        """The image alone."""
        h, w = image.shape[:2]
        padded = np.full((max(self.size[0], h), max(self.size[1], w), 3), self.fill, np.uint8)
        padded[:h, :w] = image
        return padded


def _span(source: int, scaled: int, start: int, length: int) -> tuple[float, float, slice]:
    """Where ``length`` scaled pixels from ``start`` lie in the source: the first one's place
    within the slice, their distance, and the slice that holds them and their neighbors."""
    step = _step(source, scaled)
    first, last = start * step, (start + length - 1) * step
    begin = int(first)
    return first - begin, step, slice(begin, min(source, int(last) + 2))


def _step(source: int, scaled: int) -> float:
    """Distance of two scaled pixels in source pixels, corners aligned."""
    return (source - 1) / (scaled - 1) if scaled > 1 else 0.0


def _nearest(source: int, scaled: int, start: int, length: int) -> NDArray[np.intp]:
    """The source pixels nearest to ``length`` scaled pixels from ``start``."""
    scaled_pixels = np.arange(start, start + length)
    return np.floor(scaled_pixels * _step(source, scaled) + 0.5).astype(np.intp)


def compose(wanted: Sequence[Mapping[str, Mapping[str, Any]]]) -> Any:
    """Transforms of albumentations by name, as one.

    Raises:
        ValueError: there is no such transform, or not with such arguments.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request to the network at import
    import albumentations as A  # here, since it takes a second and most runs need none of it

    steps = []
    for name, arguments in (item for named in wanted for item in named.items()):
        transform = getattr(A, name, None)
        if not (isinstance(transform, type) and issubclass(transform, A.BasicTransform)):
            raise ValueError(f"{name}: albumentations has no such transform")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it warns of arguments that it ignores
            try:
                steps.append(transform(**arguments))
            except (TypeError, ValueError, UserWarning) as error:
                raise ValueError(f"{name}: {str(error).splitlines()[0]}") from None
    return A.Compose(steps)


def check_augmented(image: NDArray[Any], crop: Pixels) -> None:
    """Raise UserError unless augmentation has left a crop's type and shape."""
    if image.dtype != np.uint8 or image.shape != crop.shape:
        raise UserError(
            f"data.augmentations: they make {image.dtype} of shape {image.shape} of a crop; it is "
            f"to stay uint8 of shape {crop.shape} (the network normalizes by itself)."
        )
