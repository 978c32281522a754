"""Tests of the archives for test servers, which are read here with other tools."""

import io
import json
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

from deeplab.data.class_set import ClassSet, voc_palette, write_mask
from deeplab.data.items import Item
from deeplab.evaluation.evaluation_folder import EvaluationFolder
from deeplab.evaluation.submission import write_submission
from deeplab.utils.errors import UserError
from support.scripts import CPU, SMALL, run, run_folders
from support.trees import voc_tree

THREE = ClassSet(("road", "car", "sky"), values=(7, 26, 23), unlisted_values="ignore")


@pytest.fixture
def predictions(tmp_path):
    """Write predictions of three classes for three images; return the folder and the items."""
    rng = np.random.default_rng(0)
    folder, items = EvaluationFolder(tmp_path / "evaluation"), []
    for i, size in enumerate(((20, 30), (31, 17), (40, 40))):
        image = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
        items.append(Item(f"city_{i}", image, tmp_path / "none.png"))
        write_mask(folder.prediction(items[-1].id), rng.integers(0, 3, size, dtype=np.uint8))
    return folder, items


def test_voc(predictions, tmp_path):
    folder, items = predictions
    path = write_submission("voc", folder, items, THREE, split="test", progress=False)
    subprocess.run(["tar", "xzf", path, "-C", tmp_path], check=True)
    unpacked = tmp_path / "results/VOC2012/Segmentation/comp6_test_cls"
    assert sorted(p.stem for p in unpacked.iterdir()) == [item.id for item in items]
    for item in items:
        packed, image = (Image.open(p) for p in (unpacked / f"{item.id}.png", item.image))
        assert packed.mode == "P"
        assert packed.size == image.size
        assert packed.getpalette()[: 3 * 21] == voc_palette()[:21].ravel().tolist()
        assert np.array_equal(packed, Image.open(folder.prediction(item.id)))


def test_cityscapes(predictions):
    folder, items = predictions
    path = write_submission("cityscapes", folder, items, THREE, split="test", progress=False)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == [f"{item.id}.png" for item in items]
        for item in items:
            packed = Image.open(io.BytesIO(archive.read(f"{item.id}.png")))
            label = np.array(Image.open(folder.prediction(item.id)))
            assert packed.mode == "L"
            assert np.array_equal(packed, np.array([7, 26, 23], np.uint8)[label])


def test_invalid_predictions_are_not_packed(predictions):
    folder, items = predictions
    arguments = {"split": "test", "progress": False}
    write_mask(folder.prediction("city_1"), np.zeros((31, 18), np.uint8))
    with pytest.raises(UserError, match=r"city_1.*size"):
        write_submission("voc", folder, items, THREE, **arguments)
    write_mask(folder.prediction("city_1"), np.full((31, 17), 3, np.uint8))
    with pytest.raises(UserError, match=r"city_1.*3 classes"):
        write_submission("voc", folder, items, THREE, **arguments)
    folder.prediction("city_1").unlink()
    with pytest.raises(UserError, match="missing"):
        write_submission("voc", folder, items, THREE, **arguments)
    with pytest.raises(UserError, match="no label ids"):
        write_submission("cityscapes", folder, items[:1], ClassSet(("a", "b")), **arguments)
    assert not list(folder.path.glob("*.tgz"))
    assert not list(folder.path.glob("*.zip"))


def test_split_without_masks(tmp_path):
    root = voc_tree(tmp_path / "VOC2012", {"trainaug": 4, "val": 2, "test": 3}, size=(50, 60))
    for mask in root.glob("SegmentationClass/test_*"):
        mask.unlink()
    run(
        "train", "data=voc", f"data.root={root}", "backbone=resnet_tiny", "aspp=tiny",
        "decoder=tiny", "data.crop_size=33", "data.eval_size=65",
        *(s for s in SMALL if not s.startswith("data.")), cwd=tmp_path,
    )  # fmt: skip
    (folder,) = run_folders(tmp_path)
    done = run("evaluate", f"run={folder}", "split=test", "submission=voc", *CPU, cwd=tmp_path)
    assert "no masks" in done.stdout
    (archive,) = folder.glob("evaluations/test-weights-os16/voc_test.tgz")
    assert str(archive) in done.stdout
    result = json.loads((archive.parent / "result.json").read_text())
    assert not result["scored"]
    assert "mIoU" not in result
    assert not (archive.parent / "images.npz").exists()
    listing = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True)
    assert len(listing.stdout.split()) == 3
    rejected = run(
        "evaluate",
        f"run={folder}",
        "submission=voc",
        "save_predictions=false",
        cwd=tmp_path,
        ok=False,
    )
    assert rejected.returncode == 2
    assert "predictions" in rejected.stderr
