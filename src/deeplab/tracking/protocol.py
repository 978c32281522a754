"""Under which conditions a result was measured, and whether two results can be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.inference.strategy import Strategy, parse_strategy

IGNORED_LABEL_RULE = "pixels labeled 255 count for nothing; classes absent from both are left out"

TITLES = {
    "split": "split",
    "images": "number of images",
    "content": "content of the images and masks",
    "classes": "classes",
    "void": "void rule",
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
    """The stamp of a result.

    Args:
        split: its name.
        images: how many it has.
        content: hash of its images and masks.
        classes: their names, in order.
        padded_to: height and width at least; images are never resized to be scored.
        strategy: of inference; it says whether whole images or windows were looked at.
        precision: Lightning's name.
    """
    return {
        "split": split,
        "images": images,
        "content": content,
        "classes": list(classes),
        "void": IGNORED_LABEL_RULE,
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
    part: float,
    precision: str,
) -> dict[str, Any]:
    """The stamp of a classifier's result.

    Args:
        split: its name.
        images: how many it has.
        content: hash of its images and labels.
        classes: their names, in order.
        crop_size: side of the crop that the network gets, in pixels.
        part: of the shorter side, what the central square has that the crop is resized from.
        precision: Lightning's name.
    """
    crop = f"central {100 * part:g} % at {crop_size} x {crop_size}"
    return {
        "split": split,
        "images": images,
        "content": content,
        "classes": list(classes),
        "crop": crop,
        "strategy": {"name": "single-scale", "label": f"one crop, {crop}"},
        "precision": precision,
    }


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], without: Sequence[str] = ()
) -> list[str]:
    """Why two results do not belong in one column: a line for each thing that differs.

    Args:
        ours: the protocol of one.
        theirs: that of the other.
        without: keys that may differ, such as ``strategy`` where each row states its own.
    """
    return [
        f"{title}: {_said(ours.get(key))} against {_said(theirs.get(key))}"
        for key, title in TITLES.items()
        if key not in without and ours.get(key) != theirs.get(key)
    ]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["label"])
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} ({', '.join(str(v) for v in value[:4])} ...)"
    return str(value)


CLASSIFIER_STRATEGY = "single-scale"
"""The one way of a classifier: the central crop, once."""


def full_strategy_name(config: RunConfig, asked: str) -> str:
    """The whole name of the inference strategy that was asked for.

    Raises:
        ValueError: it cannot be read, or the run is a classifier, which has one only.
    """
    if isinstance(config, TrainConfig):
        return parse_strategy(asked, output_stride=config.output_stride).name
    if asked != CLASSIFIER_STRATEGY:
        raise ValueError(f"{asked!r}: a classifier looks at one crop ({CLASSIFIER_STRATEGY})")
    return CLASSIFIER_STRATEGY
