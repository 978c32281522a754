"""Run folders of others: damaged, edited by hand, or made to do harm."""

import os
import shutil
import threading

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf
from safetensors.torch import save_file

from deeplab.ablations.run_index import known_runs
from deeplab.ablations.run_tables import last_request, report_folder
from deeplab.ablations.sweep_request import parse_request
from deeplab.checkpoints.loading import load_weights
from deeplab.checkpoints.run_weights import check_weights
from deeplab.checkpoints.trained_run import without_local_paths
from deeplab.tracking.run_folder import RunFolder, lock_run_folder, read_run, write_config
from deeplab.tracking.run_record import read_record
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.training.checkpoint_io import check_checkpoint, read_step, report_resume_errors
from deeplab.training.validate_config import check_train
from deeplab.utils.errors import UserError, script_errors
from deeplab.utils.file_lock import is_locked
from deeplab.utils.files import write_json
from deeplab.utils.links import check_links
from deeplab.utils.reading import read_values
from support.configs import compose_config, train_config
from support.networks import tiny_model

SESSION = {"from_step": 0, "commit": None, "note": 5}
RECORD = {**VERSION_STAMP, "wandb_id": "a1", "sessions": [SESSION], "note": "kept"}


@pytest.mark.parametrize("link", ["metrics.csv", "lock", "evaluations", "evaluations/a/gallery"])
def test_nothing_is_written_through_links_that_lead_out(tmp_path, link):
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    run = RunFolder(tmp_path / "runs" / "a")
    path = run.path / link
    path.parent.mkdir(parents=True)
    path.symlink_to(canary)
    message = f"{path}: this link leads out of {run.path}, to {canary}"
    with pytest.raises(UserError, match=message), lock_run_folder(run):
        pass
    assert canary.read_text() == "as it was"
    assert not is_locked(run.lock) if link != "lock" else True


def test_a_lock_with_a_second_name_is_not_written_to(tmp_path):
    run, canary = RunFolder(tmp_path / "a"), tmp_path / "canary"
    canary.write_text("as it was")
    run.path.mkdir()
    run.lock.hardlink_to(canary)
    with lock_run_folder(run):
        assert is_locked(run.lock)
    assert canary.read_text() == "as it was"


def test_a_link_to_itself_ends_a_script_in_one_line(tmp_path, capsys):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(SystemExit), script_errors():
        RunFolder.find(tmp_path / "a", "run")
    assert (
        capsys.readouterr().err == f"Error: {tmp_path}/a: this link leads to itself. Remove it.\n"
    )


TABLE = {"title": "T", "setting": "S", "columns": ["c"], "strategy": "os16", "train": []}


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("name='${oc.env:CANARY}'", "a value of the form"),
        ("seed=${oc.decode:${oc.env:CANARY}}", "seed="),
        ("hydra.searchpath=[file:///tmp]", "the scripts rely on this setting"),
        ("--config-dir=/tmp", "cannot be parsed|cannot be read"),
        ("", "at least 1 character"),
    ],
)
def test_a_repeated_report_is_not_interpolated(tmp_path, argument, problem):
    path = tmp_path / "ablations" / "quick" / "request.json"
    write_json(path, {"arguments": ["ablation=table2", argument]})
    with pytest.raises(UserError, match=f"request.json: .*({problem})"):
        last_request(str(tmp_path))


def test_a_repeated_report_stays_in_its_folder_of_runs(tmp_path):
    root, table = tmp_path / "runs", tmp_path / "table.yaml"
    table.write_text(yaml.safe_dump(TABLE | {"rows": [{"cells": [1], "train": []}]}))
    arguments = [f"ablation=choice('{table}')", "runs_dir=/elsewhere"]
    write_json(root / "ablations/quick/request.json", {"arguments": arguments})
    assert last_request(str(root)) == [arguments[0], f'runs_dir="{root}"']
    table.write_text(yaml.safe_dump(TABLE | {"rows": [{"cells": [1], "train": ["name=${a:b}"]}]}))
    with pytest.raises(UserError, match="a value of the form"):
        last_request(str(root))
    (root / "ablations" / "quick").rename(tmp_path / "elsewhere")
    (root / "ablations" / "quick").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of"):
        report_folder(parse_request(["ablation=table2"]), (), str(root))


@pytest.mark.parametrize("name", ["weights.safetensors", "last.ckpt"])
def test_files_that_are_cut_or_without_end_are_found_before_they_are_read(tmp_path, name):
    path, model = tmp_path / name, tiny_model()
    save_file(model.state_dict(), path) if path.suffix == ".safetensors" else torch.save({}, path)
    check_weights(path)
    size = path.stat().st_size
    for damaged in (0, 7, size - 1, size + 10**12):
        os.truncate(path, damaged)
        with pytest.raises(UserError, match=f"{name}: cannot be read"):
            check_weights(path)


def test_links_inside_a_run_and_to_it_are_followed(tmp_path):
    run = tmp_path / "disk" / "a"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").symlink_to(run / "best.ckpt")
    (tmp_path / "a").symlink_to(run)
    check_links(tmp_path / "a")


def test_folders_may_vanish_while_links_are_looked_for(tmp_path):
    stop = threading.Event()

    def write_and_remove():
        while not stop.is_set():
            (tmp_path / "evaluations/new").mkdir(parents=True)
            shutil.rmtree(tmp_path / "evaluations")

    writer = threading.Thread(target=write_and_remove)
    writer.start()
    try:
        for _ in range(2000):
            check_links(tmp_path)
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("wandb_id", "../x"),
        ("sessions", {}),
        ("sessions", [{"from_step": "0"}]),
        ("sessions", [{"commit": 5}]),
        ("sessions", [{"training_code": [1]}]),
        ("tags", 5),
        ("source_files", {"a": [1]}),
    ],
)
def test_wrong_types_in_a_record_are_named(tmp_path, key, value):
    run = RunFolder(tmp_path)
    write_json(run.record, RECORD)
    read_record(run).write(run.record)
    assert read_values(run.record, "") == RECORD
    write_json(run.record, RECORD | {key: value})
    with pytest.raises(UserError, match=rf"run\.json: cannot be read \({key}"):
        read_record(run)


def test_a_resumed_config_is_not_interpolated(tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", "secret")
    run = RunFolder(tmp_path / "runs" / "a")
    root = "data/${oc.env:CANARY}"
    config = train_config(f"data.root='{root.replace('$', chr(92) + '$')}'")
    write_config(run.config, config)
    assert read_run(run).data.root == root
    composed = OmegaConf.create(compose_config("train", f"resume={run.path}"))
    assert check_train(composed).data.root == root


def test_a_config_of_the_hub_has_no_paths_of_another_machine():
    config = train_config("data.root=/home/them/voc", "runs_dir=/scratch", "init_from=../../x/run")
    local = without_local_paths(config)
    assert (local.data.root, local.runs_dir, local.init_from) == ("voc", "runs", "run")


def set_value(value):
    def change(state, name):
        state[name].view(-1)[1] = value

    return change


WEIGHTS = {
    "nan": (set_value(float("nan")), "has values that are nan or inf"),
    "inf": (set_value(float("-inf")), "has values that are nan or inf"),
    "integers": (lambda state, name: state.update({name: state[name].int()}), "torch.int32"),
    "shape": (lambda state, name: state.update({name: state[name][:1].clone()}), "another network"),
    "missing": (lambda state, name: state.pop(name), "another network"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_damaged_weights_are_named_with_the_tensor(tmp_path, kind):
    change, problem = WEIGHTS[kind]
    model, path = tiny_model(), tmp_path / "weights.safetensors"
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    name = next(key for key, tensor in state.items() if tensor.dim() == 4)
    change(state, name)
    save_file(state, path)
    with pytest.raises(UserError, match=rf"weights\.safetensors: .*{problem}") as error:
        load_weights(model, path)
    assert name in str(error.value)


def checkpoint(module):
    state = {0: {"momentum_buffer": torch.zeros(3, 2)}}
    return {
        "global_step": 4,
        "state_dict": {key: tensor.clone() for key, tensor in module.state_dict().items()},
        "lr_schedulers": [{"last_epoch": 4}],
        "loops": {"fit_loop": {}},
        "optimizer_states": [{"state": state, "param_groups": [{"params": [0], "lr": 0.1}]}],
    }


CHECKPOINTS = {
    "no step": lambda c: c.pop("global_step"),
    "text": lambda c: c.update(global_step="4"),
    "negative": lambda c: c.update(global_step=-1),
    "too late": lambda c: c.update(global_step=10**12),
    "no weights": lambda c: c.pop("state_dict"),
    "a list": lambda c: c.update(state_dict=[1]),
    "nan": lambda c: c["state_dict"]["weight"].fill_(float("nan")),
    "shape": lambda c: c["state_dict"].update(weight=torch.ones(2)),
    "no optimizer": lambda c: c.pop("optimizer_states"),
    "empty optimizer": lambda c: c.update(optimizer_states=[]),
    "no schedule": lambda c: c.update(lr_schedulers=[]),
    "no loops": lambda c: c.pop("loops"),
    "momentum": lambda c: c["optimizer_states"][0]["state"][0].update(momentum=torch.ones(7)),
    "no rate": lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr=None),
    "rate": lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr=float("nan")),
    "inf": lambda c: c["optimizer_states"][0]["state"][0]["momentum_buffer"].fill_(float("inf")),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_damaged_checkpoints_are_named(tmp_path, kind):
    module, path = torch.nn.Linear(2, 3), tmp_path / "last.ckpt"
    torch.save(checkpoint(module), path)
    assert read_step(path, max_steps=9) == 4
    check_checkpoint(path, module)
    content = checkpoint(module)
    CHECKPOINTS[kind](content)
    torch.save(content, path)

    def resume():
        read_step(path, max_steps=9)
        check_checkpoint(path, module)

    with pytest.raises(UserError, match=r"last\.ckpt: "):
        resume()


def test_a_checkpoint_of_before_has_no_constants(tmp_path):
    module, path = tiny_model(), tmp_path / "last.ckpt"
    content = checkpoint(module)
    del content["state_dict"]["_extra_state"], content["optimizer_states"][0]["state"][0]
    torch.save(content, path)
    check_checkpoint(path, module)


@pytest.mark.parametrize("step", [10, 10**15])
def test_a_step_beyond_the_end_is_found_before_a_session_is_recorded(tmp_path, step):
    path = tmp_path / "last.ckpt"
    torch.save({"global_step": step}, path)
    with pytest.raises(UserError, match=rf"last\.ckpt: .*global_step={step}, but the run has 9"):
        read_step(path, max_steps=9)


def test_a_changed_byte_of_a_checkpoint_is_found(tmp_path):
    """Torch would load it: it does not compare the checksums."""
    module, path = torch.nn.Linear(64, 64), tmp_path / "last.ckpt"
    torch.save(checkpoint(module), path)
    content = bytearray(path.read_bytes())
    content[content.index(module.weight.detach().numpy().tobytes()) + 9000] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be read \(.* is damaged\)"):
        check_checkpoint(path, module)


def test_errors_of_resuming_name_the_checkpoint(tmp_path):
    message = r"last\.ckpt: cannot be continued from \(KeyError: 'loops'\)"
    with (
        pytest.raises(UserError, match=message),
        report_resume_errors(tmp_path / "last.ckpt", Timer()),
    ):
        raise KeyError("loops")


def test_runs_that_cannot_be_read_are_said_to_be_left_out(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("data: [")
    assert known_runs(tmp_path) == known_runs(tmp_path) == []
    assert capsys.readouterr().err.count(f"Left out: {tmp_path}/a/config.yaml: cannot be read") == 1


def test_a_pipe_in_the_place_of_a_lock_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(UserError, match="lock: not a regular file"):
        is_locked(tmp_path / "lock")
