"""Studies of Hydra's Optuna sweeper by ``train.py -m hydra/sweeper=optuna``."""

import re

import pytest

from support.scripts import SMALL, run, run_folders

pytestmark = pytest.mark.processes

OPTUNA = ("-m", "hydra/sweeper=optuna", "decoder=tiny", *SMALL)
SPACE = "stage.lr=interval(0.01,0.02)"
STORED = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.sampler.seed=1", SPACE)


@pytest.fixture(scope="module", autouse=True)
def optuna():
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    return pytest.importorskip("optuna")


def test_a_study_resumes(tmp_path, optuna):
    """Finished trials count, and one that was killed goes on with its values."""

    def study():
        (summary,) = optuna.get_all_study_summaries(storage)
        return optuna.load_study(summary.study_name, storage)

    storage = f"sqlite:///{tmp_path}/study.db"
    run("train", *OPTUNA, *STORED, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert study().direction == optuna.study.StudyDirection.MAXIMIZE
    killed = study().ask()
    lr = killed.suggest_float("stage.lr", 0.01, 0.02)
    done = run("train", *OPTUNA, *STORED, "hydra.sweeper.n_trials=4", cwd=tmp_path)
    assert "2 trials finished, 2 to run" in done.stdout
    trials = study().trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert trials[2].params["stage.lr"] == lr
    assert len({trial.params["stage.lr"] for trial in trials}) == len(run_folders(tmp_path)) == 4
    best = re.search(r"^Best: +trial \d, val/mIoU ([\d.]+) %", done.stdout, re.MULTILINE)[1]
    assert float(best) == pytest.approx(max(t.value for t in trials), abs=0.005)
    folder = re.search(r"^Run: +(runs/.*)$", done.stdout, re.MULTILINE)[1]
    assert (tmp_path / folder / "metrics.json").is_file()
    again = run("train", *OPTUNA, *STORED, "hydra.sweeper.n_trials=4", cwd=tmp_path)
    assert "4 trials finished, 0 to run" in again.stdout
    assert not (tmp_path / "runs/.multirun").exists()


def test_a_failed_job_is_a_failed_trial(tmp_path):
    grid = (
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=9",
        "objective=val/pixel_accuracy",
    )
    done = run("train", *OPTUNA, *grid, "stage.lr=1e25,0.01", cwd=tmp_path)
    assert re.search(r"^Study lr-\w+: 2 trials, 1 failed$", done.stdout, re.MULTILINE)
    assert "val/pixel_accuracy" in done.stdout
    assert "stage.lr=0.01\n" in done.stdout
    done = run("train", *OPTUNA, *grid, "stage.lr=1e24,1e25", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: hydra/sweeper=optuna: all trials have")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage.lr=0.1,-1"], "stage.lr=-1: must be greater than 0"),
        ([SPACE, "hydra.sweeper.direction=minimize"], "val/mIoU is to maximize"),
        ([SPACE, "objective=val/miou"], "Choose from val/mIoU, val/pixel_accuracy"),
        ([SPACE, "hydra.sweeper.storage=sqlite:////no/such/x.db"], "Optuna cannot use it"),
        (["stage.lr=0.1"], "no key to search over"),
    ],
)
def test_mistakes_are_found_before_the_first_job(tmp_path, arguments, message):
    done = run("train", *OPTUNA, *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not run_folders(tmp_path)
