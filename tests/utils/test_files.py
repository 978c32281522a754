"""Writing of files."""

import errno
import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from deeplab.utils.errors import UserError
from deeplab.utils.files import (
    UMASK,
    atomic_folder,
    atomic_write,
    file_hash,
    remove_leftovers,
    write_json,
    write_text,
)
from deeplab.utils.program import SCRIPT
from deeplab.utils.write_errors import write_error
from support.repository import ROOT
from support.scripts import environment


def test_json_has_no_numbers_that_other_programs_refuse(tmp_path):
    write_json(tmp_path / "a.json", {"a": [float("nan"), (float("inf"), 1.5)], "b": -float("inf")})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, [None, 1.5]], "b": None}


def test_files_have_the_mode_of_the_umask_whichever_library_writes_them(tmp_path):
    with atomic_write(tmp_path / "weights.safetensors") as draft:
        save_file({"a": torch.zeros(1)}, draft)
    write_json(tmp_path / "a.json", {})
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("weights.safetensors", "a.json"), 0o666 & ~UMASK)


def test_nothing_is_left_of_a_failed_write_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), atomic_write(path) as draft:
        draft.write_bytes("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def close_broken_zip(draft):
    """Raise what closing a file raises after its disk became full."""
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise ValueError("cannot close the file") from None


@pytest.mark.parametrize(("script", "resumes"), [("prepare", True), ("tune", False)])
def test_a_full_disk_promises_to_resume_only_what_resumes(monkeypatch, tmp_path, script, resumes):
    monkeypatch.setenv(SCRIPT, script)
    message = str(write_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path))
    assert ("resumes where it stopped" in message) == resumes


@pytest.mark.parametrize("write", [close_broken_zip, lambda draft: fail(errno.EDQUOT)])
def test_a_full_disk_is_one_message_whatever_raises_it(tmp_path, write):
    message = "Free some space there .* run this again"
    with pytest.raises(UserError, match=message), atomic_write(tmp_path / "sub/a.npz") as draft:
        write(draft)
    with pytest.raises(UserError, match=message), atomic_folder(tmp_path / "b") as draft:
        write(draft)
    assert list(tmp_path.iterdir()) == [tmp_path / "sub"]


def fail(number):
    raise OSError(number, os.strerror(number))


def test_other_errors_stay(tmp_path):
    with pytest.raises(PermissionError), atomic_write(tmp_path / "a"):
        fail(errno.EACCES)


KILLED = """
import os
from pathlib import Path
from deeplab.utils.files import atomic_folder, atomic_write
with atomic_write(Path("a.txt")) as draft, atomic_folder(Path("b")) as folder:
    draft.write_text("half")
    (folder / "c").write_text("half")
    os._exit(1)
"""


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    script = [sys.executable, "-c", KILLED]
    variables = environment() | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(script, cwd=tmp_path, env=variables, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    kept = [tmp_path / ".git.1", tmp_path / ".a.txt.abcdef.1"]  # of others
    with atomic_write(tmp_path / "of_this_process") as mine:
        for path in (*kept, mine):
            path.write_text("")
        remove_leftovers(tmp_path)
        assert set(tmp_path.iterdir()) == {*kept, mine}
    remove_leftovers(tmp_path, exclusive=True)
    assert set(tmp_path.iterdir()) == {kept[0], tmp_path / "of_this_process"}


def test_a_hash_is_that_of_the_file_as_it_is(tmp_path):
    path = tmp_path / "a"
    for content in (b"first", b"second", b"third!"):
        write_text(path, content.decode())
        assert file_hash(path) == file_hash(path) == hashlib.sha256(content).hexdigest()
