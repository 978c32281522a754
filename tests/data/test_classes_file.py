"""Tests of classes files as labeling tools, people and editors write them."""

import numpy as np
import pytest
from PIL import Image

from deeplab.data.layouts.base import check_data, move_data
from deeplab.data.layouts.classes_file import find_classes_file, read_classes
from deeplab.data.layouts.folder_settings import FolderSettings
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


MAPS = {
    "same": "background:0,0,0::\ndog:176,112,32::\ncat:48,112,32::\n",
    "other": "background:0,0,0::\ncat:48,112,32::\ndog:176,112,32::\n",
}


def export(folder, classes="same", names="ab"):
    """Write an export of CVAT into a folder."""
    colors = np.array([(0, 0, 0), (176, 112, 32), (48, 112, 32)], np.uint8)
    for name in names:
        for part, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            (folder / part).mkdir(parents=True, exist_ok=True)
            labels = np.arange(40 * 50).reshape(40, 50) // 700
            Image.fromarray(colors[labels]).save(folder / part / f"{name}.{end}")
    (folder / "labelmap.txt").write_text(MAPS[classes])


def checked(root, **keys):
    return check_data(FolderSettings(name="folder", root=str(root), **keys))


def test_a_classes_file_between_the_root_and_the_masks(tmp_path, capsys):
    export(tmp_path / "mine/export")
    assert checked(tmp_path / "mine").classes == ("background", "dog", "cat")
    assert "mine/export/labelmap.txt: background (0,0,0), dog" in capsys.readouterr().out
    assert not (tmp_path / "mine/classes.yaml").exists()
    (tmp_path / "mine/classes.csv").write_text("a,0,0,0\nb,48,112,32\nc,176,112,32\n")
    assert checked(tmp_path / "mine").classes == ("a", "b", "c")


def test_a_classes_file_that_another_hides_is_named(tmp_path, capsys):
    """As ``classes.yaml``, which a first look at the masks has written."""
    export(tmp_path)
    (tmp_path / "labelmap.txt").rename(tmp_path / "hidden")
    first = checked(tmp_path).classes
    assert first[1:] == ("class_1", "class_2")
    (tmp_path / "hidden").rename(tmp_path / "labelmap.txt")
    assert checked(tmp_path).classes == first
    note = "labelmap.txt with other classes is not used, since classes.yaml comes first"
    assert f"{note}; data.classes_file=labelmap.txt takes it" in capsys.readouterr().out
    assert checked(tmp_path, classes_file="labelmap.txt").classes == ("background", "dog", "cat")
    assert "not used" not in capsys.readouterr().out
    (tmp_path / "classes.yaml").unlink()
    assert checked(tmp_path).classes == ("background", "dog", "cat")
    assert "not used" not in capsys.readouterr().out


def test_a_classes_file_beside_masks_elsewhere(tmp_path):
    export(tmp_path / "export")
    (tmp_path / "photos").mkdir()
    for photo in (tmp_path / "export/JPEGImages").iterdir():
        photo.rename(tmp_path / "photos" / photo.name)
    with pytest.raises(UserError, match=r"2 masks .*, but no images .* Set data\.image_dir"):
        checked(tmp_path / "export")
    masks = str(tmp_path / "export/SegmentationClass")
    found = checked(tmp_path / "photos", mask_dir=masks, image_dir=".")
    assert found.classes == ("background", "dog", "cat")


def test_a_classes_file_outside_of_the_root_is_none_of_its(tmp_path):
    export(tmp_path / "mine/flat")
    (tmp_path / "mine/flat/labelmap.txt").rename(tmp_path / "mine/labelmap.txt")
    for part, end in (("JPEGImages", ".jpg"), ("SegmentationClass", "_mask.png")):
        for file in (tmp_path / "mine/flat" / part).iterdir():
            file.rename(tmp_path / "mine/flat" / f"{file.stem}{end}")
    found = checked(tmp_path / "mine/flat")  # its masks are in the root itself
    assert "dog" not in found.classes
    assert (tmp_path / "mine/flat/classes.yaml").exists()


def test_classes_files_of_several_folders(tmp_path):
    export(tmp_path / "train")
    export(tmp_path / "val", names="cd")
    run = checked(tmp_path)
    assert run.classes == ("background", "dog", "cat")
    (tmp_path / "val/labelmap.txt").write_text(MAPS["other"])
    with pytest.raises(UserError, match=r"train/labelmap\.txt and of .*val/labelmap\.txt differ"):
        checked(tmp_path)


def test_other_images_with_a_classes_file_below_their_root(tmp_path):
    """The masks' colors tell the classes: they are the same ones where the order differs."""
    export(tmp_path / "mine/export")
    run = checked(tmp_path / "mine")
    for order in MAPS:
        export(tmp_path / order / "export", order)
        assert move_data(run, str(tmp_path / order)).classes == run.classes
    (tmp_path / "same/export/labelmap.txt").write_text(MAPS["same"].replace("dog", "wolf"))
    with pytest.raises(UserError, match=r"export/labelmap\.txt: its classes .* differ"):
        move_data(run, str(tmp_path / "same"))


@pytest.mark.parametrize("deep", [False, True])
def test_masks_in_a_folder_of_instances_are_no_classes(tmp_path, deep):
    export(tmp_path)
    (tmp_path / "labelmap.txt").unlink()
    (tmp_path / "SegmentationClass").rename(tmp_path / "SegmentationObject")
    if deep:
        for part in ("JPEGImages", "SegmentationObject"):
            (tmp_path / part).rename(tmp_path / "moved")
            (tmp_path / part).mkdir()
            (tmp_path / "moved").rename(tmp_path / part / "train")
    with pytest.raises(UserError, match=r"SegmentationObject: .* number the objects"):
        checked(tmp_path)
    values = ((0, 0, 0), (176, 112, 32), (48, 112, 32))
    assert checked(tmp_path, mask_values=values).palette == values
