"""Data sets, one module each: where their images are, with the masks or labels of each split."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": [
            "DataLayout",
            "Item",
            "Layout",
            "check_data",
            "layout_names",
            "open_layout",
            "data_layout",
            "settings_class",
            "split_items",
        ],
        "cityscapes": ["CityscapesLayout"],
        "class_discovery": ["find_classes"],
        "classes_file": ["read_classes"],
        "coco": ["COCOLayout"],
        "folder": ["FolderLayout"],
        "imagenet": ["ImageNetLayout", "LabeledFolder"],
        "shape_classes": ["ShapeClassesLayout"],
        "shapes": ["ShapesLayout"],
        "split_lists": ["SplitListLayout"],
        "voc": ["VOCFolder", "VOCLayout"],
    },
)
