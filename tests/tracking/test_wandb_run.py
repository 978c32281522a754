"""What is on Weights & Biases, sent at once or by ``wandb sync`` later; the server is on this
machine."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deeplab.ablations.tables import read_preset
from deeplab.tracking.wandb_run import add_group_and_tags
from support.scripts import SMALL, environment, run, run_folders
from support.wandb_server import wandb_server

WANDB = [s for s in SMALL if not s.startswith("logger")]  # it is the default
GRID = ("-m", "preset=quick", *WANDB)
STEP = re.compile("_|examples/|sheet|epoch|trainer/")
"""What is said of a step of training stays in the history."""


def test_labels_of_a_run():
    record = add_group_and_tags({"wandb_id": "x"}, "hand", ["a"])
    assert record == {"wandb_id": "x", "group": "hand", "tags": ["a"]}
    assert add_group_and_tags(record, None, ["a"]) == record
    assert add_group_and_tags(record, "swept", ["b", "a"]) == record | {"group": "swept", "tags": ["a", "b"]}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of two rows, of which one is looked at in two ways."""
    path = tmp_path_factory.mktemp("table") / "two.yaml"
    path.write_text(
        "title: two rows\n"
        "setting: drawn scenes\n"
        "columns: [channels]\n"
        "train: [data=shapes]\n"
        "strategy: single-scale\n"
        "reference: 1\n"
        "rows:\n"
        "- {cells: [8], train: [decoder.low_level_channels=8]}\n"
        "- {cells: [16], train: [decoder.low_level_channels=16]}\n"
        "- {cells: [16], train: [decoder.low_level_channels=16], strategy: flip}\n"
    )
    return path


def sweep(cwd, table, root, **variables):
    """Sweep over the table as a user with these variables in the environment."""
    arguments = (f"ablation={table}", f"data.root={root}", "trainer.log_every_n_steps=1")
    return run("train", *GRID, *arguments, cwd=cwd, variables=variables)


@pytest.fixture(scope="module")
def sent(tmp_path_factory, table):
    """A sweep that was sent at once: its folder, the images and what the server has of it."""
    cwd = tmp_path_factory.mktemp("online")
    with wandb_server() as server:
        sweep(cwd, table, cwd / "shapes", **server.environment)
        yield cwd, cwd / "shapes", server


def synced(cwd, server):
    """Send what lies offline, as a user types it."""
    folders = [str(path) for path in cwd.glob("runs/*/wandb/offline-run-*")]
    done = subprocess.run(
        [Path(sys.executable).with_name("wandb"), "sync", *folders],
        env=environment() | server.environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def by_name(server):
    return {kept.said["displayName"]: kept for kept in server.runs.values()}


def steps(kept, key):
    return [line["trainer/global_step"] for line in kept.history if key in line]


def results(cwd):
    return {
        folder.name: {
            path.parent.name: json.loads(path.read_text())
            for path in folder.glob("evaluations/*/result.json")
        }
        for folder in run_folders(cwd)
        if folder.name.startswith("shapes-")
    }


def check_scores(cwd, server):
    """Everything that the run folders say is there."""
    runs = by_name(server)
    assert set(runs) == set(results(cwd))
    for name, evaluations in results(cwd).items():
        summary = runs[name].summary
        trained = json.loads((cwd / "runs" / name / "metrics.json").read_text())
        assert summary["mIoU"] == pytest.approx(trained["mIoU"])
        for way, result in evaluations.items():
            assert summary[f"evaluation/{way}/mIoU"] == pytest.approx(result["mIoU"])
            for key in ("classes", "bands", "examples", "boundary_curve"):
                assert any(f"evaluation/{way}/{key}" in line for line in runs[name].history)
        assert summary["evaluations"]["nrows"] == len(evaluations)
        assert summary["val/per_class"]["nrows"] == len(trained["class_IoU"])
        assert steps(runs[name], "train/loss") == [0, 1]


@pytest.mark.processes
def test_what_is_sent_at_once(sent):
    cwd, _, server = sent
    check_scores(cwd, server)
    tags = {tuple(kept.said["tags"]) for kept in server.runs.values()}
    assert tags == {("two", "two-row1"), ("two", "two-row2", "two-row3")}
    assert {kept.said["groupName"] for kept in server.runs.values()} == {"ablation-quick"}


@pytest.mark.processes
def test_what_is_sent_later_is_the_same(tmp_path, table, sent):
    _, root, at_once = sent
    sweep(tmp_path, table, root)
    with wandb_server() as server:
        synced(tmp_path, server)
        check_scores(tmp_path, server)
        for name, kept in by_name(at_once).items():
            later = by_name(server)[name]
            for key in ("tags", "groupName"):
                assert later.said[key] == kept.said[key]
            assert {key for key in kept.summary if not STEP.match(key)} <= set(later.summary)


@pytest.mark.processes
def test_a_run_that_was_there_gets_its_labels(tmp_path, table, sent):
    """Launched by hand, and evaluated in one of the ways that rows want."""
    _, root, _ = sent
    hand = ["decoder.low_level_channels=8", "trainer.log_every_n_steps=1", f"data.root={root}"]
    run(
        "train",
        *read_preset("quick").train,
        *WANDB,
        *hand,
        "eval_after_training=[{strategies:[single-scale]}]",
        cwd=tmp_path,
    )
    (folder,) = run_folders(tmp_path)
    before = json.loads((folder / "run.json").read_text())
    assert before["group"] == "shapes-shapes"
    assert before["tags"] == []
    sweep(tmp_path, table, root)
    record = json.loads((folder / "run.json").read_text())
    assert record["group"] == "ablation-quick"
    assert record["tags"] == ["two", "two-row1"]
    parts = len(list(folder.glob("wandb/offline-run-*")))
    sweep(tmp_path, table, root)
    assert len(list(folder.glob("wandb/offline-run-*"))) == parts  # they are there
    with wandb_server() as server:
        synced(tmp_path, server)
        check_scores(tmp_path, server)
        kept = by_name(server)[folder.name]
        assert kept.said["tags"] == record["tags"]
        assert kept.said["groupName"] == record["group"]


@pytest.mark.processes
def test_a_view_of_each_table(sent, table):
    pytest.importorskip("wandb_workspaces")
    cwd, root, server = sent
    asked = ("views", f"ablation=table1,{table}", *WANDB, f"data.root={root}")
    said = run("ablations", *asked, cwd=cwd, variables=server.environment).stdout
    assert len(server.views) == 2
    (view,) = (v for v in server.views.values() if v["displayName"].startswith("two rows"))
    assert view["displayName"] == "two rows (ablation-quick)"
    section = json.loads(view["spec"])["section"]
    (rows,) = section["runSets"]
    filters = json.dumps(rows["filters"])
    assert '"two"' in filters
    assert '"ablation-quick"' in filters
    shown = rows["runFeed"]["columnOrder"]
    (kept, *_) = (k for k in server.runs.values() if "two-row2" in k.said["tags"])
    columns = [c.removeprefix("summary:") for c in shown if c.startswith("summary:")]
    assert len(columns) == 5
    assert set(columns) <= set(kept.summary)
    assert "config:decoder.value.low_level_channels" in shown
    assert json.loads(kept.said["config"])["decoder"]["value"]["low_level_channels"] == 16
    assert "two  http" in said
    run("ablations", *asked, cwd=cwd, variables=server.environment)
    assert len(server.views) == 2  # saved again where they were


def test_a_view_offline(tmp_path, table):
    asked = ("views", f"ablation={table}", *WANDB)
    said = run("ablations", *asked, cwd=tmp_path, ok=False)
    assert said.returncode == 2
    assert "wandb login" in said.stderr
    said = run("ablations", *asked, "logger=csv", cwd=tmp_path, ok=False)
    assert "logger=wandb" in said.stderr


def test_a_server_that_does_not_answer(tmp_path):
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB_API_KEY": "0" * 40}
    quick = {"WANDB_MODE": "online", "WANDB_INIT_TIMEOUT": "2"}
    done = run("train", *WANDB, cwd=tmp_path, ok=False, variables=nowhere | quick)
    assert done.returncode == 2
    assert "WANDB_MODE=offline" in done.stderr
    assert "Traceback" not in done.stderr
