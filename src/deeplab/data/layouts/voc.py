"""PASCAL VOC's layout.

    JPEGImages/ID.jpg
    SegmentationClass/ID.png       palette or gray PNG of class indices, 255 = ignore
    SegmentationClassAug/ID.png    masks of images without one in SegmentationClass (SBD)
    ImageSets/Segmentation/SPLIT.txt

Departures from the authors' preparation: VOC's masks are not rewritten (the authors remove the
color map first; here the indices are read directly from the palette PNG), and if both folders have
a mask, the official one is used.
"""

from pathlib import Path

from deeplab.data.layouts.split_lists import SplitListLayout
from deeplab.data.settings import PublishedSettings


class VOCSettings(PublishedSettings):
    """PASCAL VOC with SBD, or any folder in VOC's layout."""


class VOCFolder(SplitListLayout):
    """Any folder in VOC's layout: ``root``, or VOC2012 or VOCdevkit/VOC2012 below it."""

    subfolders = ("", "VOC2012", "VOCdevkit/VOC2012")
    lists = "ImageSets/Segmentation"
    image = "JPEGImages/{}.jpg"
    masks = ("SegmentationClass/{}.png", "SegmentationClassAug/{}.png")
    description = (
        "the VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), directly or "
        "in VOCdevkit/VOC2012"
    )

    def __init__(self, root: str | Path) -> None:
        self.root = self.find_root(root)


class VOCLayout(VOCFolder):
    """Layout of PASCAL VOC 2012; see the module's docstring."""

    def __init__(self, settings: VOCSettings) -> None:
        super().__init__(settings.root)
