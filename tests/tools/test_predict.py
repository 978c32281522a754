"""Predicting pictures of one's own, through the real entry point."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import voc_palette
from deeplab.data.image_io import read_image
from deeplab.tools.predict.files import Source, find_sources
from deeplab.tools.predict.outputs import claim, own_results
from deeplab.tools.predict.photos import read_photo
from deeplab.tools.predict.video import Video, video_at
from deeplab.utils.errors import UserError
from support.networks import see_all_classes
from support.scripts import SMALL, run, run_folders

MACHINE = ("trainer.accelerator=cpu", "trainer.precision=32-true")
CLASSES = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose network sees all classes, if wrongly, and the pictures of its validation."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    see_all_classes(folder)
    return folder, sorted((cwd / "data").rglob("val_*.jpg"))


def predict(folder, *arguments, cwd, ok=True):
    return run("predict", f"run={folder}", *arguments, *MACHINE, cwd=cwd, ok=ok)


def label_map(path: Path):
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[: 3 * CLASSES] == voc_palette()[:CLASSES].ravel().tolist()
        return np.array(picture)


def noise(height, width, seed=0):
    """Blobs of color."""
    small = np.random.default_rng(seed).integers(0, 256, (-(-height // 9), -(-width // 9), 3))
    return np.kron(small, np.ones((9, 9, 1)))[:height, :width].astype(np.uint8)


def test_a_pattern_gives_what_evaluation_gives(tmp_path, trained):
    folder, pictures = trained
    run("evaluate", f"run={folder}", *MACHINE, cwd=folder.parent.parent)
    printed = predict(folder, f"input={pictures[0].parent}/val_*.jpg", cwd=tmp_path)
    assert "3 pictures done" in printed.stdout
    assert "Predicting" in printed.stderr  # the progress bar
    seen = set()
    for picture in pictures:
        ours = label_map(tmp_path / "predictions" / f"{picture.stem}.png")
        (theirs,) = folder.rglob(f"predictions/{picture.stem}.png")
        assert np.array_equal(ours, label_map(theirs))
        seen |= set(np.unique(ours))
        with Image.open(tmp_path / "predictions" / f"{picture.stem}_overlay.jpg") as overlay:
            assert overlay.width >= ours.shape[1]
            assert overlay.height > ours.shape[0]  # the legend
    assert len(seen) > 2
    assert len(list((tmp_path / "predictions").iterdir())) == 6 + 1  # nothing half-written


@pytest.fixture
def photos(tmp_path):
    """All kinds of pictures, and files that are none."""
    root = tmp_path / "photos"
    (root / "deep/er").mkdir(parents=True)
    (root / ".hidden").mkdir()
    color = Image.fromarray(noise(50, 60))
    color.save(root / "a.jpg")
    Image.fromarray(noise(30, 40)).save(root / "a.png")
    color.convert("CMYK").save(root / "cmyk.JPG")
    color.convert("L").save(root / "deep/a.tif")
    color.convert("RGBA").save(root / "deep/er/alpha.webp", lossless=True)
    Image.fromarray(noise(50, 60)[..., 0].astype(np.uint16) * 257).save(root / "deep/er/wide.png")
    Image.fromarray(noise(150, 90)).save(root / "portrait.bmp")
    Image.fromarray(noise(1, 200)).save(root / "flat.png")
    Image.fromarray(noise(1, 1)).save(root / "dot.png")
    turned = Image.Exif()
    turned[0x112] = 6
    color.save(root / "turned.png", exif=turned)
    color.transpose(Image.Transpose.ROTATE_270).save(root / "upright.png")
    (root / "broken.jpg").write_bytes((root / "a.jpg").read_bytes()[:-400])
    (root / "deep/no.png").write_text("no picture")
    (root / "notes.txt").write_text("not looked at")
    shutil.copy(root / "a.jpg", root / ".a.jpg")
    shutil.copy(root / "a.jpg", root / ".hidden/a.jpg")
    return root


SIZES = {
    "a.jpg": (50, 60),
    "a.png": (30, 40),
    "cmyk": (50, 60),
    "deep/a": (50, 60),
    "deep/er/alpha": (50, 60),
    "deep/er/wide": (50, 60),
    "portrait": (150, 90),
    "flat": (1, 200),
    "dot": (1, 1),
    "turned": (60, 50),
    "upright": (60, 50),
}


def test_a_folder_with_everything(tmp_path, trained, photos):
    """The output lies in the folder and is not taken for input, however often."""
    out = photos / "out"
    os.mkfifo(photos / "pipe.jpg")
    arguments = (f"input={photos}", f"output={out}", "probabilities=true")
    done = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "11 pictures done" in done.stdout
    assert "2 files could not be read" in done.stdout
    assert "passed over: 1 file: .txt (1)\n" in done.stdout
    assert f"  {photos / 'a.png'}: {out / 'a.png'}.*\n" in done.stdout
    assert f"{photos / 'broken.jpg'}: this JPEG is truncated" in done.stdout
    assert f"{photos / 'deep/no.png'}: this is no image" in done.stdout
    labels = {name: label_map(out / f"{name}.png") for name in SIZES}
    assert {name: label.shape for name, label in labels.items()} == SIZES
    for name, label in labels.items():
        with np.load(out / f"{name}.npz") as stored:
            assert list(stored["classes"])[:2] == ["background", "disc"]
            found = stored["probabilities"]
        assert found.dtype == np.float16
        assert found.shape == (CLASSES, *label.shape)
        found = found.astype(np.float32)
        assert np.abs(found.sum(0) - 1).max() < 2e-3
        assert np.array_equal(np.take_along_axis(found, label[None], 0)[0], found.max(0))
    assert np.array_equal(labels["turned"], labels["upright"])
    assert np.unique(labels["portrait"]).size > 1
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 3 * 11 + 1  # and a record of them
    for pattern in ("**/*.*", "*"):
        again = (f"input={photos}/{pattern}", *arguments[1:])
        done = predict(trained[0], *again, cwd=tmp_path, ok=False)
        assert "11 pictures done" in done.stdout, done.stderr
        assert [path for path in out.rglob("*") if path.is_file()] == files
    for named in (photos, photos / "**/*.*"):  # results elsewhere are no pictures either
        assert len(find_sources([str(named)], tmp_path / "new").sources) == 13
    (out / "mine").mkdir()
    shutil.copy(photos / "a.jpg", out / "mine")  # but what else lies among them is
    assert len(find_sources([str(photos)], tmp_path / "new").sources) == 14


def test_nobody_else_s_file_is_overwritten(tmp_path, trained):
    (tmp_path / "mine/s").mkdir(parents=True)
    for name in ("mine/p.jpg", "mine/s/p.png", "q.jpg", "q.png"):
        Image.fromarray(noise(20, 20)).save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for arguments in (["input=mine", "output=mine/s"], ["input=q.jpg", "output=."]):
        done = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert "Name another folder" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_only_what_is_written_is_claimed(tmp_path):
    source = Source(tmp_path / "q.jpg", tmp_path / "q")
    (tmp_path / "q.npz").write_text("mine")
    asked = {"overlay": True, "frames": False}
    claim(tmp_path, dict.fromkeys(source.results(**asked, probabilities=False), source.path))
    assert own_results(tmp_path) == {tmp_path / "q.png", tmp_path / "q_overlay.jpg"}
    with pytest.raises(UserError, match=r"q\.npz, which predict\.py has not made"):
        claim(tmp_path, dict.fromkeys(source.results(**asked, probabilities=True), source.path))


def test_one_bad_name_does_not_end_the_others(tmp_path, trained):
    (tmp_path / "in").mkdir()
    for name in ("a", "l" * 250, "z"):
        Image.fromarray(noise(20, 20)).save(tmp_path / "in" / f"{name}.jpg")
    done = predict(trained[0], "input=in", "output=out", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "2 pictures done" in done.stdout
    assert "its name is too long" in done.stdout
    (tmp_path / "in/dir.png").mkdir()
    Image.fromarray(noise(20, 20)).save(tmp_path / "in/dir.jpg")
    Image.fromarray(noise(20, 20)).save(tmp_path / "in/dir.png/b.jpg")
    done = predict(trained[0], "input=in", "output=other", cwd=tmp_path, ok=False)
    assert "would be other/dir.png, which is the folder of others" in done.stderr


def write_video(path, codec, size=(48, 64), frames=12, rate=12.5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.roll(noise(*size), 2 * i, 1)[..., ::-1])
    writer.release()
    return path


def test_videos_and_a_list(tmp_path, trained):
    folder, pictures = trained
    whole = write_video(tmp_path / "whole.mp4", "mp4v")
    cut = write_video(tmp_path / "cut.avi", "MJPG", size=(50, 40))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "none.mov").write_text("no video")
    inputs = f"input=[{whole},{pictures[0]},{cut},{tmp_path}/none.mov]"
    done = predict(folder, inputs, "output=out", "save_frames=true", cwd=tmp_path, ok=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "1 picture and 2 videos of" in done.stdout
    assert "none.mov: this is no video" in done.stdout
    assert "cut.avi: it ends early" in done.stdout
    out = tmp_path / "out"
    assert len(list(out.iterdir())) == 2 + 2 * 3 + 1
    seen = Video(out / "whole_overlay.mp4")
    frames = list(seen.frames())
    assert (seen.rate, len(frames), frames[0].shape) == (12.5, 12, (48, 64, 3))
    labels = [label_map(path) for path in sorted((out / "whole_frames").iterdir())]
    assert len(labels) == 12
    assert labels[0].shape == (48, 64)
    assert any(not np.array_equal(label, labels[0]) for label in labels)
    partial = list(Video(out / "cut_overlay.mp4").frames())
    assert 0 < len(partial) < 12
    assert len(list((out / "cut_frames").iterdir())) == len(partial)
    assert partial[0].shape == (50, 40, 3)


def test_a_video_of_odd_sides_keeps_its_last_row_and_column(tmp_path):
    frame = noise(45, 63)
    with video_at(tmp_path / "odd.mp4", 25) as writer:
        writer.add(frame)
    (read,) = Video(tmp_path / "odd.mp4").frames()
    assert read.shape == (46, 64, 3)
    assert np.abs(read[:45, :63].astype(int) - frame).mean() < 40
    assert [path.name for path in tmp_path.iterdir()] == ["odd.mp4"]
    with suppress(KeyError), video_at(tmp_path / "odd.mp4", 25) as writer:
        writer.add(noise(20, 20))
        raise KeyError  # such a video is not there at all
    assert [path.name for path in tmp_path.iterdir()] == ["odd.mp4"]
    (read,) = Video(tmp_path / "odd.mp4").frames()
    assert read.shape == (46, 64, 3)
    with (
        pytest.raises(BadFileError, match="20000 x 2 "),
        video_at(tmp_path / "odd.mp4", 25) as writer,
    ):
        writer.add(noise(2, 20000))


def test_windows_and_label_maps_alone(tmp_path, trained):
    Image.fromarray(noise(90, 150)).save(tmp_path / "large[1].png")
    arguments = (f'input="{tmp_path}/large[1].png"', "save_overlay=false")
    predict(trained[0], *arguments, "output=whole", "strategy=os8-flip", cwd=tmp_path)
    predict(trained[0], *arguments, "output=cut", "window_size=49", cwd=tmp_path)
    whole, cut = (label_map(tmp_path / name / "large[1].png") for name in ("whole", "cut"))
    assert whole.shape == cut.shape == (90, 150)
    assert len(list((tmp_path / "cut").glob("[!.]*"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["input=nothing.jpg", "strategy=os9"], ["input=nothing.jpg", "no such file"]),
        (["input=here.jpg", "strategy=os9"], ["strategy", "os9"]),
        (["input=here.jpg", "overlap=0.5"], ["overlap=0.5", "set window"]),
        (["input=here.jpg", "output=here.jpg"], ["output=here.jpg", "cannot be written"]),
        (["input=here.jpg", "output=/proc/out"], ["output=/proc/out", "cannot be written"]),
    ],
    ids=str,
)
def test_mistakes(arguments, words, tmp_path, trained):
    Image.fromarray(noise(40, 40)).save(tmp_path / "here.jpg")
    done = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here.jpg"]


def test_results_are_never_written_over_inputs(photos, tmp_path):
    with pytest.raises(UserError, match="a folder of the input"):
        find_sources([str(photos)], photos)
    with pytest.raises(UserError, match=r"a\.png would be written"):
        find_sources([str(photos / "a.png")], photos)
    find_sources([str(photos / "cmyk.JPG")], photos)
    with pytest.raises(UserError, match="no picture or video"):
        find_sources([str(photos / "*.txt")], tmp_path)


def test_files_of_one_name_keep_results_of_their_own(photos, tmp_path):
    named = ["a.*", "deep/*", "deep/../a.jpg", "deep/a.tif"]
    named = [f"{photos}/{name}" for name in named]
    sources = find_sources(named, tmp_path / "out").sources
    targets = [str(source.target.relative_to(tmp_path / "out")) for source in sources]
    assert len(sources) == len({source.path.resolve() for source in sources})
    assert targets == ["a.jpg", "a.png", "a.tif", "er/alpha", "er/wide", "no"]
    twice = find_sources([f"{photos}/a.jpg", f"{photos}/.hidden/a.jpg"], tmp_path).sources
    assert [source.target.name for source in twice] == ["a.jpg", "a.jpg-2"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photos_are_upright(orientation, suffix, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(noise(27, 45)).save(path, exif=exif)
    with Image.open(path) as picture:
        expected = np.array(ImageOps.exif_transpose(picture)).astype(int)
    ours = read_photo(path)
    assert ours.flags["C_CONTIGUOUS"]
    assert np.abs(ours - expected).max() <= (0 if suffix in ("png", "tif") else 4)


def test_photos_else_are_what_training_reads(photos):
    for name in ("a.jpg", "cmyk.JPG", "deep/a.tif", "deep/er/alpha.webp", "deep/er/wide.png"):
        assert np.array_equal(read_photo(photos / name), read_image(photos / name))
    with pytest.raises(BadFileError, match="truncated"):
        read_photo(photos / "broken.jpg")
