"""``prepare.py`` as a user runs it, against tiny archives in the true layout."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from deeplab.config.paths import ROOT
from deeplab.data.class_set import ClassSet
from deeplab.preparation.file_selection import selection
from support.published import (
    SBD,
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
from support.scripts import environment, run, run_folders
from support.servers import Response, serving

TINY = (
    "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage.max_steps=2", "stage.batch_size=2",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_workers=0",
    "trainer.enable_progress_bar=false", "logger=csv",
)  # fmt: skip
SIZES = ("data.crop_size=33", "data.eval_size=65")
FEW = ("data.unpacked=0.001", "enable_progress_bar=false", "num_workers=1")
COUNTS = ("data.expected.train=3", "data.expected.val=2", "data.expected.trainval=5",
          "data.expected.trainaug=6")  # fmt: skip
TAR, TEST_TAR, TGZ = "VOCtrainval_11-May-2012.tar", "VOC2012test.tar", "benchmark.tgz"
WITH_TEST = "data.parts=[trainval,sbd,test]"
SCRIPT = str(ROOT / "src" / "prepare.py")

PATCHED = """
import os, runpy, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[1]))
sys.argv = sys.argv[1:]
from deeplab.utils import download as download_module
download_module.PAUSE = 0.001
def slowly(*names, replace=os.replace):
    time.sleep({pause})
    replace(*names)
os.replace = slowly
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The script with short pauses between attempts, and perhaps a long one before each file is there
under its name: then a killed process leaves a draft."""


def prepare(*arguments, cwd, ok=True):
    """Run the script to its end, which must be a good one or a message."""
    done = run("prepare", *arguments, *FEW, cwd=cwd, ok=ok)
    assert done.returncode == (0 if ok else 2), done.stdout + done.stderr
    return done


def addresses(archives, url):
    """The overrides that point at a server."""
    for part, path in archives.items():
        yield f"data.archives.{part}.url={url}/{path.name}"
        yield f"data.archives.{part}.checksum={md5(path)}"
        yield f"data.archives.{part}.size={path.stat().st_size}"


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def without_manifest(root):
    return {name: data for name, data in contents(root).items() if name != "manifest.json"}


def start(*arguments, cwd, pause=0.0, **keywords):
    """The script in a process group of its own, which the caller is to end."""
    return subprocess.Popen(
        [sys.executable, "-c", PATCHED.format(pause=pause), SCRIPT, *FEW, *arguments],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, **keywords,
    )  # fmt: skip


def wait_for(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.001)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was over before"


def refuses_to_train(data, cwd):
    refused = run("train", f"data={data}", *TINY, *SIZES, cwd=cwd, ok=False)
    return refused.returncode == 2 and "not whole" in refused.stderr


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return voc_archives(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def archives(voc):
    """The folder of VOC's archives, and ``work`` with what is in them."""
    return voc["sbd"].parent


@pytest.fixture
def served(voc, archives):
    """The arguments that download from a server, and what it has been asked for."""
    with serving_folder(archives) as (url, asked):
        yield ["data=voc", *addresses(voc, url), *COUNTS], asked


@pytest.fixture(scope="module")
def voc_tree(voc, archives, tmp_path_factory):
    """An undisturbed preparation."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    with serving_folder(archives) as (url, _):
        prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=cwd)
    return cwd / "data" / "VOCdevkit"


# VOC from a server


def test_voc_from_its_archives(served, archives, tmp_path):
    arguments, asked = served
    done = run("prepare", *arguments, "data.unpacked=0.001", cwd=tmp_path)
    assert sorted(asked) == [f"/{TAR}", f"/{TGZ}"]
    lines = done.stdout.splitlines()
    assert lines[0] == "Preparing voc (trainval, sbd)"
    assert lines[1].split()[:4] == ["download", "95.7kB", "into", "data/downloads"]
    assert lines[2].split()[:4] == ["unpack", "1.00MB", "into", "data/VOCdevkit"]
    assert "  trainaug           6 images" in lines
    assert lines[-1] == "  python src/train.py data=voc"
    for bar in (f"Downloading {TAR}", f"Unpacking {TGZ}", "Converting SBD"):
        assert f"{bar}: 100%" in done.stderr

    root = tmp_path / "data" / "VOCdevkit"
    lists = root / "VOC2012" / "ImageSets" / "Segmentation"
    assert (lists / "trainaug.txt").read_text().split() == TRAINAUG
    folders = {p.name for p in (root / "VOC2012").iterdir()}
    assert folders == {"ImageSets", "JPEGImages", "SegmentationClass", "SegmentationClassAug"}
    assert {p.name for p in root.iterdir()} == {"VOC2012", "manifest.json"}
    assert {p.name for p in (tmp_path / "data" / "downloads").iterdir()} == {TAR, TGZ}
    published = archives / "work" / "trainval" / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    assert contents(root / "VOC2012" / "SegmentationClass") == contents(published)
    for name in (*SBD["train"], *SBD["val"]):
        mask = Image.open(root / "VOC2012" / "SegmentationClassAug" / f"{name}.png")
        assert np.array_equal(np.array(mask), labels(number_of(name)))
        assert mask.mode == "P"
    manifest = json.loads((root / "manifest.json").read_text())
    splits = {"train": 3, "trainaug": 6, "trainval": 5, "val": 2}
    assert manifest == {"parts": ["sbd", "trainval"], "splits": splits}

    run("train", "data=voc", *TINY, *SIZES, cwd=tmp_path)
    metrics = json.loads((run_folders(tmp_path)[0] / "metrics.json").read_text())
    assert metrics["protocol"]["images"] == 2
    checked = run(
        "prepare", "data=voc", "check=true", "enable_progress_bar=false", cwd=tmp_path, ok=False
    )
    assert "0 errors" in checked.stdout or "nothing wrong" in checked.stdout


def test_a_second_time_nothing_is_done(served, voc_tree, tmp_path):
    arguments, asked = served
    prepare(*arguments, cwd=tmp_path)
    again = prepare(*arguments, cwd=tmp_path)
    assert again.stdout == "data/VOCdevkit is ready; nothing to do (overwrite=true does it anew).\n"
    root = tmp_path / "data" / "VOCdevkit"
    assert contents(root) == contents(voc_tree)

    shutil.rmtree(tmp_path / "data" / "downloads")
    asked.clear()
    more = prepare(*arguments, WITH_TEST, cwd=tmp_path)
    assert asked == [f"/{TEST_TAR}"]
    assert "Preparing voc (test)" in more.stdout
    assert f"data/downloads/{TEST_TAR}" in more.stdout
    lists = root / "VOC2012" / "ImageSets" / "Segmentation"
    assert (lists / "test.txt").read_text().split() == VOC["test"]
    assert json.loads((root / "manifest.json").read_text())["parts"] == ["sbd", "test", "trainval"]
    assert without_manifest(voc_tree).items() < contents(root).items()
    for command in (arguments, [*arguments, WITH_TEST]):
        assert "nothing to do" in prepare(*command, cwd=tmp_path).stdout

    (root / ".preparing").touch()  # as if something more had been interrupted
    assert "is ready in" in prepare(*arguments, cwd=tmp_path).stdout
    assert not (root / ".preparing").exists()
    assert len(asked) == 1


def test_lost_files_are_made_again_and_damaged_ones_on_demand(archives, voc_tree, tmp_path):
    root = tmp_path / "data" / "VOCdevkit"
    shutil.copytree(voc_tree, root)
    arguments = ["data=voc", f"source={archives}", *COUNTS]
    lost = [
        "JPEGImages/2010_1.jpg",
        "SegmentationClass/2008_1.png",
        "SegmentationClassAug/2010_2.png",
    ]
    for name in lost:
        (root / "VOC2012" / name).unlink()
    done = prepare(*arguments, cwd=tmp_path)
    assert "files have gone" in done.stdout
    assert contents(root) == contents(voc_tree)

    damaged = [root / "VOC2012" / name for name in lost]
    for path in damaged:
        path.write_bytes(bytes(path.stat().st_size))
    assert "nothing to do" in prepare(*arguments, cwd=tmp_path).stdout
    prepare(*arguments, "overwrite=true", cwd=tmp_path)
    assert contents(root) == contents(voc_tree)


def test_another_file_than_was_published_is_refused(served, voc_tree, tmp_path):
    arguments, asked = served
    wrong = "data.archives.trainval.checksum=md5:00000000000000000000000000000000"
    done = prepare(*arguments, wrong, cwd=tmp_path, ok=False)
    for word in (TAR, "checksum", "md5:00000000000000000000000000000000", "login page"):
        assert word in done.stderr
    downloads = tmp_path / "data" / "downloads"
    assert not list(downloads.glob(f"{TAR}*"))
    assert refuses_to_train("voc", tmp_path)
    asked.clear()
    prepare(*arguments, cwd=tmp_path)
    assert f"/{TAR}" in asked
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_no_checksum_no_download(served, tmp_path):
    arguments, asked = served
    done = prepare(*arguments, "data.archives.sbd.checksum=null", cwd=tmp_path, ok=False)
    assert "data.archives.sbd.checksum" in done.stderr
    assert not asked
    assert not (tmp_path / "data").exists()


def test_counts_that_were_not_published_are_refused(served, tmp_path):
    arguments, _ = served
    wrong = ["data.expected.train=1464", "data.expected.trainaug=10582"]
    done = prepare(*arguments, *wrong, cwd=tmp_path, ok=False)
    assert "train has 3 images, 1464 were published" in done.stderr
    assert "data.expected.train=3 data.expected.trainaug=6" in done.stderr
    assert (tmp_path / "data" / "VOCdevkit" / ".preparing").exists()


def test_a_cut_connection_is_resumed_and_a_silent_server_named(voc, voc_tree, tmp_path):
    with ExitStack() as stack:
        arguments, sites = ["data=voc", *COUNTS], {}
        for part, plan in {
            "trainval": [Response(cut=50_000), Response()],
            "sbd": [Response(status=503)],
        }.items():
            site = sites[part] = stack.enter_context(serving(voc[part].read_bytes(), *plan))
            there = addresses({part: voc[part]}, site.url.removesuffix("/file"))
            arguments += [*there]
        process = start(*arguments, cwd=tmp_path)
        told = process.communicate()[0]
        assert process.returncode == 2
        assert "503 Service Unavailable, also when tried again" in told
        assert "Traceback" not in told
        assert not (tmp_path / "data" / "downloads" / ".lock").exists()
        sites["sbd"].plan = [Response()]
        prepare(*arguments, cwd=tmp_path)
        assert sites["trainval"].asked == [None, "bytes=50000-"]
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_no_server(voc, tmp_path):
    process = start("data=voc", *addresses(voc, "http://127.0.0.1:1"), cwd=tmp_path)
    told = process.communicate()[0]
    assert process.returncode == 2
    assert "Connection refused, also when tried again. Check the network" in told
    assert "into data/downloads by other means" in told


def test_parts_of_one_name_do_not_meet(voc, voc_tree, tmp_path):
    arguments = ["data=voc", *COUNTS]
    with ExitStack() as stack:
        for part in ("trainval", "sbd"):
            site = stack.enter_context(serving(voc[part].read_bytes()))
            arguments += [
                f"data.archives.{part}.url={site.url}",
                f"data.archives.{part}.checksum={md5(voc[part])}",
            ]
        prepare(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


# Killed, full, two at once

MOMENTS = {
    "download": "../downloads/*.part",
    "unpacking": "VOC2012/JPEGImages/*.jpg",
    "unpacking SBD": ".sbd/cls/*.mat",
    "conversion": "VOC2012/SegmentationClassAug/*.png",
    "list": "VOC2012/ImageSets/Segmentation/.trainaug.txt.*",
    "manifest": ".manifest.json.*",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_is_the_same(moment, voc, archives, voc_tree, tmp_path):
    root = tmp_path / "data" / "VOCdevkit"
    pause = 0.05 if moment == "download" else 0.0
    with serving_folder(archives, pause=pause) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        process = start(*arguments, cwd=tmp_path, pause=0.03)
        wait_for(lambda: any(root.glob(MOMENTS[moment])), process)
        kill(process)
    assert (root / ".preparing").exists()
    assert refuses_to_train("voc", tmp_path)
    for folder in ("", "VOC2012/JPEGImages", "VOC2012/SegmentationClassAug"):
        if (root / folder).is_dir():  # a draft, whether or not the process had just one
            (root / folder / ".2007_1.png.4194305").write_bytes(b"half")
    with serving_folder(archives) as (url, _):
        prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=tmp_path)
    assert contents(root) == contents(voc_tree)
    assert {p.name for p in (tmp_path / "data" / "downloads").iterdir()} == {TAR, TGZ}


def test_killed_while_a_part_is_added(voc, archives, voc_tree, tmp_path):
    """The data set that was whole stays so during the download, not after."""
    root = tmp_path / "data" / "VOCdevkit"
    shutil.copytree(voc_tree, root)
    downloads = tmp_path / "data" / "downloads"
    with serving_folder(archives, pause=0.1) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS, WITH_TEST]
        process = start(*arguments, cwd=tmp_path, pause=0.05)
        wait_for(lambda: any(downloads.glob("*.part")), process)
        assert not (root / ".preparing").exists()
        wait_for(lambda: (root / "VOC2012/ImageSets/Segmentation/test.txt").exists(), process)
        kill(process)
        assert (root / ".preparing").exists()
        told = prepare(*arguments[:-1], cwd=tmp_path, ok=False).stderr
        assert "split 'test'" in told
        assert "same parts" in told
        done = prepare(*arguments, cwd=tmp_path)
    assert "test               1 images" in done.stdout
    assert without_manifest(voc_tree).items() < contents(root).items()


def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("limit", [50_000, 1_000])
def test_a_full_disk_says_so_and_goes_on_later(limit, served, voc, voc_tree, tmp_path):
    """The limit on a file's size stops the download, or (with archives that are here) the
    unpacking."""
    arguments, asked = served
    if limit == 1_000:
        downloads = tmp_path / "data" / "downloads"
        downloads.mkdir(parents=True)
        for path in voc.values():
            shutil.copy(path, downloads)
    process = start(*arguments, cwd=tmp_path, preexec_fn=limited(limit))
    told = process.communicate()[0]
    assert process.returncode == 2, told
    assert ("data/downloads: File too large" if asked else "data/VOCdevkit: File too large") in told
    assert "Make room there" in told
    assert "it goes on where it stopped" in told
    assert "Traceback" not in told
    assert (tmp_path / "data" / "VOCdevkit" / ".preparing").exists()
    prepare(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_a_disk_that_is_too_small_is_seen_before(served, tmp_path):
    arguments, asked = served
    done = run("prepare", *arguments, "data.unpacked=1e9", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "unpack     1.00EB into data/VOCdevkit" in done.stdout
    assert "data/downloads and data/VOCdevkit: 1.00EB are needed" in done.stderr
    assert "Make room" in done.stderr
    assert not (tmp_path / "data").exists()
    assert not asked


def test_two_at_once(voc, archives, voc_tree, tmp_path):
    """One data set is prepared by one process; two share a folder of downloads."""
    root, other = tmp_path / "data" / "VOCdevkit", tmp_path / "other"
    with serving_folder(archives, pause=0.1) as (url, asked):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        first = start(*arguments, cwd=tmp_path)
        wait_for(lambda: any(root.parent.glob("downloads/*.part")), first)
        second = start(*arguments, f"data.root={other}", cwd=tmp_path)
        done = prepare(*arguments, cwd=tmp_path, ok=False)
        assert "data.root=data/VOCdevkit: another process is preparing it" in done.stderr
        told = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert "Another process downloads into data/downloads; waiting" in told[1]
    assert f"python src/train.py data=voc data.root={other}" in told[1]
    assert len(asked) == 2
    assert contents(root) == contents(other) == contents(voc_tree)


# Files that are here already


def test_archives_that_are_here(archives, voc_tree, tmp_path):
    before = contents(archives)
    done = prepare("data=voc", f"source={archives}", cwd=tmp_path)
    assert "Note: train has 3 images, 1464 were published" in done.stdout
    assert f"Also in {archives}, but not among data.parts: {TEST_TAR}" in done.stdout
    root = tmp_path / "data" / "VOCdevkit"
    assert contents(root) == contents(voc_tree)
    assert contents(archives) == before
    assert not (tmp_path / "data" / "downloads").exists()
    assert "nothing to do" in prepare("data=voc", *COUNTS, cwd=tmp_path).stdout


@pytest.mark.parametrize("first", ["trainval", "sbd"])
def test_one_archive_after_the_other(first, voc, voc_tree, tmp_path):
    second = "sbd" if first == "trainval" else "trainval"
    root = tmp_path / "data" / "VOCdevkit"
    done = prepare(
        "data=voc", f"source={voc[first]}", *COUNTS, cwd=tmp_path, ok=first == "trainval"
    )
    if first == "trainval":
        assert "Not in it: benchmark.tgz" in done.stdout
        assert "data.train_split=trainaug is not there" in done.stdout
        assert "train.py" not in done.stdout
        lists = root / "VOC2012" / "ImageSets" / "Segmentation"
        assert {p.stem for p in lists.iterdir()} == {"train", "val", "trainval"}
    else:
        assert (
            f"no split can be made of sbd alone. Run this again with a source that has {TAR}"
            in (done.stderr)
        )
        assert refuses_to_train("voc", tmp_path)
    prepare("data=voc", f"source={voc[second]}", *COUNTS, cwd=tmp_path)
    assert contents(root) == contents(voc_tree)
    again = prepare("data=voc", f"source={voc[first]}", *COUNTS, cwd=tmp_path)
    assert "nothing to do" in again.stdout


def test_unpacked_trees_are_linked_and_left_alone(archives, voc_tree, tmp_path):
    """VOC's and SBD's folders as their archives leave them, beside other years, and with a link
    that leads in a circle."""
    source = tmp_path / "mine"
    work = archives / "work"
    shutil.copytree(work / "trainval" / "VOCdevkit", source / "VOCdevkit")
    shutil.copytree(work / "sbd" / "benchmark_RELEASE" / "dataset", source / "sbd")
    other = source / "VOCdevkit" / "VOC2007"
    shutil.copytree(source / "VOCdevkit" / "VOC2012", other)
    (other / "ImageSets" / "Segmentation" / "train.txt").write_text("000005\n")
    (source / "round").symlink_to(source)
    before = contents(source)
    done = prepare("data=voc", f"source={source}", *COUNTS, cwd=tmp_path)
    assert contents(source) == before
    root = tmp_path / "data" / "VOCdevkit"
    assert contents(root) == contents(voc_tree)
    image = "VOC2012/JPEGImages/2007_1.jpg"
    assert (root / image).stat().st_ino == (source / "VOCdevkit" / image).stat().st_ino
    assert "unpack" not in done.stdout


def test_a_tree_is_prepared_where_it_is(archives, voc_tree, tmp_path):
    """With its root as VOC2012, as VOCdevkit, or above."""
    work = archives / "work"
    for number, (place, inside) in enumerate(
        [("VOCdevkit/VOC2012", ""), ("VOCdevkit", "VOC2012"), ("", "VOCdevkit/VOC2012")]
    ):
        mine = tmp_path / str(number)
        shutil.copytree(work / "trainval", mine)
        root = mine / place
        shutil.copytree(work / "sbd", root / "sbd")
        before = contents(mine)
        inodes = {p: p.stat().st_ino for p in mine.rglob("*") if p.is_file()}
        prepare("data=voc", f"source={root}", f"data.root={root}", *COUNTS, cwd=tmp_path)
        assert before.items() < contents(mine).items()
        assert {p: p.stat().st_ino for p in inodes} == inodes
        new = {p.as_posix() for p in map(Path, contents(root)) if root / p not in inodes}
        masks = {f"SegmentationClassAug/{name}.png" for name in (*SBD["train"], *SBD["val"])}
        made = {*masks, "ImageSets/Segmentation/trainaug.txt"}
        assert new == {(Path(inside) / name).as_posix() for name in made} | {"manifest.json"}
        for name in made:
            expected = (voc_tree / "VOC2012" / name).read_bytes()
            assert (root / inside / name).read_bytes() == expected


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda s: None, ["does not exist"]),
        (lambda s: s.mkdir(), ["neither an archive", TAR, "unpacked files of voc (trainval, sbd)"]),
        (lambda s: s.write_bytes(b"this is no archive"), ["neither tar nor zip"]),
        (lambda s: tarfile.open(s, "w").close(), ["has no file of voc"]),
    ],
    ids=["none", "empty", "no archive", "another archive"],
)
def test_a_source_that_is_none(make, words, tmp_path):
    source = tmp_path / "source"
    make(source)
    told = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False).stderr
    for word in (str(source), *words):
        assert word in told


def test_an_archive_of_unknown_name_is_looked_into(voc, tmp_path):
    mine = tmp_path / "mine.bin"
    shutil.copy(voc["test"], mine)
    done = prepare("data=voc", f"source={mine}", cwd=tmp_path)
    assert "test               1 images" in done.stdout
    manifest = tmp_path / "data" / "VOCdevkit" / "manifest.json"
    assert json.loads(manifest.read_text())["parts"] == ["test"]


@pytest.mark.parametrize("content", ["half of it", "another"])
def test_an_archive_that_is_not_what_it_is_called(content, voc, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    data = voc["trainval"].read_bytes()
    other = voc["test"].read_bytes()
    (source / TAR).write_bytes(data[: len(data) // 2] if content == "half of it" else other)
    told = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False).stderr
    assert str(source / TAR) in told
    assert ("is damaged" if content == "half of it" else "has no file of trainval") in told
    assert refuses_to_train("voc", tmp_path)


# COCO


def test_coco_from_its_archives_and_a_stage_on_it(tmp_path):
    archives = coco_archives(tmp_path / "served")
    with serving_folder(tmp_path / "served") as (url, asked):
        prepare("data=coco", *addresses(archives, url), cwd=tmp_path)
        assert len(asked) == 3
    root = tmp_path / "data" / "coco"
    kept = [f"train2017/{i:012}" for i in (3, 4, 5)]
    assert (root / "lists" / "train2017.txt").read_text().split() == kept
    masks = {f"train2017/{p.stem}" for p in (root / "masks" / "train2017").iterdir()}
    assert masks == {*kept}
    mask = np.array(Image.open(root / "masks" / f"{kept[0]}.png"))
    assert set(np.unique(mask)) == {0, 12, 255}  # a dog, and a crowd that is ignored
    assert not list(root.glob("annotations/captions*"))
    run("train", "stage=coco", *TINY, *SIZES, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("coco-")

    before = contents(root)
    lower = prepare("data=coco", "data.min_pixels=99", cwd=tmp_path)
    assert "train2017          4 images" in lower.stdout  # the one of 100 pixels, no network
    assert "download" not in lower.stdout.split("Next")[0]
    assert len(list((root / "masks" / "train2017").iterdir())) == 4
    prepare("data=coco", cwd=tmp_path)
    assert contents(root) == before
    assert "nothing to do" in prepare("data=coco", cwd=tmp_path).stdout


def test_coco_2014(tmp_path):
    coco_archives(tmp_path / "mine", 2014)
    coco_archives(tmp_path / "mine", 2017)
    done = prepare("data=coco2014", "source=mine", cwd=tmp_path)
    assert "train.py data=coco2014" in done.stdout
    assert "not among data.parts: train2017.zip" in done.stdout
    root = tmp_path / "data" / "coco"
    assert {p.stem for p in (root / "lists").iterdir()} == {"train2014", "val2014"}
    assert not (root / "train2017").exists()
    more = prepare("data=coco", "source=mine", cwd=tmp_path)
    for split in ("train2014", "val2014", "train2017", "val2017"):
        assert f"\n  {split:<12}       3 images" in more.stdout
    for data in ("coco", "coco2014"):
        assert "nothing to do" in prepare(f"data={data}", cwd=tmp_path).stdout


def test_coco_in_parts_and_from_an_unpacked_tree(tmp_path):
    archives = coco_archives(tmp_path / "mine")
    tree = tmp_path / "tree" / "images"
    for path in archives.values():
        zipfile.ZipFile(path).extractall(tree)
    expected = prepare("data=coco", f"source={tree.parent}", "data.root=whole", cwd=tmp_path)
    assert "\n  train2017          3 images" in expected.stdout
    some = tmp_path / "some"
    some.mkdir()
    for part in ("val2017", "annotations2017"):
        shutil.copy(archives[part], some)
    done = prepare("data=coco", f"source={some}", cwd=tmp_path)
    assert f"Not in {some}, so left out: train2017.zip" in done.stdout
    assert "train2017 is left out: data/coco/train2017 is not here" in done.stdout
    assert "\n  val2017            3 images" in done.stdout
    prepare("data=coco", f"source={archives['train2017']}", cwd=tmp_path)
    assert contents(tmp_path / "data" / "coco") == contents(tmp_path / "whole")
    image = tmp_path / "whole" / "val2017" / "000000000100.jpg"
    assert image.stat().st_ino == (tree / "val2017" / image.name).stat().st_ino


def test_coco_killed_while_drawing(tmp_path):
    coco_archives(tmp_path / "mine", count=40)
    masks = tmp_path / "data" / "coco" / "masks" / "train2017"
    process = start("data=coco", "source=mine", "num_workers=2", cwd=tmp_path, pause=0.01)
    wait_for(lambda: masks.is_dir() and any(masks.iterdir()), process)
    kill(process)
    assert refuses_to_train("coco", tmp_path)
    prepare("data=coco", "source=mine", cwd=tmp_path)
    prepare("data=coco", "source=mine", "data.root=other", cwd=tmp_path)
    assert contents(tmp_path / "data" / "coco") == contents(tmp_path / "other")


def test_a_disk_that_is_full_of_masks(tmp_path):
    for path in coco_archives(tmp_path / "mine").values():
        zipfile.ZipFile(path).extractall(tmp_path / "mine")
    process = start("data=coco", "source=mine", cwd=tmp_path, preexec_fn=limited(500))
    told = process.communicate()[0]
    assert process.returncode == 2, told
    assert "data/coco: File too large" in told
    assert "Traceback" not in told
    prepare("data=coco", "source=mine", cwd=tmp_path)


# Cityscapes


def test_cityscapes_from_ones_own_archives(tmp_path):
    archives = cityscapes_archives(tmp_path / "mine")
    asked = prepare("data=cityscapes", cwd=tmp_path, ok=False)
    for word in ("login", "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip", "source="):
        assert word in asked.stderr
    fine = prepare("data=cityscapes", "source=mine", cwd=tmp_path)
    root = tmp_path / "data" / "cityscapes"
    assert "not among data.parts: leftImg8bit_trainextra.zip, gtCoarse.zip" in fine.stdout
    assert not (root / "gtCoarse").exists()
    parts = f"data.parts=[{','.join(archives)}]"
    done = prepare("data=cityscapes", "source=mine", parts, cwd=tmp_path)
    for split in ("train", "val", "test", "train_extra"):
        assert f"\n  {split:<12}       2 images" in done.stdout
    assert not list(root.rglob("*color*"))
    sizes = ["data.crop_size=65", "data.eval_size=[65,129]", "data.train_split=train+train_extra"]
    run("train", "data=cityscapes", *TINY, *sizes, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "metrics.json").read_text())["protocol"]["images"] == 2


def test_cityscapes_one_by_one_and_from_an_unpacked_tree(tmp_path):
    archives = cityscapes_archives(tmp_path / "mine")
    images, fine = archives["leftImg8bit_trainvaltest"], archives["gtFine_trainvaltest"]
    told = prepare("data=cityscapes", f"source={images}", cwd=tmp_path, ok=False).stderr
    assert "a source that has gtFine_trainvaltest.zip" in told
    done = prepare("data=cityscapes", f"source={fine}", cwd=tmp_path)
    assert "\n  train              2 images" in done.stdout
    for path in (images, fine):
        zipfile.ZipFile(path).extractall(tmp_path / "tree")
    prepare("data=cityscapes", "source=tree", "data.root=other", cwd=tmp_path)
    assert contents(tmp_path / "data" / "cityscapes") == contents(tmp_path / "other")


def test_cities_with_a_hyphen_are_wanted(tmp_path):
    select = selection("cityscapes", ["leftImg8bit_trainextra", "gtCoarse"], tmp_path)
    for name in (
        "leftImg8bit/train_extra/bad-honnef/bad-honnef_000000_000000_leftImg8bit.png",
        "gtCoarse/train_extra/muhlheim-ruhr/muhlheim-ruhr_000000_000000_gtCoarse_labelIds.png",
    ):
        assert select(f"somewhere/{name}") == name
        assert select(name.replace("train_extra", "test")) is None or "gtCoarse" in name


def test_cityscapes_label_ids_become_the_19_train_ids():
    """Against the table of the data set's makers, by name."""
    data = OmegaConf.load(ROOT / "conf" / "data" / "cityscapes.yaml")
    names, ids_of_them = tuple(data["classes"]), tuple(data["values"])
    classes = ClassSet(names, values=ids_of_them, unlisted_values=data["unlisted_values"])
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    train_ids = classes.decode(ids, ROOT).ravel().tolist()
    named = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
             19: "traffic_light", 20: "traffic_sign", 21: "vegetation", 22: "terrain", 23: "sky",
             24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
             32: "motorcycle", 33: "bicycle"}  # fmt: skip
    for label_id, train_id in enumerate(train_ids):
        assert train_id == (classes.names.index(named[label_id]) if label_id in named else 255)


# What the script is


def test_the_command_to_go_on_with_names_the_data(tmp_path):
    done = run("prepare", "data.num_train=2", "data.num_val=1", "data.root=my scenes", cwd=tmp_path)
    assert (
        "  python src/train.py data.num_train=2 data.num_val=1 'data.root=my scenes'\n"
        in done.stdout
    )


def test_prepare_does_not_wait_for_torch(tmp_path, archives):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['prepare.py', 'data=voc', 'source={archives}', 'enable_progress_bar=false']\n"
        f"sys.path.insert(0, '{ROOT}/src')\n"
        f"runpy.run_path('{SCRIPT}', run_name='__main__')\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
