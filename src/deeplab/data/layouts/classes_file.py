"""The file in which a person names the classes of a folder of masks.

    classes.yaml   classes: {background: 0, road: 1, car: [255, 0, 0]}
                   ignored: [11]
                   colors: {road: [128, 64, 128]}      optional, for pictures
             or    [background, road, car]              by index
             or    {background: 0, road: 1}
    classes.csv    name,r,g,b   or   name,value         the header may be missing
    classes.txt    a name a line, by index

A class called void, ignore, ignored, unlabeled or unlabeled is ignored.
"""

import csv
from pathlib import Path
from typing import Any

import yaml

from deeplab.data.class_set import MOST_CLASSES, ClassSet, Value
from deeplab.utils.errors import UserError

NAMES = ("classes.yaml", "classes.yml", "classes.csv", "class_dict.csv", "classes.txt")
VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled")


def classes_file(root: Path, named: str | None) -> Path | None:
    """The file that is named, or the first usual one in ``root``.

    Raises:
        UserError: the named file does not exist.
    """
    if named is None:
        return next((root / name for name in NAMES if (root / name).is_file()), None)
    for path in (root / named, Path(named).expanduser()):
        if path.is_file():
            return path
    raise UserError(f"data.classes_file={named}: neither {root / named} nor {named} exists.")


def read_classes(path: Path) -> ClassSet:
    """The classes that a file names, in its order.

    Raises:
        UserError: the file cannot be read or does not say what it should.
    """
    try:
        text = path.read_text()
        entries, ignored, colors = _parse(path, text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, csv.Error) as error:
        raise UserError(f"{path}: this cannot be read ({str(error).splitlines()[0]}).") from None
    values = {name: _value(path, name, value) for name, value in entries.items()}
    void = [name for name in values if name.lower() in VOID]
    ignored_values = [_value(path, "ignored", value) for value in ignored]
    ignored_values += [values.pop(name) for name in void]
    _check(path, values)
    painted = {name: _value(path, name, value) for name, value in colors.items()}
    own = [painted.get(name, value) for name, value in values.items()]
    return ClassSet(
        names=tuple(values),
        colors=tuple(c for c in own if not isinstance(c, int))
        if all(not isinstance(c, int) for c in own)
        else None,
        values=tuple(values.values()),
        ignored=tuple(ignored_values),
    )


def write_classes(classes: ClassSet, shares: list[float], found_in: str) -> str:
    """The text of a ``classes.yaml`` for a person to put names into."""
    lines = [
        f"# The classes found in {found_in}, and their part of all pixels. Put your names in",
        "# place of class_0, class_1 ...; the order is that of the classes. What is listed under",
        "# ignored counts neither in training nor in scores.",
        "classes:",
    ]
    assert classes.values is not None
    for name, value, share in zip(classes.names, classes.values, shares, strict=True):
        lines.append(f"  {name}: {_typed(value)}  # {100 * share:.2f} %")
    lines.append(f"ignored: [{', '.join(_typed(value) for value in classes.ignored)}]")
    if classes.colors and not classes.colored:
        lines.append("colors:")
        for name, color in zip(classes.names, classes.colors, strict=True):
            lines.append(f"  {name}: {_typed(color)}")
    return "\n".join(lines) + "\n"


def _typed(value: Value) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(map(str, value))}]"


def _parse(path: Path, text: str) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Names with their values, the ignored values, and colors to paint with."""
    if path.suffix == ".csv":
        return _parse_csv(path, text), [], {}
    if path.suffix == ".txt":
        names = [line.strip() for line in text.splitlines() if line.strip()]
        return _unique(path, [(name, index) for index, name in enumerate(names)]), [], {}
    content = yaml.safe_load(text)
    ignored: list[Any] = []
    colors: dict[str, Any] = {}
    if isinstance(content, dict) and "classes" in content:
        unknown = set(content) - {"classes", "ignored", "colors"}
        if unknown:
            raise UserError(
                f"{path}: {', '.join(sorted(map(str, unknown)))}: there is no such key. "
                "Keys: classes, ignored, colors."
            )
        ignored, colors = content.get("ignored") or [], content.get("colors") or {}
        content = content["classes"]
    if isinstance(content, list):
        return _unique(path, [(str(n), i) for i, n in enumerate(content)]), ignored, colors
    if not isinstance(content, dict) or not isinstance(ignored, list | tuple):
        raise UserError(
            f"{path}: this names no classes. It is to hold a list of names, or name: value with "
            "an index or a color such as [128, 64, 128]."
        )
    return {str(name): value for name, value in content.items()}, ignored, colors


def _parse_csv(path: Path, text: str) -> dict[str, Any]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if rows and not any(cell.isdigit() for cell in rows[0]):
        rows = rows[1:]  # the header
    pairs: list[tuple[str, Any]] = []
    for row in rows:
        numbers = [int(cell) for cell in row if cell.isdigit()]
        words = [cell for cell in row if not cell.isdigit()]
        if len(words) != 1 or len(numbers) not in (1, 3):
            raise UserError(
                f"{path}: the line {','.join(row)!r} is neither name,r,g,b nor name,value."
            )
        pairs.append((words[0], numbers[0] if len(numbers) == 1 else numbers))
    return _unique(path, pairs)


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"{path}: {', '.join(sorted(twice))} is named more than once.")
    return dict(pairs)


def _value(path: Path, name: str, value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        raise UserError(
            f"{path}: {name}: {value!r} is neither an index nor a color such as [128, 64, 128]."
        )
    numbers = [value] if isinstance(value, int) else list(value)
    if len(numbers) not in (1, 3) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 255 for n in numbers
    ):
        raise UserError(f"{path}: {name}: {value!r}: values are 0 to 255, colors three of them.")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _check(path: Path, values: dict[str, Value]) -> None:
    if not 2 <= len(values) <= MOST_CLASSES:
        raise UserError(f"{path}: {len(values)} classes; it takes 2 to {MOST_CLASSES}.")
    if len({isinstance(value, int) for value in values.values()}) > 1:
        raise UserError(f"{path}: some classes have an index and some a color; use one of them.")
    seen: dict[Value, str] = {}
    for name, value in values.items():
        if value in seen:
            raise UserError(f"{path}: {seen[value]} and {name} have the same value {value}.")
        seen[value] = name
