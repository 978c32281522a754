"""Schemas of image classification data sets."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deeplab.config.schema.data import Augmentation
from deeplab.config.schema.types import (
    Float,
    Fraction,
    Positive,
    Schema,
    Side,
    SyntheticData,
    Text,
    ascending,
)

AreaFraction = Annotated[Float, Field(gt=0, le=1)]
AspectRatio = Annotated[Float, Field(ge=0.1, le=10)]

CLASSIFICATION_DATA = ("imagenet", "shape_classes")
"""Names of the classification data sets."""


class _ClassificationData(Schema):
    """Keys of every classification data set."""

    root: Text
    train_split: Text
    val_split: Text
    crop_size: Side
    scale: Annotated[tuple[AreaFraction, AreaFraction], AfterValidator(ascending)]
    ratio: Annotated[tuple[AspectRatio, AspectRatio], AfterValidator(ascending)]
    hflip_prob: Fraction
    augmentations: tuple[Augmentation, ...]
    crop_pct: Annotated[Float, Field(gt=0, le=1)]
    eval_batch_size: Positive
    on_error: Literal["stop", "skip"]


class ImageNetConfig(_ClassificationData):
    """ImageNet, or any images in class folders or with lists of labels.

    See ``deeplab.data.classification.image_folder``.
    """

    name: Literal["imagenet"]
    labels: Literal["folders", "single_label", "multi_label"]


class ShapeClassesConfig(SyntheticData, _ClassificationData):
    """Synthetic images of one shape each; see ``deeplab.data.synthetic.single_objects``."""

    name: Literal["shape_classes"]
    classes: Annotated[tuple[Text, ...], Field(min_length=2)]


ClassificationDataConfig = Annotated[
    ImageNetConfig | ShapeClassesConfig,
    Field(discriminator="name"),
]
