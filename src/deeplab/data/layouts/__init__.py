"""Locations of images and masks in VOC, COCO, Cityscapes and your own folders."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Item", "Layout", "split_items"],
        "coco": ["coco_layout"],
        "split_lists": ["SplitListLayout"],
        "voc": ["voc_layout"],
        "cityscapes": ["CityscapesLayout"],
        "class_discovery": ["find_classes"],
        "classes_file": ["read_classes"],
        "folder": ["FolderLayout"],
    },
)
