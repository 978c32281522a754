"""``prepare.py`` as a user runs it, on tiny archives in the real layout."""

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
from threading import Event

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from deeplab.data.class_set import ClassSet
from deeplab.preparation.file_selection import file_selector
from deeplab.utils.text import format_size
from support.published import (
    SBD,
    TRAINAUG,
    VOC,
    cityscapes_archives,
    coco_archives,
    labels,
    md5,
    serving_folder,
    stable_number,
    voc_archives,
)
from support.repository import ROOT
from support.scripts import HEAVY, check_imports, environment, run, run_folders, script_code
from support.servers import Response, serving

TINY_TRAINING = (
    "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage.max_steps=2", "stage.batch_size=2",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_workers=0",
    "trainer.enable_progress_bar=false", "logger=csv",
)  # fmt: skip
CROP_SIZES = ("data.crop_size=33", "data.eval_size=65")
FAST = ("data.unpacked_gb=0.001", "enable_progress_bar=false", "num_workers=1")
COUNTS = (
    "data.expected_images.train=3",
    "data.expected_images.val=2",
    "data.expected_images.trainval=5",
    "data.expected_images.trainaug=6",
)
TAR, TEST_TAR, TGZ = "VOCtrainval_11-May-2012.tar", "VOC2012test.tar", "benchmark.tgz"
WITH_TEST = "data.parts=[trainval,sbd,test]"
SCRIPT = str(ROOT / "src" / "prepare.py")

PATCHED_SCRIPT = """
import os, runpy, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[1]))
sys.argv = sys.argv[1:]
from deeplab.utils import download as download_module
download_module.RETRY_DELAY = 0.001
def slowly(*names, replace=os.replace):
    time.sleep({pause})
    replace(*names)
os.replace = slowly
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The script with short retry delays and slow renames.

The pause before each file gets its final name makes a killed process leave a temporary file.
"""


def prepare(*arguments, cwd, ok=True):
    """Run the script, which must succeed, or with ``ok=False`` end with an error message."""
    done = run("prepare", *arguments, *FAST, cwd=cwd, ok=ok)
    assert done.returncode == (0 if ok else 2), done.stdout + done.stderr
    return done


def addresses(archives, url):
    """Yield the overrides that point at a server."""
    for part, path in archives.items():
        yield f"data.archives.{part}.url={url}/{path.name}"
        yield f"data.archives.{part}.checksum={md5(path)}"
        yield f"data.archives.{part}.size={path.stat().st_size}"


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def without_manifest(root):
    return {name: data for name, data in contents(root).items() if name != "manifest.json"}


def start_script(*arguments, cwd, pause=0.0, **keywords):
    """Start the script in a new process group, which the caller must end."""
    return subprocess.Popen(
        [sys.executable, "-c", PATCHED_SCRIPT.format(pause=pause), SCRIPT, *FAST, *arguments],
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
    assert process.returncode == -signal.SIGKILL, "it had already finished"


def training_is_refused(data, cwd):
    refused = run("train", f"data={data}", *TINY_TRAINING, *CROP_SIZES, cwd=cwd, ok=False)
    return refused.returncode == 2 and "this data set is incomplete" in refused.stderr


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return voc_archives(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def archives(voc):
    """Return the folder of VOC's archives, with their content in ``work``."""
    return voc["sbd"].parent


@pytest.fixture
def served(voc, archives):
    """Yield the arguments that download from a server, and the list of its requests."""
    with serving_folder(archives) as (url, requests):
        yield ["data=voc", *addresses(voc, url), *COUNTS], requests


@pytest.fixture(scope="module")
def voc_tree(voc, archives, tmp_path_factory):
    """Return the result of an uninterrupted preparation."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    with serving_folder(archives) as (url, _):
        prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=cwd)
    return cwd / "data" / "VOCdevkit"


# VOC from a server


def test_voc_from_downloads(served, archives, tmp_path):
    arguments, requests = served
    done = run("prepare", *arguments, "data.unpacked_gb=0.001", cwd=tmp_path)
    assert sorted(requests) == [f"/{TAR}", f"/{TGZ}"]
    lines = done.stdout.splitlines()
    assert lines[0] == "Preparing voc (trainval, sbd)"
    size = format_size(sum((archives / name).stat().st_size for name in (TAR, TGZ)))
    assert lines[1].split()[:5] == ["download", *size.split(), "into", "data/downloads"]
    assert lines[2].split()[:5] == ["unpack", "1.00", "MB", "into", "data/VOCdevkit"]
    assert "  trainaug             6 images  ImageSets/Segmentation/trainaug.txt" in lines
    assert lines[-1] == "  deeplab train data=voc"
    assert f"Downloading {TAR}: checking\n" in done.stderr
    assert "\r" not in done.stderr  # no bars, of which a file would keep every state

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
        assert np.array_equal(np.array(mask), labels(stable_number(name)))
        assert mask.mode == "P"
    manifest = json.loads((root / "manifest.json").read_text())
    splits = {"train": 3, "trainaug": 6, "trainval": 5, "val": 2}
    assert manifest == {"parts": ["sbd", "trainval"], "splits": splits}

    run("train", "data=voc", *TINY_TRAINING, *CROP_SIZES, cwd=tmp_path)
    metrics = json.loads((run_folders(tmp_path)[0] / "metrics.json").read_text())
    assert metrics["protocol"]["images"] == 2
    checked = run(
        "prepare", "data=voc", "check=true", "enable_progress_bar=false", cwd=tmp_path, ok=False
    )
    assert "0 errors" in checked.stdout or "nothing wrong" in checked.stdout


def test_prepared_data_is_not_prepared_again(served, voc_tree, tmp_path):
    arguments, requests = served
    prepare(*arguments, cwd=tmp_path)
    again = prepare(*arguments, cwd=tmp_path)
    assert (
        again.stdout
        == "data/VOCdevkit is ready; nothing to do (overwrite=true prepares it again).\n"
    )
    root = tmp_path / "data" / "VOCdevkit"
    assert contents(root) == contents(voc_tree)

    shutil.rmtree(tmp_path / "data" / "downloads")
    requests.clear()
    more = prepare(*arguments, WITH_TEST, cwd=tmp_path)
    assert requests == [f"/{TEST_TAR}"]
    assert "Preparing voc (test)" in more.stdout
    assert f"data/downloads/{TEST_TAR}" in more.stdout
    lists = root / "VOC2012" / "ImageSets" / "Segmentation"
    assert (lists / "test.txt").read_text().split() == VOC["test"]
    assert json.loads((root / "manifest.json").read_text())["parts"] == ["sbd", "test", "trainval"]
    assert without_manifest(voc_tree).items() < contents(root).items()
    for command in (arguments, [*arguments, WITH_TEST]):
        assert "nothing to do" in prepare(*command, cwd=tmp_path).stdout

    (root / ".preparing").touch()  # as if adding another part had been interrupted
    assert "is ready in" in prepare(*arguments, cwd=tmp_path).stdout
    assert not (root / ".preparing").exists()
    assert len(requests) == 1


def test_missing_files_are_restored_and_damaged_ones_with_overwrite(archives, voc_tree, tmp_path):
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
    assert "files were removed after the preparation" in done.stdout
    assert contents(root) == contents(voc_tree)

    damaged = [root / "VOC2012" / name for name in lost]
    for path in damaged:
        path.write_bytes(bytes(path.stat().st_size))
    assert "nothing to do" in prepare(*arguments, cwd=tmp_path).stdout
    prepare(*arguments, "overwrite=true", cwd=tmp_path)
    assert contents(root) == contents(voc_tree)


def test_wrong_checksum_is_an_error(served, voc_tree, tmp_path):
    arguments, requests = served
    wrong = "data.archives.trainval.checksum=md5:00000000000000000000000000000000"
    done = prepare(*arguments, wrong, cwd=tmp_path, ok=False)
    for word in (TAR, "checksum", "md5:00000000000000000000000000000000", "login page"):
        assert word in done.stderr
    downloads = tmp_path / "data" / "downloads"
    assert not list(downloads.glob(f"{TAR}*"))
    assert training_is_refused("voc", tmp_path)
    requests.clear()
    prepare(*arguments, cwd=tmp_path)
    assert f"/{TAR}" in requests
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_download_requires_a_checksum(served, tmp_path):
    arguments, requests = served
    done = prepare(*arguments, "data.archives.sbd.checksum=null", cwd=tmp_path, ok=False)
    assert "data.archives.sbd.checksum" in done.stderr
    assert not requests
    assert not (tmp_path / "data").exists()


def test_wrong_image_counts_are_an_error(served, tmp_path):
    arguments, _ = served
    wrong = ["data.expected_images.train=1464", "data.expected_images.trainaug=10582"]
    done = prepare(*arguments, *wrong, cwd=tmp_path, ok=False)
    assert "train has 3 images, 1464 were published" in done.stderr
    assert "data.expected_images.train=3 data.expected_images.trainaug=6" in done.stderr
    assert (tmp_path / "data" / "VOCdevkit" / ".preparing").exists()


def test_cut_connection_is_resumed_and_unavailable_server_reported(voc, voc_tree, tmp_path):
    with ExitStack() as stack:
        arguments, servers = ["data=voc", *COUNTS], {}
        for part, plan in {
            "trainval": [Response(cut=50_000), Response()],
            "sbd": [Response(status=503)],
        }.items():
            server = servers[part] = stack.enter_context(serving(voc[part].read_bytes(), *plan))
            arguments += addresses({part: voc[part]}, server.url.removesuffix("/file"))
        process = start_script(*arguments, cwd=tmp_path)
        output = process.communicate()[0]
        assert process.returncode == 2
        assert "503 Service Unavailable, also after several attempts" in output
        assert "Traceback" not in output
        assert not (tmp_path / "data" / "downloads" / ".lock").exists()
        servers["sbd"].plan = [Response()]
        prepare(*arguments, cwd=tmp_path)
        assert servers["trainval"].requested_ranges == [None, "bytes=50000-"]
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_unreachable_server(voc, tmp_path):
    process = start_script("data=voc", *addresses(voc, "http://127.0.0.1:1"), cwd=tmp_path)
    output = process.communicate()[0]
    assert process.returncode == 2
    assert "Connection refused, also after several attempts. Check the network" in output
    assert "by other means into data/downloads" in output


def test_archives_with_the_same_name_do_not_collide(voc, voc_tree, tmp_path):
    arguments = ["data=voc", *COUNTS]
    with ExitStack() as stack:
        for part in ("trainval", "sbd"):
            server = stack.enter_context(serving(voc[part].read_bytes()))
            arguments += [
                f"data.archives.{part}.url={server.url}",
                f"data.archives.{part}.checksum={md5(voc[part])}",
            ]
        prepare(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


# Kills, full disks, concurrent processes

FILES_BY_MOMENT = {
    "unpacking": "VOC2012/JPEGImages/*.jpg",
    "conversion": "VOC2012/SegmentationClassAug/*.png",
    "manifest": ".manifest.json.*",
}


@pytest.mark.parametrize("moment", FILES_BY_MOMENT)
def test_rerun_after_a_kill_gives_the_same_files(moment, voc, archives, voc_tree, tmp_path):
    root = tmp_path / "data" / "VOCdevkit"
    with serving_folder(archives) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        process = start_script(*arguments, cwd=tmp_path, pause=0.03)
        wait_for(lambda: any(root.glob(FILES_BY_MOMENT[moment])), process)
        kill(process)
    assert (root / ".preparing").exists()
    for folder in ("", "VOC2012/JPEGImages", "VOC2012/SegmentationClassAug"):
        if (root / folder).is_dir():  # a temporary file, even if the process left none
            (root / folder / ".2007_1.png.abcdef.4194305").write_bytes(b"half")
    with serving_folder(archives) as (url, _):
        prepare("data=voc", *addresses(voc, url), *COUNTS, cwd=tmp_path)
    assert contents(root) == contents(voc_tree)
    assert {p.name for p in (tmp_path / "data" / "downloads").iterdir()} == {TAR, TGZ}


def test_kill_while_adding_a_part(voc, archives, voc_tree, tmp_path):
    """A complete data set stays complete during the download, not after it."""
    root = tmp_path / "data" / "VOCdevkit"
    shutil.copytree(voc_tree, root)
    downloads = tmp_path / "data" / "downloads"
    go_on = Event()
    with serving_folder(archives, go_on) as (url, _):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS, WITH_TEST]
        process = start_script(*arguments, cwd=tmp_path, pause=0.05)
        wait_for(lambda: any(downloads.glob("*.part")), process)
        assert not (root / ".preparing").exists()
        go_on.set()
        wait_for(lambda: (root / "VOC2012/ImageSets/Segmentation/test.txt").exists(), process)
        kill(process)
        assert (root / ".preparing").exists()
        output = prepare(*arguments[:-1], cwd=tmp_path, ok=False).stderr
        assert "split 'test'" in output
        assert "same parts" in output
        done = prepare(*arguments, cwd=tmp_path)
    assert "test                 1 image" in done.stdout
    assert without_manifest(voc_tree).items() < contents(root).items()


def file_size_limit(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("limit", [50_000, 1_000])
def test_full_disk_is_reported_and_rerun_resumes(limit, served, voc, voc_tree, tmp_path):
    """A file size limit stops the download, or (if the archives are downloaded) the unpacking."""
    arguments, requests = served
    if limit == 1_000:
        downloads = tmp_path / "data" / "downloads"
        downloads.mkdir(parents=True)
        for path in voc.values():
            shutil.copy(path, downloads)
    process = start_script(*arguments, cwd=tmp_path, preexec_fn=file_size_limit(limit))
    output = process.communicate()[0]
    assert process.returncode == 2, output
    assert (
        "data/downloads: File too large" if requests else "data/VOCdevkit: File too large"
    ) in output
    assert "Free some space there" in output
    assert "it resumes where it stopped" in output
    assert "Traceback" not in output
    assert (tmp_path / "data" / "VOCdevkit" / ".preparing").exists()
    prepare(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "data" / "VOCdevkit") == contents(voc_tree)


def test_too_little_space_is_an_error_before_the_start(served, tmp_path):
    arguments, requests = served
    done = run("prepare", *arguments, "data.unpacked_gb=1e9", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "unpack     1.00 EB into data/VOCdevkit" in done.stdout
    assert "data/downloads and data/VOCdevkit: 1.00 EB needed" in done.stderr
    assert "Free some space" in done.stderr
    assert not (tmp_path / "data").exists()
    assert not requests


@pytest.mark.processes
def test_concurrent_preparations(voc, archives, voc_tree, tmp_path):
    """One process prepares a data set at a time; two can share a download folder."""
    root, other = tmp_path / "data" / "VOCdevkit", tmp_path / "other"
    go_on = Event()
    with serving_folder(archives, go_on) as (url, requests):
        arguments = ["data=voc", *addresses(voc, url), *COUNTS]
        first = start_script(*arguments, cwd=tmp_path)
        wait_for(lambda: any(root.parent.glob("downloads/*.part")), first)
        second = start_script(*arguments, f"data.root={other}", cwd=tmp_path)
        done = prepare(*arguments, cwd=tmp_path, ok=False)
        assert "data.root=data/VOCdevkit: another process is preparing it" in done.stderr
        waits = "data/downloads: another process downloads into it. Waiting"
        assert any(waits in line for line in second.stdout)
        go_on.set()
        output = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), output
    assert f"deeplab train data=voc data.root={other}" in output[1]
    assert len(requests) == 2
    assert contents(root) == contents(other) == contents(voc_tree)


# Local files


def test_local_archives(archives, voc_tree, tmp_path):
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
def test_archives_one_at_a_time(first, voc, voc_tree, tmp_path):
    second = "sbd" if first == "trainval" else "trainval"
    root = tmp_path / "data" / "VOCdevkit"
    done = prepare(
        "data=voc", f"source={voc[first]}", *COUNTS, cwd=tmp_path, ok=first == "trainval"
    )
    if first == "trainval":
        assert "Missing: benchmark.tgz" in done.stdout
        assert "data.train_split=trainaug: no such split" in done.stdout
        assert "deeplab train" not in done.stdout
        lists = root / "VOC2012" / "ImageSets" / "Segmentation"
        assert {p.stem for p in lists.iterdir()} == {"train", "val", "trainval"}
    else:
        assert (
            f"sbd alone is not enough for any split. Run this again with a source that has {TAR}"
            in (done.stderr)
        )
        assert training_is_refused("voc", tmp_path)
    prepare("data=voc", f"source={voc[second]}", *COUNTS, cwd=tmp_path)
    assert contents(root) == contents(voc_tree)
    again = prepare("data=voc", f"source={voc[first]}", *COUNTS, cwd=tmp_path)
    assert "nothing to do" in again.stdout


def test_unpacked_files_are_linked_and_not_changed(archives, voc_tree, tmp_path):
    """Test VOC's and SBD's folders as unpacked, beside another year and a circular link."""
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


def test_preparation_in_place(archives, voc_tree, tmp_path):
    """Test ``data.root`` as VOC2012, as VOCdevkit, and as its parent."""
    work = archives / "work"
    for number, (subfolder, inside) in enumerate(
        [("VOCdevkit/VOC2012", ""), ("VOCdevkit", "VOC2012"), ("", "VOCdevkit/VOC2012")]
    ):
        mine = tmp_path / str(number)
        shutil.copytree(work / "trainval", mine)
        root = mine / subfolder
        shutil.copytree(work / "sbd", root / "sbd")
        before = contents(mine)
        inodes = {p: p.stat().st_ino for p in mine.rglob("*") if p.is_file()}
        prepare("data=voc", f"source={root}", f"data.root={root}", *COUNTS, cwd=tmp_path)
        assert before.items() < contents(mine).items()
        assert {p: p.stat().st_ino for p in inodes} == inodes
        new = {p.as_posix() for p in map(Path, contents(root)) if root / p not in inodes}
        masks = {f"SegmentationClassAug/{name}.png" for name in (*SBD["train"], *SBD["val"])}
        derived = {*masks, "ImageSets/Segmentation/trainaug.txt"}
        assert new == {(Path(inside) / name).as_posix() for name in derived} | {"manifest.json"}
        for name in derived:
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
def test_invalid_source(make, words, tmp_path):
    source = tmp_path / "source"
    make(source)
    output = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False).stderr
    for word in (str(source), *words):
        assert word in output


def test_archive_with_unknown_name_is_identified_by_its_content(voc, tmp_path):
    mine = tmp_path / "mine.bin"
    shutil.copy(voc["test"], mine)
    done = prepare("data=voc", f"source={mine}", cwd=tmp_path)
    assert "test                 1 image" in done.stdout
    manifest = tmp_path / "data" / "VOCdevkit" / "manifest.json"
    assert json.loads(manifest.read_text())["parts"] == ["test"]


@pytest.mark.parametrize("content", ["half of it", "another"])
def test_archive_whose_content_does_not_match_its_name(content, voc, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    data = voc["trainval"].read_bytes()
    other = voc["test"].read_bytes()
    (source / TAR).write_bytes(data[: len(data) // 2] if content == "half of it" else other)
    output = prepare("data=voc", f"source={source}", cwd=tmp_path, ok=False).stderr
    assert str(source / TAR) in output
    assert ("is damaged" if content == "half of it" else "has no file of trainval") in output
    assert training_is_refused("voc", tmp_path)


# COCO


def test_coco_from_downloads_and_training_on_it(tmp_path):
    archives = coco_archives(tmp_path / "served")
    with serving_folder(tmp_path / "served") as (url, requests):
        prepare("data=coco", *addresses(archives, url), cwd=tmp_path)
        assert len(requests) == 3
    root = tmp_path / "data" / "coco"
    kept = [f"train2017/{i:012}" for i in (3, 4, 5)]
    assert (root / "lists" / "train2017.txt").read_text().split() == kept
    masks = {f"train2017/{p.stem}" for p in (root / "masks" / "train2017").iterdir()}
    assert masks == {*kept}
    mask = np.array(Image.open(root / "masks" / f"{kept[0]}.png"))
    assert set(np.unique(mask)) == {0, 12, 255}  # a dog, and a crowd that is ignored
    assert not list(root.glob("annotations/captions*"))
    run("train", "stage=coco", *TINY_TRAINING, *CROP_SIZES, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("coco-")

    before = contents(root)
    lower = prepare("data=coco", "data.min_pixels=99", cwd=tmp_path)
    # the image of 100 pixels is added; nothing is downloaded
    assert "train2017            4 images" in lower.stdout
    assert "download" not in lower.stdout.split("Next")[0]
    assert len(list((root / "masks" / "train2017").iterdir())) == 4
    prepare("data=coco", cwd=tmp_path)
    assert contents(root) == before
    assert "nothing to do" in prepare("data=coco", cwd=tmp_path).stdout


def test_coco_part_by_part_and_from_unpacked_files(tmp_path):
    archives = coco_archives(tmp_path / "mine")
    tree = tmp_path / "tree" / "images"
    for path in archives.values():
        zipfile.ZipFile(path).extractall(tree)
    expected = prepare("data=coco", f"source={tree.parent}", "data.root=whole", cwd=tmp_path)
    assert "\n  train2017            3 images" in expected.stdout
    some = tmp_path / "some"
    some.mkdir()
    for part in ("val2017", "annotations2017"):
        shutil.copy(archives[part], some)
    done = prepare("data=coco", f"source={some}", cwd=tmp_path)
    assert f"Not in {some}, so left out: train2017.zip" in done.stdout
    assert "train2017: skipped, since data/coco/train2017 does not exist" in done.stdout
    assert "\n  val2017              3 images" in done.stdout
    prepare("data=coco", f"source={archives['train2017']}", cwd=tmp_path)
    assert contents(tmp_path / "data" / "coco") == contents(tmp_path / "whole")
    image = tmp_path / "whole" / "val2017" / "000000000100.jpg"
    assert image.stat().st_ino == (tree / "val2017" / image.name).stat().st_ino


def test_kill_while_drawing_coco_masks(tmp_path):
    coco_archives(tmp_path / "mine", count=40)
    masks = tmp_path / "data" / "coco" / "masks" / "train2017"
    process = start_script("data=coco", "source=mine", "num_workers=2", cwd=tmp_path, pause=0.01)
    wait_for(lambda: masks.is_dir() and any(masks.iterdir()), process)
    kill(process)
    assert training_is_refused("coco", tmp_path)
    prepare("data=coco", "source=mine", cwd=tmp_path)
    prepare("data=coco", "source=mine", "data.root=other", cwd=tmp_path)
    assert contents(tmp_path / "data" / "coco") == contents(tmp_path / "other")


def test_disk_full_while_drawing_masks(tmp_path):
    for path in coco_archives(tmp_path / "mine").values():
        zipfile.ZipFile(path).extractall(tmp_path / "mine")
    process = start_script(
        "data=coco", "source=mine", cwd=tmp_path, preexec_fn=file_size_limit(500)
    )
    output = process.communicate()[0]
    assert process.returncode == 2, output
    assert "data/coco: File too large" in output
    assert "Traceback" not in output
    prepare("data=coco", "source=mine", cwd=tmp_path)


# Cityscapes


def test_cityscapes_from_local_archives(tmp_path):
    archives = cityscapes_archives(tmp_path / "mine")
    refused = prepare("data=cityscapes", cwd=tmp_path, ok=False)
    for word in ("login", "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip", "source="):
        assert word in refused.stderr
    fine = prepare("data=cityscapes", "source=mine", cwd=tmp_path)
    root = tmp_path / "data" / "cityscapes"
    assert "not among data.parts: leftImg8bit_trainextra.zip, gtCoarse.zip" in fine.stdout
    assert not (root / "gtCoarse").exists()
    parts = f"data.parts=[{','.join(archives)}]"
    done = prepare("data=cityscapes", "source=mine", parts, cwd=tmp_path)
    for split in ("train", "val", "test", "train_extra"):
        assert f"\n  {split:<12}         2 images" in done.stdout
    assert not list(root.rglob("*color*"))
    sizes = ["data.crop_size=65", "data.eval_size=[65,129]", "data.train_split=train+train_extra"]
    run("train", "data=cityscapes", *TINY_TRAINING, *sizes, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "metrics.json").read_text())["protocol"]["images"] == 2


def test_cityscapes_part_by_part_and_from_unpacked_files(tmp_path):
    archives = cityscapes_archives(tmp_path / "mine")
    images, fine = archives["leftImg8bit_trainvaltest"], archives["gtFine_trainvaltest"]
    output = prepare("data=cityscapes", f"source={images}", cwd=tmp_path, ok=False).stderr
    assert "a source that has gtFine_trainvaltest.zip" in output
    done = prepare("data=cityscapes", f"source={fine}", cwd=tmp_path)
    assert "\n  train                2 images" in done.stdout
    for path in (images, fine):
        zipfile.ZipFile(path).extractall(tmp_path / "tree")
    prepare("data=cityscapes", "source=tree", "data.root=other", cwd=tmp_path)
    assert contents(tmp_path / "data" / "cityscapes") == contents(tmp_path / "other")


def test_cities_with_a_hyphen_are_selected(tmp_path):
    select = file_selector("cityscapes", ["leftImg8bit_trainextra", "gtCoarse"], tmp_path)
    for name in (
        "leftImg8bit/train_extra/bad-honnef/bad-honnef_000000_000000_leftImg8bit.png",
        "gtCoarse/train_extra/muhlheim-ruhr/muhlheim-ruhr_000000_000000_gtCoarse_labelIds.png",
    ):
        assert select(f"somewhere/{name}") == name
        assert select(name.replace("train_extra", "test")) is None or "gtCoarse" in name


def test_cityscapes_label_ids_become_the_19_train_ids():
    """Compare with the official table of Cityscapes, by name."""
    data = OmegaConf.load(ROOT / "conf" / "data" / "cityscapes.yaml")
    names, mask_values = tuple(data["classes"]), tuple(data["mask_values"])
    classes = ClassSet(names, values=mask_values, unlisted_values=data["unlisted_values"])
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    train_ids = classes.decode(ids, ROOT).ravel().tolist()
    names_by_id = {
        7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
        19: "traffic_light", 20: "traffic_sign", 21: "vegetation", 22: "terrain", 23: "sky",
        24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
        32: "motorcycle", 33: "bicycle",
    }  # fmt: skip
    for label_id, train_id in enumerate(train_ids):
        assert train_id == (
            classes.names.index(names_by_id[label_id]) if label_id in names_by_id else 255
        )


# The script


def test_next_command_has_the_data_arguments(tmp_path):
    done = run("prepare", "data.num_train=2", "data.num_val=1", "data.root=my scenes", cwd=tmp_path)
    assert "  deeplab train data.num_train=2 data.num_val=1 'data.root=my scenes'\n" in done.stdout


def test_prepare_does_not_import_torch(tmp_path, archives):
    code = script_code("prepare", "data=voc", f"source={archives}", "enable_progress_bar=false")
    check_imports(code, without=HEAVY - {"cv2"}, cwd=tmp_path)
