"""Tests of the decoded cache."""

import errno
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from deeplab.data import annotations, cache, image_io, labels, orientation
from deeplab.data.cache import DecodedCache, use_cache
from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.pixel_format import PixelFormat
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
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1
    write_sample(
        root, "train_0", np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8),
        "SegmentationClass",
    )  # fmt: skip
    changed = dataset(root)
    use_cache(changed, tmp_path / "cache", num_workers=1, progress=False)
    assert changed[0].size == (8, 8)
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1


def test_caches_that_nothing_can_use_again_are_removed(tmp_path, capsys):
    """Those of edited files and of killed processes, and nothing else."""
    folder = tmp_path / "cache"
    root, other = five_image_tree(tmp_path / "voc"), five_image_tree(tmp_path / "other")
    running = dataset(root)
    for data in (running, dataset(other)):
        use_cache(data, folder, num_workers=1, progress=False)
    first = next(p.name for p in folder.iterdir() if running.reader.folder == p)
    kept = {p.name for p in folder.iterdir() if p.is_dir()} - {first} | {"mine", "0123456789ab"}
    for name in ("mine", "0123456789ab", f".{first[:-1]}0.draft"):
        (folder / name).mkdir()
        (folder / name / "pixels.bin").write_bytes(b"x")
    expected = dataset(root)[1].image
    path = root / "JPEGImages" / "train_0.jpg"
    path.write_bytes(path.read_bytes() + b"x")
    data = dataset(root)
    use_cache(data, folder, num_workers=1, progress=False)
    assert {p.name for p in folder.iterdir() if p.is_dir()} == kept | {data.reader.folder.name}
    assert "have changed since" in capsys.readouterr().out
    assert np.array_equal(running[1].image, expected)  # a process that still used the first one


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


def edit(path):
    """Change a pixel of a BMP, which keeps its size."""
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)


def test_edit_that_keeps_the_size_is_noticed(tmp_path):
    root = five_image_tree(tmp_path / "voc")
    path = root / "JPEGImages" / "train_0.jpg"
    Image.fromarray(dataset(root)[0].image).save(path, "BMP")
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    before, size = dataset(root)[0].image, path.stat().st_size
    edit(path)
    assert path.stat().st_size == size
    edited = dataset(root)
    use_cache(edited, tmp_path / "cache", num_workers=1, progress=False)
    assert np.array_equal(edited[0].image, dataset(root)[0].image)
    assert not np.array_equal(edited[0].image, before)


def test_other_bits_and_other_decoding_make_other_caches(tmp_path, monkeypatch):
    root = five_image_tree(tmp_path / "voc")
    changed = tmp_path / "changed.py"
    changed.write_text("# another version")
    folders = set()
    modules = (image_io, labels, orientation, annotations)
    for bits, module in ((None, None), (12, None), *((None, module) for module in modules)):
        with monkeypatch.context() as patch:
            if module:
                patch.setattr(module, "__file__", str(changed))
            data = dataset(root, pixel_format=PixelFormat(bits=bits))
            use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
            folders.add(data.reader.folder)
    assert len(folders) == 6


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "/cache: .* Free some space there"), (errno.EROFS, "to a writable folder")],
)
def test_a_full_disk_is_told_from_one_that_cannot_be_written(
    number, message, tmp_path, monkeypatch
):
    def fail(job, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "_store", fail)
    data = dataset(five_image_tree(tmp_path / "voc"))
    with pytest.raises(UserError, match=message):
        use_cache(data, tmp_path / "cache", num_workers=1, progress=False)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def save_index(path, change):
    index = np.load(path)
    np.save(path, change(index))


CACHE_DAMAGE = {
    "pixels cut": lambda p, i: os.truncate(p, p.stat().st_size // 2),
    "pixels empty": lambda p, i: os.truncate(p, 0),
    "pixels missing": lambda p, i: p.unlink(),
    "pixels zeroed": lambda p, i: overwrite(p, 0, bytes(p.stat().st_size)),
    "one pixel changed": lambda p, i: overwrite(p, 1234, b"\x01\x02\x03"),
    "pixels shifted": lambda p, i: p.write_bytes(b"\0" + p.read_bytes()[:-1]),
    "index cut": lambda p, i: os.truncate(i, i.stat().st_size - 30),
    "index empty": lambda p, i: os.truncate(i, 0),
    "index missing": lambda p, i: i.unlink(),
    "index is text": lambda p, i: i.write_text("index"),
    "index is a pickle": lambda p, i: np.save(i, np.array([None]), allow_pickle=True),
    "index zeroed": lambda p, i: save_index(i, lambda index: index * 0),
    "index of floats": lambda p, i: save_index(i, lambda index: index.astype(float)),
    "index without a row": lambda p, i: save_index(i, lambda index: index[1:]),
    "rows swapped": lambda p, i: save_index(i, lambda index: index[::-1]),
    "sides swapped": lambda p, i: save_index(i, lambda index: index[:, [0, 2, 1, 3]]),
    "negative offset": lambda p, i: save_index(i, lambda index: index - np.array([4, 0, 0, 0])),
    "offset beyond the end": lambda p, i: save_index(
        i, lambda index: index + np.array([2**40, 0, 0, 0])
    ),
    "huge sides": lambda p, i: save_index(i, lambda index: index + np.array([0, 2**33, 2**33, 0])),
}


@pytest.mark.parametrize("name", CACHE_DAMAGE)
def test_damaged_cache_never_gives_wrong_pixels(tmp_path, name):
    root = five_image_tree(tmp_path / "voc")
    plain = dataset(root)
    use_cache(dataset(root), tmp_path / "cache", num_workers=1, progress=False)
    (folder,) = (p for p in (tmp_path / "cache").iterdir() if p.is_dir())
    CACHE_DAMAGE[name](folder / "pixels.bin", folder / "index.npy")
    damaged = dataset(root)
    use_cache(damaged, tmp_path / "cache", num_workers=1, progress=False)
    for index in range(5):
        assert np.array_equal(damaged[index].image, plain[index].image)
        assert np.array_equal(damaged[index].label, plain[index].label)
