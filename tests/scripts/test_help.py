"""Output of ``--help``, which must appear without loading torch."""

import pytest

from deeplab.cli import COMMANDS
from support.scripts import check_imports, script_code


@pytest.mark.parametrize("script", COMMANDS)
def test_help_does_not_import_torch(script):
    printed = check_imports(script_code(script, "--help"))
    assert f"deeplab {script}" in printed
    assert f"src/{script}.py" not in printed
