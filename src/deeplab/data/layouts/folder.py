"""Images and masks of one's own, as people arrange them.

    images/ID.jpg        masks/ID.png            two folders; split by lists or at random
    images/train/ID.jpg  masks/train/ID.png      ... with a folder for each split
    train/images/ID.jpg  train/masks/ID.png
    train/ID.png         trainannot/ID.png       CamVid's
    ID.jpg               ID_mask.png             one folder, told apart by a suffix
    ID.jpg               ID.png                  ... or by their kind
    train.txt                                    lists: an id a line, or an image and its mask

The folders' usual names are found; ``image_dir`` and ``mask_dir`` name others.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from deeplab.data.image_io import IMAGE_SUFFIXES
from deeplab.data.layouts.base import Item, read_lines
from deeplab.utils.errors import UserError

JPEG = (".jpg", ".jpeg")
OTHER = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in JPEG)

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "inputs")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "annot", "gt",
    "segmentationclass", "targets",
)  # fmt: skip
MASK_SUFFIXES = ("", "_mask", "_label", "_labels", "_gt", "_seg", "_segmentation", "_annot", "_L")
BESIDE = ("annot", "_annot", "_labels", "_masks", "_mask", "_label", "_gt")
"""What stands behind a split's name in the folder of its masks, as in CamVid's trainannot."""

LIST_FOLDERS = (".", "splits", "lists", "ImageSets/Segmentation")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
"""The names that a split's folder may have."""

Pair = tuple[Path, Path]


class FolderLayout:
    """The splits of a folder of images and masks.

    Args:
        root: the folder.
        image_dir, mask_dir: folders below it; None: found by their usual names. The same folder twice
            means that suffixes tell images from masks.
        image_suffix, mask_suffix: what a file's name has behind the part that an image and its mask
            share, such as ``_mask``; None: the usual ones are tried for masks.
        val_fraction: where there are neither lists nor folders for splits, this part of the images,
            drawn from ``split_seed``, is ``val`` and the rest ``train``.
        split_seed: another seed, another split.

    Raises:
        UserError: there is no such folder, or no images and masks can be found in it.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        image_dir: str | None = None,
        mask_dir: str | None = None,
        image_suffix: str = "",
        mask_suffix: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise UserError(f"data.root={root}: this folder does not exist.")
        self.image_suffix, self.mask_suffix = image_suffix, mask_suffix
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.folders = self._named(image_dir, mask_dir) if image_dir or mask_dir else self._found()
        if not self.folders:
            raise UserError(
                f"data.root={root}: no images and masks are found here. It is to hold two folders "
                "such as images and masks, or images with masks beside them such as a.jpg and "
                "a_mask.png. data.image_dir=FOLDER data.mask_dir=FOLDER name others."
            )

    def splits(self) -> list[str]:
        drawn = ["train", "val", "all"] if "" in self.folders else []
        return sorted({*self.folders, *drawn, *self._lists()} - {""})

    def items(self, split: str) -> list[Item]:
        listed = self._lists().get(split)
        if listed:
            return self._read_list(listed, split)
        pairs = self.folders.get(split)
        if pairs:
            return self._pairs(*pairs)
        everything = self._pairs(*self.folders[""]) if "" in self.folders else []
        if split not in ("train", "val", "all") or not everything:
            raise UserError(
                f"split {split!r}: there is none. Splits here: {', '.join(self.splits())}."
            )
        if split == "all":
            return everything
        chosen = self._chosen([item.id for item in everything])
        return [item for item in everything if (item.id in chosen) == (split == "val")]

    def _named(self, image_dir: str | None, mask_dir: str | None) -> dict[str, Pair]:
        pair = (self.root / (image_dir or "."), self.root / (mask_dir or "."))
        for key, folder in zip(("image_dir", "mask_dir"), pair, strict=True):
            if not folder.is_dir():
                raise UserError(f"data.{key}: the folder {folder} does not exist.")
        return _with_splits(*pair)

    def _found(self) -> dict[str, Pair]:
        """The first arrangement that is there: folder pairs by split, "" for all in one."""
        if pair := _images_and_masks(self.root):
            return _with_splits(*pair)
        by_split = {}
        for split, names in SPLITS.items():
            for folder in (self.root / name for name in names if (self.root / name).is_dir()):
                beside = [folder.with_name(folder.name + end) for end in BESIDE]
                masks = next((b for b in beside if b.is_dir()), folder)
                pair = _images_and_masks(folder) or (folder, masks)
                if self._pairs(*pair):
                    by_split[split] = pair
        if "train" in by_split and "val" not in by_split:
            by_split[""] = by_split.pop("train")  # validation images are drawn from it
        if by_split:
            return by_split
        here = (self.root, self.root)
        return {"": here} if self._pairs(*here) else {}

    def _pairs(self, images: Path, masks: Path) -> list[Item]:
        """Every image with its mask; a mask that should be there and is not is named anyway."""
        usual = MASK_SUFFIXES if self.mask_suffix is None else (self.mask_suffix,)
        if images != masks:
            return self._match(_by_stem(images), _by_stem(masks), masks, usual)
        jpegs, others = _by_stem(images, JPEG), _by_stem(images, OTHER)
        if jpegs.keys() & others.keys():
            return self._match(jpegs, others, images, [""])  # a.jpg and a.png
        together = jpegs | others
        suffixes = [suffix for suffix in usual if suffix != self.image_suffix]
        return self._match(together, together, images, suffixes)

    def _match(
        self, files: dict[str, Path], stems: dict[str, Path], place: Path, suffixes: Sequence[str]
    ) -> list[Item]:
        """The items under the suffix of masks that most images have."""
        own = self.image_suffix
        names = [name.removesuffix(own) for name in files if name.endswith(own)]
        hits = {suffix: sum(name + suffix in stems for name in names) for suffix in suffixes}
        suffix = max(suffixes, key=lambda suffix: hits[suffix], default="")
        if not hits.get(suffix):
            return []
        if files is stems:  # the masks are among the images
            names = [name for name in names if not name.endswith(suffix)]
        return [
            Item(name, files[name + own], stems.get(name + suffix, place / f"{name}{suffix}.png"))
            for name in names
        ]

    def _chosen(self, ids: list[str]) -> set[str]:
        """The validation images of a random split: an image that is added moves few others."""
        seed = self.split_seed
        ranked = sorted(ids, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
        return set(ranked[: max(1, round(self.val_fraction * len(ids)))])

    def _lists(self) -> dict[str, Path]:
        """The split lists, by split."""
        names = {name for names in SPLITS.values() for name in names} | {"trainval"}
        found: dict[str, Path] = {}
        for folder in LIST_FOLDERS:
            for path in sorted((self.root / folder).glob("*.txt")):
                if path.stem in names:
                    found.setdefault(path.stem, path)
        return found

    def _read_list(self, path: Path, split: str) -> list[Item]:
        known = {item.id: item for pair in self.folders.values() for item in self._pairs(*pair)}
        by_name = {Path(name).name: item for name, item in known.items()}
        items = []
        for line in read_lines(path, split):
            words = re.split(r"[\s,;]+", line)
            if len(words) == 2 and all(Path(w).suffix.lower() in IMAGE_SUFFIXES for w in words):
                image, mask = (self._below_root(word) for word in words)
                items.append(Item(image.stem, image, mask))
                continue
            stem = _stem(line)
            item = known.get(stem) or by_name.get(Path(stem).name)
            if item is None:
                raise UserError(f"split {split!r}: {path} names {line!r}, which is not here.")
            items.append(item)
        return items

    def _below_root(self, name: str) -> Path:
        """A path of a list, which may begin with folders of another machine (/SegNet/CamVid)."""
        parts = Path(name).parts
        if Path(name).is_absolute():
            if Path(name).is_file():
                return Path(name)
            parts = parts[1:]
        tails = [self.root.joinpath(*parts[start:]) for start in range(len(parts))]
        return next((path for path in tails if path.is_file()), tails[0])


def _with_splits(images: Path, masks: Path) -> dict[str, Pair]:
    """A pair of folders for each split inside of two, or the two themselves."""
    found = {}
    for split, names in SPLITS.items():
        for name in names:
            if (images / name).is_dir() and (masks / name).is_dir():
                found[split] = (images / name, masks / name)
    return found or {"": (images, masks)}


def _images_and_masks(folder: Path) -> Pair | None:
    here = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()}
    images = next((here[name] for name in IMAGE_FOLDERS if name in here), None)
    masks = next((here[name] for name in MASK_FOLDERS if name in here), None)
    return (images, masks) if images and masks else None


def _by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The files of these kinds below a folder by their path without suffix, sorted.

    Raises:
        UserError: two of them differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            stem = _stem(path.relative_to(folder).as_posix())
            if stem in found:
                raise UserError(
                    f"{found[stem]} and {path.name}: which of them counts? Take one out, or set "
                    "data.image_dir and data.mask_dir."
                )
            found[stem] = path
    return found


def _stem(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else name
