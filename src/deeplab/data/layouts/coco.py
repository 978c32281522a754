"""COCO's layout, after ``prepare.py``."""

from pathlib import Path

from deeplab.data.layouts.split_lists import SplitListLayout


def coco_layout(root: str | Path) -> SplitListLayout:
    """Return the layout of COCO after ``prepare.py``.

    Ids are like ``train2017/000000000009``. The image is at ``ID.jpg``, its mask of VOC's classes
    at ``masks/ID.png``.
    """
    return SplitListLayout(
        root,
        lists="lists",
        image="{}.jpg",
        masks=("masks/{}.png",),
        description="COCO with masks of VOC's classes (masks, lists)",
    )
