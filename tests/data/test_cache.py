"""Tests of the decoded cache."""

import os
import pickle
import shutil

import numpy as np
import pytest

from deeplab.data import cache
from deeplab.data.cache import DecodedCache, use_cache
from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.layouts.voc import VOCFolder
from deeplab.utils.errors import UserError
from support.trees import IdentityTransform, voc_tree, write_sample

CLASSES = ClassSet(tuple(f"class_{i}" for i in range(21)))


def five_image_tree(folder):
    """Write five images, one of another size."""
    root = voc_tree(folder, {"train": 5})
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    write_sample(root, "train_3", image, np.full((31, 47), 3, np.uint8), "SegmentationClass")
    return root


def dataset(root, **kwargs):
    items = VOCFolder(root).items("train")
    return SegmentationDataset(
        "train", items, classes=CLASSES, transform=IdentityTransform(), **kwargs
    )


@pytest.mark.parametrize("num_workers", [1, 2])
def test_cached_items_equal_the_files(tmp_path, num_workers):
    root = five_image_tree(tmp_path / "voc")
    plain, cached = dataset(root), dataset(root)
    use_cache(cached, tmp_path / "cache", num_workers=num_workers, progress=False)
    assert isinstance(cached.reader, DecodedCache)
    shutil.rmtree(root / "JPEGImages")
    shutil.rmtree(root / "SegmentationClass")
    five_image_tree(tmp_path / "copy")
    plain = dataset(tmp_path / "copy")
    for index in range(5):
        actual, expected = cached[index], plain[index]
        assert np.array_equal(actual.image, expected.image)
        assert np.array_equal(actual.label, expected.label)
        assert actual.size == expected.size


def test_cache_is_built_once_and_again_when_the_data_change(tmp_path, monkeypatch):
    root = five_image_tree(tmp_path / "voc")
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.setattr(cache, "_build", None)  # a second build would fail
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.undo()
    os.utime(root / "JPEGImages" / "train_0.jpg")  # the modification time is ignored
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1
    write_sample(
        root, "train_0", np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8),
        "SegmentationClass",
    )  # fmt: skip
    changed = dataset(root)
    use_cache(changed, tmp_path / "cache", num_workers=1, progress=False)
    assert changed[0].size == (8, 8)
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 2


def test_interrupted_build_leaves_no_cache(tmp_path, monkeypatch):
    root = five_image_tree(tmp_path / "voc")
    stored = []

    def interrupted_store(job, **kwargs):
        stored.append(job)
        if len(stored) == 3:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(cache, "_store", interrupted_store)
    with pytest.raises(KeyboardInterrupt):
        use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    monkeypatch.undo()
    rebuilt = dataset(root)
    use_cache(rebuilt, tmp_path / "cache", num_workers=1, progress=False)
    assert np.array_equal(rebuilt[2].image, dataset(root)[2].image)


def test_bad_file_gives_the_same_error_as_without_a_cache(tmp_path):
    root = five_image_tree(tmp_path / "voc")
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


def test_cache_is_not_built_without_disk_space(tmp_path, monkeypatch, capsys):
    root = five_image_tree(tmp_path / "voc")
    monkeypatch.setattr(cache, "RESERVED_BYTES", 1e18)
    data = dataset(root)
    use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
    assert "are free. Training decodes the files each time instead" in capsys.readouterr().out
    assert np.array_equal(data[1].image, dataset(root)[1].image)


def test_pickled_reader_has_no_pixels(tmp_path):
    data = dataset(five_image_tree(tmp_path / "voc"))
    use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
    assert data[0].image.any()
    pickled = pickle.dumps(data.reader.__getstate__() | {"fallback": None})
    assert len(pickled) < 10_000
