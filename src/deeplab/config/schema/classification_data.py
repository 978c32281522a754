"""The keys of data sets of whole pictures, which classifiers are trained on."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deeplab.config.schema.data import Augmentation
from deeplab.config.schema.types import Drawn, Float, Part, Positive, Schema, Side, Text, ascending

AreaShare = Annotated[Float, Field(gt=0, le=1)]
AspectRatio = Annotated[Float, Field(ge=0.1, le=10)]

CLASSIFICATION_DATA = ("imagenet", "shape_classes")
"""The names of these data sets."""


class _Pictures(Schema):
    """What all of them have."""

    root: Text
    train_split: Text
    val_split: Text
    crop_size: Side
    scale: Annotated[tuple[AreaShare, AreaShare], AfterValidator(ascending)]
    ratio: Annotated[tuple[AspectRatio, AspectRatio], AfterValidator(ascending)]
    hflip_prob: Part
    augmentations: tuple[Augmentation, ...]
    crop_pct: Annotated[Float, Field(gt=0, le=1)]
    eval_batch_size: Positive
    on_error: Literal["stop", "skip"]


class ImageNetConfig(_Pictures):
    """ImageNet, or any pictures in folders of their class or in lists of their labels;
    ``deeplab.data.classification.image_folder``."""

    name: Literal["imagenet"]
    labels: Literal["folders", "single_label", "multi_label"]


class ShapeClassesConfig(Drawn, _Pictures):
    """Pictures of one shape each, which are drawn; ``deeplab.data.synthetic.single_objects``."""

    name: Literal["shape_classes"]
    classes: Annotated[tuple[Text, ...], Field(min_length=2)]


ClassificationDataConfig = Annotated[
    ImageNetConfig | ShapeClassesConfig,
    Field(discriminator="name"),
]
