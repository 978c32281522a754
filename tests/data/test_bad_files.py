"""Tests of damaged files: the doctor and training report them in the same words."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.dataset import SegmentationDataset, check_split
from deeplab.data.layouts.voc import VOCFolder
from deeplab.preparation.doctor import examine_dataset
from deeplab.utils.errors import UserError
from support.scripts import TINY, run
from support.trees import IdentityTransform, voc_tree

CLASSES = ClassSet(("background", *(f"class_{i}" for i in range(1, 21))))
SIZE = (50, 60)


def image_path(root, name="train_1"):
    return root / "JPEGImages" / f"{name}.jpg"


def mask_path(root, name="train_1"):
    return root / "SegmentationClass" / f"{name}.png"


def list_path(root, split):
    return root / "ImageSets" / "Segmentation" / f"{split}.txt"


def truncate(path, keep):
    """Keep a fraction of the bytes, or drop the last ``keep`` bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)] if keep < 1 else data[:-keep])


def random_pixels(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def corrupt_jpeg(root):
    """Overwrite bytes in the middle of a JPEG; its end is unchanged."""
    Image.fromarray(random_pixels()).save(image_path(root), quality=90)
    data = bytearray(image_path(root).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(range(40))
    image_path(root).write_bytes(bytes(data))


def corrupt_png(root):
    """Write a wrong checksum into a chunk of pixels."""
    data = bytearray(mask_path(root).read_bytes())
    start = data.index(b"IDAT") + 4
    data[start + 2 : start + 8] = b"\x00\xff\x00\xff\x00\xff"
    mask_path(root).write_bytes(bytes(data))


def save_png_as_jpg(root, image):
    """Save a PNG with the suffix of a JPEG; readers go by content, not by name."""
    image.save(image_path(root), format="PNG")


def write_16_bit_image(root):
    encoded = cv2.imencode(".png", random_pixels().astype(np.uint16) * 256)[1]
    image_path(root).write_bytes(encoded.tobytes())


def write_exif_rotation(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random_pixels()).save(image_path(root), exif=exif)


def write_label(root, value, **name):
    array = np.zeros(SIZE, np.uint8)
    array[10:20, 10:20] = value
    write_mask(mask_path(root, **name), array)


def write_mask_of_mode(root, mode, color):
    Image.new(mode, SIZE[::-1], color).save(mask_path(root), format="PNG")


def write_16_bit_mask(root):
    array = np.zeros(SIZE, np.uint16)
    array[3, 3] = 700
    mask_path(root).write_bytes(cv2.imencode(".png", array)[1].tobytes())


def write_list(root, split, lines):
    list_path(root, split).write_text("\n".join(lines) + "\n")


def copy_to_val(root):
    image_path(root, "val_0").write_bytes(image_path(root).read_bytes())


def copy_reencoded_to_val(root):
    """Write the same pixels to another file."""
    pixels = np.array(Image.open(image_path(root)))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    image_path(root, "val_0").write_bytes(data.getvalue())


READ = "read"  # training stops at the start or when it reads the file
DOCTOR = "doctor"  # only the doctor reports it; training continues

DAMAGE = {
    # images
    "image missing": (lambda r: image_path(r).unlink(), READ, "missing image", "does not exist"),
    "image empty": (lambda r: image_path(r).write_bytes(b""), READ, "empty image file", "empty"),
    "image is text": (
        lambda r: image_path(r).write_text("<html>"),
        READ, "no image", "cannot be decoded as an image",
    ),
    "image cut in half": (
        lambda r: truncate(image_path(r), 0.5), READ, "truncated image", "truncated",
    ),
    "image without its end": (
        lambda r: truncate(image_path(r), 2), READ, "truncated image", "truncated",
    ),
    "only the image header": (lambda r: truncate(image_path(r), 0.05), READ, "", "train_1.jpg"),
    "image corrupt": (corrupt_jpeg, READ, "corrupt image", "corrupt"),
    "png image cut": (
        lambda r: (
            save_png_as_jpg(r, Image.fromarray(random_pixels())), truncate(image_path(r), 0.6)
        ),
        READ, "truncated image", "truncated",
    ),
    "image is a broken link": (
        lambda r: (image_path(r).unlink(), image_path(r).symlink_to("missing")),
        READ, "missing image", "does not exist",
    ),
    "gray image": (
        lambda r: Image.fromarray(random_pixels()).convert("L").save(image_path(r)),
        DOCTOR, "gray image", "three channels",
    ),
    "CMYK image": (
        lambda r: Image.fromarray(random_pixels()).convert("CMYK").save(image_path(r)),
        DOCTOR, "CMYK image", "CMYK",
    ),
    "16-bit image": (write_16_bit_image, DOCTOR, "16-bit image", "more than 8 bits"),
    "image with alpha": (
        lambda r: save_png_as_jpg(r, Image.fromarray(random_pixels()).convert("RGBA")),
        DOCTOR, "alpha channel", "dropped",
    ),
    "rotated by EXIF": (write_exif_rotation, DOCTOR, "EXIF orientation", "rotation"),
    # masks
    "mask missing": (lambda r: mask_path(r).unlink(), READ, "missing mask", "does not exist"),
    "mask empty": (lambda r: mask_path(r).write_bytes(b""), READ, "empty mask file", "empty"),
    "mask is text": (
        lambda r: mask_path(r).write_text("0 0 0"), READ, "no image", "decoded",
    ),
    "mask cut": (lambda r: truncate(mask_path(r), 0.6), READ, "truncated mask", "truncated"),
    "mask corrupt": (corrupt_png, READ, "corrupt mask", "a checksum is wrong"),
    "mask of another size": (
        lambda r: Image.new("L", (10, 50)).save(mask_path(r)),
        READ, "sizes differ", "mask 10 x 50, but its image is 60 x 50",
    ),
    "mask transposed": (
        lambda r: Image.new("L", (50, 60)).save(mask_path(r)),
        READ, "sizes differ", "mask 50 x 60, but its image is 60 x 50",
    ),
    "color mask": (
        lambda r: write_mask_of_mode(r, "RGB", "red"), READ, "color mask", "class indices",
    ),
    "color mask with alpha": (
        lambda r: write_mask_of_mode(r, "RGBA", "red"), READ, "color mask", "class indices",
    ),
    "16-bit mask": (write_16_bit_mask, READ, "16-bit mask", "up to 700"),
    "label out of range": (
        lambda r: write_label(r, 21),
        READ, "label out of range", "label 21, but data.classes names 21",
    ),
    "ignored label of another data set": (
        lambda r: write_label(r, 254), READ, "label out of range", "label 254",
    ),
    "mask with only ignored pixels": (
        lambda r: Image.new("L", SIZE[::-1], 255).save(mask_path(r)),
        DOCTOR, "mask without a label", "nothing but 255",
    ),
    "mask with only background": (
        lambda r: Image.new("L", SIZE[::-1], 0).save(mask_path(r)),
        DOCTOR, "mask without an object", "background",
    ),
    "mask saved as JPEG": (
        lambda r: Image.fromarray(random_pixels()[..., 0]).save(mask_path(r), format="JPEG"),
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
        copy_reencoded_to_val, DOCTOR, "same image in two splits", "the same pixels as",
    ),
    "the same image twice in train": (
        lambda r: image_path(r, "train_2").write_bytes(image_path(r).read_bytes()),
        DOCTOR, "same image twice", "the same pixels as",
    ),
    "an id without files": (
        lambda r: write_list(r, "train", ["train_0", "train_9"]), READ, "missing image", "train_9",
    ),
}  # fmt: skip
"""Each damage: its function, READ or DOCTOR, the doctor's kind, and part of the message."""


@pytest.fixture
def root(tmp_path):
    tree = voc_tree(tmp_path / "voc", {"train": 4, "val": 3})
    for seed, path in enumerate(sorted((tree / "JPEGImages").iterdir())):
        Image.fromarray(random_pixels(100 + seed)).save(path, quality=95)
    return tree


def examine(root):
    layout = VOCFolder(root)
    splits = {split: layout.items(split) for split in ("train", "val")}
    return examine_dataset(
        splits, CLASSES, crop_size=33, largest_scale=2.0, num_workers=1, progress=False
    )  # fmt: skip


def read_split(root, split):
    """Check and read a split from first to last, as training does."""
    items = VOCFolder(root).items(split)
    data = SegmentationDataset(split, items, classes=CLASSES, transform=IdentityTransform())
    check_split(data)
    for index in range(len(data)):
        data[index]


def test_undamaged_tree_has_no_errors(root):
    report = examine(root)
    assert not report.with_severity("error")
    assert {f.kind for f in report.findings} <= {"class without a pixel"}
    for split in ("train", "val"):
        read_split(root, split)


@pytest.mark.parametrize("name", DAMAGE)
def test_doctor_reports_file_problem_and_remedy(name, root):
    damage, reported_by, kind, message = DAMAGE[name]
    damage(root)
    findings = [f for f in examine(root).findings if f.kind != "class without a pixel"]
    assert findings, "no findings"
    extra = {"missing mask"} if "train_9" in findings[0].path else set()
    assert len({f.kind for f in findings} - extra) == 1, findings  # and no other kind
    (finding, *_) = findings
    assert kind in finding.kind
    assert message in f"{finding.path}: {finding.problem}"
    assert (
        "train_1" in finding.path
        or "train_9" in finding.path
        or "val_0" in finding.path
        or ("train_2" in finding.path)
    )
    assert finding.remedy.endswith(".")
    if reported_by == READ:
        assert finding.severity == "error"


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if d[1] == READ])
def test_training_stops_with_the_words_of_the_doctor(name, root):
    damage, _, _, message = DAMAGE[name]
    damage(root)
    finding = next(f for f in examine(root).findings if f.severity == "error")
    with pytest.raises(UserError) as error:
        read_split(root, "train")
    assert message in str(error.value)
    if finding.kind != "listed twice":
        words = f"{finding.path}: {finding.problem}. {finding.remedy}"
        assert str(error.value).startswith(words)
        rest = str(error.value).removeprefix(words)
        assert rest == (
            " deeplab prepare ... check=true lists all bad files, and data.on_error=skip leaves "
            "them out."
        )


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if d[1] == DOCTOR])
def test_training_continues_if_only_the_doctor_reports(name, root):
    DAMAGE[name][0](root)
    for split in ("train", "val"):
        read_split(root, split)


def test_truncation_at_any_byte_is_an_error(root):
    """A truncated JPEG or PNG never decodes to an image."""
    Image.fromarray(random_pixels()).save(image_path(root), quality=90)
    for path in (image_path(root), mask_path(root)):
        content = path.read_bytes()
        for keep in np.linspace(1, len(content) - 1, 25).astype(int):
            path.write_bytes(content[:keep])
            with pytest.raises(UserError, match=path.name):
                read_split(root, "train")
        path.write_bytes(content)
    read_split(root, "train")


def test_scripts_report_damage(root, tmp_path):
    truncate(image_path(root, "train_1"), 0.5)
    write_label(root, 33, name="val_2")
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train"]
    done = run("prepare", *arguments, "check=true", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "error: truncated image (1)" in done.stdout
    assert "label 33, but data.classes names 21 classes" in done.stdout
    assert "7 images: 2 errors" in done.stdout
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


def test_training_on_validation_images_is_a_warning(root, tmp_path):
    write_list(root, "val", ["val_0", "train_1"])
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train", *TINY]
    done = run("train", *arguments, cwd=tmp_path)
    assert "Warning: train_1: this image is in train and in val" in done.stdout


def test_undamaged_tree_passes_prepare(root, tmp_path):
    arguments = ["data=voc", f"data.root={root}", "data.train_split=train", "check=true"]
    done = run("prepare", *arguments, "enable_progress_bar=false", cwd=tmp_path)
    assert "0 errors" in done.stdout
