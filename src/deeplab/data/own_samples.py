"""Samples of a data set of the user's own, whose form ``deeplab.data.layouts.own`` describes."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import Pixels
from deeplab.data.items import Item
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.building import build, call, takes

MAX_HASHED = 64
"""Number of samples of a split that its fingerprint is made of."""


class OwnSource:
    """The samples of a data set of the user's own."""

    def __init__(self, settings: OwnDataSettings) -> None:
        self.settings = settings
        self.label = f"data.{TARGET}={settings.target}"
        self._datasets: dict[tuple[str, int], Any] = {}

    def dataset(self, split: str) -> Any:
        """Return the dataset of a split, one for each process: open files cannot be shared.

        Raises:
            UserError: it cannot be built, or is no map-style dataset.
        """
        key = split, os.getpid()
        if key not in self._datasets:
            root = {"root": self.settings.root} if takes(self.settings, "data", "root") else {}
            dataset: Any = build(self.settings, "data", object, split=split, **root)
            for method in ("__len__", "__getitem__"):
                if not hasattr(dataset, method):
                    raise UserError(
                        f"{self.label}: it has no {method}. Make it a map-style dataset."
                    )
            self._datasets[key] = dataset
        return self._datasets[key]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the datasets out of a copy for another process, which builds its own."""
        return {**self.__dict__, "_datasets": {}}

    def ids(self, split: str) -> list[str]:
        """Return the name of each image."""
        dataset = self.dataset(split)
        count = call(len, f"{self.label}: len of split {split!r}", dataset)
        ids = getattr(dataset, "ids", None)
        if ids is None:
            return [f"{split}_{index:06d}" for index in range(count)]
        if len(ids) != count:
            raise UserError(
                f"{self.label}: {len(ids)} ids for {count} images in split {split!r}. Give each "
                "image one."
            )
        return [str(name) for name in ids]

    def items(self, split: str) -> list[Item]:
        """Return the samples of a split; their paths are no files."""
        place = Path(self.settings.target, split)
        return [
            Item(name, place / str(index), place / str(index))
            for index, name in enumerate(self.ids(split))
        ]

    def read(self, item: Item) -> tuple[Pixels, Pixels | None]:
        """Return an image ``(H, W, C)`` and its label map ``(H, W)``; None if it has none.

        Raises:
            BadFileError: the dataset raises an error, or returns something else.
        """
        split, index = item.image.parent.name, int(item.image.name)
        where = f"{self.label}, split {split}, index {index}"
        try:
            sample = self.dataset(split)[index]
        except UserError:
            raise
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise BadFileError(
                "sample raises an error", where, text, "Correct the dataset."
            ) from None
        if not isinstance(sample, Sequence) or len(sample) != 2:
            got = f"{type(sample).__name__}" + (f" of {len(sample)}" if _sized(sample) else "")
            raise BadFileError(
                "sample of another form", where, f"it is a {got}", "Return image, label map."
            )
        image = _image(sample[0], where)
        if sample[1] is None:
            return image, None
        label = _label(sample[1], where)
        if label.shape != image.shape[:2]:
            problem = f"the label map is {label.shape}, but the image is {image.shape[:2]}"
            raise BadFileError("sizes differ", where, problem, "Return both in the same size.")
        return image, label

    def check(self, split: str) -> int:
        """Check that the first sample is the same whenever it is read; return its channels.

        Raises:
            UserError: it is not, or cannot be used.
        """
        item = self.items(split)[0]
        first, second = (self.read(item) for _ in range(2))
        if not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):  # type: ignore[arg-type]
            raise UserError(
                f"{self.label}, split {split}, index 0: it is another sample each time it is read. "
                "Leave random augmentation to data.scales, data.hflip_prob and data.augmentations."
            )
        return int(first[0].shape[2])

    def fingerprint(self, split: str) -> str:
        """Return what changes with the content of a split."""
        dataset = self.dataset(split)
        stated = getattr(dataset, "fingerprint", None)
        if stated is not None:
            return hashlib.sha256(str(stated).encode()).hexdigest()[:16]
        items = self.items(split)
        step = max(1, -(-len(items) // MAX_HASHED))
        digest = hashlib.sha256("\n".join(item.id for item in items).encode())
        for item in items[::step]:
            digest.update(self.sample_hash(item).encode())
        return digest.hexdigest()[:16]

    def sample_hash(self, item: Item) -> str:
        """Return a hash of the pixels of a sample; of nothing if it cannot be read."""
        digest = hashlib.sha256()
        try:
            for array in self.read(item):
                if array is not None:
                    digest.update(f"{array.shape}".encode() + array.tobytes())
        except BadFileError:  # reported, or skipped, when it is used
            pass
        return digest.hexdigest()


def _sized(value: Any) -> bool:
    return hasattr(value, "__len__")


def _image(value: Any, where: str) -> Pixels:
    is_tensor = hasattr(value, "detach")
    array = np.asarray(value.detach().cpu() if is_tensor else value)
    shape = array.shape
    if is_tensor and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or not array.size:
        raise BadFileError(
            "image of another form",
            where,
            f"the image is {array.dtype} of shape {shape}",
            "Return uint8, 0 to 255: (H, W, C) as an array, (C, H, W) as a tensor.",
        )
    return np.ascontiguousarray(array)


def _label(value: Any, where: str) -> Pixels:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    shape = array.shape
    if array.ndim == 3 and shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise BadFileError(
            "label map of another form",
            where,
            f"the label map is {array.dtype} of shape {shape}",
            "Return integers (H, W).",
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= 255:
        wrong = int(array.min()) if array.min() < 0 else int(array.max())
        raise BadFileError(
            "label out of range",
            where,
            f"label {wrong}",
            "Return the indices of the classes, and 255 for ignored pixels.",
        )
    return np.ascontiguousarray(array.astype(np.uint8))
