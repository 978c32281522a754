"""Tests of labeled images for classifiers: folders, lists, errors and batches."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab.data.classification.dataset import ClassificationDataset
from deeplab.data.classification.transforms import CentralCrop, RandomResizedCrop
from deeplab.data.datamodules import ClassificationData
from deeplab.data.image_io import read_image
from deeplab.data.layouts.imagenet import ImageNetLayout, ImageNetSettings, LabeledFolder
from deeplab.data.settings import ClassificationSettings, CropSettings, SyntheticSettings
from deeplab.data.synthetic.single_objects import (
    check_shapes,
    get_or_draw_shape_images,
)
from deeplab.utils.errors import UserError
from support.image_trees import csv_tree, folder_tree


def image_folder(root, **kwargs):
    return LabeledFolder(root, **kwargs)


def test_classes_and_images_are_sorted(tmp_path):
    root = folder_tree(tmp_path / "t", {"train": 2, "val": 1}, ("b", "a", "C"))
    (root / "train/a/deep").mkdir()
    shutil.copy(root / "train/a/0.jpg", root / "train/a/deep/9.JPEG")
    (root / "train/a/notes.txt").write_text("no image")
    (root / "train/.hidden").mkdir()
    folder = image_folder(root)
    assert folder.classes == ("C", "a", "b")
    images = folder.images("train")
    assert [image.id for image in images] == [
        *(f"train/C/{i}.jpg" for i in range(2)),
        *(f"train/a/{name}" for name in ("0.jpg", "1.jpg", "deep/9.JPEG")),
        *(f"train/b/{i}.jpg" for i in range(2)),
    ]
    assert [image.labels for image in images] == [(0,)] * 2 + [(1,)] * 3 + [(2,)] * 2
    assert all(image.path.is_file() for image in images)
    assert len(folder.images("train+val")) == 7 + 3


def test_lists_of_labels(tmp_path):
    root = csv_tree(tmp_path / "t", {"train": ["bee", "cat ant", "bee bee"], "val": ["ant"]})
    folder = image_folder(root, labels="multi_label")
    assert folder.classes == ("ant", "bee", "cat")
    assert [image.labels for image in folder.images("train")] == [(1,), (2, 0), (1,)]
    single_label = image_folder(root, labels="single_label")
    with pytest.raises(UserError, match=r"train-1\.png has 2 labels"):
        single_label.images("train")
    assert [image.labels for image in single_label.images("val")] == [(0,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\n", "is not a path, a comma and labels"),
        ("a.png,\n", "is not a path, a comma and labels"),
        ("a.png,ant,bee\n", "is not a path, a comma and labels"),
        ("a.png,dog\n", "dog is not in classes.txt"),
        ("a.png,ant\na.png,bee\n", "a.png is listed more than once"),
        ("", "this split has no images"),
        ("../a.png,ant\n", r"has '\.\.' in it"),
        ("/etc/a.png,ant\n", "is an absolute path"),
        ("x/../../a.png,ant\n", r"has '\.\.' in it"),
    ],
)
def test_wrong_lists(tmp_path, text, message):
    root = csv_tree(tmp_path / "t", {"train": ["ant"]})
    (root / "train.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        image_folder(root, labels="multi_label").images("train")


def test_lists_with_byte_order_marks(tmp_path):
    root = csv_tree(tmp_path / "t", {"train": ["ant", "bee"]})
    for name in ("train.csv", "classes.txt"):
        (root / name).write_bytes(b"\xef\xbb\xbf" + (root / name).read_bytes())
    layout = image_folder(root, labels="single_label")
    assert layout.classes[0] == "ant"
    assert [image.id for image in layout.images("train")] == ["train-0.png", "train-1.png"]


def test_splits_that_exist(tmp_path):
    root = folder_tree(tmp_path / "t", {"train": 1, "val": 1, "held out": 1})
    (root / "notes").mkdir()
    assert image_folder(root).splits() == ["held out", "train", "val"]
    assert image_folder(root).origin("val") == "folder val"
    root = csv_tree(tmp_path / "c", {"train": ["ant"], "test": ["bee"]})
    (root / "sizes.csv").write_text("1,2\n")
    assert image_folder(root, labels="single_label").splits() == ["test", "train"]


def test_wrong_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        image_folder(tmp_path / "missing")
    root = folder_tree(tmp_path / "t", {"train": 1, "val": 1})
    with pytest.raises(UserError, match=r"test does not exist. Folders in .*: train, val"):
        image_folder(root).images("test")
    (root / "val/dog").mkdir()
    with pytest.raises(UserError, match="dog is not a class of the training images"):
        image_folder(root).check_split("val")
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    shutil.copy(root / "train/ant/0.jpg", root / "val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match="sort them into folders"):
        image_folder(root).check_split("val")
    (tmp_path / "one/train/ant").mkdir(parents=True)
    with pytest.raises(UserError, match="1 class found; at least 2 are needed"):
        image_folder(tmp_path / "one")
    with pytest.raises(UserError, match=r"classes\.txt: this file cannot be read"):
        image_folder(root, labels="single_label")


def imagenet(root, **keys):
    return ImageNetSettings(name="imagenet", root=str(root), **keys)


def test_classes_are_those_of_all_training_images(tmp_path):
    folder_tree(tmp_path, {"train": 1}, ("ant", "bee"))
    folder_tree(tmp_path, {"extra": 1, "val": 1}, ("bee", "cat"))
    for folder in ("train/@eaDir", "val/__MACOSX", "val/.cache"):
        (tmp_path / folder).mkdir()
    assert image_folder(tmp_path).classes == ("ant", "bee")
    keys = imagenet(tmp_path, train_split="train+extra")
    assert ImageNetLayout.check(keys) is keys
    layout = ImageNetLayout(keys)
    assert layout.classes == ("ant", "bee", "cat")
    assert [image.labels for image in layout.images("val")] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train_split": "extra"}, r"data\.train_split=extra: .*extra does not exist"),
        ({"train_split": "train+extra"}, r"data\.train_split=train\+extra: split 'extra': "),
        ({"val_split": "extra"}, r"data\.val_split=extra: .*extra does not exist"),
        ({"train_split": "empty"}, r"data\.train_split=empty: .*empty has no folders"),
    ],
)
def test_checks_name_the_key_of_a_split(keys, message, tmp_path):
    root = folder_tree(tmp_path / "folders", {"train": 1, "val": 1})
    (root / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        ImageNetLayout.check(imagenet(root, **keys))
    lists = csv_tree(tmp_path / "lists", {"train": ["ant"], "val": ["bee"]})
    if "empty" not in keys.values():
        message = message.replace("extra does", "extra.csv does")
        with pytest.raises(UserError, match=message):
            ImageNetLayout.check(imagenet(lists, labels="single_label", **keys))


def test_fingerprint_depends_on_paths_labels_and_sizes(tmp_path):
    def fingerprint(root, **kwargs):
        return image_folder(root, **kwargs).images("train").fingerprint()

    root = folder_tree(tmp_path / "t", {"train": 2})
    first = fingerprint(root)
    assert first == fingerprint(shutil.copytree(root, tmp_path / "moved"))
    with (root / "train/bee/1.jpg").open("ab") as file:
        file.write(b"x")
    longer = fingerprint(root)
    (root / "train/bee/1.jpg").rename(root / "train/cat/1b.jpg")
    assert len({first, longer, fingerprint(root)}) == 3
    lists = [
        csv_tree(tmp_path / name, {"train": labels})
        for name, labels in (("a", ["ant", "bee"]), ("b", ["ant", "bee"]), ("c", ["ant", "ant"]))
    ]
    shutil.copy(lists[0] / "train-1.png", lists[2] / "train-1.png")
    a, b, c = (fingerprint(root, labels="single_label") for root in lists)
    assert a == b != c


def dataset(root, *, crop=None, split="val", **kwargs):
    crop = crop or CentralCrop(size=33, crop_pct=0.875)
    return ClassificationDataset(split, image_folder(root).images(split), crop=crop, **kwargs)


def test_damaged_image_raises_or_is_skipped(tmp_path):
    root = folder_tree(tmp_path / "t", {"val": 2, "train": 1})
    path = root / "val/bee/0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"val/bee/0\.jpg: this JPEG is truncated"):
        dataset(root)[2]
    replaced = dataset(root, on_error="next")[2]
    assert replaced["image_id"] == ["val/bee/1.jpg"]
    assert replaced["skipped"] == [(str(path),)]
    assert torch.equal(replaced["image"], dataset(root)[3]["image"])
    blank = dataset(root, on_error="blank").__getitems__([1, 2])
    assert blank["label"].tolist() == [[0], [-1]]
    assert not blank["image"][1].any()


def test_images_are_read_as_in_segmentation(tmp_path):
    """Gray, CMYK and alpha are converted; an EXIF rotation is not applied."""
    root = folder_tree(tmp_path / "t", {"val": 1, "train": 1})
    rng = np.random.default_rng(0)
    gray = Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8))
    exif = gray.convert("RGB").getexif()
    exif[0x0112] = 6
    gray.save(root / "val/ant/gray.jpg")
    gray.convert("RGB").convert("CMYK").save(root / "val/ant/cmyk.jpg")
    gray.convert("RGBA").save(root / "val/ant/alpha.png")
    gray.convert("RGB").save(root / "val/ant/exif.jpg", exif=exif)
    data = dataset(root)
    for index, name in enumerate(data.ids):
        out = np.zeros((33, 33, 3), np.uint8)
        data.crop(read_image(root / name), np.random.default_rng(0), out)
        assert (data[index]["image"][0].permute(1, 2, 0).numpy() == out).all(), name
    assert read_image(root / "val/ant/exif.jpg").shape == (40, 60, 3)


def test_labels_are_padded_to_the_largest_number_in_the_batch(tmp_path):
    root = csv_tree(tmp_path / "t", {"train": ["ant", "cat ant bee", "bee"]})
    images = image_folder(root, labels="multi_label").images("train")
    data = ClassificationDataset("train", images, crop=CentralCrop(size=33, crop_pct=1.0))
    assert data.__getitems__([0, 1, 2])["label"].tolist() == [[0, -1, -1], [2, 0, 1], [1, -1, -1]]
    assert data.__getitems__([0, 2])["label"].tolist() == [[0], [1]]


def random_crop():
    return RandomResizedCrop(CropSettings(crop_size=33, scale=(0.3, 1.0)))


def data_module(root, **kwargs):
    settings = ClassificationSettings(
        name="imagenet", root=str(root), crop_size=33, scale=(0.3, 1.0), eval_batch_size=2
    )
    options = {"steps": 4, "batch_size": 3, "seed": 0, "num_workers": 0} | kwargs
    return ClassificationData(settings, image_folder(root), **options)


def test_batches_depend_only_on_the_draw(tmp_path):
    root = folder_tree(tmp_path / "t", {"train": 4, "val": 1})
    first, second = (list(data_module(root, num_workers=w).train_dataloader()) for w in (0, 2))
    assert len(first) == 4
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])
        assert a["image_id"] == b["image_id"]
    draws = dataset(root, crop=random_crop(), split="train")
    assert not torch.equal(draws[0, 5]["image"], draws[1, 5]["image"])
    assert data_module(root).epoch_steps == 4.0


def test_drawn_shape_images(tmp_path):
    spec = SyntheticSettings(
        classes=("disc", "star"), num_train=5, num_val=2, min_size=40, max_size=50
    )
    root = get_or_draw_shape_images(tmp_path, spec)
    folder = image_folder(root)
    assert folder.classes == ("disc", "star")
    assert sorted(image.labels for image in folder.images("train")) == [(0,)] * 3 + [(1,)] * 2
    sizes = {read_image(image.path).shape[:2] for image in folder.images("train")}
    assert all(40 <= side <= 50 for size in sizes for side in size)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert get_or_draw_shape_images(tmp_path, spec) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    copy = get_or_draw_shape_images(tmp_path / "copy", spec)
    for path in root.rglob("*.jpg"):
        assert (copy / path.relative_to(root)).read_bytes() == path.read_bytes()
    for wrong in (["disc", "disc"], ["disc", "background"]):
        with pytest.raises(ValueError, match="each once"):
            check_shapes(wrong)
