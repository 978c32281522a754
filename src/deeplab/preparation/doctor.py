"""The dataset doctor: decodes every file of a data set once and reports problems.

An error would stop training or make its score wrong. A warning is worth knowing: the file is
decoded in one of several possible ways, or looks like a mistake.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from deeplab.data.bad_files import BadFileError, split_overlap_message
from deeplab.data.class_set import ClassSet, Pixels
from deeplab.data.image_header import KINDS
from deeplab.data.image_io import RGB, read_image, unusual_kinds
from deeplab.data.items import Item, shared_images
from deeplab.data.labels import read_label
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.rare_classes import SCARCE_ADVICE, scarce_classes
from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.parallel import parallel_map

Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """An error or a warning about a file or a split."""

    severity: Severity
    kind: str
    path: str
    problem: str
    remedy: str


class ItemReport(NamedTuple):
    """The result of decoding one image and its mask."""

    findings: tuple[Finding, ...]
    size: tuple[int, int] | None  # of an image that can be decoded
    pixels: tuple[int, ...] | None  # by class, then ignored; of a mask that fits
    digest: str | None  # of the image's pixels


@dataclass
class SplitReport:
    """The statistics of a split."""

    images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: list[int] = field(default_factory=list)
    images_with: list[int] = field(default_factory=list)


@dataclass
class DatasetReport:
    """The statistics and findings of a data set."""

    classes: ClassSet
    splits: dict[str, SplitReport]
    findings: list[Finding]

    def with_severity(self, severity: Severity) -> list[Finding]:
        """Return the findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]


def examine_dataset(
    splits: Mapping[str, Sequence[Item]],
    classes: ClassSet,
    *,
    crop_size: int | None,
    largest_scale: float,
    num_workers: int,
    progress: bool = True,
    pixel_format: PixelFormat = RGB,
    exclusive: Sequence[tuple[str, str]] | None = None,
) -> DatasetReport:
    """Decode all files of the splits, each once, and compare them.

    Args:
        splits: items by split, the training split first.
        classes: the classes of the masks.
        crop_size: crop size of training, which is compared with the image sizes; None: it will be
            chosen from them.
        largest_scale: largest random scale of training, for the same comparison.
        num_workers: number of processes.
        progress: True to show a progress bar.
        pixel_format: see ``deeplab.data.image_io.read_image``.
        exclusive: pairs of splits that must share no image; None: all pairs.
    """
    items = list(dict.fromkeys(item for split_items in splits.values() for item in split_items))
    results = parallel_map(
        partial(examine_item, classes=classes, pixel_format=pixel_format),
        items,
        num_workers=num_workers,
        desc="Decoding every file",
        progress=progress,
    )
    reports = dict(zip(items, results, strict=True))
    unlabeled = {
        item for split, split_items in splits.items() if split != next(iter(splits))
        if not any(os.path.isfile(item.mask) for item in split_items)  # noqa: PTH113  long names
        for item in split_items
    }  # fmt: skip
    findings = [
        finding for item, report in reports.items() for finding in report.findings
        if not (item in unlabeled and finding.kind == "missing mask")
    ]  # fmt: skip
    split_reports = {
        split: _summarize(split_items, reports, classes) for split, split_items in splits.items()
    }
    findings += _duplicate_ids(splits)
    separate = [*combinations(splits, 2)] if exclusive is None else exclusive
    findings += _shared_images(splits, separate)
    findings += _duplicate_images(splits, separate, reports)
    findings += _missing_classes(split_reports, classes)
    findings += _scarce_classes(split_reports, classes)
    if crop_size is not None:
        findings += _check_crop_size(split_reports, crop_size, largest_scale)
    findings.sort(key=lambda f: (f.severity, f.kind))
    return DatasetReport(classes, split_reports, findings)


def examine_item(item: Item, *, classes: ClassSet, pixel_format: PixelFormat) -> ItemReport:
    """Decode an image and its mask."""
    findings: list[Finding] = []
    image, pixels = None, None
    try:
        image = read_image(item.image, pixel_format)
        findings += [
            Finding("warning", kind, str(path), *KINDS[kind])
            for kind, path in unusual_kinds(item.image, item.mask_file, pixel_format.channels)
        ]
    except BadFileError as error:
        findings.append(_error(error))
    try:
        if image is not None or item.annotation is None:
            size = None if image is None else (image.shape[0], image.shape[1])
            pixels = _count(read_label(item, classes, size), len(classes))
            findings += _empty_mask(item.mask, pixels, classes)
    except BadFileError as error:
        findings.append(_error(error))
    return ItemReport(
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


def _empty_mask(path: Path, pixels: tuple[int, ...], classes: ClassSet) -> list[Finding]:
    if not any(pixels[:-1]):
        problem, kind = f"nothing but {IGNORE} (ignored) in this mask", "mask without a label"
    elif classes.names[0] == BACKGROUND and not any(pixels[1:-1]):
        problem, kind = "nothing but background in this mask", "mask without an object"
    else:
        return []
    remedy = "Check that its objects were not forgotten."
    return [Finding("warning", kind, str(path), problem, remedy)]


def _summarize(
    items: Sequence[Item], reports: Mapping[Item, ItemReport], classes: ClassSet
) -> SplitReport:
    summary = SplitReport(images=len(items))
    counts = [pixels for item in items if (pixels := reports[item].pixels) is not None]
    table = np.array(counts, np.int64).reshape(len(counts), len(classes) + 1)
    summary.pixels = table.sum(axis=0).tolist()
    summary.images_with = (table > 0).sum(axis=0).tolist()
    summary.sizes = Counter(size for item in items if (size := reports[item].size) is not None)
    return summary


def _duplicate_ids(splits: Mapping[str, Sequence[Item]]) -> list[Finding]:
    """Return a finding for each id that is twice in a split, or differs by its case only."""
    findings = []
    for split, items in splits.items():
        by_folded: dict[str, list[str]] = defaultdict(list)
        for name, count in Counter(item.id for item in items).items():
            by_folded[name.casefold()].append(name)
            if count > 1:
                findings.append(Finding(
                    "error", "listed twice", f"{split}: {name}", f"this id is listed {count} times",
                    "Keep one entry of it in the list."))  # fmt: skip
        findings += [
            Finding("warning", "same id but for its case", f"{split}: {second}",
                    f"differs from {first} by upper and lower case only",
                    "Rename one of them: some systems take both for one file.")
            for first, second, *_ in (names for names in by_folded.values() if len(names) > 1)
        ]  # fmt: skip
    return findings


def _shared_images(
    splits: Mapping[str, Sequence[Item]], exclusive: Sequence[tuple[str, str]]
) -> list[Finding]:
    """Return an error for each image file that is in two splits."""
    return [
        Finding("error", "in two splits", f"{first}, {second}: {item.id}",
                *split_overlap_message(first, second))
        for first, second in exclusive
        if first in splits and second in splits
        for item in sorted({*shared_images(splits[first], splits[second])})
    ]  # fmt: skip


def _duplicate_images(
    splits: Mapping[str, Sequence[Item]],
    exclusive: Sequence[tuple[str, str]],
    reports: Mapping[Item, ItemReport],
) -> list[Finding]:
    """Return a finding for each image with the same pixels as an image with another id.

    It is an error where the splits of both must share no image.
    """
    separate = {frozenset(pair) for pair in exclusive}
    copies_by_digest: dict[str, dict[str, str]] = defaultdict(dict)  # digest -> path -> split
    for split, items in splits.items():
        for item in items:
            if digest := reports[item].digest:
                copies_by_digest[digest].setdefault(str(item.image), split)
    findings = []
    for copies in copies_by_digest.values():
        (path, split), *duplicates = copies.items()
        for duplicate, duplicate_split in duplicates:
            across = frozenset((split, duplicate_split)) in separate
            findings.append(Finding(
                "error" if across else "warning",
                "same image in two splits" if across else "same image twice",
                duplicate,
                f"the same pixels as {path}" + (f", which is in {split}" if across else ""),
                "Remove one of them."))  # fmt: skip
    return findings


def _missing_classes(reports: Mapping[str, SplitReport], classes: ClassSet) -> list[Finding]:
    train, *_ = reports
    if not any(reports[train].pixels):  # each of its images has a finding of its own
        return []
    return [
        Finding("warning", "class without a pixel", f"{train}: {name}",
                f"no mask of {train} has a pixel of this class",
                "The network cannot learn it from this split.")
        for name, pixels in zip(classes.names, reports[train].pixels, strict=False)
        if not pixels
    ]  # fmt: skip


def _scarce_classes(reports: Mapping[str, SplitReport], classes: ClassSet) -> list[Finding]:
    """Return a warning for each class that few images of the first two splits have."""
    train, val, *_ = *reports, *reports
    if train == val or not any(reports[val].pixels[:-1]):
        return []
    found = scarce_classes(
        classes.names,
        *(reports[split].images_with[: len(classes)] for split in (train, val)),
        num_training=reports[train].images,
        num_validation=reports[val].images,
    )
    return [
        Finding("warning", "class in few images", f"{train}, {val}: {name}", problem,
                SCARCE_ADVICE)
        for name, problem in found.items()
    ]  # fmt: skip


def _check_crop_size(
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
            f"Set data.crop_size to about {longest // 16 * 16 + 1}.")]  # fmt: skip
    return []
