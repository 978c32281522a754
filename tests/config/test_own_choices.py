"""Choices of the user's own: a folder ``conf/`` where a command runs, or ``--config-dir``."""

import shutil

import pytest

from deeplab.ablations.distinct_jobs import collect_jobs
from deeplab.ablations.sweep_request import parse_request
from deeplab.config.paths import describe_own_choices, group_choices
from deeplab.training.compose_config import compose_seeds, compose_train
from deeplab.utils.errors import UserError
from deeplab.utils.program import CONF
from support.scripts import SMALL, run, run_folders

OWN = {
    "backbone/mine": "defaults: [resnet_tiny]\nmulti_grid: [1, 1, 1]\n",
    "stage/mine": "defaults: [shapes]\nmax_steps: 3\n",
    "ablation/pair": (
        "title: Mine\nsetting: drawn scenes\ncolumns: [Backbone]\n"
        "train: [data=shapes, aspp=tiny, decoder=tiny, stage=mine]\n"
        "rows:\n"
        "  - {cells: [mine], train: [backbone=mine]}\n"
        "  - {cells: [tiny], train: [backbone=resnet_tiny]}\n"
    ),
    "preset/none": "title: As it is\n",
}

FOREIGN = {
    "train": "defaults: [{data: mnist}]\n",
    "data/mnist": "_target_: src.data.MNIST\n",
    "logger/csv": "_target_: lightning.pytorch.loggers.CSVLogger\n",
    "trainer/default": "_target_: lightning.Trainer\n",
    "experiment/example": "seed: 1\n",
    "ablation/broken": "rows: [\n",
    "hydra/default": "job_logging: {}\n",
}
"""Files as the template of another framework has them."""


def write(folder, files):
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def own(tmp_path, monkeypatch):
    write(tmp_path / "conf", OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_choices_are_composed_and_listed(own):
    config = compose_train(["backbone=mine", "stage=mine", "data=shapes", "aspp=tiny"])
    assert config.backbone.multi_grid == (1, 1, 1)
    assert config.stage.max_steps == 3
    assert "mine" in group_choices("backbone")
    listed = run("train", "--help", cwd=own).stdout
    assert "backbone: mine, " in listed
    assert "ablation: figure5, pair, " in listed
    mistake = run("train", "backbone=mien", cwd=own, ok=False)
    assert "Did you mean mine?" in mistake.stderr
    assert "stage=mine" in mistake.stderr.splitlines()[0]  # what the folder adds


def test_own_tables_and_presets_use_own_choices(own):
    request = parse_request(["ablation=pair", "preset=none"])
    jobs = collect_jobs(request, compose_seeds)
    assert {tuple(job.config.backbone.multi_grid) for job in jobs} == {(1, 1, 1), (1, 2, 4)}
    assert "pair" not in parse_request(["ablation=all"]).tables


@pytest.mark.processes
def test_own_choices_are_swept_over_by_other_processes(own):
    run("train", "-m", "ablation=pair", "preset=none", *SMALL, "trainer.devices=2", cwd=own)
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    elsewhere = own / "elsewhere"
    elsewhere.mkdir()
    small = ("aspp=tiny", "decoder=tiny", *SMALL)
    folder = ("--config-dir", "../conf")
    run("train", "-m", *folder, "backbone=mine", "seed=0,1", *launcher, *small, cwd=elsewhere)
    assert [len(run_folders(cwd)) for cwd in (own, elsewhere)] == [2, 2]


def test_a_choice_of_the_same_name_overrides_nothing(tmp_path, monkeypatch):
    write(tmp_path, {"stage/shapes": "max_steps: 7\n", "stage/other": "max_steps: 7\n"})
    printed = run("train", "--config-dir", tmp_path, "--cfg", "job", cwd=tmp_path)
    assert "max_steps: 7" not in printed.stdout
    (line,) = printed.stderr.splitlines()
    assert line.startswith(f"{tmp_path}: adds stage=other; stage/shapes.yaml not taken, because")


def test_the_folder_of_another_project_does_no_harm(tmp_path, monkeypatch):
    write(tmp_path / "conf", FOREIGN)
    monkeypatch.chdir(tmp_path)
    plain = tmp_path / "plain"
    plain.mkdir()
    printed = [run("train", "logger=csv", "--cfg", "job", cwd=cwd) for cwd in (tmp_path, plain)]
    assert printed[0].stdout == printed[1].stdout
    assert "adds ablation=broken, data=mnist, trainer=default" in printed[0].stderr
    assert not printed[1].stderr
    assert "experiment" not in run("train", "--help", cwd=tmp_path).stdout
    assert len(parse_request(["ablation=all"]).tables) == 8
    wrong = run("train", "data=mnist", cwd=tmp_path, ok=False)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    broken = run("train", "-m", "ablation=broken", cwd=tmp_path, ok=False).stderr
    assert "broken.yaml" in broken
    assert "Traceback" not in broken


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path / "conf", {"stage/damaged": "max_steps: [\n"})
    message = run("train", "stage=damaged", cwd=tmp_path, ok=False).stderr.splitlines()[-1]
    assert message.startswith("Error: ")
    assert "conf/stage/damaged.yaml" in message


def test_files_that_cannot_be_composed_end_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"deep": "defaults: [nosuch]\n", "loop": "defaults: [loop]\n", "text": "- 1\n"}
    write(tmp_path / "conf/loss", files)
    for name, target in {"gone": "nowhere", "dice": "/dev/zero"}.items():  # dice is ours
        (tmp_path / f"conf/loss/{name}.yaml").symlink_to(target)
    messages = {
        "deep": r"^loss/deep\.yaml: its defaults name loss/nosuch, which does not exist\. ",
        "loop": r"^defaults: files of the chosen groups name each other in turn\. ",
        "text": r"text\.yaml: cannot be read \(expected keys with values\)\. ",
        "gone": r"^loss=gone: no such choice\. .*: own, deep, dice, loop, text, ",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message):
            compose_train([f"loss={name}"])
    done = run("train", "loss=loop", cwd=tmp_path, ok=False)
    assert done.stderr.splitlines()[-1].startswith("Error: defaults: files")
    assert describe_own_choices(["loss"]).endswith("adds loss=deep, loss=loop, loss=text.")


def test_the_projects_folder_is_not_taken_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(CONF.parent)
    assert not describe_own_choices(["stage"])
    (tmp_path / "conf").symlink_to(CONF)
    monkeypatch.chdir(tmp_path)
    assert not describe_own_choices(["stage"])
    copy = tmp_path / "copy"
    shutil.copytree(CONF, copy / "conf")
    monkeypatch.chdir(copy)
    assert not describe_own_choices(["stage"])
    (copy / "conf/stage/voc.yaml").write_text("max_steps: 7\n")
    assert f"{copy}/conf: stage/voc.yaml not taken" in describe_own_choices(["stage"])
