"""Folders whose files, pairs and splits are kept while nothing in them changes."""

import os
import time
from pathlib import Path

import pytest

from deeplab.data.items import Items, fingerprint
from deeplab.data.layouts import folder_index, folder_scan
from deeplab.data.layouts.base import settings_class, split_items
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_scan import KEYS, scan_folder
from deeplab.data.layouts.pairing import find_pairs
from deeplab.data.layouts.splits import decide_splits
from support.pairs import label_map, write_image, write_mask


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Folder of the indexes."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "deeplab/folders"


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
    assert after.notes == expected.notes
    assert after.splits == decide_splits(root, after.paths, expected.pairs, settings(root))


def test_a_folder_that_was_just_written_is_walked_again(root):
    (root / "train.txt").write_text("0\n1\n")
    assert scan_folder(root, settings(root)) is not scan_folder(root, settings(root))


def test_a_folder_with_named_subfolders_is_walked_once(root, monkeypatch):
    keys = {"image_dir": "images", "mask_dir": str(root / "masks")}
    first = scan_folder(root, settings(root, **keys))
    monkeypatch.setattr(folder_scan, "list_files", None)  # would fail
    assert scan_folder(root, settings(root, **keys)) is first


def test_a_folder_outside_is_walked_again(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    write_mask(outside / "0.png", label_map(0))
    assert ids(root, mask_dir=str(outside)) == ["0", "1", "2"]
    notes = FolderLayout(settings(root, mask_dir=str(outside))).notes()
    assert any("4 of 5 images without a mask" in note for note in notes)
    write_mask(outside / "1.png", label_map(1))
    notes = FolderLayout(settings(root, mask_dir=str(outside))).notes()
    assert any("3 of 5 images without a mask" in note for note in notes)


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
        scan_folder(root, recorder)
        assert {*KEYS} - {"image_suffix"} <= recorder.read <= {*KEYS}


@pytest.fixture
def indexed(root, monkeypatch):
    """Folder that is large enough for an index, and its scan without one."""
    scan = scan_folder(root, settings(root))
    monkeypatch.setattr(folder_index, "MIN_FILES", 5)
    return root, scan


def forget():
    folder_index._kept.clear()


def as_lists(splits):
    return {name: split._replace(items=list(split.items)) for name, split in splits.by_name.items()}


def test_an_index_gives_the_same_scan(indexed, cache, monkeypatch, capsys):
    root, scan = indexed
    forget()
    written = scan_folder(root, settings(root))
    line = capsys.readouterr().out
    assert "5 pairs" in line
    assert str(cache) in line
    forget()
    monkeypatch.setattr(folder_scan, "list_files", None)  # would fail
    read = scan_folder(root, settings(root))
    for other in (written, read):
        assert isinstance(other.splits.by_name["train"].items, Items)
        assert list(other.paths) == scan.paths
        assert as_lists(other.splits) == as_lists(scan.splits)
        assert (other.notes, other.splits.notes) == (scan.notes, scan.splits.notes)
    layout = FolderLayout(settings(root))
    items = split_items(layout, "train+val")
    assert list(items) == [*scan.splits.by_name["train"].items, *scan.splits.by_name["val"].items]
    assert layout.fingerprint("train+val") == fingerprint(list(items))


def test_items_begin_with_the_folder_as_it_is_named(indexed, monkeypatch):
    root, _ = indexed
    for cwd, name in ((root.parent, root.name), (root, "."), (root / "images", "..")):
        monkeypatch.chdir(cwd)
        for _ in range(2):  # written and read
            forget()
            items = scan_folder(Path(name), settings(name)).splits.by_name["train"].items
            assert isinstance(items, Items)
            assert [str(item.image) for item in items] == [
                str(Path(name) / f"images/{i}.png") for i in range(3)
            ]
            assert all(item.image.is_file() and item.mask.is_file() for item in items)


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_notices_changes(indexed, change):
    root, scan = indexed
    forget()
    scan_folder(root, settings(root))
    forget()
    change(root)
    after = scan_folder(root, settings(root))
    expected = find_pairs(root, after.paths, settings(root))
    expected = decide_splits(root, after.paths, expected.pairs, settings(root))
    assert as_lists(after.splits) == as_lists(expected)
    assert (list(after.paths), as_lists(expected)) != (scan.paths, as_lists(scan.splits))


def test_an_index_stays_when_classes_are_written(indexed, monkeypatch):
    root, _ = indexed
    forget()
    scan_folder(root, settings(root))
    forget()
    (root / "classes.yaml").write_text("[a, b, c]")
    os.utime(root, (1, 1))
    monkeypatch.setattr(folder_scan, "list_files", None)  # would fail
    assert scan_folder(root, settings(root)).has_pairs


def test_an_index_of_other_keys_or_code_is_not_used(indexed, monkeypatch):
    root, _ = indexed
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    age(root)
    draws = []
    for seed in range(5):
        forget()
        draws.append(ids(root, val_fraction=0.4, split_seed=seed))
    assert len({tuple(draw) for draw in draws}) > 1
    forget()
    monkeypatch.setattr(folder_index, "_code", lambda: "other")
    monkeypatch.setattr(folder_scan, "list_files", None)
    with pytest.raises(TypeError):
        scan_folder(root, settings(root, val_fraction=0.4, split_seed=4))


@pytest.mark.parametrize("damage", ["truncated", "empty", "folder", "other"])
def test_a_damaged_index_is_written_again(indexed, cache, damage):
    root, scan = indexed
    forget()
    scan_folder(root, settings(root))
    (index,) = cache.iterdir()
    content = index.read_bytes()
    index.unlink()
    if damage == "folder":
        index.mkdir()
    else:
        contents = {"truncated": content[: len(content) // 2], "empty": b"", "other": b"PK" * 99}
        index.write_bytes(contents[damage])
    forget()
    assert as_lists(scan_folder(root, settings(root)).splits) == as_lists(scan.splits)
    assert index.is_dir() or index.stat().st_size == len(content)


def test_a_cache_that_cannot_be_written_is_no_error(indexed, monkeypatch, tmp_path_factory):
    root, scan = indexed
    file = tmp_path_factory.mktemp("home") / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    forget()
    assert as_lists(scan_folder(root, settings(root)).splits) == as_lists(scan.splits)
