"""``prepare.py`` as a user runs it, against tiny archives in the true layout."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from deeplab.cli import ROOT
from deeplab.config.data import CityscapesConfig
from deeplab.data.labels import ClassSet
from published import (
    TRAINAUG,
    VOC,
    cityscapes_archives,
    coco_archives,
    labels,
    md5,
    number_of,
    serving_folder,
    voc_archives,
)
from scripts import environment, run, run_folders

TINY = (
    "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "data.crop_size=33", "stage.steps=2",
    "stage.batch_size=2", "trainer.accelerator=cpu", "trainer.precision=32-true",
    "trainer.num_workers=0", "trainer.progress=false", "logger=csv",
)  # fmt: skip
FEW = ("data.unpacked=0.001", "progress=false")
COUNTS = ("data.expected.train=3", "data.expected.val=2", "data.expected.trainval=5",
          "data.expected.trainaug=6")  # fmt: skip


def addresses(archives, url):
    """The overrides that point at a server."""
    for part, path in archives.items():
        yield f"data.archives.{part}.url={url}/{path.name}"
        yield f"data.archives.{part}.checksum={md5(path)}"
        yield f"data.archives.{part}.size={path.stat().st_size}"


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def prepare(*arguments, cwd, ok=True):
    return run("prepare", *arguments, *FEW, cwd=cwd, ok=ok)


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return voc_archives(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def voc_tree(voc, tmp_path_factory):
    """An undisturbed preparation."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    with serving_folder(voc["sbd"].parent) as (url, _):
        prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=cwd)
    return cwd / "data" / "VOCdevkit"


def test_voc_from_its_archives(voc, tmp_path):
    with serving_folder(voc["sbd"].parent) as (url, asked):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        done = prepare(*arguments, cwd=tmp_path)
        assert sorted(asked) == ["/VOCtrainval_11-May-2012.tar", "/benchmark.tgz"]
        assert done.stdout.startswith("Needs about 0.0 GB for archives in data/downloads")
        assert "trainaug" in done.stdout
        assert "python src/train.py data=voc" in done.stdout
        again = prepare(*arguments, cwd=tmp_path)
        assert "nothing to do" in again.stdout
        assert len(asked) == 2
        more = prepare(*arguments, "data.parts=[trainval,sbd,test]", cwd=tmp_path)
        assert asked[2:] == ["/VOC2012test.tar"]
        assert "test" in more.stdout
    root = tmp_path / "data" / "VOCdevkit"
    lists = root / "VOC2012" / "ImageSets" / "Segmentation"
    assert (lists / "trainaug.txt").read_text().split() == TRAINAUG
    assert (lists / "test.txt").read_text().split() == VOC["test"]
    folders = {p.name for p in (root / "VOC2012").iterdir()}
    assert folders == {"ImageSets", "JPEGImages", "SegmentationClass", "SegmentationClassAug"}
    assert {p.name for p in root.iterdir()} == {"VOC2012", "manifest.json"}
    mask = np.array(Image.open(root / "VOC2012/SegmentationClassAug/2010_1.png"))
    assert np.array_equal(mask, labels(number_of("2010_1")))
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["made_from"] == ["sbd", "test", "trainval"]
    assert manifest["splits"]["trainaug"] == 6
    done = run("train", "data=voc", *TINY, "data.eval_size=65", cwd=tmp_path)
    assert "mIoU" in done.stdout
    checked = run("prepare", "data=voc", "check=true", "progress=false", cwd=tmp_path)
    assert "0 errors" in checked.stdout or "nothing wrong" in checked.stdout


def test_another_file_than_was_published_is_refused(voc, tmp_path):
    with serving_folder(voc["sbd"].parent) as (url, _):
        wrong = "data.archives.trainval.checksum=md5:00000000000000000000000000000000"
        done = prepare("data=voc", *addresses(voc, url), wrong, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "checksum" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "VOCdevkit").exists()


def test_counts_that_were_not_published_are_refused(voc, tmp_path):
    with serving_folder(voc["sbd"].parent) as (url, _):
        done = prepare("data=voc", *addresses(voc, url), cwd=tmp_path, ok=False)
    assert "train has 3 images; 1464 were published" in done.stderr
    refused = run("train", "data=voc", *TINY, cwd=tmp_path, ok=False)
    assert "not whole" in refused.stderr


def test_a_disk_that_is_too_small_is_seen_before(voc, tmp_path):
    done = run("prepare", "data=voc", "data.unpacked=1e9", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "Needs about" in done.stdout
    assert "Make room" in done.stderr
    assert not (tmp_path / "data").exists()


def killed_when(condition, arguments, cwd, limit=60):
    """Start ``prepare.py`` and kill it with all its processes as soon as ``condition`` is true."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "src" / "prepare.py"), *arguments, *FEW],
        cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + limit
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    before = process.poll()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return before is None


MOMENTS = {
    "download": lambda root: any(root.parent.glob("downloads/*.part")),
    "unpacking": lambda root: any(root.glob("VOC2012/JPEGImages/*")),
    "conversion": lambda root: any(root.glob("VOC2012/SegmentationClassAug/*")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_is_the_same(moment, voc, voc_tree, tmp_path):
    root = tmp_path / "data" / "VOCdevkit"
    slow = {"pause": 0.05} if moment == "download" else {}
    with serving_folder(voc["sbd"].parent, **slow) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        assert killed_when(lambda: MOMENTS[moment](root), arguments, tmp_path)
    assert not (root / "manifest.json").exists()
    refused = run("train", "data=voc", *TINY, cwd=tmp_path, ok=False)
    assert refused.returncode == 2
    assert ("not whole" if moment != "download" else "does not exist") in refused.stderr
    with serving_folder(voc["sbd"].parent) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        prepare(*arguments, cwd=tmp_path)
    assert contents(root) == contents(voc_tree)


@pytest.mark.parametrize("limit", [9_000, 1_000])
def test_a_full_disk_says_so_and_goes_on_later(limit, voc, voc_tree, tmp_path):
    """The limit on a file's size stops the download, or (with archives that are here) the
    unpacking."""
    with serving_folder(voc["sbd"].parent) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS, *FEW]
        if limit == 1_000:
            downloads = tmp_path / "data" / "downloads"
            downloads.mkdir(parents=True)
            for path in voc.values():
                shutil.copy(path, downloads)
        done = subprocess.run(
            [sys.executable, str(ROOT / "src" / "prepare.py"), *arguments],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Make room" in done.stderr
        assert "Traceback" not in done.stderr
        prepare(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_two_at_once_do_not_meet(tmp_path, voc):
    for lock in ("VOCdevkit/.preparing", "downloads/.lock"):
        path = tmp_path / "data" / lock
        path.parent.mkdir(parents=True)
        with path.open("w") as held, serving_folder(voc["sbd"].parent) as (url, _):
            fcntl.flock(held, fcntl.LOCK_EX)
            done = prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert f"data/{lock.split('/')[0]}: another process" in done.stderr
        shutil.rmtree(tmp_path / "data")


# files that are here already


def test_archives_that_are_here(voc, voc_tree, tmp_path):
    done = prepare("data=voc", f"source={voc['sbd'].parent}", cwd=tmp_path)
    assert "train has 3 images; 1464 were published" in done.stdout
    root = tmp_path / "data" / "VOCdevkit"
    made = contents(root)
    made.pop("manifest.json")
    expected = {k: v for k, v in contents(voc_tree).items() if k != "manifest.json"}
    assert expected.items() <= made.items()


def test_one_archive_alone(voc, tmp_path):
    done = prepare("data=voc", f"source={voc['trainval']}", cwd=tmp_path)
    assert "left out: benchmark.tgz" in done.stdout
    lists = tmp_path / "data/VOCdevkit/VOC2012/ImageSets/Segmentation"
    assert {p.stem for p in lists.iterdir()} == {"train", "val", "trainval"}


def test_an_unpacked_tree_is_linked_and_left_alone(voc, voc_tree, tmp_path):
    source = tmp_path / "mine"
    shutil.copytree(voc_tree, source)
    shutil.copytree(voc["sbd"].parent / "work" / "sbd", source / "sbd")
    shutil.rmtree(source / "VOC2012" / "SegmentationClassAug")
    before = contents(source)
    prepare("data=voc", f"source={source}", cwd=tmp_path)
    assert contents(source) == before
    root = tmp_path / "data" / "VOCdevkit"
    image = "VOC2012/JPEGImages/2007_1.jpg"
    assert (root / image).stat().st_ino == (source / image).stat().st_ino
    made = contents(root)
    assert made.pop("manifest.json")
    expected = contents(voc_tree)
    expected.pop("manifest.json")
    assert made == expected


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda s: None, "does not exist"),
        (lambda s: s.mkdir(), "neither an archive"),
        (lambda s: s.write_bytes(b"this is no archive"), "archive"),
    ],
)
def test_a_source_that_is_none(make, words, tmp_path):
    source = tmp_path / "source"
    make(source)
    done = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_archive(voc, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    name = "VOCtrainval_11-May-2012.tar"
    data = voc["trainval"].read_bytes()
    (source / name).write_bytes(data[: len(data) // 2])
    done = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert name in done.stderr
    assert "damaged" in done.stderr
    refused = run("train", "data=voc", *TINY, cwd=tmp_path, ok=False)
    assert "not whole" in refused.stderr


# COCO and Cityscapes


def test_coco_from_its_archives_and_a_stage_on_it(tmp_path):
    archives = coco_archives(tmp_path / "served")
    with serving_folder(tmp_path / "served") as (url, asked):
        prepare("data=coco", *addresses(archives, url), cwd=tmp_path)
        assert len(asked) == 3
    root = tmp_path / "data" / "coco"
    kept = [f"train2017/{i:012}" for i in (3, 4, 5)]
    assert (root / "lists" / "train2017.txt").read_text().split() == kept
    assert len(list((root / "masks" / "train2017").iterdir())) == 3
    mask = np.array(Image.open(root / "masks" / f"{kept[0]}.png"))
    assert set(np.unique(mask)) == {0, 12, 255}  # a dog, and a crowd that is ignored
    assert not list(root.glob("annotations/captions*"))
    run("train", "stage=coco", *TINY, "data.eval_size=65", cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("coco-")


def test_coco_2014(tmp_path):
    coco_archives(tmp_path / "mine", 2014)
    done = prepare("data=coco2014", "source=mine", cwd=tmp_path)
    assert "train.py data=coco2014" in done.stdout
    lists = tmp_path / "data" / "coco" / "lists"
    assert {p.stem for p in lists.iterdir()} == {"train2014", "val2014"}
    run("train", "data=coco2014", *TINY, "data.eval_size=65", cwd=tmp_path)


def test_coco_killed_while_drawing(tmp_path):
    coco_archives(tmp_path / "mine", count=40)
    arguments = ["data=coco", "source=mine", "workers=1"]
    masks = tmp_path / "data" / "coco" / "masks" / "train2017"
    assert killed_when(lambda: masks.is_dir() and any(masks.iterdir()), arguments, tmp_path)
    refused = run("train", "data=coco", *TINY, cwd=tmp_path, ok=False)
    assert "not whole" in refused.stderr
    prepare(*arguments, cwd=tmp_path)
    (tmp_path / "other").mkdir()
    prepare("data=coco", f"source={tmp_path}/mine", "workers=1", cwd=tmp_path / "other")
    made, expected = (contents(p / "data" / "coco") for p in (tmp_path, tmp_path / "other"))
    assert made == expected


def test_cityscapes_from_ones_own_archives(tmp_path):
    archives = cityscapes_archives(tmp_path / "mine")
    asked = prepare("data=cityscapes", cwd=tmp_path, ok=False)
    assert asked.returncode == 2
    assert "login" in asked.stderr
    assert "gtFine_trainvaltest.zip" in asked.stderr
    done = prepare("data=cityscapes", "source=mine", cwd=tmp_path)
    for split in ("train", "val", "test", "train_extra"):
        assert f"\n  {split} " in done.stdout
    assert not list((tmp_path / "data" / "cityscapes").rglob("*color*"))
    sizes = ["data.crop_size=65", "data.eval_size=[65,129]", "data.train_split=train+train_extra"]
    run("train", "data=cityscapes", *(t for t in TINY if "crop" not in t), *sizes, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    protocol = json.loads((folder / "metrics.json").read_text())["protocol"]
    assert protocol["images"] == 2
    assert len(archives) == 4


def test_cityscapes_label_ids_become_the_19_train_ids():
    """Against the table of the data set's makers, by name."""
    from test_config import composed

    data = CityscapesConfig(**composed("train", "data=cityscapes")["data"])
    classes = ClassSet(data.classes, data.palette, data.values, data.ignored, data.unlisted)
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    train_ids = classes.decode(ids, ROOT).ravel().tolist()
    named = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
             19: "traffic_light", 20: "traffic_sign", 21: "vegetation", 22: "terrain", 23: "sky",
             24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
             32: "motorcycle", 33: "bicycle"}  # fmt: skip
    for label_id, train_id in enumerate(train_ids):
        assert train_id == (classes.names.index(named[label_id]) if label_id in named else 255)


def test_prepare_does_not_wait_for_torch(tmp_path, voc):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['prepare.py', 'data=voc', 'source={voc['sbd'].parent}', 'progress=false']\n"
        f"sys.path.insert(0, '{ROOT}/src')\n"
        f"runpy.run_path('{ROOT}/src/prepare.py', run_name='__main__')\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
