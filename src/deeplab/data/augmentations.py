"""Further augmentations by name, from albumentations, which is an optional extra."""

import os
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from deeplab.data.class_set import Pixels
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra


def import_albumentations(setting: str) -> ModuleType:
    """Import albumentations for a setting, without its request for a newer version.

    Raises:
        UserError: it is not installed.
    """
    require_extra("augmentations", "albumentations", setting=setting)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def build_augmentations(augmentations: Sequence[Mapping[str, Mapping[str, Any]]]) -> Any:
    """Return one transform that applies these albumentations transforms in turn; None for none.

    Raises:
        ValueError: albumentations has no such transform, or it does not take these arguments.
        UserError: albumentations is not installed.
    """
    if not augmentations:
        return None
    albumentations = import_albumentations("data.augmentations")
    steps = []
    for name, arguments in (item for entry in augmentations for item in entry.items()):
        transform, base = getattr(albumentations, name, None), albumentations.BasicTransform
        if not (isinstance(transform, type) and issubclass(transform, base)):
            raise ValueError(f"{name}: albumentations has no such transform")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # unknown arguments only cause a warning
            try:
                steps.append(transform(**arguments))
            except (TypeError, ValueError, UserWarning) as error:
                raise ValueError(f"{name}: {str(error).splitlines()[0]}") from None
    return albumentations.Compose(steps)


def augment(augmentations: Any, generator: np.random.Generator, **arrays: Pixels) -> None:
    """Apply what ``build_augmentations`` returns to an ``image``, and its ``mask``, in place.

    Raises:
        UserError: the augmentations change the type or the shape of the image.
    """
    augmentations.set_random_seed(int(generator.integers(2**31)))
    changed = augmentations(**arrays)
    image, crop = changed["image"], arrays["image"]
    if image.dtype != np.uint8 or image.shape != crop.shape:
        raise UserError(
            f"data.augmentations: they return {image.dtype} of shape {image.shape} for a crop of "
            f"shape {crop.shape}. Remove those that change the shape or the type: a crop must stay "
            "uint8, because the network normalizes its input itself."
        )
    for name, array in arrays.items():
        array[:] = changed[name]
