"""Builders of a classifier's data from its checked config.

``build_data`` and ``build_datamodule`` do the same for segmentation.
"""

from collections.abc import Sequence

from deeplab.config.schema.classification_data import ClassificationDataConfig, ShapeClassesConfig
from deeplab.config.schema.run import ClassifierConfig
from deeplab.data.classification.dataset import NO_LABEL, Batch, ClassificationData
from deeplab.data.classification.image_folder import ImageFolder
from deeplab.data.classification.transforms import CentralCrop, RandomResizedCrop
from deeplab.data.synthetic.single_objects import (
    ShapeClassesSpec,
    check_shapes,
    get_or_draw_shape_images,
)
from deeplab.utils.errors import UserError
from deeplab.utils.visualization import ClassificationExample


def image_folder(data: ClassificationDataConfig) -> ImageFolder:
    """Return the image folder that the config names; synthetic images are drawn if missing.

    Raises:
        UserError: the images are not at ``data.root``.
    """
    if isinstance(data, ShapeClassesConfig):
        root = get_or_draw_shape_images(data.root, _spec(data))
        return ImageFolder(root, labels="folders", train_split="train")
    return ImageFolder(data.root, labels=data.labels, train_split=data.train_split)


def _spec(data: ShapeClassesConfig) -> ShapeClassesSpec:
    return ShapeClassesSpec(
        classes=data.classes,
        train=data.num_train,
        val=data.num_val,
        min_size=data.min_size,
        max_size=data.max_size,
        seed=data.scene_seed,
    )


def build_classification_data(config: ClassifierConfig, *, num_workers: int) -> ClassificationData:
    """Return the DataModule that the config describes."""
    data = config.data
    return ClassificationData(
        image_folder(data),
        train_split=data.train_split,
        val_split=data.val_split,
        train_crop=RandomResizedCrop(
            size=data.crop_size,
            scale=data.scale,
            ratio=data.ratio,
            hflip_prob=data.hflip_prob,
            augmentations=data.augmentations,
        ),
        eval_crop=CentralCrop(size=data.crop_size, crop_pct=data.crop_pct),
        steps=config.stage.max_steps,
        batch_size=config.stage.batch_size,
        eval_batch_size=data.eval_batch_size,
        seed=config.seed,
        num_workers=num_workers,
        on_error=data.on_error,
    )


def classification_example(
    batch: Batch, index: int, predicted: int, classes: Sequence[str]
) -> ClassificationExample:
    """Return an image of a batch with the names of its labels and of the predicted class."""
    known = [classes[k] for k in batch["label"][index].tolist() if k != NO_LABEL]
    image = batch["image"][index].permute(1, 2, 0).cpu().numpy()
    return ClassificationExample(image, known, classes[predicted])


def classification_fingerprint(folder: ImageFolder, data: ClassificationDataConfig) -> str:
    """Return the fingerprint of a classifier's training and validation images."""
    splits = (data.train_split, data.val_split)
    return "-".join(folder.images(split).fingerprint() for split in splits)


def is_multi_label(data: ClassificationDataConfig) -> bool:
    """Return True if an image may have several labels, each a yes-or-no question."""
    return not isinstance(data, ShapeClassesConfig) and data.labels == "multi_label"


def check_classification_data(data: ClassificationDataConfig) -> None:
    """Check that the images exist, without listing all of them.

    Raises:
        UserError: the data set or one of its splits does not exist.
    """
    if not isinstance(data, ShapeClassesConfig):
        image_folder(data).check(data.val_split)
        return
    try:
        check_shapes(data.classes)
    except ValueError as error:
        raise UserError(f"data.classes: {error}.") from None
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        if split not in ("train", "val"):
            raise UserError(
                f"data.{key}={split}: no such split. The splits of data=shape_classes are train "
                "and val."
            )
