"""Extraction of tar and zip archives; no partly written file ever has its final name.

``shutil``, ``tarfile`` and ``pooch`` write the files in place, so that a kill leaves a part of one
under its final name, and do not notice a tar that was cut between two members.
"""

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from unicodedata import normalize

from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.progress import ProgressBar
from deeplab.utils.reading import describe
from deeplab.utils.text import printable
from deeplab.utils.write_errors import full_disk_error, write_error

BLOCK_SIZE = 1 << 20
MAX_RATIO, ALWAYS_ALLOWED = 100, 1 << 30
"""Unpacked bytes for each byte of an archive, and the size from which on this counts. Images hardly
compress and COCO's annotations by a factor of four; zeros compress by 1,000."""
MAX_MEMBERS = 10_000_000
"""ImageNet has 1.4 million files."""
MAX_NAME_HEADER = 1 << 20
"""Largest header of a tar with the names of a member, which is read into memory."""

ARCHIVE_ERRORS = (
    OSError,  # also of gzip
    EOFError,
    LookupError,
    RuntimeError,  # zip: encrypted, or compressed by an unknown method
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that reading a damaged archive raises."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_file: bool
    is_encrypted: bool
    open: Callable[[], IO[bytes]]
    end: int  # offset of its end in the archive


def unpack(
    archive: Path,
    target: Path,
    *,
    select: Callable[[str], str | None] = lambda name: name,
    overwrite: bool = False,
    progress: bool = True,
) -> list[str]:
    """Unpack a tar (also compressed) or a zip; return the paths of the files, relative to target.

    An existing file with the member's size is kept, unless ``overwrite``. Folders are created as
    their files need them. What is selected must be plain files with different names, also on
    systems that do not distinguish upper and lower case, of a plausible size.

    Args:
        archive: the archive.
        target: the folder to write to.
        select: maps the path of a member to its path below the target, or to None to skip it.
        overwrite: True to replace existing files.
        progress: True to show a progress bar.

    Raises:
        UserError: the archive is damaged, or a member must not be unpacked; or the target cannot
            be written or is full.
    """
    members: dict[str, str] = {}  # names by path, in lower case
    paths: list[str] = []
    existing = _ExistingFiles(target, ignored=overwrite)
    check_archive(archive)
    size = archive.stat().st_size
    done, unpacked = 0, 0
    bar = ProgressBar(f"Unpacking {archive.name}", size, "B", show=progress)
    with archive.open("rb") as file, bar:
        for member in _members(archive, file):
            path = select(member.name)
            if path is not None:
                unpacked += member.size
                too_large = unpacked > max(ALWAYS_ALLOWED, MAX_RATIO * size)
                key = normalize("NFC", path).casefold()
                other = members.get(key)
                members[key] = member.name
                if problem := _member_problem(member, path, other, too_large=too_large):
                    raise UserError(
                        f"{archive}: its member {printable(member.name)[:200]!r} {problem}. Check "
                        "where the archive comes from."
                    )
                _extract(archive, member, existing, path, num_bytes=size - done)
                paths.append(path)
            bar.update(member.end - done)
            done = member.end
        bar.update(size - done)
    return paths


def check_archive(archive: Path) -> None:
    """Check that a file begins as an archive does, before anything is written.

    Raises:
        UserError: it cannot be read or is no archive.
    """
    try:
        file = archive.open("rb")
    except OSError as error:
        raise UserError(
            f"{archive}: cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    with file:
        next(_members(archive, file), None)


class _ExistingFiles:
    """The files that an earlier call has left below the target; each folder is listed once."""

    def __init__(self, root: Path, *, ignored: bool) -> None:
        self.root = root
        self.ignored = ignored
        self.sizes: dict[Path, dict[str, int]] = {}

    def has(self, path: str, size: int) -> bool:
        """Return True if a file of this size exists and existing files are not ignored."""
        folder, name = (self.root / path).parent, PurePosixPath(path).name
        if folder not in self.sizes:
            entries = os.scandir(folder) if not self.ignored and folder.is_dir() else ()
            self.sizes[folder] = {e.name: e.stat().st_size for e in entries if e.is_file()}
        return self.sizes[folder].get(name) == size


def _member_problem(member: _Member, path: str, other: str | None, *, too_large: bool) -> str:
    """Return why a member must not be unpacked, a phrase after its name; empty if it may be."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        return "would be written outside of the target folder, so the archive is not unpacked"
    if printable(path) != path:
        return "has control characters in its name"
    if not member.is_file:
        return "is a link or a device, and only files are unpacked"
    if member.is_encrypted:
        return "is encrypted. Unpack it with its password and set the folder instead"
    if other is not None:
        return f"and {printable(other)[:200]!r} have the same place in the target folder"
    if too_large:
        return f"makes the archive more than {MAX_RATIO} times as large as it is packed"
    return ""


def _extract(
    archive: Path, member: _Member, existing: _ExistingFiles, path: str, *, num_bytes: int
) -> None:
    try:
        if not existing.has(path, member.size):
            _write(archive, member, existing.root / path)
    except (OSError, UserError) as error:
        cause = full_disk_error(error) or error
        if isinstance(cause, UserError):
            raise
        raise write_error(cause, existing.root, num_bytes) from None


def _write(archive: Path, member: _Member, path: Path) -> None:
    with _report_damage(archive):
        stream = member.open()
    with stream, atomic_write(path, flush=False) as temporary, temporary.open("wb") as out:
        while block := _read(archive, stream):
            out.write(block)
        with _report_damage(archive):
            if out.tell() != member.size:
                raise ValueError(f"{printable(member.name)[:200]!r} has another size")


def _read(archive: Path, stream: IO[bytes]) -> bytes:
    with _report_damage(archive):
        return stream.read(BLOCK_SIZE)


@contextmanager
def _report_damage(archive: Path) -> Iterator[None]:
    """Report any error of the block as damage; the block must only read the archive."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        raise UserError(
            f"{archive}: the archive is damaged or is neither tar nor zip ({describe(error)}). Get "
            "a complete one and run this again."
        ) from None


def _members(archive: Path, file: IO[bytes]) -> Iterator[_Member]:
    """Yield the files, links and devices of an archive; its first bytes determine its type."""
    with _report_damage(archive):
        is_zip = file.read(4) in (b"PK\3\4", b"PK\5\6")
        file.seek(0)
        members = _zip_members(file) if is_zip else _tar_members(file)
        for number, member in enumerate(members, start=1):
            if number > MAX_MEMBERS:
                raise ValueError(f"more than {MAX_MEMBERS:,} files")
            yield member


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)
                yield _Member(
                    name=_normalized_name(info.filename.replace("\\", "/")),
                    size=info.file_size,
                    is_file=kind in (0, stat.S_IFREG),
                    is_encrypted=bool(info.flag_bits & 1),
                    open=partial(opened.open, info),
                    end=info.header_offset + info.compress_size,
                )


class _TarInfo(tarfile.TarInfo):
    """Header of a tar whose names are read into memory only if they are short."""

    def _proc_member(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        names = (b"L", b"K", b"x", b"g", b"X")  # the types of GNU, POSIX and Solaris
        if self.size < 0 or (self.type in names and self.size > MAX_NAME_HEADER):
            raise ValueError(f"a member of {self.size} bytes that cannot be")
        member: tarfile.TarInfo = super()._proc_member(opened)  # type: ignore[misc]
        return member


def _tar_members(file: IO[bytes]) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, tarinfo=_TarInfo) as opened:
        while info := opened.next():
            opened.members.clear()  # type: ignore[attr-defined]  # they would fill the memory
            if not info.isdir():
                yield _Member(
                    name=_normalized_name(info.name),
                    size=info.size,
                    is_file=info.isreg(),
                    is_encrypted=False,
                    open=partial(_open_tar_member, opened, info),
                    end=file.tell(),
                )
        _check_end(opened)


def _open_tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    assert stream is not None, info  # it is a file
    return stream


def _check_end(opened: tarfile.TarFile) -> None:
    """Check that the end marker exists.

    tarfile takes a cut between two members, or in the header of one, for the end.
    """
    content = opened.fileobj
    assert content is not None
    content.seek(opened.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while content.read(BLOCK_SIZE):  # the checksum of gzip comes last
        pass


def _normalized_name(name: str) -> str:
    """Return a name without the ``./`` at the start that many archives have."""
    if "\0" in name:
        raise ValueError("a name with a zero byte")
    return PurePosixPath(name).as_posix()
