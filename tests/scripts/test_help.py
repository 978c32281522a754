"""Output of ``--help``, which must appear without loading torch."""

import pytest

from support.scripts import check_imports, script_code


@pytest.mark.parametrize(
    "script",
    ["train", "cost", "compare", "convert", "evaluate", "export", "predict", "prepare", "gallery"],
)
def test_help_does_not_import_torch(script):
    assert f"python src/{script}.py" in check_imports(script_code(script, "--help"))
