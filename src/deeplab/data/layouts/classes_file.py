"""Classes file: names, values and colors of the classes of a folder of masks.

    classes.yaml      classes: {background: 0, road: 1}
                      ignored: [11]
                      unlisted: ignore    or nearest, background, error (the default)
                      colors: {background: [0, 0, 0], road: [128, 64, 128]}     for overlays
                or    [background, road, car]             by index
                or    {background: 0, road: 1}            or {background: [0, 0, 0], road: ...}
    classes.csv       name,r,g,b   or   name,value        also class_dict.csv; a header is optional
    _classes.csv      Pixel Value, Class                  Roboflow's
    labelmap.txt      name:r,g,b:parts:actions            CVAT's
    label_colors.txt  r g b name                          CamVid's
    classes.txt       one name per line, by index         also labelme's class_names.txt

A class named void, ignore, unlabeled or the like is ignored. ``unlisted`` is
``data.unlisted_values``.
"""

import csv
import re
import reprlib
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from deeplab.data.class_set import ClassSet, Color, Value
from deeplab.data.items import Item
from deeplab.data.layouts.file_names import CLASSES_FILE
from deeplab.data.settings import MAX_CLASSES, UnlistedValues
from deeplab.utils.errors import UserError
from deeplab.utils.reading import exists, read_text, report_damage
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text import pluralize, printable

NAMES = (
    CLASSES_FILE, "classes.yml", "classes.csv", "class_dict.csv", "_classes.csv", "labelmap.txt",
    "label_colors.txt", "classes.txt", "class_names.txt", "train/_classes.csv",
)  # fmt: skip
"""Paths below the folder where a classes file is looked for."""

MAX_SAMPLED = 1000
"""Number of masks in whose folders a classes file is looked for."""

VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "dontcare")
UNLISTED: dict[UnlistedValues, str] = {
    "error": "an error",
    "ignore": "ignored",
    "nearest": "the class that they are near to, else ignored",
    "background": "background",
}
"""What becomes of values of masks that no class has, by the setting."""

HINT = "Correct the file."

NAME_COLUMNS = ("name", "class", "classname", "label", "labelname", "category")
VALUE_COLUMNS = ("value", "pixelvalue", "index", "id", "classid", "labelid")
COLOR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
"""Names of columns, without case, spaces and underscores."""

FORMS = {
    re.compile(r"(?P<name>.*):(?P<values>\d+,\d+,\d+):[^:]*:[^:]*"): "name:r,g,b:parts:actions",
    re.compile(r"(?P<values>\d+(\s+\d+\s+\d+)?)[\s:=]+(?P<name>\D.*)"): "r g b name or value name",
}
"""Lines of text files that have values; if most lines have one form, all must have it."""


def find_classes_file(
    root: Path, classes_file: str | None, items: Sequence[Item] = ()
) -> Path | None:
    """Return the path of ``classes_file``, or of a file with a usual name.

    Such a file is in ``root`` or, as in exports of labeling tools, in a folder between it and the
    masks; for masks elsewhere, beside their folder or in it.

    Raises:
        UserError: ``classes_file`` does not exist, or several folders have different classes.
    """
    if classes_file is None:
        return _usual_file(root) or _file_near(root, items)
    for path in (root / classes_file, Path(classes_file).expanduser()):
        if exists(path):
            return path
    raise UserError(
        f"data.classes_file={_short(classes_file)}: this file exists neither in {root} nor in the "
        f"current folder. Correct the path, or set data.classes_file=null to look for "
        f"{', '.join(NAMES)}."
    )


def other_classes_files(path: Path, classes: ClassSet) -> list[str]:
    """Return the names of the classes files beside one of a usual name that have other classes."""
    folder, names, others = path.parent, {*classes.names}, list[str]()
    for name in NAMES:
        with suppress(UserError):  # it cannot be read
            if exists(folder / name) and {*read_classes(folder / name).names} != names:
                others.append(name)
    return others


def folders_of(mask: Path, root: Path) -> Sequence[Path]:
    """Return the folders that a mask is in, the nearest first: those below the root of the data.

    Of masks elsewhere these are their folder and the one around it.
    """
    above = [*mask.parents]
    return above[: above.index(root) if root in above else 2]


def _usual_file(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES if exists(folder / name)), None)


def _file_near(root: Path, items: Sequence[Item]) -> Path | None:
    """Return the classes file of the folders that masks are in."""
    masks = {item.mask.parent: item.mask for item in sample_evenly(items, MAX_SAMPLED)}
    found: dict[Path, ClassSet] = {}
    for mask in masks.values():  # one for each folder
        files = map(_usual_file, folders_of(mask, root))
        if (path := next(filter(None, files), None)) and path not in found:
            found[path] = read_classes(path)
    if len({repr(classes) for classes in found.values()}) > 1:
        raise UserError(
            f"data.root={root}: the classes of {' and of '.join(map(str, found))} differ. Set "
            "data.classes_file to the one that holds for all masks, or data.root to one folder."
        )
    return next(iter(found), None)


def read_classes(path: Path) -> ClassSet:
    """Return the classes of a file, in its order.

    Raises:
        UserError: the file cannot be read, or its content is wrong.
    """
    text = read_text(path, HINT)
    unlisted: Any = "error"
    ignored: Any = []
    colors: Any = {}
    with report_damage(path, HINT):
        if path.suffix == ".csv":
            entries = _parse_csv(path, text)
        elif path.suffix == ".txt":
            entries = _parse_lines(path, text)
        else:
            content = yaml.load(text, _Loader)
            if isinstance(content, dict) and "classes" in content:
                if unknown := sorted(content.keys() - {"classes", "ignored", "colors", "unlisted"}):
                    raise UserError(
                        f"{path}: {_short(unknown[0])}: unknown key. Allowed keys: classes, "
                        "ignored, unlisted, colors."
                    )
                ignored, colors = content.get("ignored") or [], content.get("colors") or {}
                unlisted = content.get("unlisted", unlisted)
                content = content["classes"]
            entries = _entries(path, content)
        if not isinstance(ignored, list) or not isinstance(colors, dict):
            raise UserError(f"{path}: ignored must be a list, and colors must have names.")
    if unlisted not in UNLISTED:
        raise UserError(
            f"{path}: unlisted: {_short(unlisted)}: not allowed. Choose from {', '.join(UNLISTED)}."
        )
    if len(entries) > 2 * MAX_CLASSES:
        raise UserError(
            f"{path}: {pluralize(len(entries), 'class')}; 2 to {MAX_CLASSES} are allowed."
        )
    if wrong := next((n for n in entries if n != printable(n)), None):
        raise UserError(f"{path}: {_short(wrong)}: control characters in a name. Remove them.")
    if "" in entries:
        raise UserError(f"{path}: a class has no name. Add it.")
    values = {name: _value(path, name, value) for name, value in entries.items()}
    ignored_values = [_value(path, "ignored", value) for value in ignored]
    ignored_values += [values.pop(name) for name in list(values) if is_void(name)]
    _check(path, values)
    return ClassSet(
        names=tuple(values),
        colors=_colors(path, entries, values, colors),
        values=tuple(values.values()),
        ignored=tuple(ignored_values),
        unlisted_values=unlisted,
    )


def format_classes_yaml(classes: ClassSet, shares: list[float], source: str, reading: str) -> str:
    """Return the text of a ``classes.yaml`` in which you can change the names."""
    lines = [
        f"# Found in {source}: {printable(reading)}.",
        "# Replace the names by yours; the order of the lines is the order of the classes. Pixels",
        "# with a value under ignored are left out of training and of scores.",
        "classes:",
    ]
    assert classes.values is not None
    for name, value, share in zip(classes.names, classes.values, shares, strict=True):
        lines.append(f"  {name}: {format_value(value)}  # {100 * share:.2f} %")
    lines.append(f"ignored: [{', '.join(format_value(value) for value in classes.ignored)}]")
    if (unlisted := classes.unlisted_values) != "error":
        others = ", ".join(name for name in UNLISTED if name != unlisted)
        meaning = f"other values are {UNLISTED[unlisted]}"
        lines.append(f"unlisted: {unlisted}  # {meaning}; or set {others}")
    if classes.colors and not classes.colored:
        lines.append("colors:")
        for name, color in zip(classes.names, classes.colors, strict=True):
            lines.append(f"  {name}: {format_value(color)}")
    return "\n".join(lines) + "\n"


def format_value(value: Value) -> str:
    """Return a value as a file of classes lists it."""
    return str(value) if isinstance(value, int) else f"[{', '.join(map(str, value))}]"


class _Loader(yaml.BaseLoader):
    """Loader that keeps all scalars as texts (names such as no and 1.0) and every name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(
                problem=f"{repeated} is named more than once", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def _entries(path: Path, content: Any) -> dict[str, Any]:
    """Return the values by name of a list of names, or of a mapping in either direction."""
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return _unique(path, [(name, index) for index, name in enumerate(content)])
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: this file names no classes. Write a list of names, or name: value pairs "
            "with an index or a color such as [128, 64, 128]."
        )
    names = list(content.values())
    if all(key.isdecimal() for key in content) and not any(
        not isinstance(name, str) or name.isdecimal() for name in names
    ):
        return _unique(path, [(name, index) for index, name in content.items()])
    return content


def _parse_lines(path: Path, text: str) -> dict[str, Any]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if with_header := bool(lines and re.match(r"#\s*label\s*:", lines[0])):  # CVAT's
        lines = [line for line in lines if not line.startswith("#")]
    for pattern, form in FORMS.items():
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        if not with_header and 2 * len(matches) <= len(lines):
            continue
        if wrong := next((line for line in lines if not pattern.fullmatch(line)), None):
            raise UserError(f"{path}: the line {_short(wrong)} is not {form}. Correct the line.")
        return _unique(
            path, [(m["name"].strip(), re.findall(r"\d+", m["values"])) for m in matches]
        )
    if lines and plain_name(lines[0]) == "ignore":  # labelme's, whose index is -1
        return _unique(path, [(lines[0], 255), *((n, i) for i, n in enumerate(lines[1:]))])
    return _unique(path, [(name, index) for index, name in enumerate(lines)])


def _parse_csv(path: Path, text: str) -> dict[str, Any]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [[cell.strip() for cell in row] for row in reader if any(row)]
    columns: list[int] | None = None
    if rows and not any(cell.isdecimal() for cell in rows[0]):
        columns = _columns([plain_name(cell) for cell in rows.pop(0)])
    pairs: list[tuple[str, Any]] = []
    for row in rows:
        if columns and len(row) > max(columns):
            name, *numbers = (row[column] for column in columns)
        else:
            numbers = [cell for cell in row if cell.isdecimal()]
            words = [cell for cell in row if cell and not cell.isdecimal()]
            name = words[0] if len(words) == 1 else ""
        if not name or len(numbers) not in (1, 3):
            raise UserError(
                f"{path}: the line {_short(','.join(row))} is neither name,r,g,b nor name,value. "
                "Correct the line."
            )
        pairs.append((name, numbers))
    return _unique(path, pairs)


def _columns(header: list[str]) -> list[int] | None:
    """Return the columns of the name and of the value or color; None if they are unclear."""
    names = [i for i, cell in enumerate(header) if cell in NAME_COLUMNS]
    values = [i for i, cell in enumerate(header) if cell in VALUE_COLUMNS]
    colors = next(
        ([header.index(c) for c in group] for group in COLOR_COLUMNS if {*group} <= {*header}), []
    )
    if len(names) != 1 or bool(colors) == (len(values) == 1):
        return None
    return names + (colors or values)


def is_void(name: str) -> bool:
    """Return True if a name is that of pixels that are no class."""
    return plain_name(name) in VOID


def plain_name(name: str) -> str:
    """Return a name without case, spaces and punctuation."""
    return re.sub(r"[\W_]", "", name.lower())


def _short(value: Any) -> str:
    return printable(reprlib.repr(value))


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(
            f"{path}: {_short(repeated[0])} is named more than once. Keep each name once."
        )
    return dict(pairs)


def _value(path: Path, name: str, value: Any) -> Value:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(n, int) or re.fullmatch(r"[+-]?\d{1,9}", str(n)) for n in numbers):
        raise UserError(
            f"{path}: {_short(name)}: {_short(value)} is neither an index nor a color. Write an "
            "index or a color such as [128, 64, 128]."
        )
    if len(numbers) not in (1, 3) or not all(0 <= int(n) <= 255 for n in numbers):
        raise UserError(
            f"{path}: {_short(name)}: {_short(value)} is out of range. Write an index from 0 to "
            "255, or a color of three such numbers."
        )
    first, *others = map(int, numbers)
    return (first, others[0], others[1]) if others else first


def _colors(
    path: Path, entries: Collection[str], values: dict[str, Value], colors: dict[str, Any]
) -> tuple[Color, ...] | None:
    """Return the color of each class, that of the masks unless another is listed."""
    if unknown := [name for name in colors if name not in entries]:
        raise UserError(
            f"{path}: colors: {_short(unknown[0])} is none of the classes. Correct the name."
        )
    listed = values | {name: _value(path, f"colors: {name}", c) for name, c in colors.items()}
    palette = [color for name in values if not isinstance(color := listed[name], int)]
    if colors and len(palette) < len(values):
        name = next(name for name in values if isinstance(listed[name], int))
        raise UserError(
            f"{path}: colors: {_short(name)} has no color. List one such as [128, 64, 128] for "
            "every class."
        )
    return tuple(palette) if palette else None


def _check(path: Path, values: dict[str, Value]) -> None:
    if not 2 <= len(values) <= MAX_CLASSES:
        count = pluralize(len(values), "class")
        raise UserError(f"{path}: {count}; 2 to {MAX_CLASSES} are allowed.")
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
