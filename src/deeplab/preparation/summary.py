"""Summary of a prepared data set: its content, what is missing, and the next commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from deeplab.data.layouts.base import Layout
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.program import command

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


def split_line(split: str, count: int, origin: str) -> str:
    """Return the line of a split in a list of splits: its number of images and their origin."""
    noun = "image " if count == 1 else "images"
    return f"  {split:<12} {count:>9,} {noun}  {origin}".rstrip()


def print_summary(
    choice: str,
    layout: Layout,
    data: SegmentationSettings,
    counts: Mapping[str, int],
    notes: Sequence[str],
    arguments: Iterable[str],
) -> None:
    """Print the splits and classes of a data set and the next commands.

    Args:
        choice: its name.
        layout: its layout.
        data: its settings.
        counts: the number of images of each split.
        notes: further lines to print.
        arguments: the arguments of the command line.
    """
    print(f"\n{choice} is ready in {layout.root}")
    for split, count in counts.items():
        print(split_line(split, count, layout.origin(split)))
    print(f"  {len(data.classes)} classes: {', '.join(data.classes)}")
    for note in notes:
        print(f"  {note}")
    data_words = data_arguments(arguments)
    keys = {"data.train_split": data.train_split, "data.val_split": data.val_split}
    missing = {
        key: split for key, split in keys.items() if not counts.keys() >= {*split.split("+")}
    }
    for key, split in missing.items():
        print(f"  {key}={split}: no such split. Add the files that it needs, or set another.")
    if not missing:
        print("\nNext:")
        print(
            f"  {command('prepare')} {data_words} check=true    decode every file and report errors"
        )
        print(f"  {command('train')} {data_words}")
