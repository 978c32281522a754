"""Downloading an archive: continued after a break, accepted by its checksum."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from deeplab.utils import disk_space
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.parallel import run_in_threads

TIMEOUT = 30.0
"""Seconds to connect, and to wait for the next bytes."""

PAUSE = 0.5
"""Seconds before trying again; twice as long after each attempt in a row that brought nothing."""

LONGEST_PAUSE = 30.0
BLOCK = 1 << 16


@dataclass(frozen=True)
class Archive:
    """A published file."""

    name: str
    url: str
    checksum: str  # "md5:<hex>" or "sha256:<hex>", or its beginning, where that alone is published
    size: int | None = None  # bytes; where it is not known or wrong, what the server says counts

    def fits(self, checksum: str) -> bool:
        """Whether a file with this whole checksum is this one."""
        return checksum.startswith(self.checksum.lower())


class _TransferError(Exception):
    """A transfer that may go on when it is tried again."""


class _StoppedError(Exception):
    """A transfer that nobody waits for any more."""


def fetch_all(archives: Sequence[Archive], folder: Path, *, progress: bool = True) -> list[Path]:
    """The archives in ``folder``, fetched at the same time; one process does so after the other.

    Raises:
        UserError: as ``fetch`` does, for the first that fails.
    """

    def call(archive: Archive) -> Callable[[threading.Event], Path]:
        return lambda stop: fetch(archive, folder, progress=progress, stop=stop)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Another process downloads into {folder}; waiting for its end."
        with locked(folder / ".lock", waiting, wait=True):
            return run_in_threads([call(archive) for archive in archives])
    except OSError as error:
        raise disk_space.refusal(error, folder) from None


def fetch(
    archive: Archive,
    folder: Path,
    *,
    progress: bool = True,
    retries: int = 5,
    stop: threading.Event | None = None,
) -> Path:
    """The archive in ``folder``, downloaded unless it is there with the right checksum.

    What has come so far is in ``<name>.part`` and stays there, however the process ends; the next
    call continues behind it.

    Args:
        archive: what to fetch.
        folder: where to; only one process may do so at a time.
        progress: whether there is a bar.
        retries: further attempts in a row that bring nothing new.
        stop: when it is set, the transfer ends with some exception.

    Raises:
        UserError: the server has not got it, cannot be reached, or serves something else; or the
            folder cannot be written or is full.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and archive.fits(_checksum(target, archive, progress)):
            return target
        with _bar(f"Downloading {archive.name}", archive.size, _size(part), progress) as bar:
            got = _Download(archive, part, bar, retries, stop or threading.Event()).complete()
        if not archive.fits(got):
            part.unlink()
            raise UserError(_wrong_content(archive, got, target))
        os.replace(part, target)
    except requests.RequestException as error:
        raise UserError(f"{archive.url}: this cannot be downloaded ({error}).") from None
    except OSError as error:
        raise disk_space.refusal(error, folder) from None
    return target


@dataclass
class _Download:
    archive: Archive
    part: Path
    bar: "tqdm[NoReturn]"
    retries: int
    stop: threading.Event

    def complete(self) -> str:
        """Bring the part to its end; returns its checksum."""
        joined = self._receive()
        self.bar.set_postfix_str("checking")
        got = _checksum(self.part, self.archive)
        if joined and not self.archive.fits(got):
            # its beginning may be of another version of the file
            self.part.unlink()
            self._receive()
            got = _checksum(self.part, self.archive)
        self.bar.set_postfix_str("")
        return got

    def _receive(self) -> bool:
        """Transfer until the end is there; whether the part was joined from several transfers."""
        most, idle = _size(self.part), 0
        while True:
            try:
                return self._transfer()
            except (_TransferError, requests.ConnectionError, requests.Timeout, HTTPError) as error:
                reason = _reason(error)
            received = _size(self.part)
            # measured against the most there has been: without ranges each attempt starts anew
            idle = 0 if received > most else idle + 1
            most = max(most, received)
            if idle > self.retries:
                raise UserError(self._given_up(reason, received))
            self.bar.set_postfix_str(f"{reason}, trying again")
            if self.stop.wait(min(PAUSE * 2**idle, LONGEST_PAUSE)):
                raise _StoppedError

    def _transfer(self) -> bool:
        """One request; whether its answer was joined to what had been there."""
        offset = _size(self.part)
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        url = self.archive.url
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and offset:
                return True  # there is nothing behind the part: it is whole, or of another file
            self._check_status(answer)
            if answer.status_code != 206:
                offset = 0
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self.part.unlink()
                raise _TransferError("the server sends another part of the file than was asked for")
            self._pour(answer.raw, offset)
        return offset > 0

    def _check_status(self, answer: requests.Response) -> None:
        status = f"the server answers {answer.status_code} {answer.reason}"
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise _TransferError(status)
        if answer.status_code >= 400:
            raise UserError(
                f"{self.archive.url}: {status}. The address may have changed, or ask for a login. "
                f"Put {self.archive.name} into {self.part.parent} by other means, then run this "
                "again."
            )

    def _pour(self, stream: Any, offset: int) -> None:
        """Write the body of an answer behind the first ``offset`` bytes of the part."""
        left: int | None = stream.length_remaining
        if left is None and self.archive.size is not None:
            left = max(0, self.archive.size - offset)
        self.bar.n = self.bar.initial = offset
        self.bar.total = None if left is None else offset + left
        self.bar.set_postfix_str("")
        try:
            with self.part.open("ab" if offset else "wb") as file:
                if left is not None:
                    disk_space.require(self.part.parent, left)
                # not decoded: a server that takes a .tgz for a compressed answer would send a tar
                for block in stream.stream(BLOCK, decode_content=False):
                    if self.stop.is_set():
                        raise _StoppedError
                    file.write(block)
                    self.bar.update(len(block))
        except OSError as error:
            missing = None if left is None else max(0, offset + left - _size(self.part))
            raise disk_space.refusal(error, self.part.parent, missing) from None

    def _given_up(self, reason: str, received: int) -> str:
        kept = f" ({self.part} holds {disk_space.readable(received)})" if received else ""
        return (
            f"{self.archive.url}: {reason}, also when tried again{kept}. Check the network, then "
            f"{disk_space.AGAIN}. Or put {self.archive.name} into {self.part.parent} by other means."
        )


def _reason(error: BaseException) -> str:
    """In a few words; what the system said is deep in the chain of exceptions."""
    if isinstance(error, _TransferError):
        return str(error)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, TimeoutError | requests.Timeout):
            return f"no answer for {TIMEOUT:g} seconds"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__context__
    return "the connection was cut"


def _wrong_content(archive: Archive, got: str, target: Path) -> str:
    return (
        f"{archive.url}: what came is not {archive.name}: its checksum is {got}, expected is "
        f"{archive.checksum}. The file was published anew, or the address serves something else, "
        "a login page for instance: open it in a browser. "
        f"Or put the file with the expected checksum at {target} by other means."
    )


def _checksum(path: Path, archive: Archive, progress: bool = False) -> str:
    algorithm = archive.checksum.split(":")[0]
    digest = hashlib.new(algorithm)
    bar = _bar(f"Checking {archive.name}", _size(path), 0, progress)
    with path.open("rb") as file, bar:
        while block := file.read(1 << 20):
            digest.update(block)
            bar.update(len(block))
    return f"{algorithm}:{digest.hexdigest()}"


def _bar(desc: str, total: int | None, initial: int, progress: bool) -> "tqdm[NoReturn]":
    disable = not progress
    return tqdm(desc=desc, total=total, initial=initial, unit="B", unit_scale=True, disable=disable)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
