"""Command line of ``deeplab convert``: a file without a key, and overrides of ``deeplab train``.

The overrides set what TensorFlow variables do not store.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from deeplab.config.overrides import quote_value

CONVERT_KEYS = ("input", "output", "enable_progress_bar")
"""Keys of ``conf/convert.yaml`` on the command line; all other keys belong to ``deeplab train``."""


def add_keys(arguments: Sequence[str]) -> list[str]:
    """Give each argument a key: ``input`` for the file, ``overrides`` for those of training."""
    convert: list[str] = []
    train: list[str] = []
    for before, argument in pairwise(["", *arguments]):
        key, has_key, _ = argument.partition("=")
        if argument.startswith("-") or before.startswith("-") or key in CONVERT_KEYS:
            convert.append(argument)
        elif not has_key or _is_file(argument):
            convert.append(f"input={quote_value(argument)}")
        else:
            (convert if key.startswith("hydra") else train).append(argument)
    if train:
        convert.append(f"overrides=[{','.join(map(quote_value, train))}]")
    return convert


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a file name
        return False
