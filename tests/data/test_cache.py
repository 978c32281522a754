"""The decoded cache: what it reads equals what the files hold."""

import os
import pickle
import shutil

import numpy as np
import pytest

from deeplab.data import cache
from deeplab.data.cache import DecodedCache, use_cache
from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.layouts.base import voc_layout
from deeplab.utils.errors import UserError
from support.trees import AsItIs, voc_tree, write_sample

CLASSES = ClassSet(tuple(f"class_{i}" for i in range(21)))


def tree(folder):
    """Five images, one of another size."""
    root = voc_tree(folder, {"train": 5})
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    write_sample(root, "train_3", image, np.full((31, 47), 3, np.uint8), "SegmentationClass")
    return root


def dataset(root, **keywords):
    items = voc_layout(root).items("train")
    return SegmentationDataset("train", items, classes=CLASSES, transform=AsItIs(), **keywords)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_cache_holds_what_the_files_hold(tmp_path, num_workers):
    root = tree(tmp_path / "voc")
    plain, cached = dataset(root), dataset(root)
    use_cache(cached, tmp_path / "cache", num_workers=num_workers, progress=False)
    assert isinstance(cached.reader, DecodedCache)
    shutil.rmtree(root / "JPEGImages")
    shutil.rmtree(root / "SegmentationClass")
    tree(tmp_path / "again")
    plain = dataset(tmp_path / "again")
    for index in range(5):
        one, other = cached[index], plain[index]
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.label, other.label)
        assert one.size == other.size


def test_it_is_built_once_and_anew_when_the_data_change(tmp_path, monkeypatch):
    root = tree(tmp_path / "voc")
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.setattr(cache, "_build", None)  # building would fail now
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.undo()
    os.utime(root / "JPEGImages" / "train_0.jpg")  # a date does not matter
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1
    write_sample(
        root, "train_0", np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8),
        "SegmentationClass",
    )  # fmt: skip
    changed = dataset(root)
    use_cache(changed, tmp_path / "cache", num_workers=1, progress=False)
    assert changed[0].size == (8, 8)
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 2


def test_an_interruption_leaves_no_cache(tmp_path, monkeypatch):
    root = tree(tmp_path / "voc")
    stored = []

    def interrupted(job, **keywords):
        stored.append(job)
        if len(stored) == 3:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(cache, "_store", interrupted)
    with pytest.raises(KeyboardInterrupt):
        use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.undo()
    again = dataset(root)
    use_cache(again, tmp_path / "cache", num_workers=1, progress=False)
    assert np.array_equal(again[2].image, dataset(root)[2].image)


def test_a_bad_file_is_named_as_without_a_cache(tmp_path):
    root = tree(tmp_path / "voc")
    path = root / "JPEGImages" / "train_2.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    cached = dataset(root)
    use_cache(cached, tmp_path / "cache", num_workers=1, progress=False)
    with pytest.raises(UserError, match=r"train_2\.jpg: this JPEG is truncated"):
        cached[2]
    skipping = dataset(root, on_error="next")
    use_cache(skipping, tmp_path / "cache", num_workers=1, progress=False)
    assert skipping[2].image_id == "train_3"
    assert skipping[2].skipped == (str(path),)


def test_without_room_it_is_left_out(tmp_path, monkeypatch, capsys):
    root = tree(tmp_path / "voc")
    monkeypatch.setattr(cache, "SPARE", 1e18)
    data = dataset(root)
    use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
    assert "are free, so they are decoded each time" in capsys.readouterr().out
    assert np.array_equal(data[1].image, dataset(root)[1].image)


def test_a_loading_process_maps_the_file_itself(tmp_path):
    data = dataset(tree(tmp_path / "voc"))
    use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
    assert data[0].image.any()
    sent = pickle.dumps(data.reader.__getstate__() | {"otherwise": None})
    assert len(sent) < 10_000
