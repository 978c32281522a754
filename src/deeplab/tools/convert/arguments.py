"""What is typed behind ``convert.py``: a file's name without a key, and overrides of ``train.py``
for what variables do not tell."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from deeplab.config.hydra_app import quoted

OWN = ("input", "output", "enable_progress_bar")
"""The keys of ``conf/convert.yaml`` that are typed; all others are those of ``train.py``."""


def typed(arguments: Sequence[str]) -> list[str]:
    """The arguments with a key each: ``input`` for the file, ``train`` for the overrides."""
    own: list[str] = []
    train: list[str] = []
    for before, argument in pairwise(["", *arguments]):
        key, has_key, _ = argument.partition("=")
        if argument.startswith("-") or before.startswith("-") or key in OWN:
            own.append(argument)
        elif not has_key or _is_file(argument):
            own.append(f"input={quoted(argument)}")
        else:
            (own if key.startswith("hydra") else train).append(argument)
    return [*own, f"overrides=[{','.join(map(quoted, train))}]"] if train else own


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a name
        return False
