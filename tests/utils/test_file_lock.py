"""Locks of processes that live, that were killed, and of other machines."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deeplab.config.paths import ROOT
from deeplab.utils import file_lock
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import LockedError, Owner, held, locked

BUSY = f"in progress in {file_lock.OWNER}."

HEAD = f"""
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

HOLD = """
with file_lock.locked(path, "busy", wait=False):
    print("held", flush=True)
    sys.stdin.read()
"""

RACE = """
print("ready", flush=True)
sys.stdin.readline()
try:
    with file_lock.locked(path, "busy", wait=False):
        print("won", flush=True)
        sys.stdin.read()
except file_lock.LockedError:
    print("lost", flush=True)
"""


def process(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def no_flock(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)


def owned(path, *, beat, host="elsewhere", process=1):
    """A lock file as another machine leaves it, its last heartbeat some seconds ago."""
    owner = {"host": host, "process": process, "since": "2026-01-02T12:03:00+00:00", "token": "t"}
    path.write_text(json.dumps(owner) + "\n")
    os.utime(path, (time.time() - beat,) * 2)
    return path


def take(path, *, wait=False):
    with locked(path, BUSY, wait=wait):
        assert held(path)
        assert Owner(**json.loads(path.read_text())).process == os.getpid()
    assert not path.exists()


def test_a_lock_names_its_owner_and_is_gone_afterwards(tmp_path):
    path = tmp_path / "lock"
    assert not held(path)
    with locked(path, BUSY, wait=False):
        assert held(path)
        with pytest.raises(LockedError) as caught, locked(path, BUSY, wait=False):
            pass
        named = rf"in progress in process {os.getpid()} on host \S+ since \d\d:\d\d\."
        assert re.fullmatch(named, str(caught.value))
        assert isinstance(caught.value, UserError)
    assert not list(tmp_path.iterdir())
    assert not held(path)


def test_the_day_is_named_if_it_is_another(tmp_path):
    owned(tmp_path / "lock", beat=0)
    with pytest.raises(LockedError, match="since 2026-01-02 "):
        take(tmp_path / "lock")


@pytest.mark.parametrize("code", [HOLD, NO_FLOCK + HOLD], ids=["flock", "no flock"])
def test_a_killed_process_holds_nobody_up(tmp_path, code, request):
    if code != HOLD:
        request.getfixturevalue("no_flock")
    path = tmp_path / "lock"
    holder = process(code, path)
    assert holder.stdout.readline() == "held\n"
    assert held(path)
    with pytest.raises(LockedError, match=f"process {holder.pid} on host"):
        take(path)
    holder.kill()
    holder.wait()
    assert path.exists()
    assert not held(path)
    take(path)


def test_a_child_that_outlives_its_killed_parent_does_not_keep_the_lock(tmp_path):
    """As loading processes do for some seconds."""
    code = """
with file_lock.locked(path, "busy", wait=False):
    if not os.fork():
        print("held", flush=True)
        time.sleep(60)
        os._exit(0)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", HEAD + code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    try:
        take(tmp_path / "lock")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_fork_does_not_release_the_lock(tmp_path):
    path = tmp_path / "lock"
    child = 0
    with suppress(SystemExit), locked(path, BUSY, wait=False):
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert held(path)
            assert path.exists()
    if not child:
        os._exit(0)
    assert not path.exists()


@pytest.mark.parametrize("flock", [True, False])
def test_the_heart_of_another_machine(tmp_path, flock, request):
    if not flock:
        request.getfixturevalue("no_flock")
    path = owned(tmp_path / "lock", beat=file_lock.BEAT * (file_lock.MISSED - 1))
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert held(path)
    with pytest.raises(LockedError, match="process 1 on host elsewhere"):
        take(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    owned(path, beat=file_lock.BEAT * (file_lock.MISSED + 1))
    assert not held(path)
    take(path)
    assert not list(tmp_path.iterdir())


def test_ages_are_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    path = owned(tmp_path / "lock", beat=0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400)  # this machine's clock is wrong
    assert held(path)
    with pytest.raises(LockedError):
        take(path)


@pytest.mark.usefixtures("no_flock")
def test_an_owner_with_a_number_that_is_taken_again(tmp_path):
    """In containers the next process has the number of the last."""
    here = file_lock.platform.node()
    take(owned(tmp_path / "lock", beat=1, host=here, process=os.getpid()))
    path = owned(tmp_path / "lock", beat=1, host=here, process=os.getppid())
    assert held(path)


def test_a_dead_owner_of_this_machine_is_followed_at_once(tmp_path):
    take(owned(tmp_path / "lock", beat=0, host=file_lock.platform.node()))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]\n", b'{"host": 1}\n', b"\xff\n"])
def test_a_lock_file_that_names_nobody(tmp_path, content):
    path = tmp_path / "lock"
    path.write_bytes(content)
    assert not held(path)
    with path.open() as file:
        file_lock.fcntl.flock(file, file_lock.fcntl.LOCK_EX)
        assert held(path)
        with pytest.raises(LockedError, match=file_lock.UNKNOWN):
            take(path)
    take(path)


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "BEAT", 0.05)
    path = tmp_path / "lock"
    with locked(path, BUSY, wait=False):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > time.time() - 60


def test_looking_does_not_keep_a_starting_process_out(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    code = "print('on', flush=True)\nwhile True:\n    file_lock.held(path)\n"
    watcher = process(code, path)
    assert watcher.stdout.readline() == "on\n"
    try:
        for _ in range(50):
            take(path)
    finally:
        watcher.kill()
        watcher.wait()


def test_looking_where_nothing_can_be_written(tmp_path, monkeypatch):
    path = owned(tmp_path / "lock", beat=0)

    def refuse(_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(file_lock, "_create", refuse)
    assert held(path)
    assert not held(owned(path, beat=file_lock.BEAT * (file_lock.MISSED + 1)))


def race(path, code, count=12):
    """How many of as many processes as started at the same time have the lock."""
    racers = [process(code, path) for _ in range(count)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    ends = [racer.stdout.readline() for racer in racers]
    assert set(ends) == {"won\n", "lost\n"}
    for racer in racers:
        racer.communicate()
    return ends.count("won\n")


OTHERS = "lock.platform.node = lambda: f'host-{os.getpid()}'\n"


@pytest.mark.parametrize("state", ["none", "stale"])
@pytest.mark.parametrize(
    "code", ["", NO_FLOCK, NO_FLOCK + OTHERS], ids=["flock", "no flock", "machines"]
)
def test_exactly_one_takes_a_lock(tmp_path, code, state):
    path = tmp_path / "lock"
    for _ in range(2):
        if state == "stale":
            owned(path, beat=file_lock.BEAT * (file_lock.MISSED + 1))
        assert race(path, code + RACE) == 1
        assert not list(tmp_path.iterdir())


def test_one_who_was_taken_for_dead_leaves_the_lock_of_the_other(tmp_path):
    path = tmp_path / "lock"
    with locked(path, BUSY, wait=False):
        owned(path, beat=0)
    assert held(path)


def test_what_a_process_that_was_killed_in_taking_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "BEAT", 0.2)
    (tmp_path / ".lock.taking").touch()
    take(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


def test_waiting_says_so_once_and_ends(tmp_path, capfd):
    path = tmp_path / "lock"
    holder = process(HOLD, path)
    assert holder.stdout.readline() == "held\n"
    code = "with file_lock.locked(path, 'waiting', wait=True):\n    print('mine', flush=True)\n"
    waiting = process(code, path)
    assert waiting.stdout.readline() == "waiting\n"
    time.sleep(1)
    holder.communicate()
    assert waiting.communicate()[0] == "mine\n"
    assert not Path(path).exists()
