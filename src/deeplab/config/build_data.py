"""Builders of data set layouts and class sets from the checked config."""

from pathlib import Path

from deeplab.config.schema.data import (
    CityscapesConfig,
    COCOConfig,
    DataConfig,
    FolderConfig,
    ShapesConfig,
)
from deeplab.data.class_set import ClassSet
from deeplab.data.layouts.base import Item, Layout, check_complete, fingerprint, split_items
from deeplab.data.layouts.cityscapes import CityscapesLayout
from deeplab.data.layouts.class_discovery import read_or_find_classes
from deeplab.data.layouts.classes_file import find_classes_file, read_classes
from deeplab.data.layouts.coco import coco_layout
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.voc import voc_layout
from deeplab.data.synthetic.scenes import ShapesSpec, check_classes, get_or_draw_scenes
from deeplab.utils.errors import UserError


def data_layout(data: DataConfig, *, require_complete: bool = True) -> Layout:
    """Return the layout of the data set that the config names; scenes are drawn if missing.

    Raises:
        UserError: the data set is not at ``data.root``, or (with ``require_complete``) its
            preparation is not finished.
    """
    if require_complete:
        check_complete(Path(data.root).expanduser())
    match data:
        case ShapesConfig():
            return voc_layout(get_or_draw_scenes(data.root, shapes_spec(data)))
        case COCOConfig():
            return coco_layout(data.root)
        case CityscapesConfig():
            return CityscapesLayout(data.root)
        case FolderConfig():
            return folder_layout(data)
        case _:
            return voc_layout(data.root)


def folder_layout(data: FolderConfig) -> FolderLayout:
    """Return the layout of a user's own folder of images and masks."""
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
    """Return the classes that the config names."""
    return ClassSet(
        names=data.classes,
        colors=data.palette,
        values=data.mask_values,
        ignored=data.ignored_values,
        unlisted_values=data.unlisted_values,
    )


def shapes_spec(data: ShapesConfig) -> ShapesSpec:
    """Return the part of the config that determines the synthetic scenes."""
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
    """Return the fingerprint of the images that a run is trained and validated on."""
    splits = (data.train_split, data.val_split)
    return "-".join(fingerprint(split_items(layout, split)) for split in splits)


def check_data(data: DataConfig) -> DataConfig:
    """Check that the data exist and return the config with its classes.

    The classes of ``data=folder`` come from a file or from the masks, unless the config has them.

    Raises:
        UserError: the data set or one of its splits does not exist.
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
    """Check the classes of another folder of images than the one that a run was trained on.

    If that folder has a file of its classes, they must be the run's.

    Raises:
        UserError: the classes, or their values in the masks, differ.
    """
    if not isinstance(data, FolderConfig):
        return
    path = find_classes_file(Path(root).expanduser(), data.classes_file)
    if path is None:
        return
    folder_classes, run_classes = read_classes(path), class_set(data)
    if (folder_classes.names, folder_classes.values) != (run_classes.names, run_classes.values):
        raise UserError(
            f"{path}: its classes or their values differ from those that the run was trained with "
            f"({', '.join(data.classes)}). Convert the masks to the run's values, or remove the "
            "file."
        )


def _check_shapes(data: ShapesConfig) -> None:
    try:
        check_classes(data.classes)
    except ValueError as error:
        raise UserError(f"data.classes: {error}.") from None
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        if split not in ("train", "val"):
            raise UserError(
                f"data.{key}={split}: no such split. The splits of data=shapes are train and val."
            )


def _with_classes(data: FolderConfig, items: list[Item]) -> FolderConfig:
    if data.classes:
        return data
    root = Path(data.root).expanduser()
    found = read_or_find_classes(
        root, items, classes_file=data.classes_file, ignored=data.ignored_values
    )
    return data.model_copy(
        update={
            "classes": found.names,
            "palette": found.colors,
            "mask_values": found.values,
            "ignored_values": found.ignored,
        }
    )
