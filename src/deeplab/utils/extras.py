"""Packages of optional extras, which are imported only where they are used."""

import importlib.util
import re
import shlex
from pathlib import Path

from deeplab.utils.errors import UserError
from deeplab.utils.installation import DISTRIBUTION
from deeplab.utils.program import CHECKOUT


def require_extra(extra: str, *packages: str, setting: str, alternative: str = "") -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        extra: name of the extra in ``pyproject.toml``.
        packages: the packages that are about to be imported.
        setting: the setting that needs them, such as ``format=onnx``.
        alternative: what can be done without them, such as ``choose format=torch_export``.

    Raises:
        UserError: one is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{setting}: {', '.join(missing)} {verb} not installed. "
            f"Run {install_command(extra)}{', or ' + alternative if alternative else ''}."
        )


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, from any folder.

    In a checkout it installs the checkout itself, not a copy. An installed copy is not named,
    since it may come from a file: the packages are.
    """
    if CHECKOUT:
        path = "." if Path.cwd() == CHECKOUT else str(CHECKOUT)
        return f'pip install -e "{path}[{extra}]"'
    from importlib.metadata import requires

    mark = re.compile(rf"""extra == ['"]{extra}['"]""")
    packages = [
        line.partition(";")[0].strip() for line in requires(DISTRIBUTION) or [] if mark.search(line)
    ]
    return f"pip install {shlex.join(packages)}"
