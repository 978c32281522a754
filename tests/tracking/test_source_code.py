"""Tests of the code's identity: an edited copy of the package trains, resumes and evaluates."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import deeplab
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.result import Result
from deeplab.tracking.run_record import RunRecord, Session
from deeplab.tracking.source_code import (
    COUNTED,
    NOT_COUNTED,
    PACKAGE,
    code_hash,
    describe_reused,
    source_files,
)
from support.repository import ROOT
from support.scripts import CPU, SMALL, environment, run, run_folders

LOSSES = "training/losses.py"
EVALUATE = (*CPU, "trainer.num_workers=0")
STEPS = ("stage.max_steps=20", "trainer.num_checkpoints=20", "trainer.num_validations=1")
"""Overrides for a checkpoint at each step, so that a run can be killed anywhere."""


class Copy:
    """Copy of the package, its scripts and configs, to be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src", "conf"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)

    def edit(self, file: str) -> None:
        """Append a line to a file of the package."""
        path = self.folder / "src/deeplab" / file
        path.write_text(path.read_text() + "\n# edited\n")

    def undo(self, file: str) -> None:
        shutil.copy(PACKAGE / file, self.folder / "src/deeplab" / file)

    def run(self, script: str, *arguments: str, status: int = 0) -> str:
        """Run a script of the copy and return what it prints."""
        done = run(script, *arguments, cwd=self.folder, root=self.folder, ok=False)
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        return output

    def kill_after_a_checkpoint(self, *arguments: str) -> Path:
        """Kill a training and all its processes once it has a checkpoint; return its folder."""
        process = subprocess.Popen(
            [sys.executable, "src/train.py", *arguments],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not any(self.folder.glob("runs/*/checkpoints/last.ckpt")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        (folder,) = run_folders(self.folder)
        assert not (folder / "metrics.json").exists()
        return folder

    def record(self, meanwhile: str = "pass") -> dict:
        """Return the identity of the copy's code, in a process that does something before."""
        code = (
            "import os\n"
            "from deeplab.tracking.source_code import code_record\n"
            f"code_record()\n{meanwhile}\n"
            "print(code_record().model_dump_json())"
        )
        variables = {"PYTHONPATH": str(self.folder / "src"), "PATH": os.environ["PATH"]}
        return json.loads(subprocess.check_output([sys.executable, "-c", code], env=variables))

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
        command = ["git", *identity, *arguments]
        return subprocess.check_output(command, cwd=self.folder, text=True).strip()


VERSION = f"version {deeplab.__version__}"


def code_of(record: dict) -> str:
    return f"code {record['training_code']} ({VERSION})"


@pytest.mark.processes
def test_a_finished_run_of_other_code_is_named(tmp_path):
    copy = Copy(tmp_path)
    before = copy.record()
    copy.run("train", *SMALL)
    (folder,) = run_folders(tmp_path)
    evaluate = ("evaluate", f"run={folder}", *EVALUATE)
    copy.run(*evaluate)
    copy.edit("tools/gallery/gallery.py")
    copy.edit("ablations/report/latex.py")
    assert "ther code" not in copy.run("train", *SMALL)

    copy.edit(LOSSES)
    printed = copy.run("train", *SMALL)
    now = copy.record()
    assert "This run is finished" in printed
    difference = f"{code_of(before)}; now {code_of(now)}; different: {LOSSES}."
    assert f"Other code has made it: {difference}\n" in printed
    assert "overwrite=true trains it again with the present code" in printed
    assert "ther code" not in copy.run(*evaluate)  # does not depend on the loss

    copy.edit("metrics/confusion_matrix.py")
    then, now = (record["evaluation_code"] for record in (before, copy.record()))
    assert (
        f"  other code has made 1 of 1: code {then} ({VERSION}); now code {now} ({VERSION}); "
        "overwrite=true evaluates with it\n"
    ) in copy.run(*evaluate)
    assert "other code" not in copy.run(*evaluate, "overwrite=true")
    assert "other code" not in copy.run(*evaluate)


@pytest.mark.processes
def test_an_interrupted_run_is_not_continued_by_other_code(tmp_path):
    copy = Copy(tmp_path)
    before = copy.record()
    arguments = (*SMALL, *STEPS)
    folder = copy.kill_after_a_checkpoint(*arguments)
    original = (folder / "run.json").read_text()
    copy.edit(LOSSES)
    now = copy.record()
    for command in (arguments, (f"resume={folder}",)):
        printed = copy.run("train", *command, status=2)
        assert "Error: resume_with_other_code=false: the code has changed since" in printed
        assert f"{code_of(before)}; now {code_of(now)}; different: {LOSSES}. Go back" in printed
        by_command = "by the run's first command with overwrite=true" in printed
        assert by_command == (command != arguments)
    assert (folder / "run.json").read_text() == original
    assert not (folder / "failure.txt").exists()

    copy.undo(LOSSES)
    copy.edit("tools/gallery/gallery.py")
    kept = shutil.copytree(folder, tmp_path / "kept")
    assert "from step" in copy.run("train", *arguments)
    shutil.rmtree(folder)
    kept.rename(folder)

    copy.edit(LOSSES)
    assert "from step" in copy.run("train", *arguments, "resume_with_other_code=true")
    record = json.loads((folder / "run.json").read_text())
    codes = [session["training_code"] for session in record["sessions"]]
    assert codes == [before["training_code"], now["training_code"]]
    assert record["source_files"].keys() == set(codes)
    assert (
        f"Other code has made it: {code_of(before)}, then {code_of(now)}; now {code_of(now)}"
        in (copy.run("train", *arguments))
    )


@pytest.mark.processes
@pytest.mark.long
def test_two_processes_resume_with_other_code_only_if_told(tmp_path):
    copy = Copy(tmp_path)
    arguments = (*SMALL, *STEPS, "trainer.devices=2")
    folder = copy.kill_after_a_checkpoint(*arguments)
    copy.edit(LOSSES)
    assert f"different: {LOSSES}" in copy.run("train", *arguments, status=2)
    copy.run("train", *arguments, "resume_with_other_code=true")
    sessions = json.loads((folder / "run.json").read_text())["sessions"]
    assert len({session["training_code"] for session in sessions}) == 2


@pytest.mark.processes
def test_rows_of_other_code_are_named_in_sweep_plan_and_report(tmp_path):
    copy = Copy(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "title: mine\nsetting: shapes\ncolumns: [rate]\ntrain: [data=shapes]\n"
        "rows:\n- {cells: [a], train: [stage.lr=0.01]}\n- {cells: [b], train: [stage.lr=0.02]}\n"
    )
    table = ("ablation=mine.yaml", "preset=paper", *SMALL)
    copy.run("train", "-m", *table)
    (interrupted,) = (
        folder
        for folder in tmp_path.glob("runs/shapes-*")
        if "  lr: 0.02\n" in (folder / "config.yaml").read_text()
    )
    (interrupted / "metrics.json").unlink()  # as if killed after its last checkpoint
    copy.edit(LOSSES)
    line = "Made by other code than the present (overwrite=true trains and evaluates with it): mine"
    planned = copy.run("ablations", "plan", *table)
    assert f"{line} row 1\n" in planned
    assert "done by other code: runs/" in planned
    assert "interrupted after step 2 of 2 by other code: runs/" in planned
    printed = copy.run("train", "-m", *table, status=2)
    assert "2 distinct runs, 1 to run" in printed
    assert f"{line} row 1\n" in printed
    assert "Not done: mine row 2" in printed
    assert f"different: {LOSSES}" in printed
    report = (tmp_path / "runs/ablations/paper/report.md").read_text()
    assert f"{line} row 1." in report
    copy.run("ablations", "report", "data=shapes", "stage.lr=0.01,0.02", *SMALL)
    (variants,) = tmp_path.glob("runs/sweeps/*/report.md")
    assert "evaluates with it): stage.lr=0.01 seed=0." in variants.read_text()
    copy.run("train", "-m", *table, "resume_with_other_code=true")
    assert f"{line} rows 1, 2\n" in copy.run("ablations", "plan", *table)


def test_the_commit_is_that_of_the_package(tmp_path):
    copy = Copy(tmp_path)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    copy.git("init", "-q")
    copy.git("add", ".gitignore")
    copy.git("commit", "-q", "-m", "Another project")
    outside = copy.record()
    assert (outside["commit"], outside["uncommitted_changes"]) == (None, False)
    copy.git("add", "src")
    copy.git("commit", "-q", "-m", "Package")
    committed = copy.record()
    assert committed["commit"] == copy.git("rev-parse", "HEAD")
    assert not committed["uncommitted_changes"]
    commit = "git -c user.name=me -c user.email=me@example.com commit -q --allow-empty -m Later"
    later = copy.record(f"os.chdir({str(tmp_path)!r}); os.system({commit!r})")
    assert later["commit"] == committed["commit"] != copy.git("rev-parse", "HEAD")
    assert committed["training_code"] == outside["training_code"]
    (tmp_path / "src/train.py").write_text("")  # not a file of the package
    assert not copy.record()["uncommitted_changes"]
    (tmp_path / "src/deeplab/models/backbones/mine.py").write_text("")  # not in the commit
    changed = copy.record()
    assert changed["uncommitted_changes"]
    assert changed["training_code"] != committed["training_code"]


def test_it_is_decided_for_each_sub_package_whether_it_counts():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == {*COUNTED["training"], *COUNTED["evaluation"], *NOT_COUNTED}
    assert LOSSES in source_files("training")
    assert LOSSES not in source_files("evaluation")


@pytest.mark.parametrize(
    ("starts", "step", "expected"),
    [
        ([0], None, [0]),
        ([0, 5], None, [0, 1]),
        ([0, 0], None, [1]),  # the first session ended before a checkpoint
        ([0, 5, 5], None, [0, 2]),
        ([0, 5], 5, [0]),
        ([0, 5], 9, [0, 1]),
        ([0, 50, 0], None, [2]),
        ([], None, []),
    ],
)
def test_sessions_whose_steps_were_lost_do_not_count(starts, step, expected):
    sessions = [Session(from_step=start, command=str(i)) for i, start in enumerate(starts)]
    found = RunRecord(wandb_id="x", sessions=sessions).contributing_sessions(step)
    assert [int(session.command) for session in found] == expected


def test_an_evaluation_without_recorded_code_is_not_taken_for_the_present_code():
    strategy = {"name": "os16", "label": "output stride 16"}
    protocol = Protocol(
        split="val", images=1, content="x", classes=("a",), strategy=strategy, precision="32-true"
    )
    result = Result(run="x", protocol=protocol, scores={"mIoU": 1.0})
    assert "1 of 1: code that was not recorded; now" in describe_reused([result])


def test_a_process_keeps_the_code_that_it_started_with(tmp_path):
    copied = shutil.copytree(ROOT / "src", tmp_path / "src")
    code = (
        "from pathlib import Path; from deeplab.tracking.source_code import code_hash, PACKAGE;"
        f"losses = PACKAGE / '{LOSSES}'; losses.write_text(losses.read_text() + '# edited');"
        "print(code_hash('training'))"
    )
    command = [sys.executable, "-c", code]
    variables = {"PYTHONPATH": str(copied), "PATH": os.environ["PATH"]}
    hashes = [subprocess.check_output(command, env=variables, text=True) for _ in range(3)]
    assert len(set(hashes)) == 3  # each sees the edit of the one before, and not its own
    assert hashes[0].strip() == code_hash("training")
