"""Tests of classes files as labeling tools, people and editors write them."""

import pytest

from deeplab.data.layouts.classes_file import find_classes_file, read_classes
from deeplab.utils.errors import UserError

NAMES = ("background", "cat", "dog")
COLORS = ((0, 0, 0), (48, 112, 32), (176, 112, 32))

FILES = {
    "_classes.csv": [
        "Pixel Value, Class\n0, background\n1, cat\n2, dog\n",
        "\ufeffPixel Value,Class\r\n0,background\r\n1,cat\r\n2,dog\r\n",
    ],
    "classes.csv": ["name;value\nbackground;0\ncat;1\ndog;2\n", "Class_ID\tName\n0\tbackground\n"
                    "1\tcat\n2\tdog\n"],
    "labelmap.txt": [
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32:head,tail:\n"
        "dog:176,112,32::run\n",
        "\ufeffbackground:0,0,0::\r\ncat:48,112,32::\r\ndog:176,112,32::\r\n",
    ],
    "label_colors.txt": ["0 0 0\t\tbackground\n48 112 32\tcat\n176 112 32\tdog\n"],
    "class_dict.csv": ["name,r,g,b\nbackground,0,0,0\ncat,48,112,32\ndog,176,112,32\n",
                       "id,name,red,green,blue\n1,background,0,0,0\n2,cat,48,112,32\n"],
    "classes.txt": ["\ufeffbackground\r\ncat\r\ndog\r\n", "0 background\n1 cat\n2: dog\n"],
    "class_names.txt": ["__ignore__\nbackground\ncat\ndog\n"],
    "classes.yaml": ["0: background\n1: cat\n2: dog\n",
                     "{background: [0, 0, 0], cat: [48, 112, 32], dog: [176,112,32]}",
                     '{"background": 0, "cat": 1, "dog": 2, "VOID": 9}'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, ts in FILES.items() for t in ts])
def test_classes_files_of_tools(name, text, tmp_path):
    if "id,name,red" in text:  # an index and a color for each class: which one do the masks hold?
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=r"class_dict\.csv: the line '1,background,0,0,0'"):
            read_classes(tmp_path / name)
        return
    (tmp_path / name).write_bytes(text.encode())
    found = find_classes_file(tmp_path, None)
    assert found == tmp_path / name
    classes = read_classes(found)
    assert classes.names == NAMES
    assert classes.values in ((0, 1, 2), COLORS)
    assert classes.ignored == ((255,) if "__ignore__" in text else (9,) if "VOID" in text else ())


def test_classes_file_of_an_export_with_split_folders(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "_classes.csv").write_text(FILES["_classes.csv"][0])
    assert find_classes_file(tmp_path, None) == tmp_path / "train" / "_classes.csv"


def test_names_are_kept_as_they_are_written(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text("no: 0\n1.0: 1\nnull: 2\n2024-13-45: 3\n")
    assert read_classes(path).names == ("no", "1.0", "null", "2024-13-45")


@pytest.mark.parametrize("unlisted", ["error", "ignore", "nearest", "background"])
def test_treatment_of_other_values(unlisted, tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(f"classes: {{background: 0, b: 200}}\nunlisted: {unlisted}\n")
    assert read_classes(path).unlisted_values == unlisted


WRONG = {
    "nested": ("classes.yaml", "[" * 5000, "nested too deeply"),
    "nested names": ("classes.yaml", "classes: " + "{a: " * 5000, "nested too deeply"),
    "refers to itself": ("classes.yaml", "a: &x [*x]\nb: 1\n", "recursive node"),
    "one name twice": ("classes.yaml", "a: 0\na: 1\n", "line 1: a is named more than once"),
    "no text": ("classes.yaml", b"\x00\x80\xff", "not UTF-8"),
    "UTF-16": ("classes.txt", "a\nb\n".encode("utf-16"), "not UTF-8"),
    "tag": ("classes.yaml", "a: !!python/object:os.system 0\nb: {}\n", "neither an index"),
    "list as a name": ("classes.yaml", "? [a, b]\n: 0\nb: 1\n", "cannot be read"),
    "unlisted": ("classes.yaml", "classes: {a: 0, b: 1}\nunlisted: maybe\n", "Choose from error,"),
    "ignored": ("classes.yaml", "classes: {a: 0, b: 1}\nignored: 5\n", "ignored must be a list"),
    "kinds": ("classes.yaml", "classes: {a: 0, b: 1}\nignored: [[0, 0, 0]]\n", "is no index"),
    "huge number": ("classes.yaml", f"a: 0\nb: {'9' * 5000}\n", "neither an index nor a color"),
    "null byte": ("classes.csv", "a,0\nb\0,1\n", "control characters in a name"),
    "long cell": ("classes.csv", "a,0\n" + "b" * 200_000 + ",1\n", "field larger than"),
    "escape": ("classes.csv", "\x1b[31ma,0\nb,1\n", "control characters in a name"),
    "no name": ("classes.yaml", "{'': 0, b: 1}", "a class has no name"),
    "CVAT's, a wrong line": (
        "labelmap.txt",
        "# label:color_rgb:parts:actions\na:0,0,0::\nb\n",
        "the line 'b' is not name:r",
    ),
    "CVAT's without a color": (
        "labelmap.txt",
        "# label:color_rgb:parts:actions\na:::\nb:::\n",
        "'a:::'",
    ),
    "no color in a line": (
        "label_colors.txt",
        "0 0 0 a\n9 9 9 b\n64 c d\n9 9 e\n",
        "'9 9 e' is not r g b",
    ),
    "empty": ("labelmap.txt", "# label:color_rgb:parts:actions\n", "0 classes"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_damaged_classes_files_are_one_line(kind, tmp_path):
    name, content, message = WRONG[kind]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        read_classes(path)
    text = str(error.value)
    if kind != "kinds":
        assert text.startswith(f"{path}: ")
    assert len(text) < 500
    assert text.isprintable()


def test_classes_file_that_is_no_file(tmp_path):
    (tmp_path / "classes.yaml").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"classes\.yaml: .*a pipe or a device"):
        read_classes(find_classes_file(tmp_path, None))
    with pytest.raises(UserError, match=r"data\.classes_file='a"):
        find_classes_file(tmp_path, "a" * 5000)
