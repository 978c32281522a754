"""Downloads of archives: resumed after an interruption, verified by checksum."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from deeplab.utils import disk_space
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.parallel import run_in_threads
from deeplab.utils.progress import ProgressBar
from deeplab.utils.text import format_size
from deeplab.utils.write_errors import write_error

TIMEOUT = 30.0
"""Seconds to connect, and to wait for the next bytes."""

RETRY_DELAY = 0.5
"""Seconds before the next attempt; doubled after each consecutive attempt without new data."""

MAX_RETRY_DELAY = 30.0
BLOCK_SIZE = 1 << 16


@dataclass(frozen=True)
class Archive:
    """A published file."""

    name: str
    url: str
    checksum: str  # "md5:<hex>" or "sha256:<hex>", or its beginning if only that is published
    size: int | None = None  # bytes; if unknown or wrong, the size that the server reports counts

    def matches(self, checksum: str) -> bool:
        """Return True if a file with this full checksum is the published file."""
        return checksum.startswith(self.checksum.lower())


class _TransferError(Exception):
    """A failed transfer that may succeed in another attempt."""


class _CancelledError(Exception):
    """A transfer whose result is no longer needed."""


def fetch_all(archives: Sequence[Archive], folder: Path, *, progress: bool = True) -> list[Path]:
    """Download archives into ``folder`` concurrently and return their paths.

    A folder is used by one process at a time; another process waits.

    Raises:
        UserError: as ``fetch`` does, for the first that fails.
    """

    def call(archive: Archive) -> Callable[[threading.Event], Path]:
        return lambda stop: fetch(archive, folder, progress=progress, stop=stop)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        message = f"{folder}: another process downloads into it. Waiting until it has finished."
        with locked(folder / ".lock", message, wait=True):
            return run_in_threads([call(archive) for archive in archives])
    except OSError as error:
        raise write_error(error, folder) from None


def fetch(
    archive: Archive,
    folder: Path,
    *,
    progress: bool = True,
    retries: int = 5,
    stop: threading.Event | None = None,
) -> Path:
    """Return the path of an archive in ``folder``; download it unless its checksum is right.

    The data received so far is kept in ``<name>.part``, however the process ends; the next call
    continues after it.

    Args:
        archive: the file to download.
        folder: the target folder; only one process may use it at a time.
        progress: True to show a progress bar.
        retries: number of further consecutive attempts that bring no new data.
        stop: when it is set, the transfer ends with some exception.

    Raises:
        UserError: the server does not have the file, cannot be reached, or serves another file; or
            the folder cannot be written or is full.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and archive.matches(_checksum(target, archive, progress)):
            return target
        with _bar(f"Downloading {archive.name}", archive.size, _size(part), progress) as bar:
            checksum = _Download(archive, part, bar, retries, stop or threading.Event()).complete()
        if not archive.matches(checksum):
            part.unlink()
            raise UserError(_wrong_checksum_message(archive, checksum, target))
        os.replace(part, target)
    except requests.RequestException as error:
        raise UserError(f"{archive.url}: cannot be downloaded ({error}). Check the URL.") from None
    except OSError as error:
        raise write_error(error, folder) from None
    return target


@dataclass
class _Download:
    archive: Archive
    part: Path
    bar: ProgressBar
    retries: int
    stop: threading.Event

    def complete(self) -> str:
        """Download the rest of the file; return the checksum of the whole."""
        resumed = self._receive()
        self.bar.set_state("checking")
        checksum = _checksum(self.part, self.archive)
        if resumed and not self.archive.matches(checksum):
            # its beginning may be of another version of the file
            self.part.unlink()
            self._receive()
            checksum = _checksum(self.part, self.archive)
        self.bar.set_state("")
        return checksum

    def _receive(self) -> bool:
        """Transfer until the file is complete; return True if several transfers were joined."""
        most, failures = _size(self.part), 0
        while True:
            try:
                return self._transfer()
            except (_TransferError, requests.ConnectionError, requests.Timeout, HTTPError) as error:
                reason = _reason(error)
            received = _size(self.part)
            # compared with the maximum so far: without ranges each attempt starts at the beginning
            failures = 0 if received > most else failures + 1
            most = max(most, received)
            if failures > self.retries:
                raise UserError(self._failure_message(reason, received))
            self.bar.set_state(f"{reason}, trying again")
            if self.stop.wait(min(RETRY_DELAY * 2**failures, MAX_RETRY_DELAY)):
                raise _CancelledError

    def _transfer(self) -> bool:
        """Send one request; return True if the response was appended to earlier data."""
        offset = _size(self.part)
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        url = self.archive.url
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and offset:
                return True  # nothing follows the part: it is complete, or of another file
            self._check_status(response)
            if response.status_code != 206:
                offset = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self.part.unlink()
                raise _TransferError("the server sends another range than was requested")
            self._write_body(response.raw, offset)
        return offset > 0

    def _check_status(self, response: requests.Response) -> None:
        status = f"the server answers {response.status_code} {response.reason}"
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise _TransferError(status)
        if response.status_code >= 400:
            raise UserError(
                f"{self.archive.url}: {status}. The URL may have changed or require a login. "
                f"Download {self.archive.name} by other means into {self.part.parent}, then run "
                "this again."
            )

    def _write_body(self, stream: Any, offset: int) -> None:
        """Write the body of a response after the first ``offset`` bytes of the part."""
        left: int | None = stream.length_remaining
        if left is None and self.archive.size is not None:
            left = max(0, self.archive.size - offset)
        self.bar.restart(offset, None if left is None else offset + left)
        self.bar.set_state("")
        try:
            with self.part.open("ab" if offset else "wb") as file:
                if left is not None:
                    disk_space.require_space(self.part.parent, left)
                # no decoding: a server may label a .tgz as gzip-encoded, which would leave a tar
                for block in stream.stream(BLOCK_SIZE, decode_content=False):
                    if self.stop.is_set():
                        raise _CancelledError
                    file.write(block)
                    self.bar.update(len(block))
        except OSError as error:
            missing = None if left is None else max(0, offset + left - _size(self.part))
            raise write_error(error, self.part.parent, missing) from None

    def _failure_message(self, reason: str, received: int) -> str:
        kept = f" ({self.part} holds {format_size(received)})" if received else ""
        return (
            f"{self.archive.url}: {reason}, also after several attempts{kept}. Check the network, "
            f"then {disk_space.RUN_AGAIN}{disk_space.RESUMES}. Or download {self.archive.name} by "
            f"other means into {self.part.parent}."
        )


def _reason(error: BaseException) -> str:
    """Return the reason in a few words; the system's message is deep in the exception chain."""
    if isinstance(error, _TransferError):
        return str(error)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, TimeoutError | requests.Timeout):
            return f"no response for {TIMEOUT:g} seconds"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__context__
    return "the connection was cut"


def _wrong_checksum_message(archive: Archive, checksum: str, target: Path) -> str:
    return (
        f"{archive.url}: the downloaded file is not {archive.name}: its checksum is {checksum}, "
        f"expected is {archive.checksum}. A new version was published, or the URL serves something "
        "else, a login page for instance: open it in a browser. Or save the file with the expected "
        f"checksum as {target}."
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


def _bar(desc: str, total: int | None, initial: int, progress: bool) -> ProgressBar:
    return ProgressBar(desc, total, "B", done=initial, show=progress)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
