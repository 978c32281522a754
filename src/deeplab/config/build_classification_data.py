"""From the checked config of a classifier to its pictures, as ``datasets`` and ``assemble`` do for
segmentation."""

from collections.abc import Sequence

from deeplab.config.schema.classification_data import ClassificationDataConfig, ShapeClassesConfig
from deeplab.config.schema.run import ClassifierConfig
from deeplab.data.classification.dataset import NO_LABEL, Batch, ClassificationData
from deeplab.data.classification.image_folder import ImageFolder
from deeplab.data.classification.transforms import CentralCrop, RandomCrop
from deeplab.data.synthetic.single_objects import (
    ShapeClassesSpec,
    check_shapes,
    ensure_shape_classes,
)
from deeplab.utils.errors import UserError
from deeplab.utils.visualization import ClassifiedImage


def image_folder(data: ClassificationDataConfig) -> ImageFolder:
    """Where the pictures that the config names are; drawn ones are drawn if they are not there yet.

    Raises:
        UserError: they are not where ``data.root`` says.
    """
    if isinstance(data, ShapeClassesConfig):
        root = ensure_shape_classes(data.root, _spec(data))
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
    """The DataModule that the config describes."""
    data = config.data
    return ClassificationData(
        image_folder(data),
        train_split=data.train_split,
        val_split=data.val_split,
        train_crop=RandomCrop(
            size=data.crop_size,
            scale=data.scale,
            ratio=data.ratio,
            hflip_prob=data.hflip_prob,
            augmentations=data.augmentations,
        ),
        eval_crop=CentralCrop(size=data.crop_size, part=data.crop_pct),
        steps=config.stage.max_steps,
        batch_size=config.stage.batch_size,
        eval_batch_size=data.eval_batch_size,
        seed=config.seed,
        num_workers=num_workers,
        on_error=data.on_error,
    )


def labeled(batch: Batch, index: int, taken_for: int, classes: Sequence[str]) -> ClassifiedImage:
    """A picture of a batch, with the names of its labels and of what it was taken for."""
    known = [classes[k] for k in batch["label"][index].tolist() if k != NO_LABEL]
    image = batch["image"][index].permute(1, 2, 0).cpu().numpy()
    return ClassifiedImage(image, known, classes[taken_for])


def classification_fingerprint(folder: ImageFolder, data: ClassificationDataConfig) -> str:
    """Of the pictures that a classifier is trained and validated on."""
    splits = (data.train_split, data.val_split)
    return "-".join(folder.pictures(split).fingerprint() for split in splits)


def is_multi_label(data: ClassificationDataConfig) -> bool:
    """Whether a picture may have several labels, each of which is a question of its own then."""
    return not isinstance(data, ShapeClassesConfig) and data.labels == "multi_label"


def check_classification_data(data: ClassificationDataConfig) -> None:
    """SeedResult whether the pictures are there, without listing all of them.

    Raises:
        UserError: the data set or one of the splits is not there.
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
                f"data.{key}={split}: the splits of data=shape_classes are train and val."
            )
