"""The words at the end: what is there, what is not, what to do next."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NOT_FOR_TRAINING = ("data.parts", "data.archives", "data.unpacked_gb", "data.expected_images")


def options(typed: Iterable[str]) -> str:
    """The part of a command line that names the data, for other scripts."""
    kept = []
    for argument in typed:
        key = argument.partition("=")[0].lstrip("+~")
        named = key in ("data", "stage") or key.startswith("data.")
        if named and not key.startswith(NOT_FOR_TRAINING):
            kept.append(shlex.quote(argument))
    return " ".join(kept)


def say_ready(
    choice: str,
    root: Path,
    counts: Mapping[str, int],
    classes: Sequence[str],
    *,
    wanted: Mapping[str, str],
    notes: Sequence[str],
    typed: Iterable[str],
) -> None:
    """Say what a data set has.

    Args:
        choice: its name.
        root: its folder.
        counts: the number of images of each split.
        classes: their names.
        wanted: the splits of training and validation by key, each perhaps several joined by ``+``.
        notes: what else there is to say of it.
        typed: the arguments of the command line.
    """
    print(f"\n{choice} is ready in {root}")
    for split, count in counts.items():
        print(f"  {split:<12} {count:>7} images")
    print(f"  {len(classes)} classes: {', '.join(classes)}")
    for note in notes:
        print(f"  {note}")
    command = f"python src/{{}}.py {options(typed)}"
    lacking = [key for key, name in wanted.items() if not counts.keys() >= {*name.split("+")}]
    for key in lacking:
        print(f"  {key}={wanted[key]} is not there: add what it is made of, or set another.")
    if not lacking:
        print("\nNext:")
        print(f"  {command.format('prepare')} check=true    decodes every file, says what is wrong")
        print(f"  {command.format('train')}")
