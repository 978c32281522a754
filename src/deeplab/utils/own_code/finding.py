"""Modules of the user's own: where they are found, without importing anything."""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from deeplab.utils.errors import UserError
from deeplab.utils.extras import install_command
from deeplab.utils.program import PACKAGE


def add_working_folder() -> None:
    """Let modules of the working folder be found, after all others."""
    folder = os.getcwd()  # noqa: PTH109
    if not any(os.path.abspath(path or folder) == folder for path in sys.path):  # noqa: PTH100
        sys.path.append(folder)
        importlib.invalidate_caches()


def find_top_module(name: str) -> ModuleSpec | None:
    """Return the module of an undotted name; those of the working folder come last."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec or find_local_module(name)


def find_local_module(name: str) -> ModuleSpec | None:
    return PathFinder.find_spec(name, [os.getcwd()])  # noqa: PTH109


def find_module(target: str) -> ModuleSpec | None:
    """Return the module of a class, the longest part of its path that is one, without importing."""
    names = target.split(".")
    found = find_top_module(names[0])
    for depth in range(2, len(names) + 1):
        if found is None or found.submodule_search_locations is None:
            break
        path = list(found.submodule_search_locations)
        inner = PathFinder.find_spec(".".join(names[:depth]), path)
        if inner is None:
            break
        found = inner
    return found


def is_own_file(path: str | Path) -> bool:
    """Return True for a file of the user's: none of this program, of Python or of a package."""
    import sysconfig  # takes a while

    place = Path(path).resolve()
    folders = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    installed = {"site-packages", "dist-packages"} & {*place.parts}
    others = any(place.is_relative_to(folder) for folder in [PACKAGE, *folders])
    return place.is_file() and not installed and not others


EXTRAS = {"kornia": "losses", "timm": "timm"}
"""Extras with packages whose classes are likely to be named."""


def not_found(target: str, label: str) -> UserError:
    top = target.split(".")[0]
    extra = EXTRAS.get(top)
    hint = (
        f"Run {install_command(extra)}"
        if extra
        else f"Write it as {top}.py into the working folder, or install the package"
    )
    return UserError(
        f"{label}: there is no module {top}, neither in {Path.cwd()} nor among the installed "
        f"packages. {hint}."
    )


def check_not_hidden(target: str, label: str) -> None:
    """Check that a module of the working folder is not hidden by another one of its name."""
    top = target.split(".")[0]
    standard = top in sys.stdlib_module_names
    local, first = find_local_module(top), find_top_module(top)
    hidden = local is not None and local.origin and (first is None or first.origin != local.origin)
    if hidden:
        assert local is not None
        other = "Python's standard module" if standard else str(first and first.origin)
        raise UserError(
            f"{label}: {local.origin} is hidden by {other} of the same name. Rename your module."
        )
    if standard and local is None:
        raise UserError(f"{label}: {top} is a module of Python's standard library, not yours.")
