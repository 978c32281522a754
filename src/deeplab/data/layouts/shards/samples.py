"""Samples of tar files, the shards of a WebDataset.

    train-0000.tar   7.jpg 7.cls 8.jpg 8.cls ...

Members that follow each other and whose names are equal up to their first dot are a sample: an
image and its labels, as text.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from deeplab.data.layouts.base import is_image
from deeplab.data.packed_file import open_storage
from deeplab.utils.errors import UserError
from deeplab.utils.paths import is_url
from deeplab.utils.reading import describe
from deeplab.utils.text import pluralize

MAX_LABEL_BYTES = 1 << 16
"""Largest member with labels."""

MAX_IMAGE_BYTES = 2**31 - 1
"""Largest image."""

BLOCK = 512
"""Size of a header of a tar file."""


class Shard(NamedTuple):
    """A tar file."""

    name: str
    """Path below the root."""
    size: int
    version: str
    """What changes with its content: a time, or a checksum of the storage."""
    address: str
    """Path or address."""


class ShardRows(NamedTuple):
    """The images of a shard, in its order."""

    names: list[str]
    offsets: list[int]
    sizes: list[int]
    labels: list[list[str]]


def scan_shard(shard: Shard, label_extension: str) -> ShardRows:
    """Return the images of a shard with their labels.

    Raises:
        UserError: it cannot be read or is damaged, or a sample has no image, several, or no label.
    """
    rows, keys = ShardRows([], [], [], []), set[str]()
    with (
        _report_damage(shard),
        _open(shard) as file,
        # names in other encodings stay different, and can be printed
        tarfile.open(fileobj=file, mode="r:", errors="backslashreplace") as tar,
    ):
        for sample in _samples(tar):
            images = [e for e in sample.members if "." not in e and is_image(f".{e}")]
            label = sample.members.get(label_extension)
            if not images and label is None:
                _check_no_sample(sample, label_extension)
                continue
            found = ", ".join(f".{extension}" for extension in sample.members)
            if len(images) != 1:
                count = pluralize(len(images), "image")
                raise UserError(
                    f"{shard.address}: {sample.key} has {count} ({found}); one is expected. "
                    "Write the shard again."
                )
            if label is None:
                raise UserError(
                    f"{shard.address}: {sample.key} has no member .{label_extension} beside it "
                    f"({found}). Set data.label_extension to the one with the label; the members "
                    "of a sample must follow each other."
                )
            if sample.key in keys:
                raise UserError(
                    f"{shard.address}: {sample.key} is there twice. Write the shard again."
                )
            keys.add(sample.key)
            image = sample.members[images[0]]
            if image.size > MAX_IMAGE_BYTES:
                raise ValueError(f"{image.name} has {image.size:,} bytes, too many for an image")
            rows.names.append(image.name)
            rows.offsets.append(image.offset_data)
            rows.sizes.append(image.size)
            rows.labels.append(_read_labels(tar, label))
        _check_end(file, tar.offset)
    return rows


class _Sample(NamedTuple):
    """Members of a tar file that belong together, by the ends of their names."""

    key: str
    members: dict[str, tarfile.TarInfo]


def _samples(tar: tarfile.TarFile) -> Iterator[_Sample]:
    """Yield the samples of a tar file; folders, hidden files and those without a dot are left out.

    Raises:
        ValueError: a member is a link or the like, or is there twice.
    """
    sample = _Sample("", {})
    while member := tar.next():
        tar.members.clear()  # type: ignore[attr-defined]  # or tarfile keeps all
        stem, _, extension = member.name.rpartition("/")[2].partition(".")
        if not stem or not extension or member.isdir():
            continue
        if not member.isfile() or member.issparse():
            raise ValueError(f"{member.name} is a link or no plain file")
        key = member.name[: -len(extension) - 1]
        if key != sample.key:
            yield sample
            sample = _Sample(key, {})
        if sample.members.setdefault(extension.lower(), member) is not member:
            raise ValueError(f"{member.name} is there twice")
    yield sample


def _check_no_sample(sample: _Sample, label_extension: str) -> None:
    """Raise ValueError if members seem to be a sample but for a further dot in their names."""
    ends = {extension.rpartition(".")[2] for extension in sample.members}
    if label_extension in ends and any(is_image(f".{end}") for end in ends):
        first = next(iter(sample.members.values())).name
        raise ValueError(f"{first}: a name may have one dot, before its extension")


def _read_labels(tar: tarfile.TarFile, member: tarfile.TarInfo) -> list[str]:
    """Return the labels in a member, each once."""
    content = tar.extractfile(member)
    assert content is not None  # only of what is no file
    words = content.read(MAX_LABEL_BYTES + 1).decode("utf-8-sig").split()
    if not words or member.size > MAX_LABEL_BYTES:
        problem = "has no label" if not words else f"has {member.size:,} bytes, too many for labels"
        raise ValueError(f"{member.name} {problem}")
    if words[0][0] in "{[":
        raise ValueError(f"{member.name} is JSON; indices or names of classes are read, as text")
    return [*dict.fromkeys(words)]


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise ValueError unless only zeros follow, at least a block of them.

    ``tarfile`` takes a damaged header, a hole or the end of a file that was cut off for the end.
    """
    file.seek(offset)
    end = offset
    while data := file.read(1 << 20):
        if data.strip(b"\0"):
            raise ValueError(f"there is no header at byte {offset:,}, and more behind it")
        end += len(data)
    if end < offset + BLOCK:
        raise ValueError("it has no mark of its end, as if it was cut off")


@contextmanager
def _open(shard: Shard) -> Iterator[BinaryIO]:
    if not is_url(shard.address):
        with open(shard.address, "rb") as file:  # noqa: PTH123  as the addresses
            yield file
        return
    system, path = open_storage(shard.address)
    with system.open(path, "rb", block_size=1 << 23, cache_type="readahead") as file:
        yield file


@contextmanager
def _report_damage(shard: Shard) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of tarfile, of the storage, of a text that is none
        raise UserError(
            f"{shard.address}: this shard cannot be read ({describe(error)}). Copy or write it "
            "again."
        ) from None
