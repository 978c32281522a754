"""Further augmentations: of albumentations by name, which is an optional extra, or the user's."""

import os
import random
import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import ModuleType
from typing import Any

import numpy as np
import torch

from deeplab.data.class_set import Pixels
from deeplab.utils.constants import IGNORE, TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.own_code.building import build, call
from deeplab.utils.own_code.node import OwnCode


def import_albumentations(setting: str) -> ModuleType:
    """Import albumentations for a setting, without its request for a newer version.

    Raises:
        UserError: it is not installed.
    """
    require_extra("augmentations", "albumentations", setting=setting)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def build_augmentations(
    augmentations: Sequence[Mapping[str, Mapping[str, Any]] | OwnCode],
) -> "Augmentations | None":
    """Return one transform that applies these in turn; None for none.

    Args:
        augmentations: albumentations transforms by name with their arguments, and classes of the
            user's own.

    Raises:
        ValueError: albumentations has no such transform, or it does not take these arguments.
        UserError: albumentations is not installed, or a class cannot be imported or built.
    """
    steps: list[Any] = []
    for index, entry in enumerate(augmentations):
        if isinstance(entry, OwnCode):
            steps.append(OwnAugmentation(entry, f"data.augmentations.{index}"))
        else:
            steps.append(_albumentation(entry))
    return Augmentations(steps) if steps else None


def _albumentation(entry: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return one transform of albumentations; raises as ``build_augmentations`` does."""
    albumentations = import_albumentations("data.augmentations")
    ((name, arguments),) = entry.items()
    transform, base = getattr(albumentations, name, None), albumentations.BasicTransform
    if not (isinstance(transform, type) and issubclass(transform, base)):
        raise ValueError(f"{name}: albumentations has no such transform")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # unknown arguments only cause a warning
        try:
            return transform(**arguments)
        except (TypeError, ValueError, UserWarning) as error:
            raise ValueError(f"{name}: {str(error).splitlines()[0]}") from None


class OwnAugmentation:
    """An augmentation of the user's own: maps an image and a label map to new ones.

    Before each call the global generators of ``random``, NumPy and PyTorch are seeded by the draw,
    so that a resumed run augments as an undisturbed one.
    """

    def __init__(self, node: OwnCode, key: str) -> None:
        self.label = f"{key}.{TARGET}={node.target}"
        self.function: Any = build(node, key, object)
        if not callable(self.function):
            raise UserError(f"{self.label}: its objects cannot be called. Define __call__.")

    def __call__(self, seed: int, image: Pixels, mask: Pixels | None) -> Mapping[str, Any]:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        label_map = None if mask is None else mask.copy()
        changed = call(self.function, self.label, image.copy(), label_map)
        if not isinstance(changed, tuple | list) or len(changed) != 2:
            raise UserError(
                f"{self.label}: it returns {type(changed).__name__}; expected image, label map."
            )
        return {"image": np.asarray(changed[0]), "mask": changed[1]}


class Augmentations:
    """Augmentations that are applied in turn; those of albumentations in a row are one step."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.steps: list[Any] = []
        for own, group in groupby(steps, key=lambda step: isinstance(step, OwnAugmentation)):
            if own:
                self.steps += group
            else:
                self.steps.append(import_albumentations("data.augmentations").Compose(list(group)))

    def __call__(self, generator: np.random.Generator, arrays: Mapping[str, Pixels]) -> Any:
        """Return the changed arrays by name."""
        changed: Mapping[str, Any] = arrays
        for step in self.steps:
            seed = int(generator.integers(2**31))
            if isinstance(step, OwnAugmentation):
                changed = step(seed, changed["image"], changed.get("mask"))
                _check_mask(step.label, changed["mask"], arrays.get("mask"))
            else:
                step.set_random_seed(seed)
                changed = step(**{name: changed[name] for name in arrays})
        return changed


def _check_mask(label: str, mask: Any, before: Pixels | None) -> None:
    if before is None:
        return
    values = np.asarray(mask)
    if values.shape != before.shape or values.dtype.kind not in "iu":
        raise UserError(
            f"{label}: the label map is {values.dtype} of shape {values.shape}; it was uint8 of "
            f"shape {before.shape}. Keep them."
        )
    known = np.zeros(IGNORE + 1, np.bool_)
    known[before] = known[IGNORE] = True
    labels = values.astype(np.uint8)
    new = values[~known[labels] | (labels != values)]
    if new.size:
        raise UserError(
            f"{label}: the label map has the value {new.min()}, which it had not before. Move "
            "labels by nearest neighbors."
        )


def augment(augmentations: Augmentations, generator: np.random.Generator, **arrays: Pixels) -> None:
    """Apply what ``build_augmentations`` returns to an ``image``, and its ``mask``, in place.

    Raises:
        UserError: the augmentations change the type or the shape of the image.
    """
    changed = augmentations(generator, arrays)
    image, crop = changed["image"], arrays["image"]
    if image.dtype != np.uint8 or image.shape != crop.shape:
        raise UserError(
            f"data.augmentations: they return {image.dtype} of shape {image.shape} for a crop of "
            f"shape {crop.shape}. Remove those that change the shape or the type: a crop must stay "
            "uint8, because the network normalizes its input itself."
        )
    for name, array in arrays.items():
        array[:] = changed[name]
