"""The doctor's statistics, compared with counts of the files."""

import numpy as np
from PIL import Image

from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.layouts.voc import VOCFolder
from deeplab.preparation.doctor import examine_dataset
from deeplab.preparation.doctor_report import as_json, as_markdown, as_text
from support.trees import voc_tree, write_sample

CLASSES = ClassSet(("background", *(f"class_{i}" for i in range(1, 21))))


def splits(root):
    layout = VOCFolder(root)
    return {split: layout.items(split) for split in ("train", "val")}


def examine(root, *, num_workers=1, crop_size=33, largest_scale=2.0):
    return examine_dataset(
        splits(root),
        CLASSES,
        crop_size=crop_size,
        largest_scale=largest_scale,
        num_workers=num_workers,
        progress=False,
    )


def test_histogram_and_sizes(tmp_path):
    root = voc_tree(tmp_path, {"train": 5, "val": 3})
    rng = np.random.default_rng(5)
    write_sample(root, "val_1", rng.integers(0, 256, (33, 44, 3), dtype=np.uint8),
                 np.full((33, 44), 20, np.uint8), "SegmentationClass")  # fmt: skip
    report = as_json(examine(root))
    for split, items in splits(root).items():
        masks = [np.array(Image.open(item.mask)) for item in items]
        split_report = report["splits"][split]
        assert split_report["images"] == len(items)
        for index, name in [*enumerate(CLASSES.names), (255, "ignored")]:
            assert split_report["pixels"][name] == sum(int((m == index).sum()) for m in masks)
            assert split_report["images_with"][name] == sum(bool((m == index).any()) for m in masks)
    assert report["splits"]["val"]["min_size"] == [33, 44]
    assert report["splits"]["val"]["max_size"] == [50, 60]


def test_num_workers_does_not_change_the_report(tmp_path):
    root = voc_tree(tmp_path, {"train": 30, "val": 9})
    (root / "JPEGImages" / "train_3.jpg").write_bytes(b"no")
    assert as_json(examine(root, num_workers=2)) == as_json(examine(root))


def test_crop_larger_than_all_images(tmp_path):
    root = voc_tree(tmp_path, {"train": 3, "val": 2})
    kinds = [f.kind for f in examine(root, crop_size=513).findings]
    assert "crop larger than images" in kinds
    assert "crop larger than images" not in [f.kind for f in examine(root).findings]


def test_class_without_a_pixel(tmp_path):
    root = voc_tree(tmp_path, {"train": 1, "val": 1}, classes=3)
    label = np.zeros((50, 60), np.uint8)
    label[5:20, 5:20] = 1
    for name in ("train_0", "val_0"):
        write_mask(root / "SegmentationClass" / f"{name}.png", label)
    absent = [f for f in examine(root).findings if f.kind == "class without a pixel"]
    assert [f.path for f in absent] == [f"train: class_{i}" for i in range(2, 21)]


def test_text_and_markdown_reports(tmp_path):
    root = voc_tree(tmp_path, {"train": 9, "val": 3})
    for i in range(8):
        (root / "JPEGImages" / f"train_{i}.jpg").write_bytes(b"no")
    report = examine(root)
    text, page = as_text(report), as_markdown(report, "my data")
    assert "error: no image (8)" in text
    assert "and 3 more" in text
    assert all(f"train_{i}.jpg" in page for i in range(8))
    assert page.startswith("# my data")
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 120
