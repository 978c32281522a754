"""Protocols: the conditions of a measurement, and the check that two results are comparable."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.inference.strategy import SINGLE_SCALE, Strategy, parse_strategy

CLASSIFIER_STRATEGY = SINGLE_SCALE
"""Only strategy of a classifier: the central crop, once."""

IGNORED_LABEL_RULE = (
    "pixels labeled 255 are ignored; classes absent from both mask and prediction are left out"
)

TITLES = {
    "split": "split",
    "images": "number of images",
    "content": "content of the images and masks",
    "classes": "classes",
    "ignored_label": "rule for the ignored label",
    "padded_to": "size that images are padded to",
    "crop": "crop",
    "precision": "precision",
    "strategy": "inference strategy",
}


def protocol(
    *,
    split: str,
    images: int,
    content: str,
    classes: Sequence[str],
    padded_to: tuple[int, int],
    strategy: Strategy,
    precision: str,
) -> dict[str, Any]:
    """Return the protocol of a segmentation result.

    Args:
        split: name of the split.
        images: number of images in it.
        content: hash of its images and masks.
        classes: class names, in order.
        padded_to: minimum height and width; images are never resized for scoring.
        strategy: inference strategy; it says whether the network sees whole images or windows.
        precision: Lightning's name of the precision.
    """
    return {
        "split": split,
        "images": images,
        "content": content,
        "classes": list(classes),
        "ignored_label": IGNORED_LABEL_RULE,
        "padded_to": list(padded_to),
        "strategy": strategy.record(),
        "whole_images": strategy.window is None,
        "precision": precision,
    }


def crop_protocol(
    *,
    split: str,
    images: int,
    content: str,
    classes: Sequence[str],
    crop_size: int,
    crop_pct: float,
    precision: str,
) -> dict[str, Any]:
    """Return the protocol of a classifier's result.

    Args:
        split: name of the split.
        images: number of images in it.
        content: hash of its images and labels.
        classes: class names, in order.
        crop_size: side of the crop that the network sees, in pixels.
        crop_pct: side of the central square that the crop is resized from, as a fraction of
            the image's shorter side.
        precision: Lightning's name of the precision.
    """
    crop = f"central {100 * crop_pct:g} % at {crop_size} x {crop_size}"
    return {
        "split": split,
        "images": images,
        "content": content,
        "classes": list(classes),
        "crop": crop,
        "strategy": {"name": CLASSIFIER_STRATEGY, "label": f"one crop, {crop}"},
        "precision": precision,
    }


def differences(
    first: Mapping[str, Any], second: Mapping[str, Any], ignore: Sequence[str] = ()
) -> list[str]:
    """Return the differences that make two results incomparable, one line for each condition.

    Args:
        first: protocol of one result.
        second: protocol of the other result.
        ignore: keys that may differ, such as ``strategy`` where each row states its own.
    """
    return [
        f"{title}: {_format_condition(first.get(key))} against {_format_condition(second.get(key))}"
        for key, title in TITLES.items()
        if key not in ignore and first.get(key) != second.get(key)
    ]


def _format_condition(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["label"])
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} ({', '.join(str(v) for v in value[:4])} ...)"
    return str(value)


def resolve_strategy_name(config: RunConfig, name: str) -> str:
    """Return the full name of an inference strategy for a run.

    Raises:
        ValueError: the name cannot be parsed, or the run is a classifier, which has one strategy.
    """
    if isinstance(config, TrainConfig):
        return parse_strategy(name, output_stride=config.output_stride).name
    if name != CLASSIFIER_STRATEGY:
        raise ValueError(
            f"{name!r}: a classifier has one strategy, {CLASSIFIER_STRATEGY} (the central crop)"
        )
    return CLASSIFIER_STRATEGY
