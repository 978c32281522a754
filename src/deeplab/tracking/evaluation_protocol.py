"""Protocols: the conditions of a measurement, and the check that two results are comparable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.data.layouts.base import split_origin
from deeplab.inference.strategy import SINGLE_SCALE, Strategy, parse_strategy
from deeplab.metrics.definitions import Bands
from deeplab.tracking.schema_version import Record
from deeplab.utils.settings import Int

if TYPE_CHECKING:
    from deeplab.data.datamodules import ClassificationData, SegmentationData

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


class WindowRecord(Record):
    """Windows that an image is cut into; see ``deeplab.inference.strategy.Window``."""

    size: Int
    overlap: float


class StrategyRecord(Record):
    """Inference strategy of a result; see ``deeplab.inference.strategy.Strategy``."""

    name: str
    label: str
    """Description for tables and figures."""
    output_stride: Int | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    window: WindowRecord | None = None

    @classmethod
    def of(cls, strategy: Strategy) -> Self:
        """Return the record of a strategy."""
        return cls.model_validate(strategy, from_attributes=True)


class Protocol(Record):
    """Conditions of a measurement."""

    split: str
    """Name of the split."""
    split_origin: str | None = None
    """List or folder of the split, or how its images were chosen."""
    images: Int
    """Number of images in it."""
    content: str
    """Hash of its images and their masks or labels."""
    classes: tuple[str, ...]
    """Class names, in order."""
    ignored_label: str | None = None
    """Rule for ignored pixels."""
    padded_to: tuple[Int, Int] | None = None
    """Minimum height and width; images are never resized for scoring."""
    crop: str | None = None
    """Part of the image that a classifier sees."""
    strategy: StrategyRecord
    """Inference strategy."""
    precision: str
    """Lightning's name of the precision."""
    bands: Bands | None = None
    """Borders that the bands of boundary scores are measured from."""

    def __eq__(self, other: object) -> bool:
        """Compare the conditions; ``split_origin`` and ``bands`` follow from ``content``."""
        if not isinstance(other, Protocol):
            return NotImplemented
        return all(getattr(self, key) == getattr(other, key) for key in TITLES)

    def __hash__(self) -> int:
        return hash(self.content)


def segmentation_protocol(
    data: "SegmentationData",
    strategy: Strategy,
    *,
    content: str,
    padded_to: tuple[int, int],
    precision: str,
    bands: Bands | None = None,
) -> Protocol:
    """Return the protocol of a segmentation network on a data module's validation split.

    Args:
        data: the data.
        strategy: inference strategy.
        content: hash of the images and masks.
        padded_to: minimum height and width of images.
        precision: Lightning's name of the precision.
        bands: borders that bands are measured from; None if there are no boundary scores.
    """
    return Protocol(
        split=data.val_split,
        split_origin=split_origin(data.layout, data.val_split),
        images=len(data.val_set),
        content=content,
        classes=data.classes.names,
        ignored_label=IGNORED_LABEL_RULE,
        padded_to=padded_to,
        strategy=StrategyRecord.of(strategy),
        precision=precision,
        bands=bands,
    )


def crop_protocol(
    data: "ClassificationData", *, crop_size: int, crop_pct: float, precision: str
) -> Protocol:
    """Return the protocol of a classifier on a data module's validation split.

    Args:
        data: the data.
        crop_size: side of the crop that the network sees, in pixels.
        crop_pct: side of the central square that the crop is resized from, as a fraction of
            the image's shorter side.
        precision: Lightning's name of the precision.
    """
    crop = f"central {100 * crop_pct:g} % at {crop_size} x {crop_size}"
    return Protocol(
        split=data.val_split,
        split_origin=split_origin(data.layout, data.val_split),
        images=len(data.val_set),
        content=data.val_set.content_hash(),
        classes=data.classes,
        crop=crop,
        strategy=StrategyRecord(name=CLASSIFIER_STRATEGY, label=f"one crop, {crop}"),
        precision=precision,
    )


def differences(first: Protocol, second: Protocol, ignore: Sequence[str] = ()) -> list[str]:
    """Return the differences that make two results incomparable, one line for each condition.

    Args:
        first: protocol of one result.
        second: protocol of the other result.
        ignore: conditions that may differ, such as ``strategy`` where each row states its own.
    """
    pairs = {key: (getattr(first, key), getattr(second, key)) for key in TITLES}
    return [
        f"{TITLES[key]}: {_format_condition(one)} against {_format_condition(other)}"
        for key, (one, other) in pairs.items()
        if key not in ignore and one != other
    ]


def _format_condition(value: Any) -> str:
    if isinstance(value, StrategyRecord):
        return value.label
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} ({', '.join(str(v) for v in value[:4])} ...)"
    return str(list(value)) if isinstance(value, tuple) else str(value)


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
