"""Pictures and labels: where they are looked for, what is refused, which batches they make."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab.data.classification.dataset import ClassificationData, ClassificationDataset
from deeplab.data.classification.image_folder import ImageFolder
from deeplab.data.classification.transforms import CentralCrop, RandomCrop
from deeplab.data.image_io import read_image
from deeplab.data.synthetic.single_objects import (
    ShapeClassesSpec,
    check_shapes,
    ensure_shape_classes,
)
from deeplab.utils.errors import UserError
from support.picture_trees import folder_tree, listed_tree


def folders(root, **keys):
    return ImageFolder(root, **{"labels": "folders", "train_split": "train"} | keys)


def test_classes_are_the_sorted_folders_and_pictures_come_in_order(tmp_path):
    root = folder_tree(tmp_path / "t", {"train": 2, "val": 1}, ("b", "a", "C"))
    (root / "train/a/deep").mkdir()
    shutil.copy(root / "train/a/0.jpg", root / "train/a/deep/9.JPEG")
    (root / "train/a/notes.txt").write_text("no picture")
    (root / "train/.hidden").mkdir()
    found = folders(root)
    assert found.classes == ("C", "a", "b")
    pictures = found.pictures("train")
    assert [p.id for p in pictures] == [
        *(f"train/C/{i}.jpg" for i in range(2)),
        *(f"train/a/{name}" for name in ("0.jpg", "1.jpg", "deep/9.JPEG")),
        *(f"train/b/{i}.jpg" for i in range(2)),
    ]
    assert [p.labels for p in pictures] == [(0,)] * 2 + [(1,)] * 3 + [(2,)] * 2
    assert all(p.path.is_file() for p in pictures)
    assert len(found.pictures("train+val")) == 7 + 3


def test_lists_of_labels(tmp_path):
    root = listed_tree(tmp_path / "t", {"train": ["bee", "cat ant", "bee bee"], "val": ["ant"]})
    found = folders(root, labels="several")
    assert found.classes == ("ant", "bee", "cat")
    assert [p.labels for p in found.pictures("train")] == [(1,), (2, 0), (1,)]
    with pytest.raises(UserError, match=r"train-1\.png has 2 labels"):
        folders(root, labels="one").pictures("train")
    assert [p.labels for p in folders(root, labels="one").pictures("val")] == [(0,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.png\n", "is not a path, a comma and labels"),
        ("a.png,\n", "is not a path, a comma and labels"),
        ("a.png,ant,bee\n", "is not a path, a comma and labels"),
        ("a.png,dog\n", "dog is not among classes.txt"),
        ("a.png,ant\na.png,bee\n", "a.png is listed more than once"),
        ("", "there are no pictures in it"),
    ],
)
def test_a_wrong_list_is_named(tmp_path, text, said):
    root = listed_tree(tmp_path / "t", {"train": ["ant"]})
    (root / "train.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        folders(root, labels="several").pictures("train")


def test_a_tree_that_is_none(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        folders(tmp_path / "nothing")
    root = folder_tree(tmp_path / "t", {"train": 1, "val": 1})
    with pytest.raises(UserError, match=r"test does not exist. Folders there: train, val"):
        folders(root).pictures("test")
    (root / "val/dog").mkdir()
    with pytest.raises(UserError, match="dog is no class of the training images"):
        folders(root).check("val")
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    shutil.copy(root / "train/ant/0.jpg", root / "val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match="to be sorted into folders"):
        folders(root).check("val")
    (tmp_path / "one/train/ant").mkdir(parents=True)
    with pytest.raises(UserError, match="two classes at least"):
        folders(tmp_path / "one")
    with pytest.raises(UserError, match=r"classes\.txt: this cannot be read"):
        folders(root, labels="one")


def test_the_fingerprint_is_of_paths_labels_and_sizes(tmp_path):
    def printed(root, **keys):
        return folders(root, **keys).pictures("train").fingerprint()

    root = folder_tree(tmp_path / "t", {"train": 2})
    first = printed(root)
    assert first == printed(shutil.copytree(root, tmp_path / "moved"))
    with (root / "train/bee/1.jpg").open("ab") as file:
        file.write(b"x")
    longer = printed(root)
    (root / "train/bee/1.jpg").rename(root / "train/cat/1b.jpg")
    assert len({first, longer, printed(root)}) == 3
    lists = [
        listed_tree(tmp_path / name, {"train": labels})
        for name, labels in (("a", ["ant", "bee"]), ("b", ["ant", "bee"]), ("c", ["ant", "ant"]))
    ]
    shutil.copy(lists[0] / "train-1.png", lists[2] / "train-1.png")
    a, b, c = (printed(root, labels="one") for root in lists)
    assert a == b != c


def dataset(root, *, crop=None, split="val", **keys):
    crop = crop or CentralCrop(size=33, part=0.875)
    return ClassificationDataset(split, folders(root).pictures(split), crop=crop, **keys)


def test_a_damaged_picture_is_named_or_passed_over(tmp_path):
    root = folder_tree(tmp_path / "t", {"val": 2, "train": 1})
    path = root / "val/bee/0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"val/bee/0\.jpg: this JPEG is truncated"):
        dataset(root)[2]
    taken = dataset(root, on_error="next")[2]
    assert taken["image_id"] == ["val/bee/1.jpg"]
    assert taken["skipped"] == [(str(path),)]
    assert torch.equal(taken["image"], dataset(root)[3]["image"])
    blank = dataset(root, on_error="blank").__getitems__([1, 2])
    assert blank["label"].tolist() == [[0], [-1]]
    assert not blank["image"][1].any()


def test_pictures_are_read_as_segmentation_reads_them(tmp_path):
    """Gray, CMYK, alpha, and an EXIF rotation that is not applied."""
    root = folder_tree(tmp_path / "t", {"val": 1, "train": 1})
    rng = np.random.default_rng(0)
    gray = Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8))
    turned = gray.convert("RGB").getexif()
    turned[0x0112] = 6
    gray.save(root / "val/ant/gray.jpg")
    gray.convert("RGB").convert("CMYK").save(root / "val/ant/cmyk.jpg")
    gray.convert("RGBA").save(root / "val/ant/alpha.png")
    gray.convert("RGB").save(root / "val/ant/exif.jpg", exif=turned)
    found = dataset(root)
    for index, name in enumerate(found.ids):
        out = np.zeros((33, 33, 3), np.uint8)
        found.crop(read_image(root / name), np.random.default_rng(0), out)
        assert (found[index]["image"][0].permute(1, 2, 0).numpy() == out).all(), name
    assert read_image(root / "val/ant/exif.jpg").shape == (40, 60, 3)


def test_labels_are_padded_to_the_picture_with_the_most(tmp_path):
    root = listed_tree(tmp_path / "t", {"train": ["ant", "cat ant bee", "bee"]})
    pictures = folders(root, labels="several").pictures("train")
    made = ClassificationDataset("train", pictures, crop=CentralCrop(size=33, part=1.0))
    assert made.__getitems__([0, 1, 2])["label"].tolist() == [[0, -1, -1], [2, 0, 1], [1, -1, -1]]
    assert made.__getitems__([0, 2])["label"].tolist() == [[0], [1]]


def random_crop():
    return RandomCrop(size=33, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), hflip_prob=0.5)


def data_module(root, **keys):
    return ClassificationData(
        folders(root),
        train_split="train",
        val_split="val",
        train_crop=random_crop(),
        eval_crop=CentralCrop(size=33, part=0.875),
        **{"steps": 4, "batch_size": 3, "eval_batch_size": 2, "seed": 0, "num_workers": 0} | keys,
    )


def test_batches_depend_on_the_draw_alone(tmp_path):
    root = folder_tree(tmp_path / "t", {"train": 4, "val": 1})
    one, other = (list(data_module(root, num_workers=w).train_dataloader()) for w in (0, 2))
    assert len(one) == 4
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])
        assert a["image_id"] == b["image_id"]
    draws = dataset(root, crop=random_crop(), split="train")
    assert not torch.equal(draws[0, 5]["image"], draws[1, 5]["image"])
    assert data_module(root).epoch_steps == 4.0


def test_drawn_pictures(tmp_path):
    spec = ShapeClassesSpec(("disc", "star"), train=5, val=2, min_size=40, max_size=50, seed=0)
    root = ensure_shape_classes(tmp_path, spec)
    found = folders(root)
    assert found.classes == ("disc", "star")
    assert sorted(p.labels for p in found.pictures("train")) == [(0,)] * 3 + [(1,)] * 2
    sizes = {read_image(p.path).shape[:2] for p in found.pictures("train")}
    assert all(40 <= side <= 50 for size in sizes for side in size)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert ensure_shape_classes(tmp_path, spec) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    again = ensure_shape_classes(tmp_path / "again", spec)
    for path in root.rglob("*.jpg"):
        assert (again / path.relative_to(root)).read_bytes() == path.read_bytes()
    for wrong in (["disc", "disc"], ["disc", "background"]):
        with pytest.raises(ValueError, match="each once"):
            check_shapes(wrong)
