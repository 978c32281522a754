"""The notebooks run as they are, call the package and keep no output."""

import ast
import os

import pytest

from deeplab.config.paths import ROOT
from support.scripts import SMALL, environment, run

nbformat = pytest.importorskip("nbformat")  # not where the newest releases are tested
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing_and_keeps_nothing(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            defined = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
            assert not [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, defined)]


def outputs(name, folder):
    """Execute a notebook as if it stood in the project with ``folder``'s runs; its texts and kinds
    of pictures."""
    for part in ("src", "conf"):
        (folder / part).symlink_to(ROOT / part)
    (folder / "notebooks").mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    where = {"metadata": {"path": str(folder / "notebooks")}}
    os.environ.update(environment())
    nbclient.NotebookClient(notebook, timeout=120, resources=where).execute()
    found = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") + str(out.get("data", {})) for out in found)
    return text, sum("image/png" in out.get("data", {}) for out in found)


@pytest.mark.processes
def test_the_tour(tmp_path):
    text, _ = outputs("tour_of_the_model", tmp_path)
    assert "output stride 8: ASPP rates [12, 24, 36], logits (1, 21, 129, 129)" in text
    assert "54.71 M parameters, 86.68 B multiply-adds, 89.76 B" in text
    assert "torch.Size([1, 21, 33, 25])" in text


@pytest.mark.processes
def test_the_look(tmp_path):
    run("train", *SMALL, cwd=tmp_path)
    text, pictures = outputs("look_at_a_run", tmp_path)
    assert "mIoU" in text
    assert "taken for" in text
    assert pictures == 4
