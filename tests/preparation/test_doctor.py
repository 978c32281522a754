"""The doctor's figures, against counting by hand."""

import numpy as np
from PIL import Image

from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.layouts.base import voc_layout
from deeplab.preparation.doctor import examine_dataset
from deeplab.preparation.doctor_report import as_json, as_markdown, as_text
from support.trees import voc_tree, write_sample

CLASSES = ClassSet(("background", *(f"class_{i}" for i in range(1, 21))))


def splits(root):
    layout = voc_layout(root)
    return {split: layout.items(split) for split in ("train", "val")}


def examined(root, *, num_workers=1, crop_size=33, largest_scale=2.0):
    return examine_dataset(
        splits(root), CLASSES, crop_size=crop_size, largest_scale=largest_scale, num_workers=num_workers,
        progress=False,
    )  # fmt: skip


def test_histogram_and_sizes(tmp_path):
    root = voc_tree(tmp_path, {"train": 5, "val": 3})
    rng = np.random.default_rng(5)
    write_sample(root, "val_1", rng.integers(0, 256, (33, 44, 3), dtype=np.uint8),
                 np.full((33, 44), 20, np.uint8), "SegmentationClass")  # fmt: skip
    report = as_json(examined(root))
    for split, items in splits(root).items():
        masks = [np.array(Image.open(item.mask)) for item in items]
        told = report["splits"][split]
        assert told["images"] == len(items)
        for index, name in [*enumerate(CLASSES.names), (255, "ignored")]:
            assert told["pixels"][name] == sum(int((m == index).sum()) for m in masks)
            assert told["images_with"][name] == sum(bool((m == index).any()) for m in masks)
    assert report["splits"]["val"]["min_size"] == [33, 44]
    assert report["splits"]["val"]["max_size"] == [50, 60]


def test_several_processes_find_the_same(tmp_path):
    root = voc_tree(tmp_path, {"train": 30, "val": 9})
    (root / "JPEGImages" / "train_3.jpg").write_bytes(b"no")
    assert as_json(examined(root, num_workers=2)) == as_json(examined(root))


def test_a_crop_that_no_image_fills(tmp_path):
    root = voc_tree(tmp_path, {"train": 3, "val": 2})
    kinds = [f.kind for f in examined(root, crop_size=513).findings]
    assert "crop larger than images" in kinds
    assert "crop larger than images" not in [f.kind for f in examined(root).findings]


def test_a_class_that_is_never_there(tmp_path):
    root = voc_tree(tmp_path, {"train": 1, "val": 1}, classes=3)
    label = np.zeros((50, 60), np.uint8)
    label[5:20, 5:20] = 1
    for name in ("train_0", "val_0"):
        write_mask(root / "SegmentationClass" / f"{name}.png", label)
    absent = [f for f in examined(root).findings if f.kind == "class without a pixel"]
    assert [f.path for f in absent] == [f"train: class_{i}" for i in range(2, 21)]


def test_a_report_can_be_read(tmp_path):
    root = voc_tree(tmp_path, {"train": 9, "val": 3})
    for i in range(8):
        (root / "JPEGImages" / f"train_{i}.jpg").write_bytes(b"no")
    diagnosis = examined(root)
    text, page = as_text(diagnosis), as_markdown(diagnosis, "my data")
    assert "error: no image (8)" in text
    assert "and 3 more" in text
    assert all(f"train_{i}.jpg" in page for i in range(8))
    assert page.startswith("# my data")
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 120
