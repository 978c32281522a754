import json

import pytest

from deeplab.tracking.run_folder import RunFolder, lock_run_folder, read_config, write_config
from deeplab.tracking.run_record import read_record
from deeplab.training.loggers import MetricsCSV
from deeplab.training.train import _set_aside
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from support.configs import train_config


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


def test_runs_are_moved_aside_although_the_clock_shows_the_same_time_again(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20261025-023000")
    folder = RunFolder(tmp_path / "run")
    for number in range(3):
        folder.path.mkdir()
        folder.config.write_text(str(number))
        _set_aside(folder)
    moved = [tmp_path / f"run.old-20261025-023000{end}" for end in ("", "-2", "-3")]
    assert [RunFolder(path).config.read_text() for path in moved] == [*"012"]
    assert not any(RunFolder(path).lock.exists() for path in moved)


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
