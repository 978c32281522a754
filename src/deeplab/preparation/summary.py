"""Summary of a prepared data set: its content, what is missing, and the next commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NOT_FOR_TRAINING = ("data.parts", "data.archives", "data.unpacked_gb", "data.expected_images")


def data_arguments(arguments: Iterable[str]) -> str:
    """Return the arguments of a command line that select the data, for other scripts."""
    kept = []
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        is_data = key in ("data", "stage") or key.startswith("data.")
        if is_data and not key.startswith(NOT_FOR_TRAINING):
            kept.append(shlex.quote(argument))
    return " ".join(kept)


def print_summary(
    choice: str,
    root: Path,
    counts: Mapping[str, int],
    origins: Mapping[str, str],
    classes: Sequence[str],
    *,
    required_splits: Mapping[str, str],
    notes: Sequence[str],
    arguments: Iterable[str],
) -> None:
    """Print the splits and classes of a data set and the next commands.

    Args:
        choice: its name.
        root: its folder.
        counts: the number of images of each split.
        origins: where the images of each split come from.
        classes: the class names.
        required_splits: the splits of training and validation by config key, possibly several
            joined by ``+``.
        notes: further lines to print.
        arguments: the arguments of the command line.
    """
    print(f"\n{choice} is ready in {root}")
    for split, count in counts.items():
        print(f"  {split:<12} {count:>7} images  {origins.get(split, '')}".rstrip())
    print(f"  {len(classes)} classes: {', '.join(classes)}")
    for note in notes:
        print(f"  {note}")
    command = f"python src/{{}}.py {data_arguments(arguments)}"
    missing = {
        key: splits
        for key, splits in required_splits.items()
        if not counts.keys() >= {*splits.split("+")}
    }
    for key, splits in missing.items():
        print(f"  {key}={splits}: no such split. Add the files that it needs, or set another.")
    if not missing:
        print("\nNext:")
        print(f"  {command.format('prepare')} check=true    decode every file and report errors")
        print(f"  {command.format('train')}")
