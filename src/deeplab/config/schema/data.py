"""Schemas of segmentation data sets."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from deeplab.config.schema.types import (
    AboveZero,
    Byte,
    Float,
    Fraction,
    NonNegative,
    Positive,
    Schema,
    Seed,
    Side,
    SyntheticData,
    Text,
)

RGB = tuple[Byte, Byte, Byte]
Augmentation = Annotated[dict[Text, dict[Text, Any]], Field(min_length=1, max_length=1)]
Values = tuple[Byte, ...] | tuple[RGB, ...]


class ScalesConfig(Schema):
    """Range of the random scale in training."""

    min: Annotated[Float, Field(ge=0.01, le=16)]
    max: Annotated[Float, Field(ge=0.01, le=16)]
    step: NonNegative

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        steps = (self.max - self.min) / self.step if self.step else 0
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"step ({self.step}) does not divide max - min ({self.max - self.min})"
            )
        return self


class _Data(Schema):
    """Keys of every segmentation data set.

    ``deeplab.data.class_set.ClassSet`` explains the first five.
    """

    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=254)]
    palette: tuple[RGB, ...] | None = None
    mask_values: Values | None = None
    ignored_values: Values = ()
    unlisted_values: Literal["error", "ignore"] = "error"
    root: Text
    train_split: Text
    val_split: Text
    crop_size: Side
    eval_size: Side | tuple[Side, Side]
    eval_batch_size: Positive
    scales: ScalesConfig
    hflip_prob: Fraction
    augmentations: tuple[Augmentation, ...]
    on_error: Literal["stop", "skip"]
    cache_dir: Text | None

    @model_validator(mode="after")
    def _check_class_counts(self) -> Self:
        for key in ("palette", "mask_values"):
            entries = getattr(self, key)
            if entries is not None and self.classes and len(entries) != len(self.classes):
                raise ValueError(
                    f"{key} has {len(entries)} entries, but classes has {len(self.classes)}"
                )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes contains the same name twice")
        return self


class ArchiveConfig(Schema):
    """Published archive of a data set; see ``deeplab.utils.download.Archive``."""

    url: Text | None
    checksum: Annotated[Text, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")] | None
    size: Annotated[int, Field(ge=1)] | None


class PublishedConfig(_Data):
    """Data set that ``prepare.py`` makes from published archives."""

    parts: Annotated[tuple[Text, ...], Field(min_length=1)]
    archives: dict[Text, ArchiveConfig]
    unpacked_gb: AboveZero
    expected_images: dict[Text, Positive]

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if unknown := set(self.parts) - set(self.archives):
            raise ValueError(
                f"parts contains unknown names: {', '.join(sorted(unknown))}. The parts are "
                f"{', '.join(self.archives)}"
            )
        return self


class VOCConfig(PublishedConfig):
    """PASCAL VOC with SBD, or any folder in VOC's layout."""

    name: Literal["voc"]


class COCOConfig(PublishedConfig):
    """COCO with its instances turned into label maps of VOC's classes."""

    name: Literal["coco"]
    annotations: dict[Text, Text | None]
    category_ids: tuple[Annotated[int, Field(ge=0)], ...]
    min_pixels: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_category_count(self) -> Self:
        if len(self.category_ids) != len(self.classes):
            raise ValueError(
                f"category_ids has {len(self.category_ids)} entries, "
                f"but classes has {len(self.classes)}"
            )
        return self


class CityscapesConfig(PublishedConfig):
    """Cityscapes in its official layout."""

    name: Literal["cityscapes"]


class FolderConfig(_Data):
    """A user's own images and masks; see ``deeplab.data.layouts.folder.FolderLayout``."""

    name: Literal["folder"]
    classes: Annotated[
        tuple[Text, ...], Field(max_length=254), BeforeValidator(lambda value: value or ())
    ]
    classes_file: Text | None
    image_dir: Text | None
    mask_dir: Text | None
    image_suffix: Annotated[str, Field(max_length=100)]
    mask_suffix: Annotated[str, Field(max_length=100)] | None
    val_fraction: Annotated[Float, Field(gt=0, lt=1)]
    split_seed: Seed


class ShapesConfig(SyntheticData, _Data):
    """Synthetic scenes of shapes; see ``deeplab.data.synthetic.scenes.ShapesSpec``."""

    name: Literal["shapes"]
    max_objects: Positive


DataConfig = Annotated[
    VOCConfig | ShapesConfig | COCOConfig | CityscapesConfig | FolderConfig,
    Field(discriminator="name"),
]

LOCATION_KEYS = (
    "root",
    "eval_batch_size",
    "on_error",
    "cache_dir",
    "parts",
    "archives",
    "unpacked_gb",
    "expected_images",
)
"""Keys about the location, download and reading of the data, not about their content."""
