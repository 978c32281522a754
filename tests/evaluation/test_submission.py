"""Archives for the test servers, read back by other means than they are written."""

import io
import json
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

from deeplab.data.class_set import ClassSet, voc_palette, write_mask
from deeplab.data.layouts.base import Item
from deeplab.evaluation.evaluation_folder import EvaluationFolder
from deeplab.evaluation.submission import write_submission
from deeplab.utils.errors import UserError
from support.scripts import SMALL, run, run_folders
from support.trees import voc_tree

THREE = ClassSet(("road", "car", "sky"), values=(7, 26, 23), unlisted_values="ignore")


@pytest.fixture
def evaluated(tmp_path):
    """Three images with predictions of three classes."""
    rng = np.random.default_rng(0)
    folder, items = EvaluationFolder(tmp_path / "evaluation"), []
    for i, size in enumerate(((20, 30), (31, 17), (40, 40))):
        image = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
        items.append(Item(f"city_{i}", image, tmp_path / "none.png"))
        write_mask(folder.prediction(items[-1].id), rng.integers(0, 3, size, dtype=np.uint8))
    return folder, items


def test_voc(evaluated, tmp_path):
    folder, items = evaluated
    path = write_submission("voc", folder, items, THREE, split="test", progress=False)
    subprocess.run(["tar", "xzf", path, "-C", tmp_path], check=True)
    inside = tmp_path / "results/VOC2012/Segmentation/comp6_test_cls"
    assert sorted(p.stem for p in inside.iterdir()) == [item.id for item in items]
    for item in items:
        found, expected = (Image.open(p) for p in (inside / f"{item.id}.png", item.image))
        assert found.mode == "P"
        assert found.size == expected.size
        assert found.getpalette()[: 3 * 21] == voc_palette()[:21].ravel().tolist()
        assert np.array_equal(found, Image.open(folder.prediction(item.id)))


def test_cityscapes(evaluated):
    folder, items = evaluated
    path = write_submission("cityscapes", folder, items, THREE, split="test", progress=False)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == [f"{item.id}.png" for item in items]
        for item in items:
            found = Image.open(io.BytesIO(archive.read(f"{item.id}.png")))
            label = np.array(Image.open(folder.prediction(item.id)))
            assert found.mode == "L"
            assert np.array_equal(found, np.array([7, 26, 23], np.uint8)[label])


def test_what_the_server_would_refuse_is_not_packed(evaluated):
    folder, items = evaluated
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


def test_a_test_set_without_masks(tmp_path):
    root = voc_tree(tmp_path / "VOC2012", {"trainaug": 4, "val": 2, "test": 3}, size=(50, 60))
    for mask in root.glob("SegmentationClass/test_*"):
        mask.unlink()
    run(
        "train", "data=voc", f"data.root={root}", "backbone=resnet_tiny", "aspp=tiny",
        "decoder=tiny", "data.crop_size=33", "data.eval_size=65",
        *(s for s in SMALL if not s.startswith("data.")), cwd=tmp_path,
    )  # fmt: skip
    (folder,) = run_folders(tmp_path)
    options = (
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
    )
    done = run("evaluate", f"run={folder}", "split=test", "submission=voc", *options, cwd=tmp_path)
    assert "no masks" in done.stdout
    (archive,) = folder.glob("evaluations/test-weights-os16/voc_test.tgz")
    assert str(archive) in done.stdout
    result = json.loads((archive.parent / "result.json").read_text())
    assert not result["scored"]
    assert "mIoU" not in result
    assert not (archive.parent / "images.npz").exists()
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True)
    assert len(listed.stdout.split()) == 3
    refused = run(
        "evaluate",
        f"run={folder}",
        "submission=voc",
        "save_predictions=false",
        cwd=tmp_path,
        ok=False,
    )
    assert refused.returncode == 2
    assert "predictions" in refused.stderr
