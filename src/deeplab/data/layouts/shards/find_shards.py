"""Search for the shards of a WebDataset, in a folder or in a cloud."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, NamedTuple

from deeplab.data.layouts.file_names import (
    SHORT_WORDS,
    list_files,
    natural_order,
    read_name,
    words_of,
)
from deeplab.data.layouts.imagenet import CLASSES, parse_classes
from deeplab.data.layouts.shards.samples import Shard
from deeplab.data.packed_file import open_storage
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.paths import is_url
from deeplab.utils.reading import describe

TAR = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

EXTRAS = {"s3": ("s3", "s3fs")}
"""Extra and package of the addresses that need one; ``hf://`` needs none."""


class FoundShards(NamedTuple):
    """The shards of a folder."""

    splits: dict[str, list[Shard]]
    unused: list[str]
    """Tar files that are of no split."""
    classes: tuple[str, ...] | None
    """Names of the classes, if there is a file of them."""


def find_shards(address: str, setting: str) -> FoundShards:
    """Return the shards of a folder by their splits.

    Args:
        address: absolute path or address of the folder.
        setting: how it was set, for messages.

    Raises:
        UserError: it cannot be listed, has no shards, or its file of classes is wrong.
    """
    found, read = (_find_remote if is_url(address) else _find_local)(address or "/", setting)
    classes = None
    if CLASSES in found:
        classes = parse_classes(partial(read, CLASSES), f"{address}/{CLASSES}")
    shards = [shard for name, shard in found.items() if name.lower().endswith(TAR)]
    if not shards:
        packed = [name for name in found if name.lower().endswith(COMPRESSED)]
        problem = f"{packed[0]} is compressed" if packed else "no .tar files found"
        fix = "Unpack it to a .tar" if packed else "Set it to the folder of the shards"
        raise UserError(f"{setting}: {problem}. {fix}.")
    splits, unused = dict[str, list[Shard]](), list[str]()
    for shard in shards:
        if split := _find_split(shard.name):
            splits.setdefault(split, []).append(shard)
        else:
            unused.append(shard.name)
    return FoundShards(splits, unused, classes)


_Found = tuple[dict[str, Shard], Callable[[str], bytes]]
"""The files of a folder by their paths below it, and what reads one of them."""


def _find_local(root: str, setting: str) -> _Found:
    if not Path(root).is_dir():
        raise UserError(f"{setting}: there is no such folder. Set it to the folder of the shards.")
    found = dict[str, Shard]()
    for name in natural_order(list_files(Path(root))):
        path = f"{root.rstrip('/')}/{name}"
        with suppress(OSError):  # a link to nothing
            stat = os.stat(path)  # noqa: PTH116  of what a link leads to
            if S_ISREG(stat.st_mode):
                found[name] = Shard(name, stat.st_size, str(stat.st_mtime_ns), path)
    return found, lambda name: Path(root, name).read_bytes()


def _find_remote(root: str, setting: str) -> _Found:
    if extra := EXTRAS.get(root.partition("://")[0]):
        require_extra(*extra, setting=setting)
    try:
        system, folder = open_storage(root)
        infos = {
            path.removeprefix(folder).lstrip("/"): info
            for path, info in system.find(folder, detail=True).items()
        }
        found = {
            name: Shard(name, infos[name]["size"] or 0, _version(infos[name]), f"{root}/{name}")
            for name in natural_order(infos)
        }
    except Exception as error:  # of any of the libraries for clouds
        raise UserError(
            f"{setting}: this folder cannot be listed ({describe(error)}). Check the address and "
            "your access to it."
        ) from None

    def read(name: str) -> bytes:
        try:
            return bytes(system.cat_file(f"{folder}/{name}"))
        except Exception as error:  # as above
            raise OSError(describe(error)) from None

    return found, read


def _version(info: Mapping[str, Any]) -> str:
    """Return what a storage has that changes with the content of a file."""
    keys = ("ETag", "etag", "blob_id", "md5Hash", "LastModified", "last_modified", "mtime")
    return next((str(info[key]) for key in keys if info.get(key)), "")


def _find_split(name: str) -> str | None:
    """Return the split that the name of a tar file tells, or else the nearest of its folders.

    Words that may be a language, such as ``tr``, tell none.
    """
    path = PurePosixPath(name)
    names = (path.stem, *(folder.name for folder in path.parents))
    certain = (part for part in names if SHORT_WORDS.isdisjoint(words_of(part)))
    return next((split for part in certain if (split := read_name(part).split)), None)
