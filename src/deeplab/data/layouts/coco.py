"""COCO's layout after ``deeplab prepare``: label maps of VOC's classes.

Ids are like ``train2017/000000000009``. The image is at ``ID.jpg``, its mask at ``masks/ID.png``.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from deeplab.data.layouts.split_lists import SplitListLayout
from deeplab.data.settings import PublishedSettings
from deeplab.utils.settings import Natural, Text


class COCOSettings(PublishedSettings):
    """COCO with its instances turned into label maps of VOC's classes."""

    annotations: dict[Text, Text]
    """Annotation file of each split, which is also the name of its folder of images."""
    category_ids: tuple[Annotated[int, Field(ge=0)], ...]
    """COCO's category of each class; all others are background."""
    min_pixels: Natural = 1000
    """Images with more pixels of these classes are kept."""

    @model_validator(mode="after")
    def _check_category_count(self) -> Self:
        if len(self.category_ids) != len(self.classes):
            raise ValueError(
                f"category_ids has {len(self.category_ids)} entries, "
                f"but classes has {len(self.classes)}"
            )
        return self


class COCOLayout(SplitListLayout):
    """Layout of COCO after ``deeplab prepare``; see the module's docstring."""

    lists = "lists"
    image = "{}.jpg"
    masks = ("masks/{}.png",)
    description = "COCO with masks of VOC's classes (masks, lists)"

    def __init__(self, settings: COCOSettings) -> None:
        self.root = self.find_root(settings.root)
