"""Locks of live processes, of killed processes, and of other machines."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deeplab.utils import file_lock
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import LockedError, Owner, is_locked, locked
from support.repository import ROOT

MESSAGE = f"in progress in {file_lock.OWNER_PLACEHOLDER}."

HEADER = f"""
import fcntl, os, sys, time
from contextlib import suppress
from pathlib import Path
sys.path.insert(0, {str(ROOT / "src")!r})
from deeplab.utils import file_lock
path = Path(sys.argv[1])
def refuse(*_):
    raise OSError(95, "not supported")
"""

NO_FLOCK = "file_lock.fcntl.flock = refuse\n"

HOLD_SCRIPT = """
with file_lock.locked(path, "busy", wait=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_process(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", HEADER + code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def refuse_flock(*_):
    raise OSError(errno.ENOTSUP, "not supported")


@pytest.fixture
def no_flock(monkeypatch):
    monkeypatch.setattr(file_lock.fcntl, "flock", refuse_flock)


def write_lock_file(path, *, heartbeat_age, host="elsewhere", process=1):
    """Write a lock file like another machine's whose last heartbeat was some seconds ago."""
    owner = {"host": host, "process": process, "since": "2026-01-02T12:03:00+00:00", "token": "t"}
    path.write_text(json.dumps(owner) + "\n")
    os.utime(path, (time.time() - heartbeat_age,) * 2)
    return path


def test_the_host_of_a_lock_stays_in_the_line_of_its_error(tmp_path):
    path = write_lock_file(tmp_path / "lock", heartbeat_age=0, host="\x1b[31mevil\nhost")
    with pytest.raises(LockedError, match=r"on host \\x1b\[31mevil\\nhost since"):
        acquire_and_release(path)


def acquire_and_release(path, *, wait=False):
    with locked(path, MESSAGE, wait=wait):
        assert is_locked(path)
        assert Owner(**json.loads(path.read_text())).process == os.getpid()
    assert not path.exists()


def test_lock_names_its_owner_and_is_deleted_at_the_end(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    with locked(path, MESSAGE, wait=False):
        assert is_locked(path)
        with pytest.raises(LockedError) as caught, locked(path, MESSAGE, wait=False):
            pass
        pattern = rf"in progress in process {os.getpid()} on host \S+ since \d\d:\d\d\."
        assert re.fullmatch(pattern, str(caught.value))
        assert isinstance(caught.value, UserError)
    assert not list(tmp_path.iterdir())
    assert not is_locked(path)


def test_message_has_the_date_if_it_is_not_today(tmp_path):
    write_lock_file(tmp_path / "lock", heartbeat_age=0)
    with pytest.raises(LockedError, match="since 2026-01-02 "):
        acquire_and_release(tmp_path / "lock")


@pytest.mark.parametrize("code", [HOLD_SCRIPT, NO_FLOCK + HOLD_SCRIPT], ids=["flock", "no flock"])
def test_lock_of_a_killed_process_is_free(tmp_path, code, request):
    if code != HOLD_SCRIPT:
        request.getfixturevalue("no_flock")
    path = tmp_path / "lock"
    owner_process = start_process(code, path)
    assert owner_process.stdout.readline() == "held\n"
    assert is_locked(path)
    with pytest.raises(LockedError, match=f"process {owner_process.pid} on host"):
        acquire_and_release(path)
    owner_process.kill()
    owner_process.wait()
    assert path.exists()
    assert not is_locked(path)
    acquire_and_release(path)


def test_child_of_a_killed_process_does_not_keep_the_lock(tmp_path):
    """Data loading processes outlive their parent for some seconds."""
    code = """
with file_lock.locked(path, "busy", wait=False):
    if not os.fork():
        print("held", flush=True)
        time.sleep(60)
        os._exit(0)
    sys.stdin.read()
"""
    owner_process = subprocess.Popen(
        [sys.executable, "-c", HEADER + code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner_process.stdout.readline() == "held\n"
    owner_process.kill()
    owner_process.wait()
    try:
        acquire_and_release(tmp_path / "lock")
    finally:
        os.killpg(owner_process.pid, signal.SIGKILL)


def test_fork_does_not_release_the_lock(tmp_path):
    path = tmp_path / "lock"
    child = 0
    with suppress(SystemExit), locked(path, MESSAGE, wait=False):
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert is_locked(path)
            assert path.exists()
    if not child:
        os._exit(0)
    assert not path.exists()


@pytest.mark.parametrize("flock", [True, False])
def test_lock_of_another_machine_expires(tmp_path, flock, request):
    if not flock:
        request.getfixturevalue("no_flock")
    path = write_lock_file(
        tmp_path / "lock",
        heartbeat_age=file_lock.HEARTBEAT_INTERVAL * (file_lock.MAX_MISSED_HEARTBEATS - 1),
    )
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert is_locked(path)
    with pytest.raises(LockedError, match="process 1 on host elsewhere"):
        acquire_and_release(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    write_lock_file(
        path, heartbeat_age=file_lock.HEARTBEAT_INTERVAL * (file_lock.MAX_MISSED_HEARTBEATS + 1)
    )
    assert not is_locked(path)
    acquire_and_release(path)
    assert not list(tmp_path.iterdir())


def test_expiry_uses_the_clock_of_the_file_system(tmp_path, monkeypatch):
    path = write_lock_file(tmp_path / "lock", heartbeat_age=0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400)  # this machine's clock is wrong
    assert is_locked(path)
    with pytest.raises(LockedError):
        acquire_and_release(path)


@pytest.mark.usefixtures("no_flock")
def test_owner_whose_process_id_was_reused(tmp_path):
    """In a container the next process can have the id of the last one."""
    here = file_lock.platform.node()
    acquire_and_release(
        write_lock_file(tmp_path / "lock", heartbeat_age=1, host=here, process=os.getpid())
    )
    path = write_lock_file(tmp_path / "lock", heartbeat_age=1, host=here, process=os.getppid())
    assert is_locked(path)


def test_lock_of_a_dead_process_of_this_machine_is_free_at_once(tmp_path):
    acquire_and_release(
        write_lock_file(tmp_path / "lock", heartbeat_age=0, host=file_lock.platform.node())
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[1]\n", b'{"host": 1}\n', b"\xff\n"])
def test_lock_file_without_an_owner(tmp_path, content):
    path = tmp_path / "lock"
    path.write_bytes(content)
    assert not is_locked(path)
    with path.open() as file:
        file_lock.fcntl.flock(file, file_lock.fcntl.LOCK_EX)
        assert is_locked(path)
        with pytest.raises(LockedError, match=file_lock.UNKNOWN_OWNER):
            acquire_and_release(path)
    acquire_and_release(path)


NOT_REGULAR = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "link": lambda path: Path(path).symlink_to("elsewhere"),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(path),
}


@pytest.mark.parametrize("kind", NOT_REGULAR)
def test_what_is_no_regular_file_is_no_lock(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    NOT_REGULAR[kind]("lock")
    with pytest.raises(UserError, match=r"lock: not a regular file.*Remove it"):
        acquire_and_release(tmp_path / "lock")
    assert len(list(tmp_path.iterdir())) == 1


def test_heartbeat_updates_the_modification_time(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "HEARTBEAT_INTERVAL", 0.05)
    path = tmp_path / "lock"
    with locked(path, MESSAGE, wait=False):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > time.time() - 60


def test_is_locked_does_not_block_a_starting_process(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    code = "print('on', flush=True)\nwhile True:\n    file_lock.is_locked(path)\n"
    observer = start_process(code, path)
    assert observer.stdout.readline() == "on\n"
    try:
        for _ in range(50):
            acquire_and_release(path)
    finally:
        observer.kill()
        observer.wait()


def test_is_locked_in_a_read_only_folder(tmp_path, monkeypatch):
    path = write_lock_file(tmp_path / "lock", heartbeat_age=0)

    def refuse(_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(file_lock, "_create", refuse)
    assert is_locked(path)
    assert not is_locked(
        write_lock_file(
            path, heartbeat_age=file_lock.HEARTBEAT_INTERVAL * (file_lock.MAX_MISSED_HEARTBEATS + 1)
        )
    )


def race(path, patch, count=12):
    """Return how many forks that start at the same time acquire the lock."""
    (start, started), (stop, stopped), (answers, report) = (os.pipe() for _ in range(3))
    children = []
    for _ in range(count):
        if child := os.fork():
            children.append(child)
            continue
        try:
            os.close(started)
            os.close(stopped)
            patch()
            os.write(report, b"r")
            os.read(start, 1)
            with locked(path, MESSAGE, wait=False):
                os.write(report, b"w")
                os.read(stop, 1)
        except LockedError:
            os.write(report, b"l")
        finally:
            os._exit(0)
    os.close(report)
    with os.fdopen(answers, "rb") as file:
        assert file.read(count) == count * b"r"
        os.close(started)
        outcomes = file.read(count)
        os.close(stopped)
    for child in children:
        os.waitpid(child, 0)
    os.close(start)
    os.close(stop)
    assert len(outcomes) == count
    return outcomes.count(b"w")


def no_patch():
    pass


def patch_flock():
    file_lock.fcntl.flock = refuse_flock


def patch_machines():
    patch_flock()
    file_lock.platform.node = lambda: f"host-{os.getpid()}"


@pytest.mark.parametrize("state", ["none", "stale"])
@pytest.mark.parametrize(
    "patch", [no_patch, patch_flock, patch_machines], ids=["flock", "no flock", "machines"]
)
def test_exactly_one_process_acquires_a_lock(tmp_path, patch, state):
    path = tmp_path / "lock"
    for _ in range(2):
        if state == "stale":
            write_lock_file(
                path,
                heartbeat_age=file_lock.HEARTBEAT_INTERVAL * (file_lock.MAX_MISSED_HEARTBEATS + 1),
            )
        assert race(path, patch) == 1
        assert not list(tmp_path.iterdir())


def test_expired_owner_keeps_the_lock_file_of_the_next_owner(tmp_path):
    path = tmp_path / "lock"
    with locked(path, MESSAGE, wait=False):
        write_lock_file(path, heartbeat_age=0)
    assert is_locked(path)


def test_guard_file_of_a_killed_process_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "HEARTBEAT_INTERVAL", 0.2)
    (tmp_path / ".lock.taking").touch()
    acquire_and_release(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


def test_waiting_prints_once_and_acquires_the_lock(tmp_path, capfd):
    path = tmp_path / "lock"
    owner_process = start_process(HOLD_SCRIPT, path)
    assert owner_process.stdout.readline() == "held\n"
    code = "with file_lock.locked(path, 'waiting', wait=True):\n    print('mine', flush=True)\n"
    waiting = start_process(code, path)
    assert waiting.stdout.readline() == "waiting\n"
    time.sleep(0.6)  # it tries again every 0.25 seconds
    owner_process.communicate()
    assert waiting.communicate()[0] == "mine\n"
    assert not Path(path).exists()
