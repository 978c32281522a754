"""PASCAL VOC's layout."""

from pathlib import Path

from deeplab.data.layouts.split_lists import SplitListLayout


def voc_layout(root: str | Path) -> SplitListLayout:
    """Return the PASCAL VOC segmentation layout.

        JPEGImages/ID.jpg
        SegmentationClass/ID.png       palette or gray PNG of class indices, 255 = ignore
        SegmentationClassAug/ID.png    masks of images without one in SegmentationClass (SBD)
        ImageSets/Segmentation/SPLIT.txt

    Departures from the authors' preparation: VOC's masks are not rewritten (the authors remove the
    color map first; here the indices are read directly from the palette PNG), and if both folders
    have a mask, the official one is used.
    """
    return SplitListLayout(
        root,
        subfolders=("", "VOC2012", "VOCdevkit/VOC2012"),
        lists="ImageSets/Segmentation",
        image="JPEGImages/{}.jpg",
        masks=("SegmentationClass/{}.png", "SegmentationClassAug/{}.png"),
        description=(
            "the VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), directly or "
            "in VOCdevkit/VOC2012"
        ),
    )
