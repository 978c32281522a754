"""Tests of predict.py on images and videos, through the real entry point."""

import json
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet, voc_palette
from deeplab.data.image_io import read_image
from deeplab.data.pixel_format import PixelFormat
from deeplab.inference.strategy import Strategy, parse_strategy
from deeplab.tools.predict.contents import ContentCounter, class_shares, describe_shares
from deeplab.tools.predict.files import InputFile, find_inputs
from deeplab.tools.predict.outputs import recorded_outputs, reserve_outputs
from deeplab.tools.predict.photos import read_photo
from deeplab.tools.predict.predict import PredictionJob, _write_jpeg
from deeplab.tools.predict.video import Video
from deeplab.utils.errors import UserError
from support.image_trees import color_blocks
from support.networks import randomize_logits
from support.repository import ROOT
from support.scripts import SMALL, check_imports, run, run_folders, script_code

HARDWARE = ("trainer.accelerator=cpu", "trainer.precision=32-true")
NUM_CLASSES = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run whose network predicts all classes, and the images of its validation set."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    randomize_logits(folder)
    return folder, sorted((cwd / "data").rglob("val_*.jpg"))


def predict(folder, *arguments, cwd, ok=True):
    return run("predict", f"run={folder}", *arguments, *HARDWARE, cwd=cwd, ok=ok)


def read_label_map(path: Path):
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[: 3 * NUM_CLASSES] == voc_palette()[:NUM_CLASSES].ravel().tolist()
        return np.array(image)


CLASSES = ("background", "disc", "ring", "square", "star", "lollipop", "arrow")


def in_words(label):
    """Return the shares of the classes of a label map as the command prints them."""
    shares = 100 * np.bincount(label.ravel(), minlength=NUM_CLASSES) / label.size
    found = sorted((k for k in range(1, NUM_CLASSES) if shares[k]), key=lambda k: -shares[k])
    texts = []
    for k in found[:5]:
        text = "< 0.1" if shares[k] < 0.1 else f"{shares[k]:.{int(shares[k] < 1)}f}"
        texts.append(f"{CLASSES[k]} {text} %")
    more = [f"{len(found) - 5} more"] if len(found) > 5 else []
    return ", ".join([*texts, *more]) or "only background"


def test_pattern_gives_the_label_maps_of_the_evaluation(tmp_path, trained):
    folder, images = trained
    run("evaluate", f"run={folder}", *HARDWARE, cwd=folder.parent.parent)
    completed = predict(folder, f"input={images[0].parent}/val_*.jpg", cwd=tmp_path)
    assert "Predicted 3 images" in completed.stdout
    predicted_classes = set()
    for image in images:
        label = read_label_map(tmp_path / "predictions" / f"{image.stem}.png")
        (evaluated,) = folder.rglob(f"predictions/{image.stem}.png")
        assert np.array_equal(label, read_label_map(evaluated))
        predicted_classes |= set(np.unique(label))
        with Image.open(tmp_path / "predictions" / f"{image.stem}_overlay.jpg") as overlay:
            assert overlay.width >= label.shape[1]
            assert overlay.height > label.shape[0]  # the legend
        assert f"{image}: {in_words(label)}\n" in completed.stdout
    assert len(predicted_classes) > 2
    assert len(list((tmp_path / "predictions").iterdir())) == 6 + 1  # no drafts


@pytest.fixture
def photos(tmp_path):
    """Return a folder with all kinds of images, and files that are none."""
    root = tmp_path / "photos"
    (root / "deep/er").mkdir(parents=True)
    (root / ".hidden").mkdir()
    color = Image.fromarray(color_blocks(50, 60))
    color.save(root / "a.jpg")
    Image.fromarray(color_blocks(30, 40)).save(root / "a.png")
    color.convert("CMYK").save(root / "cmyk.JPG")
    color.convert("L").save(root / "deep/a.tif")
    color.convert("RGBA").save(root / "deep/er/alpha.webp", lossless=True)
    Image.fromarray(color_blocks(50, 60)[..., 0].astype(np.uint16) * 257).save(
        root / "deep/er/uint16.png"
    )
    Image.fromarray(color_blocks(150, 90)).save(root / "portrait.bmp")
    Image.fromarray(color_blocks(1, 200)).save(root / "flat.png")
    Image.fromarray(color_blocks(1, 1)).save(root / "dot.png")
    exif = Image.Exif()
    exif[0x112] = 6
    color.save(root / "rotated.png", exif=exif)
    color.transpose(Image.Transpose.ROTATE_270).save(root / "upright.png")
    (root / "broken.jpg").write_bytes((root / "a.jpg").read_bytes()[:-400])
    (root / "deep/no.png").write_text("no image")
    (root / "notes.txt").write_text("not read")
    shutil.copy(root / "a.jpg", root / ".a.jpg")
    shutil.copy(root / "a.jpg", root / ".hidden/a.jpg")
    (root / "deep/@eaDir").mkdir()  # of a network storage, with thumbnails
    shutil.copy(root / "a.jpg", root / "deep/@eaDir/a.jpg")
    return root


SIZES = {
    "a.jpg": (50, 60),
    "a.png": (30, 40),
    "cmyk": (50, 60),
    "deep/a": (50, 60),
    "deep/er/alpha": (50, 60),
    "deep/er/uint16": (50, 60),
    "portrait": (150, 90),
    "flat": (1, 200),
    "dot": (1, 1),
    "rotated": (60, 50),
    "upright": (60, 50),
}


def test_folder_with_all_kinds_of_files(tmp_path, trained, photos):
    """The output is in the input folder, and is not taken as input in any later run."""
    out = photos / "out"
    os.mkfifo(photos / "pipe.jpg")
    arguments = (f"input={photos}", f"output={out}", "save_probabilities=true")
    completed = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    assert "Predicted 11 images" in completed.stdout
    assert "2 files could not be read completely" in completed.stdout
    assert "Skipped 1 file (neither image nor video): .txt (1)\n" in completed.stdout
    assert f"  {photos / 'a.png'}: {out / 'a.png'}.*\n" in completed.stdout
    assert f"{photos / 'broken.jpg'}: this JPEG is truncated" in completed.stdout
    assert f"{photos / 'deep/no.png'}: this file cannot be decoded as an image" in completed.stdout
    labels = {name: read_label_map(out / f"{name}.png") for name in SIZES}
    assert {name: label.shape for name, label in labels.items()} == SIZES
    for name, label in labels.items():
        with np.load(out / f"{name}.npz") as stored:
            assert list(stored["classes"])[:2] == ["background", "disc"]
            probabilities = stored["probabilities"]
        assert probabilities.dtype == np.float16
        assert probabilities.shape == (NUM_CLASSES, *label.shape)
        probabilities = probabilities.astype(np.float32)
        assert np.abs(probabilities.sum(0) - 1).max() < 2e-3
        predicted = np.take_along_axis(probabilities, label[None], 0)[0]
        assert np.array_equal(predicted, probabilities.max(0))
    assert np.array_equal(labels["rotated"], labels["upright"])
    assert np.unique(labels["portrait"]).size > 1
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 3 * 11 + 1  # and the record
    for pattern in ("**/*.*", "*"):
        repeated = (f"input={photos}/{pattern}", *arguments[1:])
        completed = predict(trained[0], *repeated, cwd=tmp_path, ok=False)
        assert "Predicted 11 images" in completed.stdout, completed.stderr
        assert [path for path in out.rglob("*") if path.is_file()] == files
    for path in (photos, photos / "**/*.*"):  # results of another output folder are skipped too
        assert len(find_inputs([str(path)], tmp_path / "new").files) == 13
    (out / "mine").mkdir()
    shutil.copy(photos / "a.jpg", out / "mine")  # but not other files beside results
    assert len(find_inputs([str(photos)], tmp_path / "new").files) == 14


def test_foreign_files_are_not_overwritten(tmp_path, trained):
    (tmp_path / "mine/s").mkdir(parents=True)
    for name in ("mine/p.jpg", "mine/s/p.png", "q.jpg", "q.png"):
        Image.fromarray(color_blocks(20, 20)).save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for arguments in (["input=mine", "output=mine/s"], ["input=q.jpg", "output=."]):
        completed = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
        assert completed.returncode == 2
        assert "Set output to another folder" in completed.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_only_written_outputs_are_recorded(tmp_path):
    file = InputFile(tmp_path / "q.jpg", tmp_path / "q")
    (tmp_path / "q.npz").write_text("mine")
    saved = {"save_overlay": True, "save_frames": False}
    without = file.output_paths(**saved, save_probabilities=False)
    reserve_outputs(tmp_path, dict.fromkeys(without, file.path))
    assert recorded_outputs(tmp_path) == {tmp_path / "q.png", tmp_path / "q_overlay.jpg"}
    with_probabilities = file.output_paths(**saved, save_probabilities=True)
    with pytest.raises(
        UserError, match=r"q\.npz, which exists and was not written by deeplab predict"
    ):
        reserve_outputs(tmp_path, dict.fromkeys(with_probabilities, file.path))


def test_one_bad_name_does_not_stop_the_others(tmp_path, trained):
    (tmp_path / "in").mkdir()
    same = "s" * 250  # the results of both keep the suffix in their names
    for name in ("a.jpg", f"{'l' * 250}.jpg", f"{same}.jpg", f"{same}.png", "z.jpg"):
        Image.fromarray(color_blocks(20, 20)).save(tmp_path / "in" / name)
    arguments = ("input=in", "output=out", "save_probabilities=true")
    completed = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
    assert completed.returncode == 1
    assert "Predicted 2 images" in completed.stdout
    assert completed.stdout.count("the name is too long") == 3
    (tmp_path / "in/dir.png").mkdir()
    Image.fromarray(color_blocks(20, 20)).save(tmp_path / "in/dir.jpg")
    Image.fromarray(color_blocks(20, 20)).save(tmp_path / "in/dir.png/b.jpg")
    completed = predict(trained[0], "input=in", "output=other", cwd=tmp_path, ok=False)
    assert "would be other/dir.png, which must be a folder for other results" in completed.stderr


def write_video(path, codec, size=(48, 64), frames=12, frame_rate=12.5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), frame_rate, size[::-1])
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.roll(color_blocks(*size), 2 * i, 1)[..., ::-1])
    writer.release()
    return path


@pytest.mark.skipif(find_spec("av") is None, reason="the extra video is not installed")
def test_list_of_images_and_videos(tmp_path, trained):
    folder, images = trained
    intact = write_video(tmp_path / "intact.mp4", "mp4v")
    cut = write_video(tmp_path / "cut.avi", "MJPG", size=(50, 40))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "none.mov").write_text("no video")
    inputs = f"input=[{intact},{images[0]},{cut},{tmp_path}/none.mov]"
    completed = predict(folder, inputs, "output=out", "save_frames=true", cwd=tmp_path, ok=False)
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    assert "Predicted 1 image and 2 videos (" in completed.stdout
    assert "none.mov: not a video" in completed.stdout
    assert "cut.avi: damaged or cut off" in completed.stdout
    out = tmp_path / "out"
    assert len(list(out.iterdir())) == 2 + 2 * 3 + 1
    video = Video(out / "intact_overlay.mp4")
    frames = list(video.frames())
    assert (video.frame_rate, len(frames), frames[0].pixels.shape) == (12.5, 12, (48, 64, 3))
    labels = [read_label_map(path) for path in sorted((out / "intact_frames").iterdir())]
    assert len(labels) == 12
    in_frames = {
        name: sum((label == k).any() for label in labels) for k, name in enumerate(CLASSES)
    }
    (line,) = re.findall(rf"{re.escape(str(intact))}: 12 frames: (.+)", completed.stdout)
    for name, count in re.findall(r"(\w+) in (\d+)(?:, |$)", line):
        frames = sum(not label.any() for label in labels)
        assert int(count) == (frames if name == "background" else in_frames[name])
    assert line.count(" in ") >= 1
    assert labels[0].shape == (48, 64)
    assert any(not np.array_equal(label, labels[0]) for label in labels)
    partial = list(Video(out / "cut_overlay.mp4").frames())
    assert 0 < len(partial) < 12
    assert len(list((out / "cut_frames").iterdir())) == len(partial)
    assert partial[0].pixels.shape == (50, 40, 3)
    write_video(intact, "mp4v", frames=5)
    predict(folder, f"input={intact}", "output=out", "save_frames=true", cwd=tmp_path)
    assert len(list((out / "intact_frames").iterdir())) == 5


def test_missing_video_package_names_the_extra(tmp_path, trained):
    (tmp_path / "a.mp4").write_bytes(b"")
    arguments = ("predict", f"run={trained[0]}", "input=a.mp4", *HARDWARE)
    done = run(*arguments, cwd=tmp_path, ok=False, without=["av"])
    assert done.returncode == 2
    assert done.stderr.startswith("Error: input=a.mp4: av is not installed")
    assert f'pip install -e "{ROOT}[video]"' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_windows_and_label_maps_only(tmp_path, trained):
    Image.fromarray(color_blocks(90, 150)).save(tmp_path / "large[1].png")
    arguments = (f'input="{tmp_path}/large[1].png"', "save_overlay=false")
    predict(trained[0], *arguments, "output=whole", "strategy=os8-flip", cwd=tmp_path)
    predict(trained[0], *arguments, "output=cut", "window_size=49", cwd=tmp_path)
    whole, cut = (read_label_map(tmp_path / name / "large[1].png") for name in ("whole", "cut"))
    assert whole.shape == cut.shape == (90, 150)
    assert len(list((tmp_path / "cut").glob("[!.]*"))) == 1


def test_panorama_in_windows(tmp_path, trained):
    Image.fromarray(color_blocks(40, 700)).save(tmp_path / "long.png")
    done = predict(trained[0], "input=long.png", "window_size=97", cwd=tmp_path)
    assert "at once" not in done.stdout
    assert read_label_map(tmp_path / "predictions/long.png").shape == (40, 700)


def test_overlay_longer_than_a_jpeg_is_shrunk(tmp_path):
    _write_jpeg(tmp_path / "long.jpg", Image.new("RGB", (70_000, 40)))
    with Image.open(tmp_path / "long.jpg") as overlay:
        assert overlay.size == (65_500, 37)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["input=nothing.jpg", "strategy=os9"], ["input=nothing.jpg", "no such file"]),
        (["input=here.jpg", "strategy=os9"], ["strategy", "os9"]),
        (
            ["input=here.jpg", "window_size=null", "overlap=0.5"],
            ["overlap=0.5", "Set window_size"],
        ),
        (["input=here.jpg", "output=here.jpg"], ["output=here.jpg", "cannot be written"]),
        (["input=here.jpg", "output=/proc/out"], ["output=/proc/out", "cannot be written"]),
    ],
    ids=str,
)
def test_user_errors(arguments, words, tmp_path, trained):
    Image.fromarray(color_blocks(40, 40)).save(tmp_path / "here.jpg")
    completed = predict(trained[0], *arguments, cwd=tmp_path, ok=False)
    assert completed.returncode == 2
    assert completed.stderr.startswith("Error: ")
    assert "Traceback" not in completed.stderr
    assert all(word in completed.stderr for word in words), completed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here.jpg"]


def test_a_missing_input_is_found_before_torch_is_imported(tmp_path):
    Image.fromarray(color_blocks(40, 40)).save(tmp_path / "here.jpg")
    script = indent(script_code("predict", "run=any", "input=[here.jpg,nothing.jpg]"), "    ")
    code = f"try:\n{script}\nexcept SystemExit as error:\n    print(error.code)"
    assert check_imports(code, cwd=tmp_path).strip() == "2"


def test_inputs_are_never_overwritten(photos, tmp_path):
    with pytest.raises(UserError, match="a folder of the input"):
        find_inputs([str(photos)], photos)
    with pytest.raises(UserError, match=r"a\.png would be written"):
        find_inputs([str(photos / "a.png")], photos)
    find_inputs([str(photos / "cmyk.JPG")], photos)
    with pytest.raises(UserError, match="no image or video"):
        find_inputs([str(photos / "*.txt")], tmp_path)


def test_files_that_share_a_name_have_separate_results(photos, tmp_path):
    patterns = ["a.*", "deep/*", "deep/../a.jpg", "deep/a.tif"]
    patterns = [f"{photos}/{pattern}" for pattern in patterns]
    files = find_inputs(patterns, tmp_path / "out").files
    stems = [str(file.output_stem.relative_to(tmp_path / "out")) for file in files]
    assert len(files) == len({file.path.resolve() for file in files})
    assert stems == ["a.jpg", "a.png", "a.tif", "er/alpha", "er/uint16", "no"]
    same_name = find_inputs([f"{photos}/a.jpg", f"{photos}/.hidden/a.jpg"], tmp_path).files
    assert [file.output_stem.name for file in same_name] == ["a.jpg", "a.jpg-2"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photos_are_upright(orientation, suffix, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(color_blocks(27, 45)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image)).astype(int)
    photo, _ = read_photo(path)
    assert photo.flags["C_CONTIGUOUS"]
    assert np.abs(photo - expected).max() <= (0 if suffix in ("png", "tif") else 4)


def test_photos_equal_training_images_apart_from_orientation(photos):
    for name in ("a.jpg", "cmyk.JPG", "deep/a.tif", "deep/er/alpha.webp", "deep/er/uint16.png"):
        assert np.array_equal(read_photo(photos / name)[0], read_image(photos / name))
    with pytest.raises(BadFileError, match="truncated"):
        read_photo(photos / "broken.jpg")


def test_report_says_what_is_not_read_as_it_is(tmp_path, capsys):
    frames = [Image.fromarray(np.full((9, 9), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for name in ("b", "c"):
        Image.new("RGBA", (9, 9), "red").save(tmp_path / f"{name}.png")
    job = PredictionJob(None, None, ClassSet(("background", "red")), PixelFormat())
    for path in sorted(tmp_path.iterdir()):
        assert isinstance(job._read(InputFile(path, path)), np.ndarray)
    job.report(tmp_path)
    printed = capsys.readouterr().out
    assert "1 image: several frames or pages, of which the first is read" in printed
    assert "2 images: an alpha or fourth channel, which is dropped" in printed


def test_images_much_larger_than_those_of_training_are_named(tmp_path, capsys):
    segmenter = SimpleNamespace(predictor=SimpleNamespace(strategies=[Strategy(16, flip=True)]))
    job = PredictionJob(None, segmenter, ClassSet(("background", "red")), PixelFormat())
    sizes = {"a.jpg": (90, 110), "b.jpg": (400, 300), "c.jpg": (300, 100)}
    for usual, largest, expected in (
        (100.0, 1.0, "b.jpg and 1 more: up to 4.0 times the size of the training images"),
        (100.0, 1.6, "b.jpg: 4.0 times the size of the training images"),
        (100.0, 2.1, None),
        (None, 1.0, None),
    ):
        job.usual_side, job.largest_seen, job.larger = usual, largest, {}
        for name, size in sizes.items():
            job._note_size(tmp_path / name, np.zeros(size, np.uint8))
        job.report(tmp_path)
        printed = capsys.readouterr().out
        assert expected in printed if expected else "times the size" not in printed
        assert ("strategy=os16-x0.25-flip fits" in printed) == bool(expected)


def test_the_size_of_the_training_images_is_that_of_the_run(trained, tmp_path):
    folder, _ = trained  # data.crop_size was typed
    side = json.loads((folder / "run.json").read_text())["image_side"]
    assert 48 <= side <= 56
    Image.fromarray(color_blocks(300, 560)).save(tmp_path / "large.png")
    printed = predict(folder, "input=large.png", cwd=tmp_path).stdout
    assert f"large.png: {560 / side:.1f} times the size of the training images" in printed


def test_the_strategy_that_fits_a_huge_image_is_one_that_can_be_given(tmp_path, capsys):
    segmenter = SimpleNamespace(predictor=SimpleNamespace(strategies=[Strategy(16)]))
    job = PredictionJob(None, segmenter, ClassSet(("background", "red")), PixelFormat())
    job.usual_side = 3.0
    job._note_size(tmp_path / "a.jpg", np.zeros((9, 100), np.uint8))
    job.report(tmp_path)
    name = re.search("strategy=(.*) fits", capsys.readouterr().out)[1]
    assert parse_strategy(name, output_stride=8) == Strategy(16, (0.1,))


def test_shares_of_classes_in_words():
    label = np.zeros((100, 1000), np.uint8)
    assert describe_shares(class_shares(label, CLASSES)) == "only background"
    for k, pixels in ((1, 12_345), (4, 600), (2, 99)):
        label.ravel()[np.flatnonzero(label.ravel() == 0)[:pixels]] = k
    shares = class_shares(label, CLASSES)
    assert list(shares) == ["background", "disc", "star", "ring"]
    assert sum(shares.values()) == pytest.approx(1)
    assert describe_shares(shares) == "disc 12 %, star 0.6 %, ring < 0.1 %"
    label[:, :600] = np.arange(600) % 7
    assert describe_shares(class_shares(label, CLASSES)).endswith("1 more")


def test_many_images_are_counted_by_class():
    counter = ContentCounter(CLASSES)
    for classes in ([0], [0, 1], [0, 1, 5], [3]):
        counter.add(np.array([classes * 4], np.uint8))
    expected = "4 images: disc in 2, lollipop in 1, square in 1, only background in 1"
    assert counter.describe() == expected
    counter.add(np.array([[1, 2, 3, 4, 5, 6]], np.uint8))
    assert "5 images: disc in 3," in counter.describe()
    assert ", 1 more class, only background in 1" in counter.describe()
