"""Every kind of damage that data come with: named by the doctor, and in the same words where
training meets it."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.dataset import SegmentationDataset, check_split
from deeplab.data.layouts.base import voc_layout
from deeplab.preparation.doctor import examine_dataset
from deeplab.utils.errors import UserError
from support.scripts import SMALL, run
from support.trees import AsItIs, voc_tree

CLASSES = ClassSet(("background", *(f"class_{i}" for i in range(1, 21))))
SIZE = (50, 60)


def image(root, name="train_1"):
    return root / "JPEGImages" / f"{name}.jpg"


def mask(root, name="train_1"):
    return root / "SegmentationClass" / f"{name}.png"


def lists(root, split):
    return root / "ImageSets" / "Segmentation" / f"{split}.txt"


def cut(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)] if keep < 1 else data[:-keep])


def noise(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def corrupt(root):
    """Bytes in the middle of the picture data, the end as it was."""
    Image.fromarray(noise()).save(image(root), quality=90)
    data = bytearray(image(root).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(range(40))
    image(root).write_bytes(bytes(data))


def corrupt_png(root):
    """A wrong check sum in a chunk of pixels."""
    data = bytearray(mask(root).read_bytes())
    start = data.index(b"IDAT") + 4
    data[start + 2 : start + 8] = b"\x00\xff\x00\xff\x00\xff"
    mask(root).write_bytes(bytes(data))


def as_png(root, picture):
    """A PNG under the name of a JPEG, as people rename them; content counts, not the name."""
    picture.save(image(root), format="PNG")


def sixteen_bits(root):
    encoded = cv2.imencode(".png", noise().astype(np.uint16) * 256)[1]
    image(root).write_bytes(encoded.tobytes())


def rotated(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise()).save(image(root), exif=exif)


def label(root, value, **where):
    array = np.zeros(SIZE, np.uint8)
    array[10:20, 10:20] = value
    write_mask(mask(root, **where), array)


def mask_of_mode(root, mode, color):
    Image.new(mode, SIZE[::-1], color).save(mask(root), format="PNG")


def wide_mask(root):
    array = np.zeros(SIZE, np.uint16)
    array[3, 3] = 700
    mask(root).write_bytes(cv2.imencode(".png", array)[1].tobytes())


def write_list(root, split, lines):
    lists(root, split).write_text("\n".join(lines) + "\n")


def copy_to_val(root):
    image(root, "val_0").write_bytes(image(root).read_bytes())


def reencoded_copy(root):
    """Equal pixels in another file."""
    pixels = np.array(Image.open(image(root)))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    image(root, "val_0").write_bytes(data.getvalue())


TINY = (
    "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage=shapes", "data.crop_size=33",
    "data.eval_size=65", *(s for s in SMALL if not s.startswith("data.")),
)  # fmt: skip

READ = "read"  # training meets it at the start or when the file's turn comes
DOCTOR = "doctor"  # training goes on

DAMAGE = {
    # images
    "image missing": (lambda r: image(r).unlink(), READ, "missing image", "does not exist"),
    "image empty": (lambda r: image(r).write_bytes(b""), READ, "empty image file", "empty"),
    "image is text": (lambda r: image(r).write_text("<html>"), READ, "no image", "no image that"),
    "image cut in half": (lambda r: cut(image(r), 0.5), READ, "truncated image", "truncated"),
    "image without end": (lambda r: cut(image(r), 2), READ, "truncated image", "truncated"),
    "image header alone": (lambda r: cut(image(r), 0.05), READ, "", "train_1.jpg"),
    "image corrupt": (corrupt, READ, "corrupt image", "corrupt"),
    "png image cut": (
        lambda r: (as_png(r, Image.fromarray(noise())), cut(image(r), 0.6)),
        READ, "truncated image", "truncated",
    ),
    "image is a link to nowhere": (
        lambda r: (image(r).unlink(), image(r).symlink_to("nowhere")),
        READ, "missing image", "does not exist",
    ),
    "gray image": (
        lambda r: Image.fromarray(noise()).convert("L").save(image(r)),
        DOCTOR, "gray image", "three channels",
    ),
    "CMYK image": (
        lambda r: Image.fromarray(noise()).convert("CMYK").save(image(r)),
        DOCTOR, "CMYK image", "CMYK",
    ),
    "16-bit image": (sixteen_bits, DOCTOR, "16-bit image", "8 bits"),
    "image with alpha": (
        lambda r: as_png(r, Image.fromarray(noise()).convert("RGBA")),
        DOCTOR, "alpha channel", "dropped",
    ),
    "rotated by EXIF": (rotated, DOCTOR, "EXIF orientation", "rotation"),
    # masks
    "mask missing": (lambda r: mask(r).unlink(), READ, "missing mask", "does not exist"),
    "mask empty": (lambda r: mask(r).write_bytes(b""), READ, "empty mask file", "empty"),
    "mask is text": (lambda r: mask(r).write_text("0 0 0"), READ, "unreadable mask", "decoded"),
    "mask cut": (lambda r: cut(mask(r), 0.6), READ, "truncated mask", "truncated"),
    "mask corrupt": (corrupt_png, READ, "unreadable mask", "cannot be decoded"),
    "mask of another size": (
        lambda r: Image.new("L", (10, 50)).save(mask(r)),
        READ, "sizes differ", "mask 50 x 10, but its image is 50 x 60",
    ),
    "mask turned": (
        lambda r: Image.new("L", (50, 60)).save(mask(r)),
        READ, "sizes differ", "mask 60 x 50, but its image is 50 x 60",
    ),
    "color mask": (
        lambda r: mask_of_mode(r, "RGB", "red"), READ, "color mask", "class indices",
    ),
    "color mask with alpha": (
        lambda r: mask_of_mode(r, "RGBA", "red"), READ, "color mask", "class indices",
    ),
    "16-bit mask": (wide_mask, READ, "16-bit mask", "up to 700"),
    "label beyond the classes": (
        lambda r: label(r, 21), READ, "label out of range", "label 21, but data.classes names 21",
    ),
    "ignored label of another data set": (
        lambda r: label(r, 254), READ, "label out of range", "label 254",
    ),
    "mask with nothing but ignored": (
        lambda r: Image.new("L", SIZE[::-1], 255).save(mask(r)),
        DOCTOR, "mask without a label", "nothing but 255",
    ),
    "mask with nothing but background": (
        lambda r: Image.new("L", SIZE[::-1], 0).save(mask(r)),
        DOCTOR, "mask without an object", "background",
    ),
    "mask saved as JPEG": (
        lambda r: Image.fromarray(noise()[..., 0]).save(mask(r), format="JPEG"),
        READ, "label out of range", "label 25",
    ),
    # lists
    "an id twice": (
        lambda r: write_list(r, "train", ["train_0", "train_1", "train_1"]),
        READ, "listed twice", "train_1",
    ),
    "an id in train and val": (
        lambda r: write_list(r, "val", ["val_0", "train_1"]), DOCTOR, "in two splits", "train_1",
    ),
    "the same file in train and val": (
        copy_to_val, DOCTOR, "same image in two splits", "the same pixels as",
    ),
    "the same pixels in train and val": (
        reencoded_copy, DOCTOR, "same image in two splits", "the same pixels as",
    ),
    "the same image twice in train": (
        lambda r: image(r, "train_2").write_bytes(image(r).read_bytes()),
        DOCTOR, "same image twice", "the same pixels as",
    ),
    "an id that is not there": (
        lambda r: write_list(r, "train", ["train_0", "train_9"]), READ, "missing image", "train_9",
    ),
}  # fmt: skip
"""What is done, whether training stops at it, the doctor's kind, and words of the message."""


@pytest.fixture
def root(tmp_path):
    tree = voc_tree(tmp_path / "voc", {"train": 4, "val": 3})
    for seed, path in enumerate(sorted((tree / "JPEGImages").iterdir())):
        Image.fromarray(noise(100 + seed)).save(path, quality=95)
    return tree


def diagnosis(root):
    layout = voc_layout(root)
    splits = {split: layout.items(split) for split in ("train", "val")}
    return examine_dataset(
        splits, CLASSES, crop_size=33, largest_scale=2.0, num_workers=1, progress=False
    )  # fmt: skip


def everything(root, split):
    """What training does with a split, first to last."""
    items = voc_layout(root).items(split)
    data = SegmentationDataset(split, items, classes=CLASSES, transform=AsItIs())
    check_split(data)
    for index in range(len(data)):
        data[index]


def test_there_are_thirty_kinds():
    assert len(DAMAGE) >= 30


def test_the_undamaged_tree_is_clean(root):
    found = diagnosis(root)
    assert not found.of("error")
    assert {f.kind for f in found.findings} <= {"class without a pixel"}
    for split in ("train", "val"):
        everything(root, split)


@pytest.mark.parametrize("name", DAMAGE)
def test_the_doctor_names_file_problem_and_remedy(name, root):
    damage, where, kind, words = DAMAGE[name]
    damage(root)
    found = [f for f in diagnosis(root).findings if f.kind != "class without a pixel"]
    assert found, "nothing was found"
    kinds = {f.kind for f in found} - ({"missing mask"} if "train_9" in found[0].path else set())
    assert len(kinds) == 1, found  # and nothing else
    (finding, *_) = found
    assert kind in finding.kind
    assert words in f"{finding.path}: {finding.problem}"
    assert (
        "train_1" in finding.path
        or "train_9" in finding.path
        or "val_0" in finding.path
        or ("train_2" in finding.path)
    )
    assert finding.remedy.endswith(".")
    if where == READ:
        assert finding.severity == "error"


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if d[1] == READ])
def test_training_stops_with_the_same_words(name, root):
    damage, _, _, words = DAMAGE[name]
    damage(root)
    said = [f for f in diagnosis(root).findings if f.severity == "error"]
    with pytest.raises(UserError) as stopped:
        everything(root, "train")
    assert words in str(stopped.value)
    if said[0].kind != "listed twice":
        assert str(stopped.value) == f"{said[0].path}: {said[0].problem}. {said[0].remedy}"


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if d[1] == DOCTOR])
def test_training_goes_on_over_what_is_no_damage(name, root):
    DAMAGE[name][0](root)
    for split in ("train", "val"):
        everything(root, split)


def test_bytes_lost_anywhere_are_noticed(root):
    """Whatever is cut off a JPEG or a PNG, it is an error and never a picture."""
    Image.fromarray(noise()).save(image(root), quality=90)
    for path in (image(root), mask(root)):
        whole = path.read_bytes()
        for keep in np.linspace(1, len(whole) - 1, 25).astype(int):
            path.write_bytes(whole[:keep])
            with pytest.raises(UserError, match=path.name):
                everything(root, "train")
        path.write_bytes(whole)
    everything(root, "train")


def test_the_scripts_say_it_too(root, tmp_path):
    cut(image(root, "train_1"), 0.5)
    label(root, 33, name="val_2")
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train"]
    done = run("prepare", *arguments, "check=true", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "error: truncated image (1)" in done.stdout
    assert "label 33, but data.classes names 21 classes" in done.stdout
    assert "7 images: 2 errors" in done.stdout
    assert "Decoding every file" in done.stderr  # the progress bar
    report = json.loads((tmp_path / "data/reports/voc-train-val.json").read_text())
    assert report["errors"] == 2
    assert {f["kind"] for f in report["findings"] if f["severity"] == "error"} == {
        "truncated image", "label out of range",
    }  # fmt: skip
    text = (tmp_path / "data/reports/voc-train-val.md").read_text()
    assert "train_1.jpg" in text
    stopped = run("train", *arguments, "stage.max_steps=2", "logger=csv", cwd=tmp_path, ok=False)
    assert stopped.returncode == 2
    assert "label 33, but data.classes names 21 classes" in stopped.stderr
    assert not (tmp_path / "runs").exists()


def test_training_on_validation_images_is_said(root, tmp_path):
    write_list(root, "val", ["val_0", "train_1"])
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train", *TINY]
    done = run("train", *arguments, cwd=tmp_path)
    assert "Warning: train_1: this id is in train and in val" in done.stdout


def test_a_clean_tree_ends_well(root, tmp_path):
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train", "check=true"]
    done = run("prepare", *arguments, "enable_progress_bar=false", cwd=tmp_path)
    assert "0 errors" in done.stdout
