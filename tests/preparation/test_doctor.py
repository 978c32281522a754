"""The doctor's statistics, compared with counts of the files."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab.config.schema.scripts import PrepareConfig
from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.voc import VOCFolder
from deeplab.preparation.doctor import examine_dataset
from deeplab.preparation.doctor_report import as_json, as_markdown, as_text
from deeplab.preparation.run_doctor import _report_path
from support.scripts import run
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
    write_sample(root, "val_1", rng.integers(0, 256, (33, 70, 3), dtype=np.uint8),
                 np.full((33, 70), 20, np.uint8), "SegmentationClass")  # fmt: skip
    report = as_json(examine(root))
    for split, items in splits(root).items():
        masks = [np.array(Image.open(item.mask)) for item in items]
        split_report = report["splits"][split]
        assert split_report["images"] == len(items)
        for index, name in [*enumerate(CLASSES.names), (255, "ignored")]:
            assert split_report["pixels"][name] == sum(int((m == index).sum()) for m in masks)
            assert split_report["images_with"][name] == sum(bool((m == index).any()) for m in masks)
    assert report["splits"]["val"]["min_size"] == [33, 60]
    assert report["splits"]["val"]["max_size"] == [50, 70]


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
    write_mask(root / "SegmentationClass" / "train_0.png", label.T)
    assert "class without a pixel" not in [f.kind for f in examine(root).findings]


def test_class_in_few_images(tmp_path):
    root = voc_tree(tmp_path, {"train": 8, "val": 3})
    for name in [item.id for items in splits(root).values() for item in items]:
        label = np.zeros((50, 60), np.uint8)
        label[:9, :9] = name != "val_0"
        label[9:, :9] = 2 * (name in ("train_0", "train_1", "val_1"))
        write_mask(root / "SegmentationClass" / f"{name}.png", label)
    few = [f for f in examine(root).findings if f.kind == "class in few images"]
    assert [f.path for f in few] == ["train, val: class_2"]
    assert few[0].problem == "in 2 of 8 training images, 1 of 3 validation images"


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


def test_each_remedy_stands_below_its_files(tmp_path):
    """Of two masks of the wrong size, one has that of its photo as its EXIF header turns it."""
    root = voc_tree(tmp_path, {"train": 2, "val": 1})
    exif = Image.Exif()
    exif[274] = 6
    for name, size, options in (("train_0", (30, 40), {}), ("train_1", (40, 30), {"exif": exif})):
        Image.new("RGB", size).save(root / f"JPEGImages/{name}.jpg", **options)
        mask = np.zeros((40, 30) if options else (20, 30), np.uint8)
        write_mask(root / f"SegmentationClass/{name}.png", mask)
    text = as_text(examine(root))
    assert "mask 30 x 20, but its image is 30 x 40 pixels (width x height)\n  -> Both" in text
    assert "mask 30 x 40, but its image is 40 x 30 pixels (width x height), with a rotation" in text
    assert "which is not applied\n  -> Save the image rotated" in text


def kinds_of(splits, **options):
    report = examine_dataset(
        splits, CLASSES, crop_size=33, largest_scale=2.0, num_workers=1, progress=False, **options
    )
    found = [(f.severity, f.kind, f.path) for f in report.findings]
    return [f for f in found if f[1] != "class without a pixel" and f[1][:10] != "same image"]


def test_an_image_is_in_two_splits_if_its_file_is(tmp_path):
    root = voc_tree(tmp_path, {"train": 3, "val": 2, "test": 2})
    layout = VOCFolder(root)
    splits = {split: layout.items(split) for split in ("train", "val", "test")}
    assert kinds_of(splits) == []
    linked = root / "JPEGImages" / "other.jpg"
    linked.symlink_to(splits["train"][1].image)
    splits["test"].append(splits["test"][0]._replace(id="other", image=linked))
    assert kinds_of(splits) == [("error", "in two splits", "train, test: train_1")]
    assert kinds_of(splits, exclusive=[("train", "val")]) == []
    ids = [item.id for item in splits["train"]]
    same_ids = [item._replace(id=i) for item, i in zip(splits["val"], ids, strict=False)]
    assert kinds_of({"train": splits["train"], "val": same_ids}) == []
    twice = {**splits, "train": [*splits["train"], splits["train"][1]]}
    assert [kind for _, kind, _ in kinds_of(twice)] == ["in two splits", "listed twice"]


def test_copies_are_errors_only_in_splits_that_share_no_image(tmp_path):
    root = voc_tree(tmp_path, {"train": 3, "val": 2, "more": 1})
    layout = VOCFolder(root)
    splits = {split: layout.items(split) for split in ("train", "val", "more")}
    for split, copied in (("val", "train_0"), ("more", "train_1")):
        shutil.copy(root / f"JPEGImages/{copied}.jpg", splits[split][0].image)
    report = examine_dataset(
        splits, CLASSES, crop_size=33, largest_scale=2.0, num_workers=1, progress=False,
        exclusive=[("val", "train")],
    )  # fmt: skip
    copies = {(f.severity, f.kind, Path(f.path).name) for f in report.findings if "same" in f.kind}
    assert copies == {
        ("error", "same image in two splits", "val_0.jpg"),
        ("warning", "same image twice", "more_0.jpg"),
    }


def test_ids_that_differ_by_their_case(tmp_path):
    root = voc_tree(tmp_path, {"train": 2, "val": 1})
    splits = {split: VOCFolder(root).items(split) for split in ("train", "val")}
    splits["train"].append(splits["train"][0]._replace(id="TRAIN_0"))
    assert kinds_of(splits) == [("warning", "same id but for its case", "train: TRAIN_0")]


def test_a_split_without_any_mask_is_not_labeled(tmp_path):
    root = voc_tree(tmp_path, {"train": 2, "val": 1, "test": 2})
    for path in (root / "SegmentationClass").glob("test_*"):
        path.unlink()
    splits = {split: VOCFolder(root).items(split) for split in ("train", "val", "test")}
    assert kinds_of(splits) == []
    (root / "SegmentationClass" / "train_1.png").unlink()
    assert [kind for _, kind, _ in kinds_of(splits)] == ["missing mask"]


def test_reports_of_two_folders_do_not_replace_each_other():
    settings = [FolderSettings(name="folder", root=f"photos/{name}") for name in ("cats", "dogs/")]
    paths = [
        _report_path(PrepareConfig.model_construct(data=data, splits=None)).name
        for data in settings
    ]
    assert paths == ["folder-cats-train-val.md", "folder-dogs-train-val.md"]


def test_doctor_checks_every_split(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": 3, "val": 2, "trainval": 0, "test": 2})
    lists = root / "ImageSets" / "Segmentation"
    lists.joinpath("trainval.txt").write_text("train_0\nval_1\n")
    lists.joinpath("holdout.txt").write_text("test_0\n../x\n")
    (root / "JPEGImages" / "test_1.jpg").write_bytes(b"no")
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train", "data.crop_size=33"]
    home = {"HOME": str(tmp_path)}
    arguments += ["check=true", 'report_dir="~/reports"']
    done = run("prepare", *arguments, cwd=tmp_path, ok=False, variables=home)
    assert done.returncode == 1
    assert {path.name for path in tmp_path.iterdir()} == {"voc", "reports"}
    assert "test: 2 images (ImageSets/Segmentation/test.txt)" in done.stdout
    assert "trainval: " not in done.stdout  # all of its images are examined already
    assert "holdout.txt, line 2: '../x' has '..' in it" in done.stdout
    assert "test_1.jpg: this file cannot be decoded" in done.stdout
    assert "7 images: 2 errors" in done.stdout
