"""Files that have no path: inside of tar files, on a disk or in a cloud, and in memory."""

import errno
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from deeplab.utils.paths import is_url
from deeplab.utils.reading import describe


class PackedFile(NamedTuple):
    """A file inside of an uncompressed tar file."""

    archive: str
    """Path or address of the tar file."""
    name: str
    offset: int
    """Where its content begins, in bytes."""
    size: int
    """Length of its content, in bytes."""

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"

    def read_bytes(self) -> bytes:
        """Return the content; it is shorter if the tar file has become shorter.

        Raises:
            OSError: the tar file cannot be read.
        """
        if not is_url(self.archive):
            with open(self.archive, "rb", buffering=0) as file:  # noqa: PTH123  a Path is slower
                return os.pread(file.fileno(), self.size, self.offset)
        try:
            system, path = open_storage(self.archive)
            if system.async_impl:
                return bytes(system.cat_file(path, start=self.offset, end=self.offset + self.size))
            with system.open(path, "rb", cache_type="none") as file:  # or it reads megabytes ahead
                file.seek(self.offset)
                return bytes(file.read(self.size))
        except Exception as error:  # of any of the libraries for clouds
            raise OSError(getattr(error, "errno", None) or errno.EIO, describe(error)) from None


def open_storage(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    A fork gets connections of its own: fsspec keeps them for each process.

    Raises:
        Exception: of any of the libraries for clouds.
    """
    import fsspec

    for name in ("botocore", "aiobotocore"):  # they name the source of each key
        logging.getLogger(name).setLevel(logging.WARNING)
    system, path = fsspec.core.url_to_fs(address)
    return system, path


class MemoryFile(NamedTuple):
    """The content of a file."""

    data: bytes

    def __str__(self) -> str:
        return f"image of {self.size:,} bytes"

    @property
    def size(self) -> int:
        """Length of the content, in bytes."""
        return len(self.data)

    def read_bytes(self) -> bytes:
        """Return the content."""
        return self.data


ImagePath = Path | PackedFile | MemoryFile
"""Where an image is."""
