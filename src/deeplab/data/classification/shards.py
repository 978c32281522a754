"""Samples of tar files, the shards of a WebDataset.

    train-0000.tar   7.jpg 7.cls 8.jpg 8.cls ...

Members whose names are equal up to their first dot are a sample: an image and its labels, as text.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from deeplab.data.layouts.base import is_image
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
    with _report_damage(shard), _open(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for sample in _samples(tar):
            images = [e for e in sample.members if "." not in e and is_image(f".{e}")]
            label = sample.members.get(label_extension)
            if not images and label is None:
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
                    f"{shard.address}: {sample.key} has no member .{label_extension} ({found}). "
                    "Set data.label_extension to the one with the label."
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
    """Yield the samples of a tar file; hidden files and whatever is no file are left out."""
    sample = _Sample("", {})
    while member := tar.next():
        stem, _, extension = member.name.rpartition("/")[2].partition(".")
        if not stem or not extension or not member.isfile() or member.issparse():
            continue
        key = member.name[: -len(extension) - 1]
        if key != sample.key:
            yield sample
            sample = _Sample(key, {})
        sample.members[extension.lower()] = member
    yield sample


def _read_labels(tar: tarfile.TarFile, member: tarfile.TarInfo) -> list[str]:
    """Return the labels in a member, each once."""
    content = tar.extractfile(member)
    assert content is not None  # only of what is no file
    words = content.read(MAX_LABEL_BYTES + 1).decode().split()
    if not words or member.size > MAX_LABEL_BYTES:
        problem = "has no label" if not words else f"has {member.size:,} bytes, too many for labels"
        raise ValueError(f"{member.name} {problem}")
    return [*dict.fromkeys(words)]


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise ValueError for a damaged header, which ``tarfile`` takes for the end."""
    file.seek(offset)
    if file.read(BLOCK).strip(b"\0"):
        raise ValueError(f"there is no header at byte {offset:,}")


@contextmanager
def _open(shard: Shard) -> Iterator[BinaryIO]:
    if not is_url(shard.address):
        with open(shard.address, "rb") as file:  # noqa: PTH123  as the addresses
            yield file
        return
    import fsspec

    system, path = fsspec.core.url_to_fs(shard.address)
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
            f"{shard.address}: this shard cannot be read ({describe(error)}). Copy it again, or "
            "remove it."
        ) from None
