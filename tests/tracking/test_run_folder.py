import json
from typing import Annotated

import pytest

from deeplab.tracking.run_folder import (
    UNHASHED_KEYS,
    RunFolder,
    flat_result_settings,
    lock_run_folder,
    read_config,
    run_hash,
    write_config,
)
from deeplab.tracking.run_record import read_record
from deeplab.training.loggers import MetricsCSV
from deeplab.training.train import _set_aside
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.settings import ADDED, Settings, added_keys, to_dict
from support.configs import train_config


@pytest.mark.parametrize(
    "change",
    [
        "backbone.base_width=8",
        "backbone.bn_momentum=0.5",
        "aspp.atrous_rates=[6,12]",
        "decoder=naive",
        "output_stride=8",
        "stage.lr=0.05",
        "stage.ema_decay=0.9",
        "seed=1",
        "data.hflip_prob=0.0",
        "data.scene_seed=1",
        "data.cutmix_prob=0.5",  # a key that earlier versions did not have
        "data.val_split=train",
        "init_strict=false",
        "trainer.overfit_batches=1",
        "trainer.limit_val_batches=2",
        "trainer.accumulate_grad_batches=2",  # batch norms see fewer images
    ],
)
def test_hash_changes_with_settings_that_determine_the_result(change):
    assert run_hash(train_config(change), "x") != run_hash(train_config(), "x")


@pytest.mark.parametrize(
    "change",
    [
        "trainer.num_workers=3",
        "trainer.devices=2",
        "trainer.num_validations=3",
        "trainer.deterministic=true",
        "logger=csv",
        "data.root=/elsewhere",
        "data.eval_batch_size=1",
        "runs_dir=/elsewhere",
        "name=other",
        "overwrite=true",
        "resume_with_other_code=true",
        "strategies=[os16]",
        "data.on_error=skip",
    ],
)
def test_hash_does_not_depend_on_other_keys(change):
    assert run_hash(train_config(change), "x") == run_hash(train_config(), "x")


def test_hash_depends_on_the_validations_if_they_may_end_the_training():
    early, often = "stage.early_stopping=2", "trainer.num_validations=5"
    assert run_hash(train_config(early, often), "x") != run_hash(train_config(early), "x")


def test_hash_does_not_depend_on_the_parts_of_a_batch_if_batch_norms_are_frozen():
    frozen, parts = "stage.batch_norm=frozen", "trainer.accumulate_grad_batches=2"
    assert run_hash(train_config(frozen, parts), "x") == run_hash(train_config(frozen), "x")


def test_runs_of_versions_without_a_key_are_found():
    """A key at a default that changes nothing is as if it did not exist."""

    class Old(Settings):
        lr: float = 0.1

    class New(Old):
        cutmix_prob: Annotated[float, ADDED] = 0.0

    class Run(Settings):
        stage: Settings = New()

    assert added_keys(Run()) == {"stage": {"cutmix_prob": True}}
    assert added_keys(Run(stage=New(cutmix_prob=0.5))) == {}
    assert Run().stage.model_dump(exclude=added_keys(New())) == Old().model_dump()


def test_hash_changes_with_the_images():
    assert run_hash(train_config(), "x") != run_hash(train_config(), "y")


def test_hash_changes_with_the_content_of_the_initial_weights_and_their_use():
    files = ("/here/a.safetensors", "/there/b.safetensors")
    backbone, moved = (train_config(f"backbone.pretrained={file}") for file in files)
    assert run_hash(backbone, "x", "1") == run_hash(moved, "x", "1") != run_hash(backbone, "x", "2")
    network = backbone.model_copy(update={"init_from": "runs/other"})
    hashes = {run_hash(c, "x", sha) for c in (backbone, network) for sha in ("1", None)}
    assert len(hashes) == 3


def dotted_keys(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from dotted_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


@pytest.mark.parametrize("data", ["shapes", "voc", "cityscapes", "shape_classes"])
def test_all_keys_are_hashed_but_those_of_the_list(data):
    """Also keys with default values, except those that earlier versions did not have."""
    config = train_config(f"data={data}")
    added = dotted_keys(added_keys(config))
    unhashed = tuple(f"{key}." for key in (*UNHASHED_KEYS, *added))
    keys, hashed = set(dotted_keys(to_dict(config))), set(flat_result_settings(config))
    assert hashed == {key for key in keys if not f"{key}.".startswith(unhashed)}
    assert {f"stage.{name}" for name in type(config.stage).model_fields} <= hashed


def test_config_is_read_back(tmp_path):
    folder = RunFolder(tmp_path / "run")
    config = train_config("data=voc", "backbone=mobilenetv2", "loss=top_k")
    write_config(folder.config, config)
    assert read_config(folder) == config


def test_a_recorded_run_has_classes(tmp_path):
    """Without them its resumption would look for classes and write them beside the images."""
    folder = RunFolder(tmp_path)
    write_config(folder.config, train_config("data=folder", "data.root=mine"))
    with pytest.raises(UserError, match=r"config\.yaml: .*data\.classes is empty"):
        read_config(folder)


def test_a_run_is_found_by_its_folder_or_a_file_in_it(tmp_path):
    folder = RunFolder(tmp_path / "run")
    write_config(folder.config, train_config())
    folder.checkpoints.mkdir()
    folder.last.touch()
    for path in (folder.path, folder.config, folder.last, folder.checkpoints):
        assert RunFolder.find(path, key="run").path == folder.path
    with pytest.raises(UserError, match=r"run=.*nothing: does not exist"):
        RunFolder.find(folder.path / "nothing", key="run")


def test_one_process_at_a_time_has_a_run_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with (
        lock_run_folder(folder),
        pytest.raises(UserError, match="in progress"),
        lock_run_folder(folder),
    ):
        pass
    with lock_run_folder(folder):  # the lock is free again
        pass


def test_a_run_folder_that_cannot_be_created_is_named():
    message = "runs_dir=/proc/x: cannot create a run folder"
    with pytest.raises(UserError, match=message), lock_run_folder(RunFolder("/proc/x/run")):
        pass


def test_a_run_in_progress_is_not_moved_aside(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with lock_run_folder(folder), pytest.raises(UserError, match="in progress"):
        _set_aside(folder)
    assert folder.path.exists()
    _set_aside(folder)
    assert not folder.path.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe\x00"])
def test_damaged_records_are_named(tmp_path, damage):
    folder = RunFolder(tmp_path)
    folder.record.write_bytes(damage)
    with pytest.raises(UserError, match=r"run\.json"):
        read_record(folder)
    folder.config.write_bytes(damage)
    with pytest.raises(UserError, match=r"config\.yaml"):
        read_config(folder)


def test_json_is_written_atomically_without_nan(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": float("nan"), "b": [1.5, float("nan")]})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None]}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_metrics_of_callbacks_get_columns_of_their_own(tmp_path):
    """Also if the run is resumed before, at and after the step that brings them."""
    rows = [{"train/loss": 1.0}, {"train/loss": 2.0, "b,x": 3.0}, {"train/loss": 4.0, "a": 5.0}]
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path, ["train/loss"])
    for step, row in enumerate(rows):
        first.log_metrics(row, step=step)
    complete = path.read_bytes()
    assert complete.splitlines() == [
        b'step,train/loss,"b,x",a',
        b"1,1.0,,",
        b"2,2.0,3.0,",
        b"3,4.0,,5.0",
    ]
    for first_step in range(4):
        resumed = MetricsCSV(path, ["train/loss"], first_step=first_step)
        for step in range(first_step, 3):
            resumed.log_metrics(rows[step], step=step)
        assert path.read_bytes() == complete


def test_csv_of_a_resumed_run_has_no_duplicate_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path, ["train/loss", "val/mIoU"])
    for step in range(5):
        first.log_metrics({"train/loss": float(step), "epoch": 0}, step=step)
    first.log_metrics({"epoch": 0}, step=5)  # no metric: no row
    second = MetricsCSV(path, ["train/loss", "val/mIoU"], first_step=3)
    second.log_metrics({"train/loss": 33.0}, step=3)
    assert path.read_text().splitlines() == [
        "step,train/loss,val/mIoU",
        "1,0.0,",
        "2,1.0,",
        "3,2.0,",
        "4,33.0,",
    ]
