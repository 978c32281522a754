"""Images of any number of channels and any numbers: TIFF files and NumPy arrays."""

import re
import sys
import threading
from contextlib import suppress
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.cache import use_cache
from deeplab.data.class_set import ClassSet
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.find_pixel_format import with_pixel_format
from deeplab.data.image_io import read_header, read_image, read_values
from deeplab.data.items import Item
from deeplab.data.layouts.own import OwnLayout
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.pixel_values import to_8_bits
from deeplab.data.settings import AugmentationSettings, ScaleSettings, SegmentationSettings
from deeplab.data.transforms import EvalTransform, TrainTransform
from deeplab.utils.own_code.trust import trust
from support.scripts import CPU, run

SETTINGS = SegmentationSettings(name="folder", root=".", classes=("a", "b"))
SIZE = 40, 50
TYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")


def random_values(channels, dtype="float32", seed=0):
    values = np.random.default_rng(seed).uniform(0, 250, (*SIZE, channels))
    return values.astype(dtype)


def write_tiff(path, values, **options):
    """Write ``(H, W, C)`` as one image, channel by channel or pixel by pixel."""
    planar = options.pop("planarconfig", "contig")
    arranged = np.moveaxis(values, -1, 0) if planar == "separate" else values
    options = {"photometric": "minisblack", "planarconfig": planar} | options
    tifffile.imwrite(path, arranged, metadata=None, **options)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [2, 4, 5, 12])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd"])
def test_tiff_of_any_channels_and_numbers(dtype, channels, planar, compression, tmp_path):
    values, path = random_values(channels, dtype), tmp_path / "a.tif"
    write_tiff(path, values, planarconfig=planar, compression=compression)
    header = read_header(path)
    assert (header.size, header.channels) == (SIZE, channels)
    assert header.unnamed
    read = read_values(path, channels)
    assert read.dtype == values.dtype
    assert np.array_equal(read, values)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}])
def test_other_arrangements_of_a_tiff(options, tmp_path):
    values = random_values(5)
    write_tiff(tmp_path / "a.tif", values, **options)
    assert np.array_equal(read_values(tmp_path / "a.tif", 5), values)


@pytest.mark.parametrize("missing", [1, 100, 2000, 7000])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_truncated_tiff_is_an_error(missing, compression, tmp_path, capfd, caplog):
    """The directory is at the beginning, so that only pixels are missing."""
    path = tmp_path / "a.tif"
    write_tiff(path, random_values(5), compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - missing])
    with pytest.raises(BadFileError, match="cannot be decoded"):
        read_values(path, 5)
    assert not "".join(capfd.readouterr())
    assert not caplog.records


def test_damaged_bytes_of_a_tiff_raise_nothing_else(tmp_path, capfd):
    path, random = tmp_path / "a.tif", np.random.default_rng(0)
    write_tiff(path, random_values(5), compression="lzw")
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        damaged[int(random.integers(len(content)))] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(BadFileError):
            read_image(path, PixelFormat(5, value_range=(0, 250)))
    assert not "".join(capfd.readouterr())


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_arrays_have_their_channels_first_or_last(first, dtype, channels, tmp_path):
    values, path = random_values(channels, dtype), tmp_path / "a.npy"
    np.save(path, np.moveaxis(values, -1, 0) if first else values)
    header = read_header(path)
    assert (header.size, header.channels, header.deep) == (SIZE, channels, dtype != "uint8")
    assert np.array_equal(read_values(path, channels), values)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 5, 4)), np.zeros(9), np.zeros((2, 3, 4, 5)), np.zeros((5, 5), "U3")]
)
def test_arrays_that_are_no_images(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BadFileError, match=r"cannot be decoded \((an array of|values of type)"):
        read_image(tmp_path / "a.npy")


def test_the_fourth_channel_of_rgb_is_dropped_only_for_networks_of_rgb(tmp_path):
    values, path = random_values(4, "uint8"), tmp_path / "a.tif"
    for extra in ("unspecified", "unassalpha"):
        write_tiff(path, values, photometric="rgb", extrasamples=[extra])
        assert np.array_equal(read_image(path), values[..., :3])
        assert np.array_equal(read_image(path, PixelFormat(4)), values)
        assert read_header(path).unnamed == (extra == "unspecified")
        assert "alpha channel" in read_header(path).changes(3)
        assert "alpha channel" not in read_header(path).changes(4)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", PixelFormat(4)), values)
    deep = values.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "b.png"), deep[..., [2, 1, 0, 3]])
    assert np.array_equal(read_image(tmp_path / "b.png", PixelFormat(4)), values)


def test_gray_and_rgb_become_each_other(tmp_path):
    gray = random_values(1, "uint8")
    Image.fromarray(gray[..., 0]).save(tmp_path / "gray.png")
    color = random_values(3, "uint8")
    Image.fromarray(color).save(tmp_path / "color.png")
    one = PixelFormat(1)
    assert np.array_equal(read_image(tmp_path / "gray.png", one), gray)
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.repeat(gray, 3, axis=2))
    expected = np.asarray(Image.fromarray(color).convert("L"), int)[..., None]
    assert np.abs(read_image(tmp_path / "color.png", one) - expected).max() <= 1
    with pytest.raises(BadFileError, match=r"3 channels; 5 are read\. Set data\.channels=3"):
        read_image(tmp_path / "color.png", PixelFormat(5))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_range_for_each_channel_is_not_spread_over_others(channels, tmp_path):
    np.save(tmp_path / "a.npy", random_values(channels))
    with pytest.raises(BadFileError, match=rf"{channels} channels; 5 are read"):
        read_image(tmp_path / "a.npy", PixelFormat(5, value_range=((0.0, 250.0),) * 5))
    each = PixelFormat(4 - channels, value_range=((0.0, 250.0),) * (4 - channels))
    of_all = each._replace(value_range=(0.0, 250.0))
    assert np.array_equal(*(read_image(tmp_path / "a.npy", f) for f in (each, of_all)))


@pytest.mark.parametrize("dtype", TYPES[1:])
def test_a_range_is_spread_evenly(dtype, tmp_path):
    values = random_values(2, dtype)
    ranges = ((20.0, 120.0), (0.0, 250.0))
    for value_range in (ranges[0], ranges):
        low, high = np.array(value_range).reshape(-1, 2).T
        expected = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255
        actual = to_8_bits(values, PixelFormat(2, value_range=value_range), tmp_path)
        assert actual.dtype == np.uint8
        assert np.abs(actual - expected).max() <= 0.5 + 1e-4
        assert set(np.unique(actual[..., 0])) >= {0, 255}


def test_values_that_are_no_numbers_become_the_ends(tmp_path):
    values = np.array([[[np.nan], [np.inf], [-np.inf], [0.5]]], np.float32)
    actual = to_8_bits(values, PixelFormat(1, value_range=(0, 1)), tmp_path)
    assert actual.ravel().tolist() == [0, 255, 0, 128]


@pytest.mark.parametrize(
    ("dtype", "channels", "scale", "expected"),
    [
        ("float32", 3, 1 / 250, (0.0, 1.0)),
        ("float64", 5, 1 / 250, (0.0, 1.0)),
        ("float32", 3, 40, "one"),
        ("int16", 1, -4, "one"),
        ("float32", 5, 40, "each"),
        ("uint16", 5, 40, "each"),
    ],
)
def test_range_that_is_found(dtype, channels, scale, expected, tmp_path, capsys):
    paths = [tmp_path / f"{i}.npy" for i in range(4)]
    factors = np.arange(1, channels + 1) if expected == "each" else 1
    stack = [random_values(channels, seed=i) * scale * factors for i in range(4)]
    for path, values in zip(paths, stack, strict=True):
        np.save(path, values.astype(dtype))
    found = with_pixel_format(SETTINGS, paths)
    assert found.pixel_format.channels == (channels if channels == 5 else 3)
    line = capsys.readouterr().out.splitlines()[-1]
    assert f"{dtype} values from" in line
    assert "data.image_range=[" in line
    if not isinstance(expected, str):
        assert found.image_range == expected
        return
    ranges = np.array(found.image_range).reshape(-1, 2)
    assert len(ranges) == (channels if expected == "each" else 1)
    for k, (low, high) in enumerate(ranges):
        channel = [v[..., k] if expected == "each" else v for v in stack]
        beyond = [np.mean((v < low - 1) | (v > high + 1)) for v in channel]
        assert max(beyond) <= 2.2e-3
        assert high - low <= np.ptp(channel) * 1.01
    again = SETTINGS.model_copy(update={"image_range": (0.0, 9.0), "channels": channels})
    assert with_pixel_format(again, paths) == again
    assert not capsys.readouterr().out


def test_a_few_odd_files_do_not_decide(tmp_path, capsys):
    for i in range(5):
        Image.fromarray(random_values(3, "uint8")).save(tmp_path / f"{i}.png")
    odd = random_values(4, "uint8")
    write_tiff(tmp_path / "odd.tif", odd, photometric="rgb", extrasamples=["unspecified"])
    assert with_pixel_format(SETTINGS, sorted(tmp_path.iterdir())) == SETTINGS
    assert np.array_equal(read_image(tmp_path / "odd.tif"), odd[..., :3])
    assert not capsys.readouterr().out


@pytest.mark.parametrize(("channels", "odd"), [(5, 3), (5, 1), (3, 1), (1, 3), (3, 5)])
def test_images_of_other_channels_do_not_stop_the_search_for_a_range(channels, odd, tmp_path):
    usual = random_values(channels) * 40
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", usual)
    alone = with_pixel_format(SETTINGS, sorted(tmp_path.iterdir()))
    np.save(tmp_path / "odd.npy", random_values(odd) * (40 if {channels, odd} == {1, 3} else 900))
    found = with_pixel_format(SETTINGS, sorted(tmp_path.iterdir()))
    assert found.channels == alone.channels
    assert np.allclose(found.image_range, alone.image_range, atol=20)


def test_a_constant_channel_has_a_range(tmp_path):
    np.save(tmp_path / "a.npy", np.full((*SIZE, 5), 700, np.uint16))
    assert with_pixel_format(SETTINGS, [tmp_path / "a.npy"]).image_range == ((700.0, 701.0),) * 5


def test_wrong_ranges_are_refused():
    for value, message in (
        ((5.0, 5.0), "must be below"),
        (((0.0, 1.0), (0.0, 1.0)), "2 ranges for 3 channels"),
    ):
        with pytest.raises(ValueError, match=message):
            SegmentationSettings(**SETTINGS.model_dump() | {"image_range": value})


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("hflip_prob", [0.0, 1.0])
def test_each_channel_is_cropped_as_one_of_rgb(channels, hflip_prob):
    image = random_values(channels, "uint8")
    label = image[..., 0].astype(np.uint8) % 3
    for step, seed in product((0.25, 0.0), range(5)):
        scales = ScaleSettings(min=0.5, max=2.0, step=step)
        settings = AugmentationSettings(crop_size=45, scales=scales, hflip_prob=hflip_prob)

        def crop(array, fill, settings=settings, seed=seed):
            transform = TrainTransform(settings, fill=fill)
            return transform(array, label, np.random.default_rng(seed))

        fill = tuple(range(10, 10 + channels))
        cropped, labels = crop(image, fill)
        for k in range(channels):
            gray = np.repeat(image[..., k : k + 1], 3, axis=2)
            expected, expected_labels = crop(gray, (fill[k],) * 3)
            assert np.array_equal(cropped[..., k], expected[..., 0])
            assert np.array_equal(labels, expected_labels)


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Write images of five bands, of which only the last shows the classes."""
    root, random = tmp_path_factory.mktemp("bands"), np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for i in range(12):
        label = np.zeros((60, 70), np.uint8)
        top, left = random.integers(0, 30, 2)
        label[top : top + 30, left : left + 30] = 1
        values = random.normal(0.3, 0.02, (60, 70, 5)) + random.random(5) * 0.05
        values[..., 4] += label
        write_tiff(root / "images" / f"{i}.tif", (values * 5000).astype(np.uint16))
        Image.fromarray(label).save(root / "masks" / f"{i}.png")
    (root / "classes.yaml").write_text("classes: [ground, plant]\n")
    return root


TRAIN = (
    "data=folder", "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage=shapes",
    "stage.max_steps=60", "stage.batch_size=4", "data.crop_size=65", "data.eval_size=71",
    "logger=csv", "trainer.num_validations=1", "trainer.num_workers=0", *CPU,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(bands, tmp_path_factory):
    """Return a run on these images, and what its training has printed."""
    runs = tmp_path_factory.mktemp("runs")
    output = run("train", *TRAIN, f"data.root={bands}", f"runs_dir={runs}", cwd=runs).stdout
    return next(runs.glob("folder-*")), output


def test_train_on_five_bands(bands, trained):
    folder, output = trained
    assert "12 of 12 checked ones have 5 channels" in output
    assert "uint16 values from" in output
    words = next(line for line in output.splitlines() if line.startswith("mIoU")).split()
    assert float(words[1]) > 80
    runs = folder.parent
    again = run("train", *TRAIN, f"data.root={bands}", f"runs_dir={runs}", cwd=runs).stdout
    assert "finished" in again
    assert len(list(folder.parent.glob("folder-*"))) == 1


@pytest.mark.processes
def test_use_a_network_of_five_bands(bands, trained, tmp_path):
    folder, _ = trained
    on_run = f"run={folder}"
    output = run("predict", on_run, f"input={bands}/images", "output=p", cwd=tmp_path).stdout
    assert "5 channels, values in [[" in output
    assert "Predicted 12 images" in output
    truth = np.asarray(Image.open(bands / "masks" / "3.png"))
    predicted = np.asarray(Image.open(tmp_path / "p" / "3.png"))
    assert (truth == predicted).mean() > 0.9
    assert Image.open(tmp_path / "p" / "3_overlay.jpg").width >= 70
    strategies = "strategies=[os16-flip]"
    assert "mIoU" in run("evaluate", on_run, strategies, *CPU, cwd=tmp_path).stdout
    assert "index.html" in run("gallery", on_run, cwd=tmp_path).stdout
    exported = run("export", on_run, "format=torch_export", cwd=tmp_path).stdout
    assert "pixels_of_5_channels" in exported
    assert "have the same class" in exported
    Image.fromarray(np.zeros((60, 70, 3), np.uint8)).save(tmp_path / "photo.png")
    refused = run("predict", on_run, "input=photo.png", "output=q", cwd=tmp_path, ok=False)
    assert "3 channels; 5 are read" in refused.stdout
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["data.channels=3"],
            r"5 channels; 3 are read\. Set data\.channels=5 if all .*be mixed",
        ),
        (["backbone.in_channels=4"], r"backbone\.in_channels=4: .* with 5 channels\. Set"),
        (["data.image_range=[[0,1],[0,1]]"], r"2 ranges for 3 channels"),
        (["data.augmentations=[{ToGray: {}}]"], r"augmentations: ToGray fails for images of 5"),
    ],
)
def test_what_does_not_fit_five_bands_is_one_line(arguments, message, bands, tmp_path):
    done = run("train", *TRAIN, f"data.root={bands}", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1


OWN = """
import numpy as np

class Bands:
    classes = ["ground", "plant"]
    def __init__(self, split):
        self.seed = 1 if split == "train" else 2
    def __len__(self):
        return 4
    def __getitem__(self, index):
        image = np.random.default_rng([self.seed, index]).integers(0, 256, (60, 70, 7), np.uint8)
        return image, (image[..., 6] > 127).astype(np.uint8)
"""


def test_a_dataset_of_one_s_own_may_have_any_channels(tmp_path):
    (tmp_path / "bands.py").write_text(OWN)
    own = [a for a in TRAIN if a != "data=folder" and not a.startswith("stage.max_steps")]
    own += ["data._target_=bands.Bands", "stage.max_steps=2", "loss.class_weights=auto"]
    run("train", *own, cwd=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    (folder,) = (tmp_path / "runs").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["channels"] == config["backbone"]["in_channels"] == 7


def test_a_dataset_of_one_s_own_is_read_by_one_thread(tmp_path, monkeypatch):
    code = OWN.replace("        image =", "        readers.add(get_ident())\n        image =")
    (tmp_path / "thread_bound.py").write_text(
        f"from threading import get_ident\nreaders = set()\n{code}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trust(["thread_bound.Bands"])
    settings = OwnDataSettings(
        _target_="thread_bound.Bands", classes=("a", "b"), channels=7, eval_batch_size=2
    )
    options = {"fill": (0,) * 7, "steps": 1, "batch_size": 1, "seed": 0, "num_workers": 0}
    data = SegmentationData(settings, OwnLayout(settings), **options)
    data.check_eval_batches()
    assert data.val_set.count_pixels().shape == (4, 2)
    assert len(data.val_set.content_hash()) == 16
    assert sys.modules["thread_bound"].readers == {threading.get_ident()}


def items_of(root):
    return [
        Item(str(i), root / "images" / f"{i}.tif", root / "masks" / f"{i}.png") for i in range(12)
    ]


def test_the_cache_keeps_all_channels(bands, tmp_path):
    def dataset():
        return SegmentationDataset(
            "train",
            items_of(bands),
            classes=ClassSet(["ground", "plant"]),
            transform=EvalTransform(size=(1, 1), fill=(0,) * 5),
            pixel_format=PixelFormat(5, bits=14),
        )

    plain, cached = dataset(), dataset()
    use_cache(cached, tmp_path, num_workers=1, progress=False)
    assert cached.reader != plain.reader
    for index in range(12):
        assert cached[index].image.shape == (60, 70, 5)
        assert np.array_equal(cached[index].image, plain[index].image)
        assert np.array_equal(cached[index].label, plain[index].label)


def test_a_missing_decoder_is_named(bands, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(BadFileError, match=r"5 channels of 16 bits.*pip install tifffile"):
        read_image(items_of(bands)[0].image, PixelFormat(5))


def test_training_names_a_missing_decoder(bands, tmp_path):
    arguments = (*TRAIN, f"data.root={bands}")
    done = run("train", *arguments, cwd=tmp_path, ok=False, without=["tifffile"])
    assert done.returncode
    assert "pip install tifffile imagecodecs" in done.stderr
    assert "Traceback" not in done.stderr
