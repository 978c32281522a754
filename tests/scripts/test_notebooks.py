"""Execution of the notebooks, which call the package and store no output."""

import ast
import os

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
            assert not [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, definitions)]


def execute_notebook(name, folder):
    """Execute a notebook of the project on ``folder``'s runs.

    Returns:
        The text of its outputs and the number of its figures.
    """
    for part in ("src", "conf"):
        (folder / part).symlink_to(ROOT / part)
    (folder / "notebooks").mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(folder / "notebooks")}}
    os.environ.update(environment())
    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") + str(out.get("data", {})) for out in outputs)
    return text, sum("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.processes
def test_tour_of_the_model(tmp_path):
    text, _ = execute_notebook("tour_of_the_model", tmp_path)
    assert "output stride 8: ASPP rates [12, 24, 36], logits (1, 21, 129, 129)" in text
    assert "54.71 M parameters, 86.68 B multiply-adds, 89.76 B" in text
    assert "torch.Size([1, 21, 33, 25])" in text


@pytest.mark.processes
def test_look_at_a_run(tmp_path):
    run("train", *SMALL, cwd=tmp_path)
    text, num_figures = execute_notebook("look_at_a_run", tmp_path)
    assert "mIoU" in text
    assert "predicted as" in text
    assert num_figures == 4
