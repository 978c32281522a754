"""Decoded images in memory that processes share, against reading the files."""

import os
from multiprocessing import get_context

import numpy as np
import pytest
from torch.utils.data import DataLoader

from deeplab.data import memory_cache
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.items import Item
from deeplab.data.memory_cache import MemoryCache, use_memory
from deeplab.data.transforms import EvalTransform
from support.pairs import label_map, write_image, write_mask

COUNT = 6


class CountingReader:
    """Reads images with sizes of their own, and counts in shared memory how often."""

    def __init__(self):
        self.reads = get_context("fork").Value("i", 0)

    def __call__(self, number):
        with self.reads.get_lock():
            self.reads.value += 1
        if number == COUNT:
            raise BadFileError("damaged", "image", "it is damaged", "Replace it.")
        random = np.random.default_rng(number)
        shape = (20 + number, 30)
        return random.integers(0, 256, (*shape, 3), np.uint8), random.integers(
            0, 9, shape, np.uint8
        )


def size_of(number):
    return (20 + number) * 30 * 4


def check(cache, number):
    image, label = cache(number)
    expected = CountingReader()(number)
    np.testing.assert_array_equal(image, expected[0])
    np.testing.assert_array_equal(label, expected[1])


def test_an_image_is_read_once_by_all_processes():
    reader = CountingReader()
    cache = MemoryCache(COUNT + 1, 3, 10**6, reader)
    check(cache, 0)

    class Reads:
        def __len__(self):
            return COUNT

        def __getitem__(self, index):
            check(cache, index)
            return os.getpid()

    workers = {int(pid) for pid in DataLoader(Reads(), batch_size=None, num_workers=2)}
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert reader.reads.value == COUNT
    for number in range(COUNT):  # what the workers have kept
        check(cache, number)
    assert reader.reads.value == COUNT
    image, label = cache(2)
    assert not image.flags.writeable
    assert not label.flags.writeable


def test_what_does_not_fit_is_read_again():
    reader = CountingReader()
    cache = MemoryCache(COUNT + 1, 3, size_of(0) + size_of(1) + size_of(2) + 5, reader)
    for _ in range(3):
        for number in range(COUNT):
            check(cache, number)
    assert reader.reads.value == 3 + 3 * (COUNT - 3)


def test_a_bad_file_is_bad_each_time():
    cache = MemoryCache(COUNT + 1, 3, 10**6, CountingReader())
    for _ in range(2):
        with pytest.raises(BadFileError):
            cache(COUNT)


@pytest.fixture
def dataset(tmp_path):
    pairs = []
    for i in range(4):
        pairs.append(Item(str(i), tmp_path / f"{i}.png", tmp_path / f"{i}_mask.png"))
        write_image(pairs[-1].image, i)
        write_mask(pairs[-1].mask, label_map(i))
    return SegmentationDataset(
        "train",
        pairs,
        classes=ClassSet(("a", "b", "c")),
        transform=EvalTransform(size=(65, 65), fill=(0, 0, 0)),
    )


def options(**values):
    return {"passes": 2.0, "num_workers": 0, "devices": 1} | values


def test_images_are_kept_where_they_fit(dataset, monkeypatch):
    before = [dataset[i] for i in range(len(dataset))]
    needed = sum(image.size // 3 * 4 for image, _ in map(dataset.read, dataset.items))
    monkeypatch.setattr(memory_cache, "free_memory", lambda device: 10 * needed)
    for share, changes in (
        (0.0, {}),
        (0.1, {}),
        (0.2, {"passes": 1.9}),
        (0.2, {"devices": 2}),
    ):
        assert use_memory(dataset, share, **options(**changes)) is None
        assert dataset.reader == dataset.read_index
    monkeypatch.setattr(memory_cache, "get_start_method", lambda: "spawn")
    assert use_memory(dataset, 0.2, **options(num_workers=2)) is None
    line = use_memory(dataset, 0.2, **options())
    assert "data.memory_cache=0" in line
    for _ in range(2):
        for index, sample in enumerate(before):
            kept = dataset[index]
            np.testing.assert_array_equal(kept.image, sample.image)
            np.testing.assert_array_equal(kept.label, sample.label)
    for item in dataset.items:
        item.image.unlink()
    np.testing.assert_array_equal(dataset[3].image, before[3].image)


def test_unknown_memory_keeps_nothing(dataset, monkeypatch):
    monkeypatch.setattr(memory_cache, "free_memory", lambda device: None)
    assert use_memory(dataset, 1.0, **options()) is None
