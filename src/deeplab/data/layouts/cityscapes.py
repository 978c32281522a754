"""Layout of Cityscapes, as it is published.

    leftImg8bit/SPLIT/CITY/ID_leftImg8bit.png
    gtFine/SPLIT/CITY/ID_gtFine_labelIds.png          train, val, test
    gtCoarse/SPLIT/CITY/ID_gtCoarse_labelIds.png      train_extra; also train, val

Masks are converted to the 19 train ids when they are read (``mask_values`` in
``conf/data/cityscapes.yaml``); no file is rewritten.
"""

from pathlib import Path

from deeplab.data.items import Item
from deeplab.data.layouts.base import Layout, no_such_split
from deeplab.data.settings import PublishedSettings
from deeplab.data.split_error import SplitError
from deeplab.utils.errors import UserError
from deeplab.utils.program import command

SPLITS = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", "gtFine"),
    "train_extra": ("train_extra", "gtCoarse"),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
}
"""Folder and annotation type of each split.

For fine and coarse annotations together: ``train+train_extra``.
"""


class CityscapesSettings(PublishedSettings):
    """Cityscapes in its official layout."""


class CityscapesLayout(Layout):
    """Layout of a Cityscapes folder.

    Raises:
        UserError: ``settings.root`` is missing or has no ``leftImg8bit``.
    """

    def __init__(self, settings: CityscapesSettings) -> None:
        self.root = Path(settings.root).expanduser()
        if not (self.root / "leftImg8bit").is_dir():
            state = "has no leftImg8bit" if self.root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={settings.root}: this folder {state}. Set data.root to a folder that "
                "holds Cityscapes' leftImg8bit and gtFine, or unpack your archives with "
                f"{command('prepare')} data=cityscapes source=FOLDER."
            )

    def splits(self) -> list[str]:
        return sorted(
            name
            for name, (folder, kind) in SPLITS.items()
            if (self.root / "leftImg8bit" / folder).is_dir()
            and (self.root / kind / folder).is_dir()
        )

    def items(self, split: str) -> list[Item]:
        if split not in self.splits():
            problem = f"its images or annotations are not in {self.root}"
            raise no_such_split(split, self.splits(), problem)
        folder, kind = SPLITS[split]
        images = sorted((self.root / "leftImg8bit" / folder).glob("*/*_leftImg8bit.png"))
        if not images:
            raise SplitError(
                split,
                f"no images in {self.root}/leftImg8bit/{folder}. Add CITY/ID_leftImg8bit.png "
                "files.",
            )
        return [self._item(image, folder, kind) for image in images]

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        folder, kind = SPLITS[split]
        return f"leftImg8bit/{folder} with {kind}/{folder}"

    def _item(self, image: Path, folder: str, kind: str) -> Item:
        name = image.name.removesuffix("_leftImg8bit.png")
        mask = self.root / kind / folder / image.parent.name / f"{name}_{kind}_labelIds.png"
        return Item(name, image, mask)
