"""The families of backbones by name, each imported when it is needed."""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeplab.models.backbones.base import Backbone


@cache
def backbone_names() -> tuple[str, ...]:
    """Return the names of the modules of this package that define a backbone."""
    paths = [
        path for path in Path(__file__).parent.glob("*.py") if path.stem not in ("base", "wrapped")
    ]
    defines_one = re.compile(r"^class \w+\(\w*Backbone\):", re.MULTILINE)
    return tuple(sorted(path.stem for path in paths if defines_one.search(path.read_text())))


def backbone_class(family: str) -> "type[Backbone]":
    """Return the class that the module of a family defines, one of ``backbone_names()``."""
    from deeplab.models.backbones.base import Backbone  # imports torch

    module = importlib.import_module(f"{__package__}.{family}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Backbone)
        and value.__module__ == module.__name__
    )
