"""Packages of optional extras, which are imported only where they are used."""

import importlib.util

from deeplab.utils.errors import UserError


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
    """Return the command that installs an extra, from the folder of this project.

    It is not ``pip install 'deeplab[...]'``: the package of that name on PyPI is another one.
    """
    return f'pip install ".[{extra}]"'
