"""Downloading an archive: continued after a break, accepted by its checksum."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from deeplab.errors import UserError
from deeplab.preparation import disk

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
    checksum: str  # "md5:<hex>" or "sha256:<hex>"
    size: int | None = None  # bytes; where it is not known or wrong, what the server says counts


class _TransferError(Exception):
    """A transfer that may go on when it is tried again."""


def fetch(archive: Archive, folder: Path, *, progress: bool = True, retries: int = 5) -> Path:
    """The archive in ``folder``, downloaded unless it is there with the right checksum.

    What has come so far is in ``<name>.part`` and stays there, however the process ends; the next
    call continues behind it.
    ``retries`` counts further attempts in a row that bring nothing new.

    Raises:
        UserError: the server has not got it, cannot be reached, or serves something else; or the
            folder cannot be written or is full.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and _checksum(target, archive) == archive.checksum.lower():
            return target
        got = _complete(archive, part, progress, retries)
        if got != archive.checksum.lower():
            part.unlink()
            raise UserError(_wrong_content(archive, got, target))
        os.replace(part, target)
    except requests.RequestException as error:
        raise UserError(f"{archive.url}: this cannot be downloaded ({error}).") from None
    except OSError as error:
        raise disk.refusal(error, folder) from None
    return target


def _complete(archive: Archive, part: Path, progress: bool, retries: int) -> str:
    """Bring the part to its end; returns its checksum."""
    with tqdm(
        desc=archive.name,
        total=archive.size,
        initial=_size(part),
        unit="B",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        joined = _receive(archive, part, bar, retries)
        bar.set_postfix_str("checking")
        got = _checksum(part, archive)
        if joined and got != archive.checksum.lower():
            # its beginning may be of another version of the file
            part.unlink()
            _receive(archive, part, bar, retries)
            got = _checksum(part, archive)
        bar.set_postfix_str("")
    return got


def _receive(archive: Archive, part: Path, bar: "tqdm[NoReturn]", retries: int) -> bool:
    """Transfer until the end is there; whether the part was joined from several transfers."""
    most, idle = _size(part), 0
    while True:
        try:
            return _transfer(archive, part, bar)
        except (_TransferError, requests.ConnectionError, requests.Timeout, HTTPError) as error:
            reason = _reason(error)
        received = _size(part)
        # measured against the most there has been: without ranges each attempt starts anew
        idle = 0 if received > most else idle + 1
        most = max(most, received)
        if idle > retries:
            raise UserError(
                f"{archive.url}: {reason}, also when tried again ({part} holds "
                f"{disk.readable(received)}). Check the network, then {disk.AGAIN}. "
                f"Or put {archive.name} into {part.parent} by other means."
            )
        bar.set_postfix_str(f"{reason}, trying again")
        time.sleep(min(PAUSE * 2**idle, LONGEST_PAUSE))


def _transfer(archive: Archive, part: Path, bar: "tqdm[NoReturn]") -> bool:
    """One request; whether its answer was joined to what had been there."""
    offset = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416 and offset:
            return True  # there is nothing behind the part: it is whole, or of another file
        _check_status(answer, archive, part)
        if answer.status_code != 206:
            offset = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            part.unlink()
            raise _TransferError("the server sends another part of the file than it was asked for")
        _pour(answer.raw, part, offset, archive, bar)
    return offset > 0


def _check_status(answer: requests.Response, archive: Archive, part: Path) -> None:
    status = f"the server answers {answer.status_code} {answer.reason}"
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise _TransferError(status)
    if answer.status_code >= 400:
        raise UserError(
            f"{archive.url}: {status}. The address may have changed, or ask for a login. "
            f"Put {archive.name} into {part.parent} by other means, then run this again."
        )


def _pour(stream: Any, part: Path, offset: int, archive: Archive, bar: "tqdm[NoReturn]") -> None:
    """Write the body of an answer behind the first ``offset`` bytes of the part."""
    left: int | None = stream.length_remaining
    if left is None and archive.size is not None:
        left = max(0, archive.size - offset)
    bar.n = bar.initial = offset
    bar.total = None if left is None else offset + left
    bar.set_postfix_str("")
    try:
        with part.open("ab" if offset else "wb") as file:
            if left is not None:
                disk.require(part.parent, left)
            # not decoded: a server that takes a .tgz for a compressed answer would send a tar
            for block in stream.stream(BLOCK, decode_content=False):
                file.write(block)
                bar.update(len(block))
    except OSError as error:
        missing = None if left is None else max(0, offset + left - _size(part))
        raise disk.refusal(error, part.parent, missing) from None


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


def _checksum(path: Path, archive: Archive) -> str:
    algorithm = archive.checksum.split(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
