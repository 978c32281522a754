"""Tests of ``deeplab runs``, through the real entry point."""

import json
import os
import re
import shutil
from datetime import datetime

import pytest

from deeplab.ablations.list_runs import list_runs
from deeplab.utils.errors import UserError
from support.scripts import SMALL, run, run_folders


def test_runs_are_listed_with_state_and_score(tmp_path):
    run("train", *SMALL, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    interrupted = shutil.copytree(folder, folder.with_name("interrupted"))
    (interrupted / "metrics.json").unlink()
    failed = shutil.copytree(interrupted, folder.with_name("failed"))
    (failed / "failure.txt").write_text("Traceback ...\nRuntimeError: out of luck\n")
    damaged = shutil.copytree(folder, folder.with_name("damaged"))
    (damaged / "metrics.json").write_text("{")
    for age, path in enumerate((folder, interrupted, failed, damaged)):
        os.utime(path / "config.yaml", (10**9 - age, 10**9 - age))
    listed = run("runs", cwd=tmp_path, variables={"COLUMNS": "250"}).stdout
    lines = [line.split() for line in listed.splitlines()]
    names = [words[0] for words in lines[1:5]]
    assert names == [f"runs/{path.name}" for path in (folder, interrupted, failed, damaged)]
    started = json.loads((folder / "run.json").read_text())["sessions"][-1]["started"]
    day = datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")
    assert all(day in line for line in listed.splitlines()[1:4])  # not that of the file
    result = json.loads((folder / "metrics.json").read_text())
    assert f"mIoU {result['mIoU']:.2f} %" in listed.splitlines()[1]
    assert lines[1][-1] == "finished"
    assert f"interrupted after step {result['steps']} of {result['steps']}" in listed
    assert "failed after step " in listed.splitlines()[3]
    assert listed.splitlines()[3].endswith("RuntimeError: out of luck")
    assert "cannot be read: " in listed.splitlines()[4]
    assert " data " not in listed.splitlines()[0]
    config = interrupted / "config.yaml"
    config.write_text(re.sub(r"(?m)^  root: .*$", "  root: photos/mine", config.read_text()))
    listed = run("runs", cwd=tmp_path, variables={"COLUMNS": "250"}).stdout
    words = {line.split()[0]: line.split()[1] for line in listed.splitlines()[:5]}
    assert words["run"] == "data"
    assert words[f"runs/{interrupted.name}"] == "mine"


def test_user_errors(tmp_path):
    assert "runs_dir=runs: no such folder" in run("runs", cwd=tmp_path, ok=False).stderr
    (tmp_path / "runs").mkdir()
    empty = run("runs", cwd=tmp_path, ok=False)
    assert "runs_dir=runs: no runs in it." in empty.stderr
    assert empty.returncode == 2
    quoted = run("runs", 'runs_dir="my runs"', cwd=tmp_path, ok=False)
    assert "runs_dir=my runs: no such folder" in quoted.stderr
    assert "foo: no such key" in run("runs", "foo=1", cwd=tmp_path, ok=False).stderr
    assert "runs_dir=FOLDER" in run("runs", "--help", cwd=tmp_path).stdout


def test_a_folder_that_may_not_be_read_does_not_look_empty(tmp_path):
    (tmp_path / "runs").mkdir(mode=0)
    user = os.geteuid()
    if not user:
        [folder.chmod(0o755) for folder in (tmp_path, *tmp_path.parents[:-2])]
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(UserError, match="may not be read"):
            list_runs(tmp_path / "runs")
    finally:
        os.seteuid(user)
