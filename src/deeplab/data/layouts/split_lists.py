"""Layout with a list of ids for each split: the class of VOC's and COCO's layouts."""

from pathlib import Path

from deeplab.data.layouts.base import Item, read_list
from deeplab.utils.errors import UserError


class SplitListLayout:
    """Layout with a list of ids for each split, and paths that follow from an id.

    Args:
        root: the folder, or a folder that holds it at one of ``subfolders``.
        subfolders: possible locations of the data set below ``root``.
        lists: folder of the lists.
        image: path of an image, with ``{}`` for its id.
        masks: possible paths of its mask; the first that exists is used.
        description: the layout in words, for messages.

    Raises:
        UserError: ``root`` is missing or has another layout.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        subfolders: tuple[str, ...] = ("",),
        lists: str,
        image: str,
        masks: tuple[str, ...],
        description: str,
    ) -> None:
        root = Path(root).expanduser()
        roots = [root / folder for folder in subfolders if (root / folder / lists).is_dir()]
        if not roots:
            state = f"has no {lists}" if root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={root}: this folder {state}. Set data.root to a folder that holds "
                f"{description}, or create it with python src/prepare.py."
            )
        self.root, self.lists = roots[0], roots[0] / lists
        self.image, self.masks = image, masks

    def splits(self) -> list[str]:
        return sorted(p.stem for p in self.lists.glob("*.txt"))

    def items(self, split: str) -> list[Item]:
        ids = read_list(self.lists / f"{split}.txt", split, self.splits())
        return [Item(i, self.root / self.image.format(i), self._mask(i)) for i in ids]

    def _mask(self, image_id: str) -> Path:
        candidates = [self.root / pattern.format(image_id) for pattern in self.masks]
        if len(candidates) == 1:
            return candidates[0]
        return next((path for path in candidates if path.exists()), candidates[0])
