"""Refusal of runs whose records have another schema version."""

import json
import shutil

import pytest
import yaml

from support.scripts import CPU, SMALL, run, run_folders

COMMANDS = {
    "evaluate": ("evaluate", "run={}", *CPU),
    "predict": ("predict", "run={}", "input={}/validation.png", *CPU),
    "export": ("export", "run={}", "format=safetensors"),
    "gallery": ("gallery", "run={}"),
    "compare": ("compare", "runs=[{}]"),
    "resume": ("train", "resume={}"),
    "init_from": ("train", "init_from={}", *SMALL),
    "backbone.pretrained": ("train", "backbone.pretrained={}", *SMALL),
}
"""Scripts that read a run, by the key or script name, with the run folder as ``{}``."""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Train and evaluate a run; return its folder."""
    cwd = tmp_path_factory.mktemp("evaluated")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    run("evaluate", f"run={folder}", *CPU, cwd=cwd)
    return folder


def with_stamp(evaluated, target, stamp):
    """Copy the run and replace the version stamp of all its records."""
    folder = shutil.copytree(evaluated, target / "runs" / evaluated.name)
    records = [folder / "config.yaml", *folder.rglob("*.json")]
    assert {r.name for r in records} >= {"config.yaml", "run.json", "metrics.json", "result.json"}
    for path in records:
        record = yaml.safe_load(path.read_text())  # JSON is YAML
        del record["schema_version"], record["deeplab_version"]
        dump = yaml.safe_dump if path.suffix == ".yaml" else json.dumps
        path.write_text(dump(stamp | record))
    return folder


OTHER = {"schema_version": 99, "deeplab_version": "7.5"}


@pytest.mark.parametrize(
    ("command", "stamp", "writer"),
    [("evaluate", {}, "deeplab 0.1"), *((name, OTHER, "deeplab 7.5") for name in COMMANDS)],
)
def test_runs_of_another_schema_version_are_refused(evaluated, tmp_path, command, stamp, writer):
    folder = with_stamp(evaluated, tmp_path, stamp)
    files = sorted(tmp_path.rglob("*"))
    script, *arguments = (part.format(folder) for part in COMMANDS[command])
    done = run(script, *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"Error: {folder}/"), line
    assert f"schema_version={stamp.get('schema_version', 1)}: {writer} wrote this run" in line
    assert "Traceback" not in done.stdout + done.stderr
    assert sorted(tmp_path.rglob("*")) == files


def test_an_unchanged_run_is_accepted(evaluated, tmp_path):
    folder = shutil.copytree(evaluated, tmp_path / "runs" / evaluated.name)
    assert "finished" in run("train", f"resume={folder}", cwd=tmp_path).stdout
