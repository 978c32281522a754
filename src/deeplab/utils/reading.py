"""Reading of records and arrays that people edit, copy and damage.

Whatever is wrong with a file ends in a UserError that names it: ``FILE: cannot be read (problem).
What to do.`` A file that is a folder, a pipe or a device is never opened, because reading it might
never end.
"""

import csv
import io
import json
import math
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from deeplab.utils.errors import UserError
from deeplab.utils.settings import problem_text
from deeplab.utils.text import printable

M = TypeVar("M", bound=BaseModel)

MAX_TEXT_BYTES = 1 << 25
"""Largest text file that is read; records have some kilobytes."""

MAX_DEPTH = 50
"""Largest number of mappings and lists inside each other."""

MAX_VALUES = 10**6
"""Largest number of values in a YAML file, after its aliases have been replaced."""

MAX_PROBLEM = 200
"""Largest number of characters of a problem's description."""


@contextmanager
def report_damage(path: Path, hint: str) -> Iterator[None]:
    """Turn every exception of the block, which must only read a file, into a UserError.

    A damaged file can raise anything: also KeyError, MemoryError and RecursionError.

    Args:
        path: the file.
        hint: what to do, as a sentence.

    Raises:
        UserError: the file is damaged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read ({describe(error)}). {hint}".rstrip()) from None


def describe(error: Exception) -> str:
    """Return an exception as a few words."""
    match error:
        case ValidationError():
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            text = f"{key}: " * bool(key) + problem_text(first)
        case RecursionError():
            text = "nested too deeply"
        case MemoryError():
            text = "it needs more memory than there is"
        case UnicodeDecodeError():
            text = f"not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
        case KeyError():
            text = str(error.args[0] if error.args else "a key")
            text = text if " " in text else f"{text} is missing"
        case yaml.MarkedYAMLError() if error.problem and error.problem_mark:
            text = f"line {error.problem_mark.line + 1}: {error.problem}"
        case EOFError() if not str(error):
            text = "it ends too early"
        case OSError() if error.strerror:
            text = error.strerror
        case _:
            text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    text = printable(text).rstrip(".")
    return text if len(text) <= MAX_PROBLEM else f"{text[: MAX_PROBLEM - 4]} ..."


def exists(path: Path) -> bool:
    """Return True if there is anything at a path; also what cannot be read, as a broken link."""
    return os.path.lexists(path)


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        OSError: it does not exist.
        ValueError: it is something else than a file, such as a folder, a pipe or a device.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ValueError(f"it is {kind} and not a file")
    return status.st_size


def read_text(path: Path, hint: str) -> str:
    """Return the content of a text file, without a byte-order mark; raises as ``report_damage``."""
    with report_damage(path, hint):
        if (size := check_regular(path)) > MAX_TEXT_BYTES:
            raise ValueError(f"its {size:,} bytes are too many for a text file")
        return path.read_text(encoding="utf-8-sig")


def read_values(path: Path, hint: str) -> dict[Any, Any]:
    """Return the content of a JSON or YAML file, which must have keys with values.

    Raises as ``report_damage`` does.
    """
    text = read_text(path, hint)
    with report_damage(path, hint):
        if path.suffix == ".json":
            return _check_values(json.loads(text, object_pairs_hook=_unique_keys))
        return _check_values(parse_yaml(text))


def read_typed(path: Path, schema: type[M], hint: str) -> M:
    """Return the content of a JSON or YAML file as an object of its schema, a pydantic model.

    Raises as ``report_damage`` does.
    """
    values = read_values(path, hint)
    with report_damage(path, hint):
        return schema(**values)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: the text is not YAML, has a key twice, or its aliases stand for too many
            values.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses aliases which stand for too many values, or for themselves."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node: Any = super().compose_node(parent, index)
        if not is_alias:
            children = [] if isinstance(node, yaml.ScalarNode) else node.value
            parts = [part for c in children for part in (c if isinstance(c, tuple) else (c,))]
            self.sizes[id(node)] = 1 + sum(self.sizes[id(part)] for part in parts)
            if isinstance(node, yaml.MappingNode):
                _unique_keys([(repr(key.value), value) for key, value in node.value])
        if self.sizes.get(id(node), MAX_VALUES) >= MAX_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MAX_VALUES:,} values")
        return node


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise yaml.YAMLError(f"{twice} is there twice")
    return unique


def _check_values(content: Any) -> dict[Any, Any]:
    """Return a mapping whose values can be computed with, printed and written again.

    Raises:
        ValueError: it is something else, or it contains values that break programs: inf and nan,
            numbers beyond 64 bits, or texts that cannot be encoded or used as a path.
    """
    if not isinstance(content, dict):
        raise ValueError("expected keys with values")
    pending: list[tuple[str, Any, int]] = [("", content, 0)]
    while pending:
        key, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise RecursionError
        match value:
            case float() if not math.isfinite(value):
                raise ValueError(f"{key}={value}: not a number")
            case int() if abs(value) >= 2**63:
                raise ValueError(f"{key}: this number is too large")
            case str() if re.search("[\0\ud800-\udfff]", value):
                raise ValueError(f"{key}: this text cannot be used")
            case dict():
                pending += [(str(k), part, depth + 1) for k, v in value.items() for part in (k, v)]
            case list():
                pending += [(key, inner, depth + 1) for inner in value]
    return content


def read_csv(path: Path, hint: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names in its first line.

    Rows that are not complete, as a killed process leaves one, and null bytes are left out.
    Raises as ``report_damage`` does.
    """
    text = read_text(path, hint).replace("\0", "")
    with report_damage(path, hint):
        rows = csv.DictReader(io.StringIO(text, newline=""))
        if not rows.fieldnames:
            raise ValueError("it has no heading")
        return [row for row in rows if None not in row and None not in row.values()]


def read_npz(
    path: Path, arrays: Mapping[str, tuple[str, Sequence[int | str]]], hint: str
) -> dict[str, NDArray[Any]]:
    """Return some arrays of a file of NumPy, after their types and shapes have been checked.

    Args:
        path: the file.
        arrays: NumPy's kind of numbers and the shape of each array to read; a side that is a name
            may have any length, but the same wherever it is named.
        hint: what to do if the file is damaged.

    Raises:
        UserError: as ``report_damage``; also if an array is missing or has another type or shape,
            which is found before memory is reserved for it.
    """
    with report_damage(path, hint):
        check_regular(path)
        lengths: dict[int | str, int] = {}
        with zipfile.ZipFile(path) as archive:
            for name, (kind, shape) in arrays.items():
                with archive.open(f"{name}.npy") as file:
                    found, dtype = npy_header(file)
                fits = len(found) == len(shape) and all(
                    lengths.setdefault(n, side if isinstance(n, str) else n) == side
                    for n, side in zip(shape, found, strict=True)
                )
                if not fits or dtype.kind != kind:
                    raise ValueError(
                        f"{name}: {dtype} of shape {_format_shape(found)}, expected "
                        f"{_format_shape(shape)} {KINDS[kind]}"
                    )
        with np.load(path) as stored:
            return {name: stored[name] for name in arrays}


KINDS = {"i": "integers", "u": "integers", "U": "texts"}
"""Words for NumPy's kinds of numbers."""


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array that NumPy has written, from its beginning.

    Raises:
        ValueError: it is none.
    """
    is_first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _format_shape(shape: Sequence[int | str]) -> str:
    return " x ".join(map(str, shape)) or "()"
