"""Files inside of tar files, which are read where they lie, on a disk or in a cloud."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

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
        import fsspec

        try:
            # a fork gets a connection of its own: fsspec keeps one for each process
            system, path = fsspec.core.url_to_fs(self.archive)
            return bytes(system.cat_file(path, start=self.offset, end=self.offset + self.size))
        except Exception as error:  # of any of the libraries for clouds
            raise OSError(getattr(error, "errno", None) or errno.EIO, describe(error)) from None


ImagePath = Path | PackedFile
"""Where an image is."""
