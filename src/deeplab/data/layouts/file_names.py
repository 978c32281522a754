"""Meaning of the names of folders and lists: the split and the kind of files that they tell.

train2017, Train, training, train_list, imagesTr, train_images, DUTS-TR     training images
trainannot, train_masks, SegmentationClass, gtFine, GroundTruth             masks
fold_0, train_fold0, fold0_train                                            folds, a number
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from deeplab.utils.errors import UserError

Role = Literal["image", "mask"]

SPLIT_WORDS = {
    "train": ("train", "training", "tr", "trn"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "te", "ts", "tst"),
    "trainval": ("trainval", "trainvalid"),
}
"""Words for each split."""

ROLE_WORDS: dict[Role, tuple[str, ...]] = {
    "image": (
        "image", "images", "img", "imgs", "im", "ims", "input", "inputs", "photo", "photos",
        "picture", "pictures", "rgb", "frame", "frames", "original", "originals", "ortho",
    ),
    "mask": (
        "mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "anno",
        "annos", "ann", "anns", "gt", "gts", "truth", "groundtruth", "groundtruths", "target",
        "targets", "segmentation", "segmentations", "seg", "segs", "manual", "category",
        "categories", "labelmap", "labelmaps",
    ),
}  # fmt: skip
"""Words for the files in a folder."""

SHORT_WORDS = {"tr", "trn", "te", "ts", "tst", "dev"}
"""Words that tell a split only beside another split: ``tr`` alone may be a language."""

FOLD_WORDS = ("fold", "folds", "kfold", "cv")
"""Words for the parts of a cross-validation."""

FILLER_WORDS = {
    "list", "lists", "id", "ids", "set", "sets", "split", "splits", "data", "dataset", "file",
    "files", "filename", "filenames", "name", "names", "sample", "samples", "jpeg", "jpg", "png",
    "tif", "tiff", "bmp", "dir", "folder", "index", "path", "paths", "class", "fine", "ground",
    "st", "nd", "v", "version", "crop", "crops", "tile", "tiles", "patch", "patches",
}  # fmt: skip
"""Words that change nothing."""

SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
ROLE_OF = {word: role for role, words in ROLE_WORDS.items() for word in words}

CLASSES_FILE = "classes.yaml"
"""Name of the file of the classes that is written when a folder is first used; no image and no mask
is found by it."""

SYSTEM_FOLDERS = {
    "@eadir", "__macosx", "$recycle.bin", "#recycle", "system volume information", "lost+found",
}  # fmt: skip
"""Folders of operating and storage systems, which may hold thumbnails and deleted files."""

LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
CAPITALIZED = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")


def _any_of(words: Iterable[str]) -> str:
    return f"({'|'.join(sorted((w for w in words if len(w) > 2), key=len, reverse=True))})"


GLUED = re.compile(
    _any_of((*SPLIT_OF, *FILLER_WORDS)) + _any_of((*ROLE_OF, *FILLER_WORDS))
    + f"|(.+?){_any_of(word for word in ROLE_OF if len(word) > 3)}"
)  # fmt: skip
"""Two words in one, as in ``trainannot`` of CamVid and ``defaultannot`` of CVAT."""


class NameMeaning(NamedTuple):
    """What a name tells."""

    split: str | None = None
    """``train``, ``val``, ``test`` or ``trainval``."""
    role: Role | None = None
    numbers: tuple[str, ...] = ()
    """Number of a fold, a year and the like."""
    fold: bool = False
    """True if it has a word for a fold."""
    others: tuple[str, ...] = ()
    """Words of no known meaning, such as the name of the data set."""


def words_of(name: str) -> list[str]:
    """Return the words and numbers of a name, in lower case."""
    return [word for word, _ in _words(name)]


def _words(name: str) -> Iterator[tuple[str, bool]]:
    """Yield each word or number, with True if nothing is before it that separates them."""
    for match in LETTERS_OR_DIGITS.finditer(name):
        glued = match.start() > 0 and name[match.start() - 1].isalnum()
        word = match[0].lower()
        if word in SPLIT_OF or word in ROLE_OF or word.isdecimal():
            words = [word]
        elif two := GLUED.fullmatch(word):
            words = [*filter(None, two.groups())]
        else:
            words = [part.lower() for part in CAPITALIZED.findall(match[0])]
        yield from ((word, glued) for word in words)


@lru_cache(4096)
def read_name(name: str) -> NameMeaning:
    """Return the meaning of a folder's name or of a list's name without its suffix."""
    splits: list[str] = []
    role: Role | None = None
    numbers: list[str] = []
    others: list[str] = []
    fold, after_other = False, False
    for word, glued in _words(name):
        if word in SPLIT_OF:
            splits.append(SPLIT_OF[word])
        elif word in ROLE_OF:
            role = ROLE_OF[word] if role != "mask" else role
        elif word in FOLD_WORDS:
            fold = True
        elif word.isdecimal() and not (glued and after_other):
            numbers.append(word)
        elif word not in FILLER_WORDS:
            others.append(word)  # also the number of "task1"
        after_other = bool(others) and others[-1] == word
    split = splits[0] if len(set(splits)) == 1 else None
    if set(splits) == {"train", "val"}:  # train_val
        split = "trainval"
    elif len(set(splits)) > 1:
        others += splits
    return NameMeaning(split, role, tuple(numbers), fold, tuple(others))


def families(names: Iterable[str]) -> set[tuple[str, ...]]:
    """Return the unknown words with which the names tell splits; none is one of them.

    With others at least two names must tell different splits. Such words are the name of a data
    set, as in ``DUTS-TR`` and ``DUTS-TE``; the name ``train_station`` alone tells no split.
    """
    splits: dict[tuple[str, ...], set[str]] = {}
    certain: set[tuple[str, ...]] = set()
    for name in set(names):
        meaning = read_name(name)
        if meaning.split:
            splits.setdefault(meaning.others, set()).add(meaning.split)
            if not meaning.others and SHORT_WORDS.isdisjoint(words_of(name)):
                certain.add(())
    return {others for others, told in splits.items() if others in certain or len(told) > 1}


def natural_order(names: Iterable[str]) -> list[str]:
    """Return names sorted with their numbers in ascending order."""
    return sorted(names, key=lambda name: [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ])  # fmt: skip


def shared_start(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the number of letters or parts at the start that are the same."""
    same = [one == other for one, other in zip(first, second, strict=False)]
    return [*same, False].index(False)


def list_files(root: Path, folders: list[str] | None = None) -> list[str]:
    """Return the paths of all files below a folder, sorted, without hidden ones.

    Links to folders are followed.

    Args:
        root: the folder.
        folders: list that gets the path of each folder, the root among them.
    """
    return sorted(_walk(str(root), "", (), [] if folders is None else folders))


def _walk(
    root: str, prefix: str, above: tuple[tuple[int, int], ...], folders: list[str]
) -> Iterator[str]:
    folders.append(f"{root}/{prefix}")
    try:
        stat = os.stat(f"{root}/{prefix}")  # noqa: PTH116  a Path for each file is slower
        identity = (stat.st_dev, stat.st_ino)
        if identity in above:  # a link to a folder above
            return
        for name in list_names(f"{root}/{prefix}"):
            if name.endswith("/"):
                yield from _walk(root, f"{prefix}{name}", (*above, identity), folders)
            else:
                yield prefix + name
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}). Check its permissions, or move "
            "it elsewhere."
        ) from None


def is_hidden(name: str) -> bool:
    """Return True for the name of a hidden file or folder, or of a folder of the system."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def list_names(folder: str) -> Iterator[str]:
    """Yield the name of each file of a folder, and of each folder with a slash; none is hidden.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_hidden(entry.name):
                yield f"{entry.name}/" if entry.is_dir() else entry.name
