"""Evaluation, prediction and export with the device that ``auto`` chooses, against the CPU."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from support.networks import randomize_logits
from support.scripts import CPU, SMALL, run, run_folders

pytestmark = pytest.mark.gpu

DEVICES = {"device": (), "cpu": ("trainer.accelerator=cpu",)}
"""Overrides by name: the device of ``auto``, and the CPU."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on the device; return the working folder and the run, which predicts all classes."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *(s for s in SMALL if s not in CPU), cwd=cwd)
    (folder,) = run_folders(cwd)
    randomize_logits(folder)
    return cwd, folder


def test_scores_are_those_of_the_cpu(trained, tmp_path):
    cwd, folder = trained
    scores = []
    for name, overrides in DEVICES.items():
        copy = shutil.copytree(folder, tmp_path / name / folder.name)
        run("evaluate", f"run={copy}", "strategies=[os16,os8-ms-flip]", *overrides, cwd=cwd)
        results = sorted(copy.glob("evaluations/*/result.json"))
        assert len(results) == 2
        scores.append([json.loads(path.read_text())["mIoU"] for path in results])
    assert scores[0] == pytest.approx(scores[1], abs=0.5)  # percent


def test_label_maps_are_those_of_the_cpu(trained, tmp_path):
    cwd, folder = trained
    photo = next((cwd / "data/shapes").rglob("*.jpg"))
    labels = []
    for name, overrides in DEVICES.items():
        (tmp_path / name).mkdir()
        run("predict", f"run={folder}", f"input={photo}", *overrides, cwd=tmp_path / name)
        labels.append(np.array(Image.open(tmp_path / name / f"predictions/{photo.stem}.png")))
    assert len(np.unique(labels[0])) > 1
    assert (labels[0] == labels[1]).mean() > 0.995


def test_an_export_agrees_with_the_network(trained, tmp_path):
    cwd, folder = trained
    done = run("export", f"run={folder}", "format=torch_export", f"output={tmp_path}", cwd=cwd)
    assert list(tmp_path.glob("*.pt2"))
    assert "agree" in done.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_speed_is_measured_on_the_device(trained):
    cwd, folder = trained
    printed = run("cost", f"run={folder}", "measure_speed=true", cwd=cwd).stdout
    assert torch.cuda.get_device_name() in printed
