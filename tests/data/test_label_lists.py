"""Lists of labeled images: text against columns, and wrong rows."""

import csv

import numpy as np
import pytest

from deeplab.data.labeled_images import LabeledFiles, LabeledPaths
from deeplab.data.layouts.imagenet import LabeledFolder
from deeplab.data.layouts.label_lists import LabelList
from deeplab.utils.errors import UserError
from support.image_trees import csv_tree

CLASSES = {"ant": 0, "bee": 1, "cat": 2}
PLAIN = [("a/0.jpg", (0,)), ("ä/1.jpg", (2, 0)), ("a/2.jpg", (1,))]


def test_arrays_hold_what_lists_hold(tmp_path):
    images = LabeledFiles(tmp_path, LabeledPaths.of(PLAIN))
    assert [(image.id, image.labels) for image in images] == PLAIN
    assert list(images.ids()) == [path for path, _ in PLAIN]
    assert images[-1].path == tmp_path / "a/2.jpg"
    parts = [LabeledPaths.of(PLAIN[:1]), LabeledPaths.of([]), LabeledPaths.of(PLAIN[1:])]
    joined = LabeledFiles(tmp_path, LabeledPaths.join(parts))
    assert [(image.id, image.labels) for image in joined] == PLAIN
    assert joined.fingerprint() == images.fingerprint()


def test_a_repeated_path_is_found():
    paths = [f"{i}.jpg" for i in range(1000)]
    assert LabeledPaths.of((path, (0,)) for path in paths).paths.find_repeated() is None
    again = [*paths, "77.jpg"]
    assert LabeledPaths.of((path, (0,)) for path in again).paths.find_repeated() == "77.jpg"


def write_parquet(path, paths, labels, row_group_size=2):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {"number": list(range(len(paths))), "labels": labels, "path": paths}
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)


LABELS = {
    "names": ["ant", "cat ant", "bee bee", "cat"],
    "lists of names": [["ant"], ["cat", "ant"], ["bee", "bee"], ["cat"]],
    "lists of indices": [[0], [2, 0], [1, 1], [2]],
}


@pytest.mark.extras
@pytest.mark.parametrize("kind", LABELS)
def test_columns_are_read_like_text(kind, tmp_path):
    paths = ["a/0.jpg", "./ä//1.jpg", "c/.d/日本.jpg", "x" * 220 + ".png"]
    write_parquet(tmp_path / "train.parquet", paths, LABELS[kind])
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "labels"), *zip(paths, LABELS["names"], strict=True)])
    columns, text = (
        LabeledFiles(tmp_path, LabelList(tmp_path / f"train.{suffix}", CLASSES, True).read())
        for suffix in ("parquet", "csv")
    )
    assert list(columns) == list(text)
    assert columns[1].id == "ä/1.jpg"
    assert [image.labels for image in columns] == [(0,), (2, 0), (1,), (2,)]
    assert columns.fingerprint() == text.fingerprint()


@pytest.mark.extras
def test_one_label_for_each_image(tmp_path):
    pa = pytest.importorskip("pyarrow")
    random = np.random.default_rng(0).integers(0, 3, 1000)
    paths = [f"{i}.jpg" for i in range(1000)]
    for labels in (random.tolist(), pa.array([[*CLASSES][k] for k in random]).dictionary_encode()):
        write_parquet(tmp_path / "train.parquet", paths, labels, row_group_size=300)
        read = LabelList(tmp_path / "train.parquet", CLASSES, False).read()
        assert list(read.paths) == paths
        assert read.labels.tolist() == random.tolist()
        assert read.ends.tolist() == list(range(1, 1001))


@pytest.mark.extras
@pytest.mark.parametrize(
    ("paths", "labels", "message"),
    [
        (["a", "b", "c"], ["ant", "bee", "dog"], "c: the class dog is not in classes"),
        (["a", "b", "c"], [0, 1, 3], "c: the class 3 is not in classes"),
        (["a", "b", "c"], [0, -1, 1], "b: the class -1 is not"),
        (["a", "b", "c"], [0, None, 1], "b: the class None is not"),
        (["a", "b", "c"], ["ant", None, "bee"], r"no path or no label \('b'\)"),
        (["a", "b", "c"], ["ant", "bee", " "], r"no path or no label \('c'\)"),
        (["a", None, "c"], ["ant", "bee", "cat"], r"no path or no label \(None\)"),
        (["a", "b", "c"], [[0], [], [1]], r"no path or no label \('b'\)"),
        (["a", "b", "c"], ["ant", "bee", "cat ant"], "c has 2 labels"),
        (["a", "b", "a"], [0, 0, 1], "a is listed more than once"),
        (["a", "/etc/b", "c"], [0, 0, 1], "'/etc/b' is an absolute path"),
        (["a", "b/../../c", "c"], [0, 0, 1], r"has '\.\.' in it"),
        (["a", "b\0", "c"], [0, 0, 1], "has a NUL"),
        (["a", "", "c"], [0, 0, 1], "names no file"),
        ([1, 2, 3], [0.5, 1.5, 2.5], "this file cannot be read"),
    ],
)
def test_wrong_columns(paths, labels, message, tmp_path):
    write_parquet(tmp_path / "train.parquet", paths, labels)
    with pytest.raises(UserError, match=message):
        LabelList(tmp_path / "train.parquet", CLASSES, False).read()


@pytest.mark.extras
def test_other_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    file = tmp_path / "train.parquet"
    pq.write_table(pa.table({"file": ["a"], "labels": [0]}), file)
    with pytest.raises(UserError, match=r"no column path \(but file, labels\)"):
        LabelList(file, CLASSES, False).read()
    content = file.read_bytes()
    for damaged in (b"", b"PAR1", content[: len(content) // 2], content[:-20] + b"x" * 20):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="this file cannot be read"):
            LabelList(file, CLASSES, False).read()


@pytest.mark.extras
def test_a_folder_with_columns(tmp_path):
    root = csv_tree(tmp_path / "t", {"train": ["ant", "bee"], "val": ["cat"]})
    write_parquet(root / "train.parquet", ["train-0.png", "train-1.png"], ["ant", "bee"])
    with pytest.raises(UserError, match=r"train\.csv and train\.parquet may both be its list"):
        LabeledFolder(root, labels="single_label").images("train")
    (root / "train.csv").unlink()
    layout = LabeledFolder(root, labels="single_label")
    assert layout.splits() == ["train", "val"]
    assert (layout.origin("train"), layout.origin("val")) == ("train.parquet", "val.csv")
    assert [image.labels for image in layout.images("train+val")] == [(0,), (1,), (2,)]
