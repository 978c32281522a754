"""Execution of the notebooks, which call the package and store no output."""

import ast
import re

import pytest

from support.repository import ROOT
from support.scripts import SMALL, environment, run

nbformat = pytest.importorskip("nbformat")  # missing where the newest releases are tested
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_definitions_and_no_output(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            definitions = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
            source = re.sub(r"%pip .*", "pass", cell.source)
            assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, definitions)]


def execute(notebook, folder):
    """Execute the cells of a notebook that lies in ``folder``."""
    resources = {"metadata": {"path": str(folder)}}
    variables = environment() | {"PYTHONPATH": str(ROOT / "src")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()


def execute_notebook(name, folder, **replaced):
    """Execute a notebook of the project on ``folder``'s runs.

    Args:
        name: name of the notebook.
        folder: folder of the runs.
        replaced: keys whose values in the notebook are replaced, such as ``max_steps``.

    Returns:
        The text of its outputs and the number of its figures.
    """
    (folder / "notebooks").mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        for key, value in replaced.items():
            cell.source = re.sub(rf"{key}=\w+", f"{key}={value}", cell.source)
    execute(notebook, folder / "notebooks")
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") + str(out.get("data", {})) for out in outputs)
    assert "\x1b[A" not in text  # a move of the cursor, of which Jupyter makes a line each
    return text, sum("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.processes
def test_tour_of_the_model(tmp_path):
    text, num_figures = execute_notebook("tour_of_the_model", tmp_path)
    assert num_figures == 1
    assert "output stride 8: ASPP rates [12, 24, 36], logits (1, 21, 129, 129)" in text
    assert "54.71 M parameters, 86.68 · 10⁹ multiply-adds, 89.76 · 10⁹" in text
    assert "torch.Size([1, 21, 33, 25])" in text


@pytest.mark.processes
def test_look_at_a_run(tmp_path):
    run("train", *SMALL, cwd=tmp_path)
    text, num_figures = execute_notebook("look_at_a_run", tmp_path)
    assert "mIoU" in text
    assert "predicted as" in text
    assert num_figures == 4


@pytest.mark.processes
def test_own_images(tmp_path):
    text, num_figures = execute_notebook("own_images", tmp_path, max_steps=2, num_train=12)
    assert "12 images, 7 classes: background" in text
    assert "seed0" in text  # the run that the training returned
    assert num_figures == 3
    assert len(list((tmp_path / "notebooks/runs").iterdir())) == 1


@pytest.mark.processes
def test_comparing_two_networks(tmp_path):
    few = 'csv", "data.num_train=8", "data.num_val=4'
    text, num_figures = execute_notebook(
        "comparing_two_networks", tmp_path, max_steps=2, logger=few
    )
    scores = re.findall(r"decoder=(\w+): mIoU (\d+\.\d\d) %", text)
    assert [decoder for decoder, _ in scores] == ["naive", "tiny"]
    assert num_figures == 3


CELLS = (
    f"import deeplab\nsettings = {[*SMALL, 'data.num_val=2']!r}",
    "run = deeplab.train('shapes', root='data', overrides=settings)",
    "assert deeplab.train('shapes', root='data', overrides=settings) == run",
    "deeplab.evaluate(run)[0].miou",
    "from pathlib import Path\nimages = sorted(Path('data').rglob('val_*.jpg'))",
    "run.load().predict(images[0])",
    """import os, signal, threading
from deeplab.training.module import TrainingModule
step = TrainingModule.training_step
def interrupted(self, *arguments):  # as the stop button does
    threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()
    return step(self, *arguments)
TrainingModule.training_step = interrupted
longer = [*settings, "stage.max_steps=500"]
try:
    deeplab.train('shapes', root='data', overrides=longer)
except KeyboardInterrupt:
    print("stopped")
TrainingModule.training_step = step""",
    "deeplab.train('shapes', root='data', overrides=[*settings, 'seed=7']).folder",
)


@pytest.mark.processes
def test_the_five_lines_in_a_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    execute(notebook, tmp_path)
    (shown,) = notebook.cells[5].outputs
    assert {"image/png", "text/plain"} <= shown.data.keys()
    printed = "".join(out.get("text", "") for out in notebook.cells[6].outputs)
    assert "Stopping after this step. Run the same command to resume" in printed
    assert printed.endswith("stopped\n")
    assert len(list(tmp_path.glob("runs/*/checkpoints/last.ckpt"))) == 3
