"""From the checked config of a data set to where its images are and what its masks say."""

from pathlib import Path

from deeplab.config.schema.data import (
    CityscapesConfig,
    COCOConfig,
    DataConfig,
    FolderConfig,
    ShapesConfig,
)
from deeplab.data.class_set import ClassSet
from deeplab.data.layouts.base import (
    Item,
    Layout,
    check_whole,
    coco_layout,
    fingerprint,
    split_items,
    voc_layout,
)
from deeplab.data.layouts.cityscapes import CityscapesLayout
from deeplab.data.layouts.class_discovery import named_or_found
from deeplab.data.layouts.classes_file import classes_file, read_classes
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.synthetic.scenes import ShapesSpec, check_classes, ensure_shapes
from deeplab.utils.errors import UserError


def data_layout(data: DataConfig, *, whole: bool = True) -> Layout:
    """Where the images that the config names are; scenes are drawn if they are not there yet.

    Raises:
        UserError: they are not where ``data.root`` says, or (with ``whole``) not all of them yet.
    """
    if whole:
        check_whole(Path(data.root).expanduser())
    match data:
        case ShapesConfig():
            return voc_layout(ensure_shapes(data.root, shapes_spec(data)))
        case COCOConfig():
            return coco_layout(data.root)
        case CityscapesConfig():
            return CityscapesLayout(data.root)
        case FolderConfig():
            return folder_layout(data)
        case _:
            return voc_layout(data.root)


def folder_layout(data: FolderConfig) -> FolderLayout:
    """A folder of one's own, as its keys say."""
    return FolderLayout(
        data.root,
        image_dir=data.image_dir,
        mask_dir=data.mask_dir,
        image_suffix=data.image_suffix,
        mask_suffix=data.mask_suffix,
        val_fraction=data.val_fraction,
        split_seed=data.split_seed,
    )


def class_set(data: DataConfig) -> ClassSet:
    """The classes that the config names."""
    return ClassSet(
        names=data.classes,
        colors=data.palette,
        values=data.mask_values,
        ignored=data.ignored_values,
        unlisted_values=data.unlisted_values,
    )


def shapes_spec(data: ShapesConfig) -> ShapesSpec:
    """The part of the config that scenes depend on."""
    return ShapesSpec(
        classes=data.classes,
        train=data.num_train,
        val=data.num_val,
        min_size=data.min_size,
        max_size=data.max_size,
        max_objects=data.max_objects,
        seed=data.scene_seed,
    )


def data_fingerprint(data: DataConfig, layout: Layout) -> str:
    """Of the images that a run is trained and validated on."""
    splits = (data.train_split, data.val_split)
    return "-".join(fingerprint(split_items(layout, split)) for split in splits)


def check_data(data: DataConfig) -> DataConfig:
    """The config with its classes, which a folder has in a file or in its masks.

    Raises:
        UserError: the data set or one of the splits is not there.
    """
    if isinstance(data, ShapesConfig):
        _check_shapes(data)
        return data
    layout = data_layout(data)
    items = []
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        try:
            items += split_items(layout, split)
        except UserError as error:
            raise UserError(f"data.{key}={split}: {error}") from None
    return _with_classes(data, items) if isinstance(data, FolderConfig) else data


def check_same_classes(data: DataConfig, root: str) -> None:
    """For images at another place than those of training: where that place names its classes, they
    are to be the run's.

    Raises:
        UserError: they are others, or others values stand for them.
    """
    if not isinstance(data, FolderConfig):
        return
    path = classes_file(Path(root).expanduser(), data.classes_file)
    if path is None:
        return
    there, ours = read_classes(path), class_set(data)
    if (there.names, there.values) != (ours.names, ours.values):
        raise UserError(
            f"{path}: its classes or their values are not those that the run was trained with "
            f"({', '.join(data.classes)}). Bring the masks to the run's, or remove the file."
        )


def _check_shapes(data: ShapesConfig) -> None:
    try:
        check_classes(data.classes)
    except ValueError as error:
        raise UserError(f"data.classes: {error}.") from None
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        if split not in ("train", "val"):
            raise UserError(f"data.{key}={split}: the splits of data=shapes are train and val.")


def _with_classes(data: FolderConfig, items: list[Item]) -> FolderConfig:
    if data.classes:
        return data
    root = Path(data.root).expanduser()
    found = named_or_found(root, items, named=data.classes_file, ignored=data.ignored_values)
    return data.model_copy(
        update={
            "classes": found.names,
            "palette": found.colors,
            "mask_values": found.values,
            "ignored_values": found.ignored,
        }
    )
