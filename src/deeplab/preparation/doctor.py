"""The dataset doctor: every file of a data set decoded once, and what is wrong with it in words.

An error is what training would stop at, or what makes its score wrong. A warning is what a person
should know of: it is decoded in one way where another was possible, or looks like a mistake.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deeplab.data.bad_files import BadFileError, Severity, in_two_splits
from deeplab.data.class_set import ClassSet, Pixels
from deeplab.data.image_io import read_image, read_mask, size_problem
from deeplab.data.layouts.base import Item
from deeplab.utils.constants import IGNORE
from deeplab.utils.parallel import parallel_map

ORIENTATION = 0x0112  # EXIF's tag

IMAGE_KINDS = {
    "EXIF orientation": (
        "the EXIF header asks for a rotation, which is not applied",
        "Masks know nothing of it. If the mask was drawn on the rotated picture, save the image "
        "rotated and without the header.",
    ),
    "gray image": (
        "a gray image; its three channels are made equal",
        "Nothing to do if it is meant to be gray.",
    ),
    "CMYK image": (
        "a CMYK image, converted without its color preset",
        "Save it as RGB if its colors matter.",
    ),
    "16-bit image": (
        "more than 8 bits a channel, cut down to 8",
        "Scale it to 8 bits yourself if it does not use the whole range.",
    ),
    "alpha channel": (
        "an alpha channel, which is dropped",
        "Save it without one, on the background that you want.",
    ),
}
"""What training makes of an image that is not plain 8-bit RGB, and what to do."""


class Finding(NamedTuple):
    """Something to know of."""

    severity: Severity
    kind: str
    path: str
    problem: str
    remedy: str


class Examined(NamedTuple):
    """What one image and its mask showed."""

    findings: tuple[Finding, ...]
    size: tuple[int, int] | None  # of an image that can be decoded
    pixels: tuple[int, ...] | None  # by class, then ignored; of a mask that fits
    digest: str | None  # of the image's pixels


@dataclass
class SplitReport:
    """What a split holds."""

    images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: list[int] = field(default_factory=list)
    images_with: list[int] = field(default_factory=list)


@dataclass
class Diagnosis:
    """The doctor's whole answer."""

    classes: ClassSet
    splits: dict[str, SplitReport]
    findings: list[Finding]

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]


def examine_dataset(
    splits: Mapping[str, Sequence[Item]],
    classes: ClassSet,
    *,
    crop_size: int,
    largest_scale: float,
    num_workers: int,
    progress: bool = True,
) -> Diagnosis:
    """Examine all files of the splits, each once, and compare them.

    Args:
        splits: items by split, the one for training first.
        classes: what the masks say.
        crop_size: of training, to compare the image sizes with.
        largest_scale: the same.
        num_workers: processes.
        progress: whether there is a bar.
    """
    items = list(dict.fromkeys(item for listed in splits.values() for item in listed))
    examine_ = partial(examine, classes=classes)
    results = parallel_map(
        examine_, items, num_workers=num_workers, desc="Decoding every file", progress=progress
    )
    examined = dict(zip(items, results, strict=True))
    findings = [finding for one in examined.values() for finding in one.findings]
    reports = {split: _sum_up(listed, examined, classes) for split, listed in splits.items()}
    findings += _listed_twice(splits)
    findings += _same_content(splits, examined)
    findings += _missing_classes(reports, classes)
    findings += _sizes(reports, crop_size, largest_scale)
    findings.sort(key=lambda f: (f.severity, f.kind))
    return Diagnosis(classes, reports, findings)


def examine(item: Item, *, classes: ClassSet) -> Examined:
    """Decode an image and its mask."""
    findings: list[Finding] = []
    image, mask, pixels = None, None, None
    try:
        image = read_image(item.image)
        findings += _kind_of_image(item.image)
    except BadFileError as error:
        findings.append(_error(error))
    try:
        mask = read_mask(item.mask, colored=classes.colored)
        if image is not None and image.shape[:2] != mask.shape[:2]:
            raise size_problem(item.mask, mask.shape, image.shape)
        label = classes.decode(mask, item.mask)
        pixels = _count(label, len(classes))
        findings += _empty(item.mask, pixels, classes)
    except BadFileError as error:
        findings.append(_error(error))
    return Examined(
        tuple(findings),
        None if image is None else (image.shape[0], image.shape[1]),
        pixels,
        None if image is None else _digest(image),
    )


def _error(error: BadFileError) -> Finding:
    return Finding("error", error.kind, error.path, error.problem, error.remedy)


def _digest(image: Pixels) -> str:
    return hashlib.blake2b(image.tobytes() + repr(image.shape).encode(), digest_size=16).hexdigest()


def _count(label: Pixels, classes: int) -> tuple[int, ...]:
    counts = np.bincount(label.ravel(), minlength=256).tolist()
    return (*counts[:classes], counts[IGNORE])


def _kind_of_image(path: Path) -> list[Finding]:
    """What training makes of an image that is not plain 8-bit RGB."""
    with Image.open(path) as image:
        mode, orientation = image.mode, image.getexif().get(ORIENTATION, 1)
        transparent = mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    with path.open("rb") as file:
        header = file.read(26)
    sixteen = mode.startswith(("I", "F")) or (header.startswith(b"\x89PNG") and header[24] == 16)
    kinds = {
        "EXIF orientation": orientation != 1,
        "gray image": mode in ("L", "LA", "1"),
        "CMYK image": mode in ("CMYK", "YCCK"),
        "16-bit image": sixteen,
        "alpha channel": transparent,
    }
    return [
        Finding("warning", kind, str(path), *IMAGE_KINDS[kind])
        for kind, is_so in kinds.items()
        if is_so
    ]


def _empty(path: Path, pixels: tuple[int, ...], classes: ClassSet) -> list[Finding]:
    if not any(pixels[:-1]):
        problem, kind = f"nothing but {IGNORE} (ignored) in this mask", "mask without a label"
    elif classes.names[0] == "background" and not any(pixels[1:-1]):
        problem, kind = "nothing but background in this mask", "mask without an object"
    else:
        return []
    return [
        Finding(
            "warning",
            kind,
            str(path),
            problem,
            "SeedResult whether its objects have been forgotten.",
        )
    ]


def _sum_up(
    listed: Sequence[Item], examined: Mapping[Item, Examined], classes: ClassSet
) -> SplitReport:
    report = SplitReport(images=len(listed))
    counts = [one.pixels for item in listed if (one := examined[item]).pixels is not None]
    table = np.array(counts, np.int64).reshape(len(counts), len(classes) + 1)
    report.pixels = table.sum(axis=0).tolist()
    report.images_with = (table > 0).sum(axis=0).tolist()
    report.sizes = Counter(size for item in listed if (size := examined[item].size) is not None)
    return report


def _listed_twice(splits: Mapping[str, Sequence[Item]]) -> list[Finding]:
    """The same id twice in a split, or in two splits."""
    found = []
    for split, items in splits.items():
        for name, times in Counter(item.id for item in items).items():
            if times > 1:
                found.append(Finding(
                    "error", "listed twice", f"{split}: {name}", f"this id is listed {times} times",
                    "Take the others out of the list."))  # fmt: skip
    for first, second in _pairs(splits):
        shared = {item.id for item in splits[first]} & {item.id for item in splits[second]}
        words = in_two_splits(first, second)
        found += [Finding("error", "in two splits", f"{first}, {second}: {name}", *words)
                  for name in sorted(shared)]  # fmt: skip
    return found


def _same_content(
    splits: Mapping[str, Sequence[Item]], examined: Mapping[Item, Examined]
) -> list[Finding]:
    """Images with equal pixels under different ids."""
    places: dict[str, dict[str, str]] = defaultdict(dict)  # digest -> path -> split
    for split, items in splits.items():
        for item in items:
            if digest := examined[item].digest:
                places[digest].setdefault(str(item.image), split)
    found = []
    for copies in places.values():
        (path, split), *others = copies.items()
        for other, other_split in others:
            across = split != other_split
            found.append(Finding(
                "error" if across else "warning",
                "same image in two splits" if across else "same image twice",
                other,
                f"the same pixels as {path}" + (f", which is in {split}" if across else ""),
                "Take one of them out."))  # fmt: skip
    return found


def _missing_classes(reports: Mapping[str, SplitReport], classes: ClassSet) -> list[Finding]:
    train, *_ = reports
    return [
        Finding("warning", "class without a pixel", f"{train}: {name}",
                f"no mask of {train} has a pixel of this class", "It cannot be learned from it.")
        for name, pixels in zip(classes.names, reports[train].pixels, strict=False)
        if not pixels
    ]  # fmt: skip


def _sizes(
    reports: Mapping[str, SplitReport], crop_size: int, largest_scale: float
) -> list[Finding]:
    train, *_ = reports
    sizes = reports[train].sizes
    longest = max((max(size) for size in sizes), default=0)
    if 0 < longest * largest_scale < crop_size:
        return [Finding(
            "warning", "crop larger than images", train,
            f"no image is longer than {longest} pixels, so even at scale {largest_scale} every "
            f"crop of {crop_size} is mostly padding",
            f"Set data.crop_size to {longest // 16 * 16 + 1} or so.")]  # fmt: skip
    return []


def _pairs(splits: Mapping[str, Sequence[Item]]) -> list[tuple[str, str]]:
    names = list(splits)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
