"""Reading of records that people edit, copy and damage."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest

from deeplab.utils.errors import UserError
from deeplab.utils.reading import read_csv, read_npz, read_values

LEVELS = 10_000
LETTERS = "abcdefgh"
BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise(LETTERS)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n" for a, b in pairwise(LETTERS)
)
CONTENTS = {
    "empty.json": (b"", "Expecting value"),
    "cut.json": (b'{"a": [1, 2', "Expecting ',' delimiter"),
    "list.json": (b"[1]", "expected keys with values"),
    "levels.json": (b'{"a":' * LEVELS + b"1" + b"}" * LEVELS, "nested too deeply"),
    "hundred.json": (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deeply"),
    "nan.json": (b'{"a": [NaN]}', "a=nan: not a number"),
    "infinite.json": (b'{"a": 1e999}', "a=inf: not a number"),
    "huge.json": (b'{"a": 99999999999999999999}', "this number is too large"),
    "digits.json": (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
    "surrogate.json": (b'{"a": "\\ud800"}', "this text cannot be used"),
    "null.json": (b'{"a": "x\\u0000"}', "this text cannot be used"),
    "utf16.json": ('{"a": 1}'.encode("utf-16"), "not UTF-8 text: byte 0 is 0xff"),
    "twice.json": (b'{"a": {"b": 1, "b": 2}}', "b is there twice"),
    "twice.yaml": (b"a: {b: 1}\nc: 2\na: 3", "'a' is there twice"),
    "empty.yaml": (b"", "expected keys with values"),
    "levels.yaml": (b"a: " + b"[" * LEVELS + b"]" * LEVELS, "nested too deeply"),
    "bomb.yaml": (BOMB.encode(), "its aliases stand for more than 1,000,000 values"),
    "merges.yaml": (MERGES.encode(), "its aliases stand for more than 1,000,000 values"),
    "cycle.yaml": (b"a: &a [*a]", "its aliases stand for more than 1,000,000 values"),
    "code.yaml": (b"a: !!python/object/apply:os.system [ls]", "line 1: could not determine"),
    "tab.yaml": (b"a:\n\t- b", "line 2: found character"),
    "date.yaml": (b"a: 2024-99-99", "month must be in 1..12"),
    "key.yaml": (b"? [a]\n: 1", "unhashable key"),
    "control.yaml": (b'a: "x\x01"', "special characters are not allowed"),
}


def read(path):
    return read_values(path, "Do this.")


@pytest.mark.parametrize("name", CONTENTS)
def test_damage_ends_in_one_line_with_the_file(tmp_path, name):
    path, (content, problem) = tmp_path / name, CONTENTS[name]
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: cannot be read ({problem}") or problem in message
    assert message.endswith("). Do this.")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.csv"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "no target", "loop", "a terabyte"])
def test_what_is_no_file_is_never_opened(tmp_path, name, kind):
    path = tmp_path / name
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "no target":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(name)
        case _:
            path.touch()
            os.truncate(path, 10**12)
    with pytest.raises(UserError, match=rf"{path}: cannot be read \(.*\)\. Do this\."):
        (read_csv if path.suffix == ".csv" else read_values)(path, "Do this.")


def test_marks_aliases_and_half_rows_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "ü"}).encode())
    assert read(tmp_path / "a.json") == {"a": "ü"}
    (tmp_path / "a.yaml").write_text("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}\n")
    assert read(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}
    (tmp_path / "a.csv").write_bytes(b"step,loss\n1,0.5\n\0\0\n2,0.4\n3")
    assert [row["step"] for row in read_csv(tmp_path / "a.csv", "")] == ["1", "2"]


ARRAYS = {"ids": ("U", ("N",)), "counts": ("i", ("N", 2))}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ids": None}, "no item named 'ids.npy'"),
        ({"ids": np.arange(3)}, "ids: int64 of shape 3, expected N texts"),
        ({"ids": np.array([{}] * 3, object)}, "ids: object of shape 3"),
        ({"counts": np.ones((3, 2))}, "counts: float64 of shape 3 x 2, expected N x 2 integers"),
        ({"counts": np.ones((2, 2), int)}, "counts: int64 of shape 2 x 2"),
        ({"counts": np.ones((3, 3), int)}, "counts: int64 of shape 3 x 3"),
        ({"counts": np.ones(3, int)}, "counts: int64 of shape 3,"),
    ],
)
def test_arrays_of_another_type_or_shape_are_named(tmp_path, change, problem):
    arrays = {"ids": np.array(["a", "b", "c"]), "counts": np.ones((3, 2), np.int32)} | change
    path = tmp_path / "images.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError) as error:
        read_npz(path, ARRAYS, "Do this.")
    assert str(error.value).startswith(f"{path}: cannot be read (")
    assert problem in str(error.value)


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / "images.npz"
    np.savez_compressed(path, ids=np.array(["a", "b"]), counts=np.arange(4).reshape(2, 2))
    assert read_npz(path, ARRAYS, "")["ids"].tolist() == ["a", "b"]
    content = path.read_bytes()
    damages = [b"", content[:-9], content[: len(content) // 2], b"x" * 200]
    for start in (content.index(b"ids.npy") + 7, content.index(b"counts.npy") + 10):
        damages += [content[: start + 20] + b"\xff\xff\xff" + content[start + 23 :]]
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"images\.npz: cannot be read"):
            read_npz(path, ARRAYS, "")
