"""Layout with a list of ids for each split: the class of VOC's and COCO's layouts."""

from pathlib import Path

from deeplab.data.layouts.base import Item, Layout, read_list
from deeplab.utils.errors import UserError


class SplitListLayout(Layout):
    """Layout with a list of ids for each split, and paths that follow from an id.

    Args:
        settings: of which ``root`` is the folder, or one that holds it at one of ``subfolders``.

    Raises:
        UserError: ``root`` is missing or has another layout.
    """

    subfolders: tuple[str, ...] = ("",)
    """Possible locations of the data set below ``root``."""
    lists: str
    """Folder of the lists."""
    image: str
    """Path of an image, with ``{}`` for its id."""
    masks: tuple[str, ...]
    """Possible paths of its mask; the first that exists is used."""
    description: str
    """The layout in words, for messages."""

    def find_root(self, root: str | Path) -> Path:
        """Return the folder that holds the lists, at or below ``root``.

        Raises:
            UserError: there is no such folder.
        """
        root = Path(root).expanduser()
        roots = [r for r in (root / f for f in self.subfolders) if (r / self.lists).is_dir()]
        if not roots:
            state = f"has no {self.lists}" if root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={root}: this folder {state}. Set data.root to a folder that holds "
                f"{self.description}, or create it with python src/prepare.py."
            )
        return roots[0]

    def splits(self) -> list[str]:
        return sorted(p.stem for p in (self.root / self.lists).glob("*.txt"))

    def items(self, split: str) -> list[Item]:
        ids = read_list(self.root / self.lists / f"{split}.txt", split, self.splits())
        return [Item(i, self.root / self.image.format(i), self._mask(i)) for i in ids]

    def _mask(self, image_id: str) -> Path:
        candidates = [self.root / pattern.format(image_id) for pattern in self.masks]
        if len(candidates) == 1:
            return candidates[0]
        return next((path for path in candidates if path.exists()), candidates[0])
