"""Classes file: names, values and colors of the classes of a folder of masks.

    classes.yaml   classes: {background: 0, road: 1, car: [255, 0, 0]}
                   ignored: [11]
                   colors: {road: [128, 64, 128]}      optional, for overlays and figures
             or    [background, road, car]              by index
             or    {background: 0, road: 1}
    classes.csv    name,r,g,b   or   name,value         the header is optional
    classes.txt    one name per line, by index

A class named void, ignore, ignored, unlabeled or unlabelled is ignored.
"""

import csv
from pathlib import Path
from typing import Any

import yaml

from deeplab.data.class_set import MAX_CLASSES, ClassSet, Value
from deeplab.utils.errors import UserError

NAMES = ("classes.yaml", "classes.yml", "classes.csv", "class_dict.csv", "classes.txt")
UNLISTED = "error, ignore, or nearest (as the nearest class if it is close)"
VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled")


def find_classes_file(root: Path, classes_file: str | None) -> Path | None:
    """Return the path of ``classes_file``, or of the first file in ``root`` with a usual name.

    Raises:
        UserError: ``classes_file`` does not exist.
    """
    if classes_file is None:
        return next((root / name for name in NAMES if (root / name).is_file()), None)
    for path in (root / classes_file, Path(classes_file).expanduser()):
        if path.is_file():
            return path
    raise UserError(
        f"data.classes_file={classes_file}: neither {root / classes_file} nor {classes_file} "
        f"exists. Correct the path, or set data.classes_file=null to look for {', '.join(NAMES)}."
    )


def read_classes(path: Path) -> ClassSet:
    """Return the classes of a file, in its order.

    Raises:
        UserError: the file cannot be read, or its content is wrong.
    """
    try:
        text = path.read_text()
        entries, ignored, colors = _parse(path, text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, csv.Error) as error:
        raise UserError(
            f"{path}: this file cannot be read ({str(error).splitlines()[0]}). Correct the file."
        ) from None
    values = {name: _value(path, name, value) for name, value in entries.items()}
    ignored_names = [name for name in values if name.lower() in VOID]
    ignored_values = [_value(path, "ignored", value) for value in ignored]
    ignored_values += [values.pop(name) for name in ignored_names]
    _check(path, values)
    listed_colors = {name: _value(path, name, value) for name, value in colors.items()}
    palette = [listed_colors.get(name, value) for name, value in values.items()]
    return ClassSet(
        names=tuple(values),
        colors=tuple(c for c in palette if not isinstance(c, int))
        if all(not isinstance(c, int) for c in palette)
        else None,
        values=tuple(values.values()),
        ignored=tuple(ignored_values),
    )


def format_classes_yaml(classes: ClassSet, shares: list[float], source: str, reading: str) -> str:
    """Return the text of a ``classes.yaml`` in which you can change the names."""
    lines = [
        f"# Found in {source}: {reading}.",
        "# Replace the names by yours; the order of the lines is the order of the classes. Pixels",
        "# with a value under ignored are left out of training and of scores.",
        "classes:",
    ]
    assert classes.values is not None
    for name, value, share in zip(classes.names, classes.values, shares, strict=True):
        lines.append(f"  {name}: {_format_value(value)}  # {100 * share:.2f} %")
    lines.append(f"ignored: [{', '.join(_format_value(value) for value in classes.ignored)}]")
    if classes.unlisted_values != "error":
        lines.append(f"unlisted: {classes.unlisted_values}  # all other values: {UNLISTED}")
    if classes.colors and not classes.colored:
        lines.append("colors:")
        for name, color in zip(classes.names, classes.colors, strict=True):
            lines.append(f"  {name}: {_format_value(color)}")
    return "\n".join(lines) + "\n"


def _format_value(value: Value) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(map(str, value))}]"


def _parse(path: Path, text: str) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Return the values by name, the ignored values, and the display colors by name."""
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
                f"{path}: {', '.join(sorted(map(str, unknown)))}: unknown key. Allowed keys: "
                "classes, ignored, colors."
            )
        ignored, colors = content.get("ignored") or [], content.get("colors") or {}
        content = content["classes"]
    if isinstance(content, list):
        return _unique(path, [(str(n), i) for i, n in enumerate(content)]), ignored, colors
    if not isinstance(content, dict) or not isinstance(ignored, list | tuple):
        raise UserError(
            f"{path}: this file names no classes. Write a list of names, or name: value pairs "
            "with an index or a color such as [128, 64, 128]."
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
                f"{path}: the line {','.join(row)!r} is neither name,r,g,b nor name,value. Correct "
                "the line."
            )
        pairs.append((words[0], numbers[0] if len(numbers) == 1 else numbers))
    return _unique(path, pairs)


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UserError(
            f"{path}: {', '.join(sorted(repeated))} is named more than once. Keep each name once."
        )
    return dict(pairs)


def _value(path: Path, name: str, value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        raise UserError(
            f"{path}: {name}: {value!r} is neither an index nor a color. Write an index or a color "
            "such as [128, 64, 128]."
        )
    numbers = [value] if isinstance(value, int) else list(value)
    if len(numbers) not in (1, 3) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 255 for n in numbers
    ):
        raise UserError(
            f"{path}: {name}: {value!r} is out of range. Write an index from 0 to 255, or a color "
            "of three such numbers."
        )
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _check(path: Path, values: dict[str, Value]) -> None:
    if not 2 <= len(values) <= MAX_CLASSES:
        raise UserError(f"{path}: {len(values)} classes; 2 to {MAX_CLASSES} are allowed.")
    if len({isinstance(value, int) for value in values.values()}) > 1:
        raise UserError(
            f"{path}: some classes have an index and some a color. Use the same kind for all."
        )
    seen: dict[Value, str] = {}
    for name, value in values.items():
        if value in seen:
            raise UserError(
                f"{path}: {seen[value]} and {name} have the same value {value}. Give each class "
                "another value."
            )
        seen[value] = name
