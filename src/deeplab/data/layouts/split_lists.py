"""Lists of the images of a split: their reading, and the layouts that have one for each split."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deeplab.data.items import Item
from deeplab.data.layouts.base import MASK_SUFFIXES, Layout, no_such_split
from deeplab.data.layouts.file_names import FILLER_WORDS, ROLE_OF, words_of
from deeplab.utils.errors import UserError
from deeplab.utils.paths import is_reachable, relative_path
from deeplab.utils.program import command

TABLE_SUFFIXES = (".csv", ".tsv")
LIST_SUFFIXES = (".txt", ".lst", *TABLE_SUFFIXES)
"""Ends of the names of lists."""
SPLIT_COLUMNS = ("split", "subset", "set", "fold", "partition", "phase", "usage")
"""Headings of a table's column that tells the split of each row."""

MAX_LIST_BYTES = 1 << 28
MAX_LINE = 9000
"""Longest line of a list: two paths."""

SUFFIX = "|".join(re.escape(suffix) for suffix in MASK_SUFFIXES)
TWO_FILES = re.compile(
    rf"(.+?(?:{SUFFIX}))[\"']?[\s,;]+[\"']?(.+?(?:{SUFFIX}))(?:[\s,;].*)?", re.IGNORECASE
)
"""A line that names an image and its mask."""
NUMBERS = re.compile(r"(.*?\S)(?:\s+-?\d+)+")
"""A line with numbers after the id, such as VOC's lists of a class."""


class Line(NamedTuple):
    """A line of a list."""

    list: Path
    number: int
    text: str
    may_be_heading: bool = False
    split: str = ""
    """What the column of splits says."""

    def error(self, problem: str, fix: str) -> UserError:
        """Return an error of this line; ``problem`` is a phrase after the text."""
        text = self.text if len(self.text) <= 100 else f"{self.text[:100]}..."
        return UserError(f"{self.list}, line {self.number}: {text!r} {problem}. {fix}")

    @property
    def files(self) -> tuple[str, str | None]:
        """The image or its id, and the mask if the line names both."""
        text = self.text.replace("\\", "/")
        match = TWO_FILES.fullmatch(text)
        return (match[1], match[2]) if match else (text.strip("\"'"), None)

    @property
    def is_heading(self) -> bool:
        """True for what is a comment or heading unless it names an image."""
        first = self.number == 1 and all(
            w in ROLE_OF or w in FILLER_WORDS for w in words_of(self.text)
        )
        return self.may_be_heading or first or self.text.startswith("#")

    def check(self, path: str) -> str:
        """Return a path of this line in its plain form, without ``./``.

        Raises:
            UserError: it leads out of the folder of the data set.
        """
        try:
            return relative_path(path)
        except ValueError as error:
            raise self.error(
                str(error), "Write the path of the image below data.root, or its id."
            ) from None


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a split list that are not empty.

    Raises:
        UserError: the list cannot be read, or it is empty.
    """
    try:
        if not path.is_file():
            raise OSError("it is no regular file")
        if path.stat().st_size > MAX_LIST_BYTES:
            raise OSError("it is too large for a list")
        text = decode_text(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}). Check the file and its permissions, and save it as "
            "UTF-8."
        ) from None
    texts = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
    lines = [Line(path, number, text.strip()) for number, text in texts if text.strip()]
    if long := next((line for line in lines if len(line.text) > MAX_LINE), None):
        raise long.error(f"has more than {MAX_LINE} characters", "Write one image per line.")
    if path.suffix.lower() in TABLE_SUFFIXES:
        lines = _choose_columns(lines)
    if not lines:
        raise UserError(f"{path} lists no images. Add their ids, one per line.")
    return lines


def _choose_columns(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of a table with nothing but image and mask."""
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0].text.count)
    rows = [next(csv.reader([line.text], delimiter=delimiter), [""]) for line in lines]
    roles = [_role(cell) for cell in rows[0]]
    columns = [cell.strip().lower() for cell in rows[0]]
    split = next((k for k, name in enumerate(columns) if name in SPLIT_COLUMNS), len(columns))
    image = roles.index("image") if "image" in roles else 0
    mask = roles.index("mask") if "mask" in roles else 1
    chosen = []
    for line, row in zip(lines, rows, strict=True):
        cells = [row[column].strip() for column in (image, mask) if column < len(row)]
        both = all(Path(cell[-9:]).suffix.lower() in MASK_SUFFIXES for cell in cells)
        text = "\t".join(cells) if both else cells[0] if cells else ""
        heading = line is lines[0] and any(roles)
        told = row[split].strip() if split < len(row) and not heading else ""
        chosen.append(Line(line.list, line.number, text, heading, told))
    return [line for line in chosen if line.text]


def _role(heading: str) -> str | None:
    """Return whether a column holds images or masks; None if its heading tells neither."""
    if heading.strip().lower() in SPLIT_COLUMNS:
        return None
    roles = {
        ROLE_OF.get(word, "image" if word in FILLER_WORDS else "") for word in words_of(heading)
    }
    if Path(heading[-9:]).suffix.lower() in MASK_SUFFIXES or any(map(str.isdecimal, heading)):
        return None
    return "mask" if "mask" in roles else "image" if "image" in roles else None


def decode_text(data: bytes) -> str:
    """Return a text file's content without its byte-order mark.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16 with a byte-order mark.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


class SplitListLayout(Layout):
    """Layout with a list of ids for each split, and paths that follow from an id."""

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
                f"{self.description}, or create it with {command('prepare')}."
            )
        return roots[0]

    def splits(self) -> list[str]:
        return sorted(p.stem for p in (self.root / self.lists).glob("*.txt"))

    def items(self, split: str) -> list[Item]:
        path = self.root / self.lists / f"{split}.txt"
        if split not in self.splits():
            raise no_such_split(split, self.splits(), f"{path} does not exist")
        ids = [self._read_id(line) for line in read_lines(path)]
        return [Item(i, self.root / self.image.format(i), self._mask(i)) for i in ids]

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return f"{self.lists}/{split}.txt"

    def _read_id(self, line: Line) -> str:
        """Return the id of a line: an id, the path of an image, or an image and its mask."""
        start, end = self.image.split("{}")
        image = line.text.removeprefix("/")  # as in the lists of DeepLab's authors
        if (match := TWO_FILES.fullmatch(image)) or (match := NUMBERS.fullmatch(image)):
            image = match[1]
        if (start and image.startswith(start)) or image.endswith(end):
            image = image.removeprefix(start).removesuffix(end)
        elif line.text.startswith("/"):
            image = line.text
        return line.check(image)

    def _mask(self, image_id: str) -> Path:
        candidates = [self.root / pattern.format(image_id) for pattern in self.masks]
        if len(candidates) == 1:
            return candidates[0]
        return next(filter(is_reachable, candidates), candidates[0])
