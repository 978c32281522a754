"""Unpacking tar and zip archives so that no half-written file ever has a final name."""

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

from tqdm import tqdm

from deeplab.utils import disk_space
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write

BLOCK = 1 << 20

DAMAGE = (
    OSError,  # also of gzip
    EOFError,
    LookupError,
    RuntimeError,  # zip: encrypted, or compressed in an unknown way
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged archive raises."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_file: bool
    open: Callable[[], IO[bytes]]
    end: int  # where it ends in the archive


def unpack(
    archive: Path,
    target: Path,
    *,
    select: Callable[[str], str | None] = lambda name: name,
    overwrite: bool = False,
    progress: bool = True,
) -> list[str]:
    """Unpack a tar, also a compressed one, or a zip; returns the paths of the files below target.

    ``select`` maps the path of a member to its path below the target, or to None to leave it out.
    A file that is there with the member's size is left as it is, unless ``again``. Folders come
    with their files; links and devices that are selected are refused.

    Raises:
        UserError: the archive is damaged, wants to write elsewhere than below the target, or holds
            something other than files; or the target cannot be written or is full.
    """
    paths: dict[str, None] = {}
    tree = _Tree(target, trusted=not overwrite)
    try:
        size = archive.stat().st_size
        file = archive.open("rb")
    except OSError as error:
        raise UserError(f"{archive}: this cannot be read ({error.strerror}).") from None
    done = 0
    desc = f"Unpacking {archive.name}"
    bar = tqdm(desc=desc, total=size, unit="B", unit_scale=True, disable=not progress)
    with file, bar:
        for member in _members(archive, file):
            path = select(member.name)
            if path is not None:
                _check(archive, member, path)
                _place(archive, member, tree, path, missing=size - done)
                paths[path] = None
            bar.update(member.end - done)
            done = member.end
        bar.update(size - done)
    return list(paths)


class _Tree:
    """What an earlier call has left below the target; each folder is looked into once."""

    def __init__(self, root: Path, *, trusted: bool) -> None:
        self.root = root
        self.trusted = trusted
        self.sizes: dict[Path, dict[str, int]] = {}

    def has(self, path: str, size: int) -> bool:
        """Whether the file is there."""
        folder, name = (self.root / path).parent, PurePosixPath(path).name
        if folder not in self.sizes:
            entries = os.scandir(folder) if self.trusted and folder.is_dir() else ()
            self.sizes[folder] = {e.name: e.stat().st_size for e in entries if e.is_file()}
        return self.sizes[folder].get(name) == size


def _check(archive: Path, member: _Member, path: str) -> None:
    where = PurePosixPath(path)
    if where.is_absolute() or ".." in where.parts or not where.parts:
        raise UserError(
            f"{archive}: its member {member.name!r} would be written outside of the target. Files "
            "go below it only, so this archive is not unpacked; see where it comes from."
        )
    if not member.is_file:
        raise UserError(
            f"{archive}: its member {member.name!r} is a link or a device. Only files are "
            "unpacked, so this archive is not; see where it comes from."
        )


def _place(archive: Path, member: _Member, tree: _Tree, path: str, *, missing: int) -> None:
    try:
        if not tree.has(path, member.size):
            _write(archive, member, tree.root / path)
    except OSError as error:
        raise disk_space.refusal(error, tree.root, missing) from None


def _write(archive: Path, member: _Member, path: Path) -> None:
    with _reading(archive):
        stream = member.open()
    with stream, atomic_write(path) as draft, draft.open("wb") as out:
        while block := _read(archive, stream):
            out.write(block)


def _read(archive: Path, stream: IO[bytes]) -> bytes:
    with _reading(archive):
        return stream.read(BLOCK)


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Within it only the archive is read, so that what fails there is the archive's fault."""
    try:
        yield
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise UserError(
            f"{archive}: this archive is damaged or is neither tar nor zip ({reason}). Get "
            "a whole one and run this again."
        ) from None


def _members(archive: Path, file: IO[bytes]) -> Iterator[_Member]:
    """The files, links and devices of an archive, whose type is read from its first bytes."""
    with _reading(archive):
        is_zip = file.read(4) in (b"PK\3\4", b"PK\5\6")
        file.seek(0)
        yield from _zip_members(file) if is_zip else _tar_members(file)


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)
                yield _Member(
                    name=_plain(info.filename),
                    size=info.file_size,
                    is_file=kind in (0, stat.S_IFREG),
                    open=partial(opened.open, info),
                    end=info.header_offset + info.compress_size,
                )


def _tar_members(file: IO[bytes]) -> Iterator[_Member]:
    with tarfile.open(fileobj=file) as opened:
        for info in opened:
            if not info.isdir():
                yield _Member(
                    name=_plain(info.name),
                    size=info.size,
                    is_file=info.isreg(),
                    open=partial(_open_tar_member, opened, info),
                    end=file.tell(),
                )
        _check_end(opened)


def _open_tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    assert stream is not None, info  # it is a file
    return stream


def _check_end(opened: tarfile.TarFile) -> None:
    """For tarfile a cut between two members, or in the header of one, is the end."""
    content = opened.fileobj
    assert content is not None
    content.seek(opened.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while content.read(BLOCK):  # the checksum of gzip comes last
        pass


def _plain(name: str) -> str:
    """Without the ``./`` that many archives begin each name with."""
    if "\0" in name:
        raise ValueError("a name with a zero byte")
    return PurePosixPath(name).as_posix()
