"""Optional packages that are not installed: the error names the extra, before any work."""

import pytest

from deeplab.utils import extras
from deeplab.utils.errors import UserError
from deeplab.utils.extras import install_command, require_extra
from support.repository import ROOT
from support.scripts import SMALL, run

BOARD = ("train", *SMALL, "logger=tensorboard")
FLIP = "data.augmentations=[{HorizontalFlip:{p: 1}}]"
TIMM = ("data=shapes", "backbone=timm", "backbone.model=resnet18")
ONNX = ("onnx", "onnxruntime", "onnxscript")


@pytest.mark.parametrize(
    ("arguments", "missing", "setting", "extra"),
    [
        (("train", *SMALL, FLIP), ["albumentations"], "data.augmentations", "augmentations"),
        (BOARD, ["tensorboard"], "logger=tensorboard", "tensorboard"),
        (("train", *TIMM), ["timm"], "backbone=timm", "timm"),
        (("cost", *TIMM), ["timm"], "backbone=timm", "timm"),
        (("prepare", "data=coco"), ["pycocotools"], "data=coco", "coco"),
        (("prepare", "data=voc"), ["scipy"], "data=voc with SBD", "voc"),
        (
            ("convert", "input=net.pb", "output=o.safetensors"),
            ["tensorflow"],
            "input=net.pb",
            "convert",
        ),
        (("export", "run=nowhere", "format=onnx"), ONNX, "format=onnx", "export"),
    ],
)
def test_missing_packages_name_the_extra(arguments, missing, setting, extra, tmp_path):
    (tmp_path / "net.pb").touch()
    done = run(*arguments, cwd=tmp_path, ok=False, without=missing)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {setting}: ")
    assert all(name in done.stderr for name in missing)
    assert f'not installed. Run pip install -e "{ROOT}[{extra}]"' in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"net.pb", "runs"}
    assert not list(tmp_path.glob("runs/*/*"))


def test_a_missing_launcher_names_the_extra(tmp_path):
    arguments = ("-m", *SMALL, "hydra/launcher=ray", "seed=0,1")
    done = run("train", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "hydra/launcher=ray: this launcher is not installed" in done.stderr
    assert f'pip install -e "{ROOT}[launchers]"' in done.stderr


def test_a_missing_sweeper_is_named(tmp_path):
    done = run("train", "-m", *SMALL, "hydra/sweeper=nevergrad", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: hydra/sweeper=nevergrad: this sweeper is not installed.")


def test_a_benchmark_names_the_extra(tmp_path):
    done = run("benchmark", "pipeline", cwd=tmp_path, ok=False, without=["albumentations"])
    assert done.returncode == 2
    assert "Error: pipeline: albumentations is not installed. Run pip install" in done.stderr


def test_installed_packages_pass():
    require_extra("voc", "numpy", "yaml", setting="data=voc")
    with pytest.raises(UserError, match=r"a, b are not .*, or do something else\.$"):
        require_extra("x", "a", "yaml", "b", setting="k=v", alternative="do something else")


def test_an_installed_copy_names_the_packages_of_an_extra(monkeypatch):
    needed = ["torch>=2", 'av>=17; extra == "video"', "onnx>=1; extra == 'export'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needed)
    monkeypatch.setattr(extras, "CHECKOUT", None)
    assert install_command("video") == "pip install 'av>=17'"
    assert install_command("export") == "pip install 'onnx>=1'"
