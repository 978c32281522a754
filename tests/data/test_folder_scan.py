"""Folders whose files, pairs and splits are kept while nothing in them changes."""

import os
import time

import pytest

from deeplab.data.layouts import folder_scan
from deeplab.data.layouts.base import settings_class
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_scan import KEYS, scan_folder
from deeplab.data.layouts.pairing import find_pairs
from deeplab.data.layouts.splits import decide_splits
from support.pairs import label_map, write_image, write_mask


@pytest.fixture
def root(tmp_path):
    for i in range(5):
        write_image(tmp_path / f"images/{i}.png", i)
        write_mask(tmp_path / f"masks/{i}.png", label_map(i))
    (tmp_path / "train.txt").write_text("0\n1\n2\n")
    (tmp_path / "val.txt").write_text("3\n")
    (tmp_path / "empty").mkdir()
    age(tmp_path)
    return tmp_path


def age(root):
    """Let the files be older than those that could be changed without a new time."""
    before = time.time() - 10
    for path in (root, *root.rglob("*")):
        os.utime(path, (before, before))


def settings(root, **keys):
    return settings_class("folder").model_validate({"name": "folder", "root": str(root), **keys})


def ids(root, **keys):
    layout = FolderLayout(settings(root, **keys))
    return [item.id for item in layout.items("train")]


def test_a_folder_is_walked_once(root, monkeypatch):
    first = scan_folder(root, settings(root))
    monkeypatch.setattr(folder_scan, "list_files", None)  # would fail
    assert scan_folder(root, settings(root, classes=("a", "b", "c"))) is first
    assert ids(root) == ["0", "1", "2"]


def test_a_scan_with_notes_gives_them_once(root):
    (root / "extra").mkdir()
    write_image(root / "extra/9.png", 9)
    age(root)
    notes = FolderLayout(settings(root)).notes()
    assert notes
    assert FolderLayout(settings(root)).notes() == notes


def change_list(root):
    (root / "train.txt").write_text("0\n1\n2\n4\n")


def replace_list(root):
    (root / "train.txt").write_text("4\n1\n2\n")  # of the same size


def remove_mask(root):
    (root / "train.txt").unlink()
    (root / "masks/1.png").unlink()


def fill_folder(root):
    write_image(root / "empty/7.png", 7)


def rename(root):
    (root / "masks").rename(root / "labels")


CHANGES = (change_list, replace_list, remove_mask, fill_folder, rename)


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(root, change):
    before = scan_folder(root, settings(root))
    change(root)
    after = scan_folder(root, settings(root))
    assert after is not before
    assert after.paths == [
        str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()
    ]
    expected = find_pairs(root, after.paths, settings(root))
    assert after.pairing == expected
    assert after.splits == decide_splits(root, after.paths, expected.pairs, settings(root))


def test_a_folder_that_was_just_written_is_walked_again(root):
    (root / "train.txt").write_text("0\n1\n")
    assert scan_folder(root, settings(root)) is not scan_folder(root, settings(root))


def test_other_keys_give_other_splits(root):
    assert ids(root) == ["0", "1", "2"]
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    age(root)
    draws = [ids(root, val_fraction=0.4, split_seed=seed) for seed in range(5)]
    assert len({tuple(draw) for draw in draws}) > 1
    assert all(len(draw) == 3 for draw in draws)
    assert len(ids(root, val_fraction=0.2)) == 4


def test_pairs_and_splits_depend_on_no_other_key(root):
    """A scan that is kept for these keys would be wrong if others changed it."""

    class Recorder:
        def __init__(self, of):
            self.of, self.read = of, set()

        def __getattr__(self, name):
            self.read.add(name)
            return getattr(self.of, name)

    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    for keys in ({}, {"image_dir": "images", "mask_dir": "masks", "mask_suffix": ""}):
        recorder = Recorder(settings(root, **keys))
        scan_folder(root, recorder).splits  # noqa: B018  computed now
        assert {*KEYS} - {"image_suffix"} <= recorder.read <= {*KEYS}
