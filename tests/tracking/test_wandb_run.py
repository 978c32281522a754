"""Data on Weights & Biases, sent online or later by ``wandb sync``; the server is local."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deeplab.ablations.tables import read_preset
from deeplab.tracking.run_record import RunRecord
from deeplab.tracking.wandb_run import check_wandb, wandb_mode
from deeplab.utils.errors import UserError
from support.scripts import SMALL, environment, run, run_folders
from support.wandb_server import KEY, wandb_server

WANDB = [s for s in SMALL if not s.startswith("logger")]  # it is the default
GRID = ("-m", "preset=quick", *WANDB)
STEP = re.compile("_|examples/|validation|confusion_matrix|epoch|trainer/")
"""Keys of a training step, which are in the history only."""


def test_group_and_tags_of_a_run():
    record = RunRecord(wandb_id="x", sessions=())
    assert record.add_group_and_tags("hand", ["a"])
    assert (record.group, record.tags) == ("hand", ("a",))
    assert not record.add_group_and_tags(None, ["a"])
    assert record.add_group_and_tags("swept", ["b", "a"])
    assert (record.group, record.tags) == ("swept", ("a", "b"))


def netrc_of(host):
    return f"machine {host}\n  login user\n  password {KEY}\n"


@pytest.mark.parametrize(
    ("files", "variables", "mode"),
    [
        ({}, {}, "offline"),
        ({}, {"WANDB_API_KEY": KEY}, "online"),
        ({}, {"WANDB_API_KEY": "damaged"}, "online"),  # W&B says so
        ({".netrc": netrc_of("api.wandb.ai")}, {}, "online"),
        ({"_netrc": netrc_of("api.forge.coreweave.com")}, {}, "online"),
        ({".netrc": netrc_of("github.example")}, {}, "offline"),
        ({"mine": netrc_of("api.wandb.ai")}, {"NETRC": "~/mine"}, "online"),
        (
            {".netrc": netrc_of("own.example:8080")},
            {"WANDB_BASE_URL": "http://own.example:8080"},
            "online",
        ),
        (
            {".netrc": netrc_of("api.wandb.ai")},
            {"WANDB_BASE_URL": "http://own.example:8080"},
            "offline",
        ),
        (
            {
                ".config/wandb/settings": "[default]\nbase_url = http://own.example\n",
                ".netrc": netrc_of("own.example"),
            },
            {},
            "online",
        ),
        ({".netrc": "machine\n"}, {}, "offline"),
        ({".netrc": netrc_of("api.wandb.ai")}, {"WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_the_log_in_is_that_which_wandb_finds(tmp_path, monkeypatch, files, variables, mode):
    import wandb

    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), "WANDB_SILENT": "true", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    wandb.teardown()  # it reads the environment once
    try:
        assert wandb_mode("auto") == mode
        assert wandb_mode("online") == "online"
        if variables.keys() | files.keys() == set():
            with pytest.raises(UserError, match=r"logger\.mode=online: W&B has no key"):
                check_wandb("online")
        if mode == "online" or "WANDB_MODE" in variables:
            check_wandb("online")  # it has a key
    finally:
        wandb.teardown()


@pytest.mark.processes
def test_the_run_of_an_agent_keeps_its_id(tmp_path):
    """Also evaluations are sent to it, whatever agent has started them."""
    agent = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "agentrun1"}
    run("train", *WANDB, cwd=tmp_path, variables=agent)
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "run.json").read_text())["wandb_id"] == "agentrun1"
    other = {"WANDB_SWEEP_ID": "sweep2", "WANDB_RUN_ID": "agentrun2"}
    for number, variables in enumerate(({}, agent, other)):
        strategy = ("single-scale", "flip", "ms")[number]
        arguments = (f"run={folder}", f"strategies={strategy}", "trainer.accelerator=cpu")
        run("evaluate", *arguments, cwd=tmp_path, variables=variables)
    parts = [path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")]
    assert parts == ["agentrun1"] * 4


@pytest.mark.processes
def test_the_runs_of_a_sweep_do_not_share_the_id_of_one(tmp_path):
    variables = {"WANDB_RUN_ID": "mine"}
    done = run("train", "-m", "seed=0,1", *WANDB, cwd=tmp_path, variables=variables)
    assert "WANDB_RUN_ID=mine is for one run; each of these gets its own id" in done.stdout
    records = [json.loads((f / "run.json").read_text()) for f in run_folders(tmp_path)]
    assert len({"mine", *(record["wandb_id"] for record in records)}) == 3


@pytest.mark.processes
def test_an_agent_gets_the_score_of_every_run_that_it_starts(tmp_path):
    """Also of settings that another agent has trained; an error makes a failed run."""
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("wandb_version: 1\nstage.lr: {value: 0.01}\n")
    with wandb_server() as server:
        for name in ("first", "second", "diverged"):
            lr = "1e25" if name == "diverged" else "0.01"
            agent = {
                **server.environment,
                "WANDB_SWEEP_ID": "s",
                "WANDB_RUN_ID": name,
                "WANDB_SWEEP_PARAM_PATH": str(parameters),
            }
            arguments = (*WANDB, f"stage.lr={lr}")
            done = run("train", *arguments, cwd=tmp_path, variables=agent, ok=lr == "0.01")
            assert ("This run is finished" in done.stdout) == (name == "second")
        assert set(server.runs) == {"first", "second", "diverged"}
        scores = [server.runs[name].summary["val/mIoU"] for name in ("first", "second")]
        assert scores[0] == scores[1] > 0
        assert [server.runs[n].exit_code for n in server.runs] == [0, 0, 1]
    config = json.loads(server.runs["first"].attributes["config"])
    assert config["stage.lr"]["value"] == config["stage"]["value"]["lr"] == 0.01


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Write a table of two networks, one of which is evaluated with two strategies."""
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
    """Run a sweep over the table with these variables in the environment."""
    arguments = (f"ablation={table}", f"data.root={root}", "trainer.log_every_n_steps=1")
    return run("train", *GRID, *arguments, cwd=cwd, variables=variables)


@pytest.fixture(scope="module")
def online_sweep(tmp_path_factory, table):
    """Run a sweep online; the value is its folder, the images and the server."""
    cwd = tmp_path_factory.mktemp("online")
    with wandb_server() as server:
        sweep(cwd, table, cwd / "shapes", **server.environment)
        yield cwd, cwd / "shapes", server


def sync(cwd, server):
    """Send the offline runs with ``wandb sync``."""
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


def runs_by_name(server):
    return {stored.attributes["displayName"]: stored for stored in server.runs.values()}


def logged_steps(stored, key):
    return [line["trainer/global_step"] for line in stored.history if key in line]


def read_results(cwd):
    return {
        folder.name: {
            path.parent.name: json.loads(path.read_text())
            for path in folder.glob("evaluations/*/result.json")
        }
        for folder in run_folders(cwd)
        if folder.name.startswith("shapes-")
    }


def check_scores(cwd, server):
    """Check that the server has all scores of the run folders."""
    runs, results = runs_by_name(server), read_results(cwd)
    assert set(runs) == set(results)
    for name, evaluations in results.items():
        summary = runs[name].summary
        training_result = json.loads((cwd / "runs" / name / "metrics.json").read_text())
        assert summary["mIoU"] == pytest.approx(training_result["mIoU"])
        for evaluation, result in evaluations.items():
            assert summary[f"evaluation/{evaluation}/mIoU"] == pytest.approx(result["mIoU"])
            for key in ("classes", "bands", "examples", "boundary_curve"):
                assert any(f"evaluation/{evaluation}/{key}" in line for line in runs[name].history)
        assert summary["evaluations"]["nrows"] == len(evaluations)
        assert summary["val/per_class"]["nrows"] == len(training_result["class_IoU"])
        assert logged_steps(runs[name], "train/loss") == [0, 1]


@pytest.mark.processes
def test_an_online_sweep(online_sweep):
    cwd, _, server = online_sweep
    check_scores(cwd, server)
    tags = {tuple(stored.attributes["tags"]) for stored in server.runs.values()}
    assert tags == {("two", "two-row1"), ("two", "two-row2", "two-row3")}
    assert {stored.attributes["groupName"] for stored in server.runs.values()} == {"ablation-quick"}


@pytest.mark.processes
def test_a_synced_offline_sweep_equals_an_online_one(tmp_path, table, online_sweep):
    _, root, online = online_sweep
    sweep(tmp_path, table, root)
    with wandb_server() as server:
        sync(tmp_path, server)
        check_scores(tmp_path, server)
        for name, expected in runs_by_name(online).items():
            synced = runs_by_name(server)[name]
            for key in ("tags", "groupName"):
                assert synced.attributes[key] == expected.attributes[key]
            assert {key for key in expected.summary if not STEP.match(key)} <= set(synced.summary)


@pytest.mark.processes
def test_an_existing_run_gets_the_group_and_tags_of_a_sweep(tmp_path, table, online_sweep):
    """The run was started by hand and evaluated with one of the strategies of the rows."""
    _, root, _ = online_sweep
    overrides = ["decoder.low_level_channels=8", "trainer.log_every_n_steps=1", f"data.root={root}"]
    run(
        "train",
        *read_preset("quick").train,
        *WANDB,
        *overrides,
        "strategies=[single-scale]",
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
    assert len(list(folder.glob("wandb/offline-run-*"))) == parts  # nothing is sent again
    with wandb_server() as server:
        sync(tmp_path, server)
        check_scores(tmp_path, server)
        stored = runs_by_name(server)[folder.name]
        assert stored.attributes["tags"] == record["tags"]
        assert stored.attributes["groupName"] == record["group"]


@pytest.mark.processes
def test_a_view_of_each_table(online_sweep, table):
    pytest.importorskip("wandb_workspaces")
    cwd, root, server = online_sweep
    arguments = ("views", f"ablation=table1,{table}", *WANDB, f"data.root={root}")
    output = run("ablations", *arguments, cwd=cwd, variables=server.environment).stdout
    assert len(server.views) == 2
    (view,) = (v for v in server.views.values() if v["displayName"].startswith("two rows"))
    assert view["displayName"] == "two rows (ablation-quick)"
    section = json.loads(view["spec"])["section"]
    (rows,) = section["runSets"]
    filters = json.dumps(rows["filters"])
    assert '"two"' in filters
    assert '"ablation-quick"' in filters
    shown = rows["runFeed"]["columnOrder"]
    (stored, *_) = (s for s in server.runs.values() if "two-row2" in s.attributes["tags"])
    columns = [c.removeprefix("summary:") for c in shown if c.startswith("summary:")]
    assert len(columns) == 5
    assert set(columns) <= set(stored.summary)
    assert "config:decoder.value.low_level_channels" in shown
    assert json.loads(stored.attributes["config"])["decoder"]["value"]["low_level_channels"] == 16
    assert "two  http" in output
    run("ablations", *arguments, cwd=cwd, variables=server.environment)
    assert len(server.views) == 2  # the existing views are replaced
    run("ablations", *arguments, "logger.group=mine", cwd=cwd, variables=server.environment)
    assert any('"mine"' in view["spec"] for view in server.views.values())


def test_a_view_offline(tmp_path, table):
    arguments = ("views", f"ablation={table}", *WANDB)
    done = run("ablations", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "wandb login" in done.stderr
    done = run("ablations", *arguments, "logger=csv", cwd=tmp_path, ok=False)
    assert "logger=wandb" in done.stderr


def test_a_server_that_does_not_answer(tmp_path):
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB_API_KEY": KEY}
    quick = {"WANDB_MODE": "online", "WANDB_INIT_TIMEOUT": "2"}
    done = run("train", *WANDB, cwd=tmp_path, ok=False, variables=nowhere | quick)
    assert done.returncode == 2
    assert "logger.mode=offline" in done.stderr
    assert "Traceback" not in done.stderr
