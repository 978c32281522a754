"""Pairs of images and masks in a folder, found by the names of its subfolders and files.

1. The name of each subfolder tells whether it holds images or masks and of which split
   (``file_names``). What remains of a path without these words is the key that an image shares
   with its mask: ``bonn/1`` for ``train/images/bonn/1.jpg`` and ``train/labels/bonn/1.png``.
   Where images and masks are in one folder, a word in the file's name or its format tells them
   apart.
2. The names of the files may differ by such words, too: ``1_rgb.jpg`` and ``1_mask.png``. Other
   constant beginnings or ends are used, and said, if they pair every mask.

Each reading of the folders is tried with each rule, the strictest first. The first one that leaves
no image or no mask over is used, or else the one with the most pairs: folders of instances or of
other masks, whose names tell less, may pair more.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from unicodedata import normalize

from deeplab.data.items import Item
from deeplab.data.layouts.base import ARRAY_SUFFIX, IMAGE_SUFFIXES, MASK_SUFFIXES
from deeplab.data.layouts.file_names import (
    ROLE_WORDS,
    NameMeaning,
    Role,
    families,
    list_files,
    read_name,
    shared_start,
)
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.utils.errors import UserError
from deeplab.utils.text import name_some, pluralize

if TYPE_CHECKING:
    from deeplab.data.annotations.classes import Annotations

JPEG, ONLY_MASKS = (".jpg", ".jpeg"), (".gif", ".npy")
"""Formats by which an image and its mask of the same name are told apart."""
MAX_END = 60
"""Longest end of a file name that is found without a key."""


def _word_pattern(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|[_\-. ]+)(?i:{'|'.join(words)})(?=[_\-. ]|$)")


NAME_WORDS: dict[Role, re.Pattern[str]] = {
    "image": _word_pattern(*ROLE_WORDS["image"], "sat", "leftImg8bit"),
    "mask": _word_pattern(*ROLE_WORDS["mask"], "(?-i:L)", "gtFine", "labelIds"),
}
"""Words in the names of files that an image does not share with its mask."""


class File(NamedTuple):
    """An image or a mask."""

    path: str
    """Path below the root."""
    key: str
    """What its folders are called, apart from roles and splits; in Unicode's composed form."""
    stem: str
    """Name without its suffix, in the same form."""
    suffix: str
    """End of the name, in lower case."""
    role: Role | None
    """Kind of file that its folders tell."""
    split: str | None
    """Split that its folders tell."""
    subset: str
    """Folders of its split or fold, such as ``train2017``; empty if there are none."""

    @property
    def folder(self) -> str:
        """Folder below the root."""
        return self.path.rpartition("/")[0]


class Pair(NamedTuple):
    """An image and its mask."""

    item: Item
    image: File
    mask: File | None
    """None if there is none; the item has the path where it is expected."""


class Pairing(NamedTuple):
    """The pairs of a folder."""

    pairs: list[Pair]
    notes: list[str]
    """Lines about what was guessed and left out."""


Cut = Callable[[str], str | None]
"""Function from a name to the part that images share with their masks; None if it has none."""


class Rule(NamedTuple):
    """What an image shares with its mask."""

    image: Cut
    mask: Cut
    folders: Literal["all", "last", "none"] = "none"
    """Folders of the key that are the same."""
    fold_case: bool = False

    def entry(self, file: File, cut: Cut) -> tuple[str, str] | None:
        """Return what a file shares with its partner."""
        core = cut(file.stem)
        if core is None:
            return None
        key = {"all": file.key, "last": file.key.rpartition("/")[2], "none": ""}[self.folders]
        return (key.casefold(), core.casefold()) if self.fold_case else (key, core)

    def match(self, images: Sequence[File], masks: Sequence[File]) -> list[list[File]]:
        """Return the masks of each image: those of its subset, else of its split, else of none."""
        by_entry: dict[tuple[str, str] | None, list[File]] = defaultdict(list)
        for mask in masks:
            by_entry[self.entry(mask, self.mask)].append(mask)
        by_entry.pop(None, None)
        return [_nearest(by_entry.get(self.entry(i, self.image), []), i) for i in images]


def _nearest(masks: list[File], image: File) -> list[File]:
    if not masks or (len(masks) == 1 and masks[0].subset == image.subset):
        return masks
    return (
        [mask for mask in masks if mask.subset == image.subset]
        or [mask for mask in masks if mask.split == image.split]
        or [mask for mask in masks if not mask.split or not image.split]
    )


class Affixes(NamedTuple):
    """A constant beginning and end of file names."""

    start: str = ""
    end: str = ""

    def cut(self, stem: str) -> str | None:
        """Return a name without them."""
        if not stem.startswith(self.start) or not stem.endswith(self.end):
            return None
        return stem[len(self.start) : len(stem) - len(self.end)] or None


def _same(stem: str) -> str:
    return stem


def _without_words(role: Role, stem: str) -> str:
    return NAME_WORDS[role].sub("", stem).lstrip("_-. ")


class FolderMeaning(NamedTuple):
    """What the path of a folder tells."""

    role: Role | None
    certain: bool
    """False if a name that tells role or split has other words too."""
    before: tuple[str, ...]
    """Folders above the first one that tells role or split."""
    after: tuple[str, ...]
    """The other folders that tell neither."""
    split: str | None
    subset: str


NO_MEANING = FolderMeaning(None, True, (), (), None, "")
"""Meaning of a folder whose name tells nothing."""

Reading = tuple[list[File], list[File]]
"""Images and masks."""


class _Match(NamedTuple):
    """The masks that a rule gives some images."""

    images: Sequence[File] = ()
    masks: Sequence[Sequence[File]] = ()
    """For each image."""
    rule: Rule = Rule(_same, _same)
    num_pairs: int = 0
    """Number of images with one mask."""
    num_unclear: int = 0
    """Number of images with several."""
    largest: int = 1
    """Number of pairs if no image or no mask is left over."""
    note: str = ""


def find_pairs(root: Path, paths: Sequence[str], settings: FolderSettings) -> Pairing:
    """Return every image below a folder with its mask.

    Args:
        root: the folder.
        paths: its files (``list_files``).
        settings: of which the folders and suffixes are used.

    Raises:
        UserError: there are none, or it is not clear which they are.
    """
    folders = _Folders(root, paths, settings)
    best = _best(_matches(folders, _rules(settings)))
    keys = settings.image_suffix or settings.mask_suffix is not None
    if 2 * (best.num_pairs + best.num_unclear) < best.largest and not keys:
        readings = (*folders.readings_by_role(), *folders.readings_by_end())
        best = _best([best, *(_infer_match(*reading) for reading in readings)])
    pairs = _make_pairs(root, best)
    if not pairs:
        raise _no_pairs_error(root, folders, settings)
    if settings.mask_dir is None:
        folders.check_other_masks(pairs)
    return Pairing(pairs, [*filter(None, [best.note]), *_unpaired(pairs, folders)])


def annotated_pairs(
    root: Path, paths: Sequence[str], annotations: "Annotations", settings: FolderSettings
) -> Pairing:
    """Return every image below a folder that has an annotation.

    Their split is that of their folders, or else of the file of annotations: ``train.json``.

    Args:
        root: the folder.
        paths: its files.
        annotations: its annotations.
        settings: of which the folders are used.
    """
    folders = _Folders(root, paths, settings)
    images = [file for files in folders.files.values() for file in files]
    pairs: list[Pair] = []
    names: Counter[tuple[str, str]] = Counter()
    for image in sorted(images, key=lambda file: file.path):
        annotation = annotations.of(image.path)
        if annotation is None:
            continue
        path = annotations.source.images[image.path]
        source = _file(path, folders.meanings.get(path.rpartition("/")[0], NO_MEANING))
        if not image.subset and (split := read_name(source.stem).split):
            image = image._replace(split=split, subset=source.stem)
        key = item_id("/".join((*folders.meanings[image.folder].after, image.stem)))
        names[image.subset, key] += 1
        pairs.append(Pair(Item(key, root / image.path, root / path, annotation), image, source))
    repeated = {name for (_, name), count in names.items() if count > 1}
    for i, pair in enumerate(pairs):
        if pair.item.id in repeated:
            whole = item_id(os.path.splitext(pair.image.path)[0])  # noqa: PTH122
            pairs[i] = pair._replace(item=pair.item._replace(id=whole))
    notes = list(annotations.source.notes)
    known = {pair.image.path for pair in pairs}
    if left := sorted(file.path for file in images if file.path not in known):
        count = pluralize(len(left), "image")
        notes.append(f"{count} without an annotation, not used: {name_some(left)}")
    return Pairing(pairs, notes)


def is_outside(root: Path, folder: str) -> bool:
    """Return True if ``image_dir`` or ``mask_dir`` is not below the root."""
    return os.path.relpath(_named_folder(root, folder), root).startswith("..")


def _named_folder(root: Path, folder: str) -> Path:
    """Return the folder that ``image_dir`` or ``mask_dir`` names."""
    return root / os.path.expanduser(folder)  # noqa: PTH111  never raises


class _Folders:
    """The files of a data set by the meaning of their folders."""

    def __init__(self, root: Path, paths: Sequence[str], settings: FolderSettings) -> None:
        self.root, self.settings = root, settings
        by_folder: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            by_folder[path.rpartition("/")[0]].append(path)
        keys: dict[Role, str | None] = {"image": settings.image_dir, "mask": settings.mask_dir}
        self.configured: dict[Role, dict[str, str]] = {
            role: self._configured_folders(role, key, by_folder)
            for role, key in keys.items()
            if key is not None
        }
        self.families = families({name for folder in by_folder for name in folder.split("/")})
        self.meanings = {folder: self._read_folder(folder) for folder in by_folder}
        self.paths = by_folder
        self.files = {
            folder: [file for file in files if file.suffix in MASK_SUFFIXES]
            for folder, meaning in self.meanings.items()
            for files in [[_file(path, meaning) for path in by_folder[folder]]]
        }

    def _configured_folders(
        self, role: str, key: str, by_folder: dict[str, list[str]]
    ) -> dict[str, str]:
        """Return the folders that ``image_dir`` or ``mask_dir`` names, each without that part."""
        path = _named_folder(self.root, key)
        relative = os.path.relpath(path, self.root)
        if path.is_dir() and is_outside(self.root, key):
            for file in list_files(path):
                by_folder[f"{path}/{file}".rpartition("/")[0]].append(f"{path}/{file}")
            relative = str(path)
        start = "" if relative == "." else f"{relative}/"
        named = f"/{key.strip('/')}/"
        if path.is_dir():
            return {f: f[len(start) :] for f in by_folder if f"{f}/".startswith(start)}
        if found := {f: f"/{f}/".replace(named, "/", 1) for f in by_folder if named in f"/{f}/"}:
            return found
        raise UserError(
            f"data.{role}_dir={key}: the folder {path} does not exist. Set data.{role}_dir to a "
            "folder below data.root, or to a whole path."
        )

    def _read_folder(self, folder: str) -> FolderMeaning:
        roles = [role for role, folders in self.configured.items() if folder in folders]
        text = self.configured[roles[0]][folder] if roles else folder
        parts = tuple(part for part in text.split("/") if part)
        meanings = [self._read_name(name) for name in parts]
        role = next((m.role for m in reversed(meanings) if m.role), None)
        if self.configured:  # a folder of the other role is found by its name
            role = roles[0] if roles else (None if role in self.configured else role)
        telling, subset = [], []
        for i, meaning in enumerate(meanings):
            numbered = i and meanings[i - 1].fold and not meanings[i - 1].numbers
            if meaning.split or meaning.fold or (numbered and parts[i].isdecimal()):
                subset.append(parts[i])
                telling.append(i)
            elif meaning.role:
                telling.append(i)
        first = telling[0] if telling else 0
        return FolderMeaning(
            role,
            all(not meanings[i].others for i in telling),
            parts[:first],
            tuple(parts[i] for i in range(first, len(parts)) if i not in telling),
            next((m.split for m in reversed(meanings) if m.split), None),
            "/".join(subset),
        )

    def _read_name(self, name: str) -> NameMeaning:
        meaning = read_name(name)
        if meaning.split and meaning.others not in self.families:
            meaning = meaning._replace(split=None)
        if meaning.fold and meaning.others:
            meaning = meaning._replace(fold=False)
        return meaning

    def readings_by_role(self) -> Iterator[Reading]:
        """Yield the images and masks of folders whose names tell them, the likeliest first."""
        if self._is_shared():
            return
        roles: tuple[Role | None, ...] = ("image", None)
        for image_role in roles[: 1 if "image" in self.configured else 2]:
            for image_certain, mask_certain in product((True, False), repeat=2):
                images = self.of_role(image_role, image_certain)
                images = [f for f in images if f.suffix in (*IMAGE_SUFFIXES, ARRAY_SUFFIX)]
                yield images, self.of_role("mask", mask_certain)

    def readings_in_one_folder(self) -> Iterator[Reading]:
        """Yield the images and masks of folders with both, told apart by a word or the format."""
        files = self._in_one_folder()
        yield _divide(files, self._is_mask)
        if not self.settings.mask_suffix and not self.settings.image_suffix:
            yield _divide(files, lambda file: file.suffix not in JPEG)
            yield _divide(files, lambda file: file.suffix in ONLY_MASKS)

    def readings_by_end(self) -> Iterator[Reading]:
        """Yield the halves of the files in one folder whose names differ by a constant end."""
        files = self._in_one_folder()
        stems = {(file.key, file.stem) for file in files}
        ends = Counter(
            stem[length:]
            for key, stem in stems
            for length in range(max(1, len(stem) - MAX_END), len(stem))
            if (key, stem[:length]) in stems
        )
        end, count = max(ends.items(), key=lambda item: item[1], default=("", 0))
        is_image = read_name(end).role == "image"
        images, masks = _divide(files, lambda file: file.stem.endswith(end) != is_image)
        if 2 * count == len(files) and count > 1 and not any(m.suffix in JPEG for m in masks):
            yield images, masks

    def _is_shared(self) -> bool:
        """Return True if one folder is configured for both images and masks."""
        folders = {role: self.configured.get(role) for role in ("image", "mask")}
        return bool(self.configured) and folders["image"] == folders["mask"]

    def _in_one_folder(self) -> list[File]:
        """Return the files of folders that may hold both images and masks."""
        if "mask" in self.configured and not self._is_shared():
            return []
        files = self.of_role("image") + ([] if self.configured else self.of_role(None))
        return files or self.of_role("mask")

    def _is_mask(self, file: File) -> bool:
        image, mask = self.settings.image_suffix, self.settings.mask_suffix
        if image or mask:
            return file.stem.endswith(mask) if mask else not file.stem.endswith(image)
        return NAME_WORDS["mask"].search(file.stem) is not None

    def of_role(self, role: Role | None, certain: bool | None = None) -> list[File]:
        """Return the files of a role; those without one are images beside folders of masks."""
        chosen = {
            folder: meaning
            for folder, meaning in self.meanings.items()
            if meaning.role == role and (certain is None or meaning.certain == certain)
        }
        before = [meaning.before for meaning in chosen.values()] or [()]
        shared = shared_start(min(before), max(before))
        return [
            file._replace(key=normalize("NFC", "/".join((*m.before[shared:], *m.after))))
            for folder, m in chosen.items()
            for file in self.files[folder]
        ]

    def check_other_masks(self, pairs: Sequence[Pair]) -> None:
        """Raise UserError if a second folder may hold the masks of the same images."""
        used = {pair.mask.folder: pair.mask for pair in pairs if pair.mask}
        for folder, meaning in self.meanings.items():
            if meaning.role != "mask" or not meaning.certain or folder in used:
                continue
            for other, mask in used.items():
                same = meaning.after == self.meanings[other].after
                same = same and (meaning.split, meaning.subset) == (mask.split, mask.subset)
                if same and 2 * len(self.files[folder]) >= len(self.files[other]) > 0:
                    names = " and ".join(sorted((folder, other)))
                    raise UserError(
                        f"data.mask_dir: {names} may both hold the masks. Set "
                        "data.mask_dir to the folder to use."
                    )


def _divide(files: Sequence[File], is_mask: Callable[[File], bool]) -> Reading:
    images = [f for f in files if f.suffix in IMAGE_SUFFIXES and not is_mask(f)]
    return images, [file for file in files if is_mask(file)]


def _file(path: str, m: FolderMeaning) -> File:
    stem, suffix = os.path.splitext(path.rpartition("/")[2])  # noqa: PTH122
    return File(path, "", normalize("NFC", stem), suffix.lower(), m.role, m.split, m.subset)


def _rules(settings: FolderSettings) -> list[Rule]:
    """Return the rules to try, the strictest first."""
    cut_image: Cut = partial(_without_words, "image")
    cut_mask: Cut = partial(_without_words, "mask")
    if settings.image_suffix:
        cut_image = Affixes(end=settings.image_suffix).cut
    if settings.mask_suffix is not None:
        cut_mask = Affixes(end=settings.mask_suffix).cut
    image = cut_image if settings.image_suffix else _same
    mask = _same if settings.mask_suffix is None else cut_mask
    cuts = dict.fromkeys([(image, mask), (image, cut_mask), (cut_image, cut_mask)])
    folders: tuple[Literal["all", "last", "none"], ...] = ("all", "last", "none")
    return [
        *(Rule(*names, level) for level in folders for names in cuts),
        *(Rule(*names, "none", fold_case=True) for names in cuts),
    ]


def _matches(folders: _Folders, rules: Sequence[Rule]) -> Iterator[_Match]:
    for reading in folders.readings_by_role():
        yield _best(_match(*reading, rule) for rule in rules)
    for reading in folders.readings_in_one_folder():
        yield _best(_match(*reading, rule) for rule in rules if rule.folders == "all")


def _best(matches: Iterable[_Match]) -> _Match:
    """Return the first match that pairs all images or all masks, else that with the most pairs."""
    best = _Match()
    for match in matches:
        best = max(best, match, key=lambda m: (m.num_pairs, m.num_unclear))
        if best.num_pairs == best.largest:
            break
    return best


def _match(images: Sequence[File], masks: Sequence[File], rule: Rule) -> _Match:
    if not images or not masks:
        return _Match()
    found = rule.match(images, masks)
    numbers = Counter(min(len(several), 2) for several in found)
    return _Match(images, found, rule, numbers[1], numbers[2], min(len(images), len(masks)))


def _infer_match(images: Sequence[File], masks: Sequence[File]) -> _Match:
    """Return the pairs without what all names of images or of masks have at an end, if all do."""
    if not images or not masks:
        return _Match()
    ends = _constant_affixes(images), _constant_affixes(masks)
    for image, mask in (
        tuple(Affixes(end=affixes.end) for affixes in ends),
        tuple(Affixes(affixes.start) for affixes in ends),
        ends,
    ):
        match = _match(images, masks, Rule(image.cut, mask.cut))
        if match.num_pairs == len(masks) and any(map(str.isalpha, "".join((*image, *mask)))):
            names = [f"{affixes.start}NAME{affixes.end}" for affixes in (image, mask)]
            note = f"The mask of {names[0]} is taken to be {names[1]}, which pairs every mask"
            return match._replace(note=note)
    return _Match()


def _constant_affixes(files: Sequence[File]) -> Affixes:
    """Return the beginning and end of all names, up to a separator or a number."""
    stems = [file.stem for file in files]
    first, last = min(stems), max(stems)
    start = first[: shared_start(first, last)]
    first, last = (name([stem[::-1] for stem in stems]) for name in (min, max))
    end = first[: shared_start(first, last)][::-1]
    if start in stems:
        start = ""
    start = start[: 1 + max(map(start.rfind, "_-. "))] or start.rstrip("0123456789")
    separator = min((end.find(letter) for letter in "_-. " if letter in end), default=-1)
    return Affixes(start, end[separator:] if separator >= 0 else end.lstrip("0123456789"))


def _make_pairs(root: Path, match: _Match) -> list[Pair]:
    """Return the pairs; a missing mask has a path of no file, where it is expected.

    Raises:
        UserError: an image has several masks, or a mask or an id is that of several images.
    """
    found = [(i, m[0]) for i, m in zip(match.images, match.masks, strict=True) if m]
    if not found:
        return []
    mask_folders = {image.folder: mask.folder for image, mask in found}
    names = {
        (image.folder, name)
        for image, _ in found
        for name in (image.stem, match.rule.image(image.stem))
    }
    shared = shared_start(found[0][0].stem, found[0][1].stem)
    image_end, mask_end = (file.stem[shared:] for file in found[0])
    suffix = os.path.splitext(found[0][1].path)[1]  # noqa: PTH122
    paths = {file.path for several in (match.images, *match.masks) for file in several}
    pairs: list[Pair] = []
    seen: dict[tuple[str, str], str] = {}
    for image, masks in zip(match.images, match.masks, strict=True):
        mask, expected = masks[0] if masks else None, ""
        if len(masks) > 1:
            raise _two_masks_error(masks[0].path, masks[1].path, image.path)
        if mask is None:
            shorter = ((image.folder, name) for name in _shorter_names(image.stem))
            second = not names.isdisjoint(shorter)  # such as 1_depth.png
            if not image.role and (second or not (image.folder in mask_folders or image.split)):
                continue
            folder = mask_folders.get(image.folder, image.folder)
            file = f"{image.stem.removesuffix(image_end)}{mask_end}{suffix}"
            expected = f"{folder}/{file}".lstrip("/")
            if expected in paths:
                expected = f"{folder}/masks/{file}".lstrip("/")
        elif not image.subset:  # the masks may be in folders of splits alone
            image = image._replace(split=mask.split, subset=mask.subset)
        image_id = f"{image.key}/{match.rule.image(image.stem) or ''}".strip("/") or image.stem
        image_id = item_id(image_id)
        for key in ((image.subset, image_id), ("mask", mask.path if mask else expected)):
            if (other := seen.setdefault(key, image.path)) != image.path:
                raise _same_name_error(other, image.path)
        item = Item(image_id, root / image.path, root / (mask.path if mask else expected))
        pairs.append(Pair(item, image, mask))
    return pairs


def item_id(path: str) -> str:
    """Return a path as an id, which is text, although the name of a file may be none."""
    return path if path.isascii() else os.fsencode(path).decode(errors="backslashreplace")


def _same_name_error(first: str, second: str) -> UserError:
    folder, _, name = second.rpartition("/")
    other = name if first.rpartition("/")[0] == folder else second
    return UserError(
        f"{first} and {other}: two files have the same name. Remove one of "
        "them, or set data.image_dir and data.mask_dir."
    )


def _two_masks_error(first: str, second: str, image: str) -> UserError:
    if first.rpartition("/")[0] == second.rpartition("/")[0]:
        return UserError(
            f"{image} has two masks: {first} and {second}. Remove one of them, or set "
            "data.mask_suffix to the end of the names to use."
        )
    return UserError(
        f"data.mask_dir: {image} has two masks: {first} and {second} may both be it. Set "
        "data.mask_dir to the folder to use."
    )


def _unpaired(pairs: Sequence[Pair], folders: _Folders) -> list[str]:
    """Return lines about images without masks and masks without images."""
    used = {pair.mask.path for pair in pairs if pair.mask}
    with_masks = {pair.image.subset for pair in pairs if pair.mask}
    lonely = [p.image.path for p in pairs if not p.mask and p.image.subset in with_masks]
    known = {name for pair in pairs for name in (pair.image.stem, Path(pair.item.id).name)}
    unused = sorted(
        file.path
        for folder in {pair.mask.folder for pair in pairs if pair.mask}
        for file in folders.files[folder]
        if file.path not in used and known.isdisjoint(_shorter_names(file.stem))
    )
    notes = []
    if lonely:
        notes.append(
            f"{len(lonely)} of {pluralize(len(pairs), 'image')} without a mask: {name_some(lonely)}"
        )
    if unused:
        notes.append(f"{pluralize(len(unused), 'mask')} without an image: {name_some(unused)}")
    used |= {pair.image.path for pair in pairs}
    others = [
        f"{folder or 'data.root'} ({len(files)} files)" for folder, files in folders.files.items()
        if files and used.isdisjoint(file.path for file in files)
    ]  # fmt: skip
    if others:
        notes.append(f"Folders not used: {name_some(others)}")
    return notes


def _shorter_names(stem: str) -> Iterator[str]:
    """Yield a file's name and the name without its last words, as of ``1_color.png``."""
    while stem:
        yield stem
        stem = stem.rpartition("_")[0]


def _no_pairs_error(root: Path, folders: _Folders, settings: FolderSettings) -> UserError:
    """Return the error of a folder in which no image has a mask."""
    roles: tuple[Role | None, ...] = ("image", "mask", None)
    found, masks, others = ([file.path for file in folders.of_role(role)] for role in roles)
    images = found or others
    if not images and not masks:
        return UserError(
            f"data.root={root}: no images and masks found in this folder. Expected two folders "
            "such as images and masks, or images with masks beside them such as a.jpg and "
            "a_mask.png. For other folders set data.image_dir=FOLDER data.mask_dir=FOLDER."
        )
    if not images:
        return UserError(
            f"data.root={root}: {pluralize(len(masks), 'mask')} ({name_some(masks)}), but no "
            "images in this folder. Set data.image_dir to theirs, which may be anywhere, as "
            "/my/photos."
        )
    ends = "NAME_mask, NAME_label, NAME_gt or similar"
    if settings.mask_suffix:
        ends = f"NAME{settings.mask_suffix}"
    listed = f"{pluralize(len(images), 'image')} ({name_some(images)})"
    if masks:
        return UserError(
            f"data.root={root}: {listed} and {pluralize(len(masks), 'mask')} ({name_some(masks)}), "
            f"but no mask has the name of an image: the mask of NAME is {ends}. Set "
            "data.mask_suffix to the end of the masks' names, or data.image_dir and data.mask_dir "
            "to their folders."
        )
    outlines = Counter(
        f"{folder} holds {{}} {os.path.splitext(path)[1].lower()} files"  # noqa: PTH122
        for folder, meaning in folders.meanings.items() if meaning.role == "mask"
        for path in folders.paths[folder]
    )  # fmt: skip
    other = "".join(
        f" {text.format(n)}, which are not masks." for text, n in outlines.most_common(1)
    )
    return UserError(
        f"data.root={root}: {listed}, but no pairs of image and mask: no folder with a name such "
        f"as masks, labels or annotations has images, and no image NAME has {ends} beside it."
        f"{other} Set data.image_dir=FOLDER data.mask_dir=FOLDER, or data.mask_suffix."
    )
