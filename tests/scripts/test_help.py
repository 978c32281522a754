"""The shape of the package: imports go one way."""

import ast
import subprocess
import sys

import pytest

from deeplab.config.paths import ROOT

PACKAGE = ROOT / "src" / "deeplab"

LAYERS = [
    {"errors", "files", "cores", "meanwhile", "normalization"},
    {"lock", "layers", "config", "cli", "provenance"},
    {"backbones"},
    {"aspp", "decoder"},
    {"model", "classifier"},
    {
        "weights",
        "inference",
        "loss",
        "ranking",
        "data",
        "records",
        "pictures",
        "hardware",
        "catalog",
    },
    {"metrics", "protocol", "builder", "ways", "preparation", "dashboard"},
    {"results", "datasets", "downloads", "classification"},
    {"starting"},
    {"assemble", "check", "prepare", "examination"},
    {"compose", "cost", "trained", "training"},
    {"conversion", "evaluation", "prediction"},
    {"export"},
    {"gallery", "benchmarks", "ablations"},
]
"""Each may import what stands above it, siblings do not import each other."""


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def part(dotted: str) -> str:
    """``deeplab.models.backbones.resnet`` is in ``backbones``."""
    return dotted.split(".")[1]


def imported(path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deeplab."):
            names.add(part(node.module))
        if isinstance(node, ast.Import):
            names |= {part(a.name) for a in node.names if a.name.startswith("deeplab.")}
    return names


def own_part(path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = own_part(path)
    if own == "__init__":
        assert not imported(path)
        return
    level = next(i for i, layer in enumerate(LAYERS) if own in layer)
    allowed = set().union(*LAYERS[:level]) | {own}
    assert imported(path) <= allowed


def test_data_and_network_do_not_know_each_other():
    network = {
        "layers",
        "backbones",
        "aspp",
        "decoder",
        "model",
        "loss",
        "optim",
        "metrics",
        "ranking",
    }
    for path in modules():
        if own_part(path) == "data":
            assert imported(path) <= {"data", "errors", "files"}, path
        if own_part(path) in network:
            assert "data" not in imported(path), path


def test_the_network_does_not_know_the_config():
    for path in modules():
        if own_part(path) in {
            "layers",
            "backbones",
            "aspp",
            "decoder",
            "model",
            "classifier",
            "loss",
            "ranking",
            "data",
        }:
            assert not imported(path) & {"config", "cli", "builder"}, path


@pytest.mark.parametrize(
    "script",
    ["train", "cost", "compare", "convert", "evaluate", "export", "predict", "prepare", "gallery"],
)
def test_help_does_not_wait_for_torch(script):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['src/{script}.py', '--help']\n"
        "sys.path.insert(0, 'src')\n"
        "try:\n"
        f"    runpy.run_path('src/{script}.py', run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'wandb', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"python src/{script}.py" in done.stdout
