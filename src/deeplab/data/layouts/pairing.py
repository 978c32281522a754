"""Pairs of images and masks in a folder, found by the names of its subfolders and files.

1. The name of each subfolder tells whether it holds images or masks and of which split
   (``file_names``). What remains of a path without these words is the key that an image shares
   with its mask: ``bonn/1`` for ``train/images/bonn/1.jpg`` and ``train/labels/bonn/1.png``.
2. The names of the files may differ by a constant beginning or end. The usual ends are tried;
   another one is used, and said, if it pairs every mask.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from deeplab.data.layouts.base import IMAGE_SUFFIXES, MASK_SUFFIXES, Item
from deeplab.data.layouts.file_names import NameMeaning, Role, families, name_some, read_name
from deeplab.utils.errors import UserError

JPEG, ONLY_MASKS = (".jpg", ".jpeg"), (".gif", ".npy")
"""Formats by which an image and its mask of the same name are told apart."""
MASK_ENDS = (
    "", "_mask", "_masks", "_label", "_labels", "_gt", "_GT", "_seg", "_segmentation", "_annot",
    "_anno", "_L", "-mask", "-label", "_groundtruth", "_gtFine_labelIds",
)  # fmt: skip
IMAGE_ENDS = ("", "_image", "_img", "_im", "_rgb", "_RGB", "_sat", "_input", "_leftImg8bit")
MAX_AFFIX = 60
"""Longest beginning or end of a file name that is found without a key."""
NUM_SAMPLES = 64
"""Number of images on which the usual ends are compared."""


class File(NamedTuple):
    """An image or a mask."""

    path: str
    """Path below the root."""
    key: str
    """What its folders are called, apart from roles and splits."""
    stem: str
    """Name without its suffix."""
    suffix: str
    """End of the name, in lower case."""
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


class Rule(NamedTuple):
    """Beginnings and ends by which the names of images and masks differ."""

    image_end: str = ""
    mask_end: str = ""
    image_start: str = ""
    mask_start: str = ""

    def core(self, image: File) -> str | None:
        """Return the part of an image's name that its mask shares; None if it has none."""
        return _strip(image.stem, self.image_start, self.image_end)

    def mask_stem(self, image: File) -> str | None:
        """Return the name of an image's mask."""
        core = self.core(image)
        return None if core is None else f"{self.mask_start}{core}{self.mask_end}"


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


def find_pairs(
    root: Path,
    paths: Sequence[str],
    *,
    image_dir: str | None = None,
    mask_dir: str | None = None,
    image_suffix: str = "",
    mask_suffix: str | None = None,
) -> Pairing:
    """Return every image below a folder with its mask.

    Args:
        root: the folder.
        paths: its files (``list_files``).
        image_dir: folder of the images, below the root or by its name; None: by the usual names.
        mask_dir: folder of the masks, likewise.
        image_suffix: end of the images' names after the part that they share with the masks.
        mask_suffix: end of the masks' names; None: the usual ends and others.

    Raises:
        UserError: there are none, or it is not clear which they are.
    """
    folders = _Folders(root, paths, image_dir, mask_dir)
    rules = _rules(image_suffix, mask_suffix)
    best: list[Pair] = []
    notes: list[str] = []
    for images, masks in folders.readings():
        pairs, pair_notes = (
            _pair_in_one_folder(root, images, rules, infer=mask_suffix is None)
            if masks is None
            else _pair(root, images, masks, rules, infer=mask_suffix is None)
        )
        if _num_paired(pairs) > _num_paired(best):
            best, notes = pairs, pair_notes
        if best and _num_paired(best) in (len(images), len(masks or ())):
            break
    if not best:
        raise _no_pairs_error(root, folders, rules)
    if mask_dir is None:
        folders.check_other_masks(best)
    return Pairing(best, [*notes, *_unpaired(best, folders)])


def shared_start(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the number of letters or parts at the start that are the same."""
    same = [one == other for one, other in zip(first, second, strict=False)]
    return [*same, False].index(False)


def list_files(root: Path) -> list[str]:
    """Return the paths of all files below a folder, sorted, without hidden ones.

    Links to folders are followed.
    """
    return sorted(_walk(str(root), "", ()))


def _walk(root: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    try:
        stat = os.stat(f"{root}/{prefix}")  # noqa: PTH116  a Path for each file is slower
        identity = (stat.st_dev, stat.st_ino)
        if identity in above:  # a link to a folder above
            return
        with os.scandir(f"{root}/{prefix}") as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if entry.is_dir():
                    yield from _walk(root, f"{prefix}{entry.name}/", (*above, identity))
                else:
                    yield prefix + entry.name
    except OSError as error:
        raise UserError(
            f"{root}/{prefix}: this folder cannot be read ({error.strerror}). Check its "
            "permissions, or move it out of data.root."
        ) from None


class _Folders:
    """The files of a data set by the meaning of their folders."""

    def __init__(
        self, root: Path, paths: Sequence[str], image_dir: str | None, mask_dir: str | None
    ) -> None:
        self.root = root
        by_folder: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            by_folder[path.rpartition("/")[0]].append(path)
        keys: dict[Role, str | None] = {"image": image_dir, "mask": mask_dir}
        self.configured: dict[Role, dict[str, str]] = {
            role: self._configured_folders(role, key, by_folder)
            for role, key in keys.items()
            if key is not None
        }
        self.families = families({name for folder in by_folder for name in folder.split("/")})
        self.others = Counter[tuple[str, str]]()
        """Number of the other files in folders of masks, by folder and suffix."""
        self.meanings: dict[str, FolderMeaning] = {}
        self.files: dict[str, list[File]] = {}
        for folder, folder_paths in by_folder.items():
            meaning = self.meanings[folder] = self._read_folder(folder)
            files = [_file(path, meaning) for path in folder_paths]
            if meaning.role == "mask":
                suffixes = (file.suffix for file in files if file.suffix not in MASK_SUFFIXES)
                self.others.update((folder, suffix) for suffix in suffixes)
            self.files[folder] = [file for file in files if file.suffix in MASK_SUFFIXES]

    def _configured_folders(
        self, role: str, key: str, by_folder: dict[str, list[str]]
    ) -> dict[str, str]:
        """Return the folders that ``image_dir`` or ``mask_dir`` names, each without that part."""
        path = self.root / key
        relative = os.path.relpath(path, self.root)
        if path.is_dir() and relative.startswith(".."):
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
            f"data.{role}_dir: the folder {path} does not exist. Set data.{role}_dir to a folder "
            "below data.root."
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

    def readings(self) -> Iterator[tuple[list[File], list[File] | None]]:
        """Yield the possible images and masks, the likeliest first.

        The masks are None if images and masks are in the same folders.
        """
        if self.configured and self.configured.get("image") == self.configured.get("mask"):
            yield self._of("image"), None
            return
        for image_role in ("image", None):
            if image_role is None and "image" in self.configured:
                break
            for image_certain, mask_certain in product((True, False), repeat=2):
                images = self._of(image_role, image_certain)
                masks = self._of("mask", mask_certain)
                if images and masks:
                    yield images, masks
        if "mask" not in self.configured:
            files = self._of("image") + ([] if self.configured else self._of(None))
            if files := files or self._of("mask"):
                yield files, None

    def _of(self, role: Role | None, certain: bool | None = None) -> list[File]:
        """Return the files of a role; those without one are images beside folders of masks."""
        chosen = {
            folder: meaning
            for folder, meaning in self.meanings.items()
            if meaning.role == role and (certain is None or meaning.certain == certain)
        }
        suffixes = IMAGE_SUFFIXES if role == "image" else MASK_SUFFIXES
        before = [meaning.before for meaning in chosen.values()] or [()]
        shared = shared_start(min(before), max(before))
        return [
            file._replace(key="/".join((*meaning.before[shared:], *meaning.after)))
            for folder, meaning in chosen.items()
            for file in self.files[folder]
            if file.suffix in suffixes
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
                    raise _two_masks_error(folder, other)


def _file(path: str, meaning: FolderMeaning) -> File:
    stem, suffix = os.path.splitext(path.rpartition("/")[2])  # noqa: PTH122
    return File(path, "", stem, suffix.lower(), meaning.split, meaning.subset)


def _rules(image_suffix: str, mask_suffix: str | None) -> list[Rule]:
    """Return the rules to try."""
    image_ends = (image_suffix,) if image_suffix else IMAGE_ENDS
    mask_ends = MASK_ENDS if mask_suffix is None else (mask_suffix,)
    return [Rule(image_end, mask_end) for image_end in image_ends for mask_end in mask_ends]


def _strip(stem: str, start: str, end: str) -> str | None:
    if not (stem.startswith(start) and stem.endswith(end)) or len(stem) < len(start) + len(end):
        return None
    return stem[len(start) : len(stem) - len(end)]


class _MaskIndex:
    """Masks by the folders of their key, all or the last one or none of them, and their name."""

    def __init__(
        self, masks: Iterable[File], folders: Literal["all", "last", "none"], *, fold_case: bool
    ) -> None:
        self.folders, self.fold_case = folders, fold_case
        self.masks: dict[tuple[str, str], list[File]] = defaultdict(list)
        for mask in masks:
            self.masks[self._entry(mask.key, mask.stem)].append(mask)

    def _entry(self, key: str, stem: str) -> tuple[str, str]:
        if self.folders != "all":
            key = key.rpartition("/")[2] if self.folders == "last" else ""
        return (key.casefold(), stem.casefold()) if self.fold_case else (key, stem)

    def find(self, image: File, rule: Rule) -> list[File]:
        """Return the masks of an image: those of its subset, else of its split, else of none."""
        stem = rule.mask_stem(image)
        masks = self.masks.get(self._entry(image.key, stem)) if stem else None
        if not masks or (len(masks) == 1 and masks[0].subset == image.subset):
            return masks or []
        return (
            [mask for mask in masks if mask.subset == image.subset]
            or [mask for mask in masks if mask.split == image.split]
            or [mask for mask in masks if not mask.split or not image.split]
        )

    def count(self, images: Sequence[File], rule: Rule) -> int:
        """Return the number of images with one mask."""
        return sum(len(self.find(image, rule)) == 1 for image in images)


def _pair(
    root: Path, images: list[File], masks: list[File], rules: Sequence[Rule], *, infer: bool
) -> tuple[list[Pair], list[str]]:
    """Pair the images of some folders with the masks of others."""
    _check_same_names(images)
    complete = min(len(images), len(masks))
    rule, index, count = rules[0], _MaskIndex(masks, "all", fold_case=False), 0
    for tried in (
        index,
        _MaskIndex(masks, "last", fold_case=False),
        _MaskIndex(masks, "none", fold_case=False),
        _MaskIndex(masks, "none", fold_case=True),
    ):
        best = _best_rule(images, tried, rules)
        paired = sum(bool(tried.find(image, best)) for image in images)
        if paired > count:
            rule, index, count = best, tried, paired
        if count >= complete:
            break
    notes = []
    if infer and 2 * count < complete and (found := _infer_rule(images, masks)):
        rule, index = found, _MaskIndex(masks, "none", fold_case=False)
        notes.append(_inferred_note(rule))
    found_masks = [index.find(image, rule) for image in images]
    if not any(found_masks):
        return [], []
    for image, several in zip(images, found_masks, strict=True):
        if len(several) > 1 and index.folders == "all":
            raise _two_masks_error(several[0].path, several[1].path, image.path)
    return _make_pairs(
        root, images, [m[0] if len(m) == 1 else None for m in found_masks], rule
    ), notes


def _best_rule(images: Sequence[File], index: _MaskIndex, rules: Sequence[Rule]) -> Rule:
    """Return the rule that pairs the most images of a sample, or of all if it pairs none."""
    sample = images[:: max(1, len(images) // NUM_SAMPLES)]
    if index.count(sample, rules[0]) == len(sample):
        return rules[0]
    best = max(rules, key=lambda rule: index.count(sample, rule))
    if len(sample) < len(images) and not index.count(sample, best):
        best = max(rules, key=lambda rule: index.count(images, rule))
    return best


def _infer_rule(images: Sequence[File], masks: Sequence[File]) -> Rule | None:
    """Return the only rule that gives every mask an image of its own; None without one.

    Raises:
        UserError: several rules do, with different pairs.
    """
    stems = {image.stem for image in images}
    mask = masks[0].stem
    candidates = {
        rule
        for stem in stems
        for rule in _candidate_rules(stem, mask)
        if _is_plausible(rule, stem) and all(_image_stem(m, rule) in stems for m in masks[:8])
    }
    pairs: dict[tuple[str | None, ...], Rule] = {}
    for rule in sorted(candidates, key=lambda rule: (sum(map(len, rule)), rule)):
        names = tuple(_image_stem(m, rule) for m in masks)
        if set(names) <= stems and len(set(names)) == len({m.stem for m in masks}):
            pairs.setdefault(names, rule)
    if len(pairs) > 1:
        first, second = [(images_of[0], rule) for images_of, rule in pairs.items()][:2]
        raise UserError(
            f"data.mask_suffix: the mask {masks[0].path} may belong to {first[0]} or to "
            f"{second[0]}. Set data.mask_suffix to the end of the masks' names."
        )
    return next(iter(pairs.values()), None)


def _image_stem(mask: File, rule: Rule) -> str | None:
    core = _strip(mask.stem, rule.mask_start, rule.mask_end)
    return None if core is None else f"{rule.image_start}{core}{rule.image_end}"


def _candidate_rules(image: str, mask: str) -> Iterator[Rule]:
    """Yield the rules by which a mask may belong to an image."""
    if image in mask:
        start = mask.index(image)
        yield Rule("", mask[start + len(image) :], "", mask[:start])
    elif mask in image:
        start = image.index(mask)
        yield Rule(image[start + len(mask) :], "", image[:start], "")
    else:
        if shared := len(image[: shared_start(image, mask)].rstrip("_- ")):
            yield Rule(image[shared:], mask[shared:])
        if shared := len(image[len(image) - shared_start(image[::-1], mask[::-1]) :].lstrip("_- ")):
            yield Rule("", "", image[:-shared], mask[:-shared])


def _is_plausible(rule: Rule, image: str) -> bool:
    """Return False if beginnings and ends may be parts of numbers, or are long."""
    core = _strip(image, rule.image_start, rule.image_end)
    if not core:
        return False
    starts, ends = (rule.image_start, rule.mask_start), (rule.image_end, rule.mask_end)
    cut = any(text[-1:].isdigit() and core[0].isdigit() for text in starts) or any(
        text[:1].isdigit() and core[-1].isdigit() for text in ends
    )
    named = any(letter.isalpha() for text in (*starts, *ends) for letter in text)
    return named and not cut and all(len(text) <= MAX_AFFIX for text in (*starts, *ends))


def _pair_in_one_folder(
    root: Path, files: list[File], rules: Sequence[Rule], *, infer: bool
) -> tuple[list[Pair], list[str]]:
    """Pair images and masks that are in the same folders, by their format or name."""
    words: dict[Role, list[str]] = {"image": [], "mask": []}
    for stem in sorted({file.stem for file in files}):
        if (role := read_name(stem).role) and stem.isalpha():
            words[role].append(stem)  # a folder for each image, such as ID/image.png
    candidates = [
        *(rule for rule in rules if rule.image_end != rule.mask_end),
        *(Rule(image, mask) for image, mask in product(words["image"], words["mask"])),
    ]
    index, notes = _MaskIndex(files, "all", fold_case=False), []
    rule = max(candidates, key=lambda rule: index.count(files, rule), default=Rule())
    count = index.count(files, rule) if candidates else 0
    formats = ({*JPEG}, {*IMAGE_SUFFIXES} - {*ONLY_MASKS}) if Rule() in rules else ()
    for image_formats in formats:
        images = [file for file in files if file.suffix in image_formats]
        by_format = _MaskIndex(
            (file for file in files if file.suffix not in image_formats), "all", fold_case=False
        )
        found = [by_format.find(image, Rule()) for image in images]
        if sum(map(bool, found)) > count:
            if several := next((masks for masks in found if len(masks) > 1), None):
                raise _same_name_error(several[0].path, several[1].path)
            return _make_pairs(root, images, [m[0] if m else None for m in found], Rule()), []
    if infer and not count and (found_rule := _infer_end(files)):
        rule, count = found_rule, 1
        notes.append(_inferred_note(rule))
    if not count:
        return [], []
    masks = {file: index.find(file, rule) for file in files if rule.core(file) is not None}
    used = {mask.stem for found in masks.values() for mask in found}
    folders = {file.folder for file, found in masks.items() if found}
    images = [
        file
        for file in masks
        if (file.folder in folders or file.split)
        and not (rule.mask_end and file.stem.endswith(rule.mask_end))
        and file.suffix in IMAGE_SUFFIXES
        and file.stem.rstrip("0123456789").rstrip("_- ") not in used  # a second mask
    ]
    _check_same_names(images)
    return _make_pairs(
        root, images, [masks[image][0] if masks[image] else None for image in images], rule
    ), notes


def _infer_end(files: Sequence[File]) -> Rule | None:
    """Return the end by which the names of one half of the files differ from those of the other."""
    stems = {(file.key, file.stem) for file in files}
    ends = Counter(
        stem[length:]
        for key, stem in stems
        for length in range(max(1, len(stem) - MAX_AFFIX), len(stem))
        if (key, stem[:length]) in stems
    )
    end, count = max(ends.items(), key=lambda item: item[1], default=("", 0))
    masks = [file for file in files if file.stem.endswith(end)]
    whole = 2 * count == len(files) and not any(mask.suffix in JPEG for mask in masks)
    return Rule("", end) if whole and count > 1 and _is_plausible(Rule("", end), "x0") else None


def _make_pairs(
    root: Path, images: Sequence[File], masks: Sequence[File | None], rule: Rule
) -> list[Pair]:
    """Return the pairs; a missing mask has a path of no file, where it is expected."""
    paths = {file.path for file in (*images, *filter(None, masks))}
    mask_folders = {i.folder: m.folder for i, m in zip(images, masks, strict=True) if m}
    suffix = next((os.path.splitext(m.path)[1] for m in masks if m), ".png")  # noqa: PTH122
    pairs = []
    for image, mask in zip(images, masks, strict=True):
        core = rule.core(image)
        name = image.stem if core is None else core
        expected = mask.path if mask else ""
        if mask is None:
            folder = mask_folders.get(image.folder, image.folder)
            file = f"{rule.mask_start}{name}{rule.mask_end}{suffix}"
            expected = f"{folder}/{file}".lstrip("/")
            if expected in paths:
                expected = f"{folder}/masks/{file}".lstrip("/")
        image_id = f"{image.key}/{name}".strip("/") or image.stem
        if not image_id.isascii():  # an id is text, although a file name may be none
            image_id = os.fsencode(image_id).decode(errors="backslashreplace")
        if mask and not image.subset:  # the masks may be in folders of splits alone
            image = image._replace(split=mask.split, subset=mask.subset)
        pairs.append(Pair(Item(image_id, root / image.path, root / expected), image, mask))
    return pairs


def _num_paired(pairs: Sequence[Pair]) -> int:
    return sum(pair.mask is not None for pair in pairs)


def _check_same_names(images: Sequence[File]) -> None:
    """Raise UserError if two images of a split have the same key and name."""
    seen: dict[tuple[str, str, str], str] = {}
    for image in images:
        other = seen.setdefault((image.subset, image.key, image.stem), image.path)
        if other != image.path:
            raise _same_name_error(other, image.path)


def _same_name_error(first: str, second: str) -> UserError:
    return UserError(
        f"{first} and {second.rpartition('/')[2]}: two files have the same name. Remove one of "
        "them, or set data.image_dir and data.mask_dir."
    )


def _two_masks_error(first: str, second: str, image: str | None = None) -> UserError:
    if image and first.rpartition("/")[0] == second.rpartition("/")[0]:
        return UserError(f"{image} has two masks: {first} and {second}. Remove one of them.")
    of, what = (f"{image} has two masks: ", "be it") if image else ("", "hold the masks")
    return UserError(
        f"data.mask_dir: {of}{first} and {second} may both {what}. Set data.mask_dir to the "
        "folder to use."
    )


def _inferred_note(rule: Rule) -> str:
    image, mask = f"{rule.image_start}NAME{rule.image_end}", f"{rule.mask_start}NAME{rule.mask_end}"
    return f"The mask of {image} is taken to be {mask}, which pairs every mask"


def _unpaired(pairs: Sequence[Pair], folders: _Folders) -> list[str]:
    """Return lines about images without masks and masks without images."""
    used = {pair.mask.path for pair in pairs if pair.mask}
    with_masks = {pair.image.subset for pair in pairs if pair.mask}
    lonely = [p.image.path for p in pairs if not p.mask and p.image.subset in with_masks]
    unused = [
        file.path
        for folder in {pair.mask.folder for pair in pairs if pair.mask}
        for file in folders.files[folder]
        if file.path not in used
    ]
    known = {pair.image.path for pair in pairs} | {pair.image.stem for pair in pairs}
    known |= {pair.item.id.rpartition("/")[2] for pair in pairs}
    unused = sorted(path for path in unused if not known.intersection(_shorter_names(path)))
    notes = []
    if lonely:
        notes.append(f"{len(lonely)} of {len(pairs)} images have no mask: {name_some(lonely)}")
    if unused:
        notes.append(f"{len(unused)} masks have no image: {name_some(unused)}")
    return notes


def _shorter_names(path: str) -> Iterator[str]:
    """Yield a file's path, its name, and the name without its last words, as of ``1_color.png``."""
    yield path
    name = path.rpartition("/")[2].rpartition(".")[0]
    while name:
        yield name
        name = name.rpartition("_")[0]


def _no_pairs_error(root: Path, folders: _Folders, rules: Sequence[Rule]) -> UserError:
    """Return the error of a folder in which no image has a mask."""
    found = next(folders.readings(), None)
    if found is None:
        return UserError(
            f"data.root={root}: no images and masks found in this folder. Expected two folders "
            "such as images and masks, or images with masks beside them such as a.jpg and "
            "a_mask.png. For other folders set data.image_dir=FOLDER data.mask_dir=FOLDER."
        )
    images, masks = found
    ends_tried = [rule.mask_end for rule in rules if rule.mask_end or masks]
    names = [f"NAME{end}" for end in dict.fromkeys(ends_tried)]
    ends = ", ".join(names[:4]) + " or similar" * (len(names) > 1)
    listed = f"{len(images)} images ({name_some([file.path for file in images])})"
    if masks is not None:
        return UserError(
            f"data.root={root}: {listed} and {len(masks)} masks "
            f"({name_some([file.path for file in masks])}), but no mask has the name of an image: "
            f"the mask of NAME is {ends}. Set data.mask_suffix to the end of the "
            "masks' names, or data.image_dir and data.mask_dir to their folders."
        )
    other = "".join(f" {folder} holds {n} {suffix or 'other'} files, which are not masks."
                    for (folder, suffix), n in folders.others.most_common(1))  # fmt: skip
    return UserError(
        f"data.root={root}: {listed}, but no pairs of image and mask: no folder with a name such "
        f"as masks, labels or annotations has images, and no image NAME has {ends} beside it."
        f"{other} Set data.image_dir=FOLDER data.mask_dir=FOLDER, or data.mask_suffix."
    )
