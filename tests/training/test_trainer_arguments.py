"""Arguments of Lightning's trainer and keys of the recipe in whole runs."""

import csv
import json
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from deeplab.config.execution import choose_execution
from deeplab.training.callbacks.progress_bar import RunProgressLines
from deeplab.training.callbacks.save_checkpoints import validation_interval
from deeplab.training.callbacks.validation_figure import ValidationFigure
from deeplab.training.compose_config import compose_train
from deeplab.training.train import build_task
from deeplab.utils.cores import cpu_count
from support.networks import equal_states
from support.scripts import SMALL, run, run_folders

STEPS = tuple(s for s in SMALL if "max_steps" not in s)


def test_a_short_test_of_a_run_keeps_nothing(tmp_path):
    done = run("train", *STEPS, "stage.warmup_steps=9", "trainer.fast_dev_run=true", cwd=tmp_path)
    assert "Step 1 of 1" in done.stdout
    assert "nothing is kept" in done.stdout
    assert not list((tmp_path / "runs").iterdir())


def test_a_short_test_of_a_sweep_has_one_seed_of_each_variant(tmp_path):
    sweep = ("-m", "stage.lr=0.1,0.2", "num_seeds=3", "trainer.fast_dev_run=true")
    done = run("train", *sweep, *STEPS, cwd=tmp_path)
    assert "Tested 2 runs" in done.stdout
    assert "Train longer" not in done.stdout  # of a single step nothing else can be expected


def test_a_run_that_overfits_and_stops_early(tmp_path):
    done = run(
        "train",
        *STEPS,
        "stage.max_steps=8",
        "stage.early_stopping=1",
        "stage.lr=1e-9",
        "stage.batch_norm=frozen",
        "trainer.num_validations=8",
        "trainer.overfit_batches=1",
        "trainer.accumulate_grad_batches=2",
        "trainer.num_sanity_val_steps=1",
        "trainer.profiler=simple",
        cwd=tmp_path,
    )
    (folder,) = run_folders(tmp_path)
    result = json.loads((folder / "metrics.json").read_text())
    assert result["steps"] == 2  # the second score is not better than the first
    assert "Stopped early after step 2 of 8: val/mIoU has not become better" in done.stdout
    assert result["protocol"]["split"] == "train"
    assert result["protocol"]["images"] == 2  # those of one batch
    assert "2 images a step in 2 parts" in done.stdout
    assert (folder / "confusion.png").exists()  # of the last validation
    assert "Profiler Report" in next((folder / "profile").iterdir()).read_text()
    again = run("train", f"resume={folder}", "trainer.num_validations=4", cwd=tmp_path, ok=False)
    assert "a resumed run keeps its settings" in again.stderr


@pytest.mark.processes
def test_a_run_that_is_stopped_while_its_backbone_is_frozen(tmp_path):
    """It goes on to the weights of an undisturbed run, all bits of float64."""
    steps = [s for s in STEPS if "precision" not in s]
    settings = (
        *steps,
        "trainer.precision=64",
        "stage.max_steps=3",
        "stage.freeze_backbone=2",
        "optimizer=adamw",
    )
    weights = []
    for name in ("stopped", "undisturbed"):
        cwd = tmp_path / name
        cwd.mkdir()
        if name == "stopped":
            limit = "trainer.max_time=00:00:00:00"
            assert run("train", *settings, limit, cwd=cwd, ok=False).returncode == 130
        done = run("train", *settings, cwd=cwd)
        assert ("(from step 1)" in done.stdout) == (name == "stopped")
        (folder,) = run_folders(cwd)
        weights.append(load_file(folder / "weights.safetensors"))
    assert equal_states(*weights)


@pytest.mark.processes
def test_a_resumed_run_keeps_its_number_of_threads(tmp_path):
    """Whatever other processes do, because sums by other threads round otherwise."""
    threads = min(2, cpu_count())  # 1 would be chosen here
    settings = (*STEPS, "stage.max_steps=3")
    variables = {"OMP_NUM_THREADS": None}
    limit = "trainer.max_time=00:00:00:00"
    first = run("train", *settings, f"trainer.num_threads={threads}", limit, cwd=tmp_path, ok=False)
    assert first.returncode == 130
    done = run("train", *settings, limit, cwd=tmp_path, ok=False, variables=variables)
    assert f"{threads} thread" in done.stdout
    done = run("train", *settings, "trainer.num_threads=1", cwd=tmp_path, variables=variables)
    assert "(from step 2)" in done.stdout
    (folder,) = run_folders(tmp_path)
    sessions = json.loads((folder / "run.json").read_text())["sessions"]
    assert [session["machine"]["num_threads"] for session in sessions] == [threads, threads, 1]


def test_the_images_of_evaluations_are_said_where_validations_are_shorter(tmp_path):
    shorter = ("trainer.limit_val_batches=1", "data.eval_batch_size=1", "strategies=[os16]")
    config = compose_train([*SMALL, *shorter, f"data.root={tmp_path}"])
    task = build_task(config, choose_execution(config.trainer))
    task.restrict_data()
    assert task.describe_data()[-2:] == [
        "validation on 1 image (limit_val_batches)",
        "evaluation after the training on all 3 images of val",
    ]


@pytest.mark.parametrize(
    ("steps", "wanted"), [(1000, 3), (30_000, 7), (1201, 10), (19, 10), (5, 9)]
)
def test_there_are_not_more_validations_and_checkpoints_than_wanted(steps, wanted):
    """The last one is at the end; with whole intervals there are exactly as many."""
    config = compose_train([f"stage.max_steps={steps}", f"trainer.num_validations={wanted}"])
    interval = validation_interval(config)
    assert -(-steps // interval) <= wanted
    if steps % wanted == 0:
        assert interval == steps // wanted


def test_the_recorded_rate_is_that_without_multipliers(tmp_path):
    recipe = ["stage.lr=0.004", "stage.backbone_lr_mult=0.1", "trainer.log_every_n_steps=1"]
    run("train", *SMALL, *recipe, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    with (folder / "metrics.csv").open() as file:
        rates = [float(r["train/lr"]) for r in csv.DictReader(file) if r["train/lr"]]
    assert rates[0] == pytest.approx(0.004)


class Drawing(ValidationFigure):
    def __init__(self, min_interval=0.0):
        super().__init__(min_interval)
        self.steps = []

    def draw(self, trainer, module):
        self.steps.append(trainer.global_step)


def test_figures_are_drawn_after_validations_of_the_training(monkeypatch):
    """Not after a sanity check, and the last one always."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    always, seldom, other_process = Drawing(), Drawing(20.0), Drawing()
    for step in (0, 1, 2, 3, 4):
        now[0] += 8
        trainer = SimpleNamespace(
            global_step=step, max_steps=9, should_stop=step == 4,
            is_global_zero=True, sanity_checking=step == 0,
        )  # fmt: skip
        always.on_validation_end(trainer, None)
        seldom.on_validation_end(trainer, None)
        trainer.is_global_zero = False
        other_process.on_validation_end(trainer, None)
    assert (always.steps, seldom.steps, other_process.steps) == ([1, 2, 3, 4], [2, 4], [])


def test_lines_of_progress_say_at_which_step_a_score_was_measured(capsys):
    lines = RunProgressLines(4)
    trainer = SimpleNamespace(
        global_step=0, is_global_zero=True, num_val_batches=[1], progress_bar_metrics={}
    )
    lines.on_train_start(trainer, None)
    module = SimpleNamespace(scored_step=None)
    for step in range(1, 5):
        trainer.progress_bar_metrics["train/loss"] = 0.5
        lines.on_train_batch_end(trainer, module)
        if step == 2:
            trainer.progress_bar_metrics["val/mIoU"] = 61.5
            module.scored_step = 2
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(" left: ")[2] for line in printed] == [
        *["train/loss 0.5"] * 2,
        *["train/loss 0.5, val/mIoU 61.5 at step 2"] * 2,
    ]
