"""Tests of the reader of image and mask files: kinds of files, damage, bit depths, orientation."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationDataset, check_split
from deeplab.data.find_pixel_format import with_pixel_format
from deeplab.data.image_io import read_header, read_image, read_mask
from deeplab.data.items import Item
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.errors import UserError
from support.trees import IdentityTransform, voc_tree

LABEL = np.zeros((40, 50), np.uint8)
LABEL[5:20, 5:30], LABEL[25:35, 20:45] = 1, 2
RGB = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8), (50, 40), interpolation=2
)
DEEP = RGB.astype(np.uint16)


def encode(array, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def encode_deep(array, suffix):
    return cv2.imencode(suffix, array[..., ::-1] if array.ndim == 3 else array)[1].tobytes()


def encode_npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(
        ">I", zlib.crc32(name + content)
    )  # fmt: skip


def png(width, height, color_type, *chunks, interlaced=False):
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


IMAGES = {
    "png": encode(RGB, "PNG"),
    "jpeg": encode(RGB, "JPEG"),
    "tiff": encode(RGB, "TIFF"),
    "lzw": encode(RGB, "TIFF", compression="tiff_lzw"),
    "deflate": encode(RGB, "TIFF", compression="tiff_deflate"),
    "bmp": encode(RGB, "BMP"),
    "gif": encode(RGB, "GIF"),
    "webp": encode(RGB, "WEBP", lossless=True),
    "16-bit png": encode_deep(DEEP * 257, ".png"),
    "16-bit tiff": encode_deep(DEEP * 257, ".tif"),
}
MASKS = {
    "png": encode(LABEL, "PNG"),
    "deflate": encode(LABEL, "TIFF", compression="tiff_deflate"),
    "bmp": encode(LABEL, "BMP"),
    "gif": encode(LABEL, "GIF"),
    "npy": encode_npy(LABEL),
    "npy of 64 bits": encode_npy(LABEL.astype(np.int64)),
    "npy of floats": encode_npy(LABEL.astype(np.float32)),
    "16-bit png": encode_deep(LABEL.astype(np.uint16), ".png"),
    "16-bit color png": encode_deep(np.repeat(LABEL[..., None], 3, 2).astype(np.uint16), ".png"),
    "gray and alpha": encode(np.dstack([LABEL, LABEL * 90]), "PNG"),
    "rgb and alpha": encode(np.dstack([LABEL] * 3 + [LABEL * 90]), "PNG"),
    "float tiff": encode(LABEL.astype(np.float32), "TIFF"),
}
LOSSY = ("jpeg", "gif")
PADDING = {"bmp": 2, "gif": 2}
"""Bytes at the end that hold no pixels."""


SETTINGS = SegmentationSettings(name="folder", root=".", classes=("a", "b"))


def read_quietly(read, path, capfd):
    """Return what ``read`` returns or its BadFileError; nothing may be printed."""
    try:
        result = read(path)
    except BadFileError as error:
        result = error
    captured = capfd.readouterr()
    assert not captured.out + captured.err
    if isinstance(result, BadFileError):
        assert str(path) in str(result)
        assert "\n" not in str(result)
    return result


@pytest.mark.parametrize("kind", IMAGES)
def test_image_is_read_exactly_under_any_name(kind, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(IMAGES[kind])
    image = read_image(path)
    assert image.shape == RGB.shape
    assert kind in LOSSY or np.array_equal(image, RGB)
    assert read_header(path).size == RGB.shape[:2]


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("missing", [0, 1, 100, 600])
def test_photos_of_phones(kind, missing, tmp_path, capfd):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    lossless = {"chroma": 444, "quality": -1, "matrix_coefficients": 0}
    options = {"HEIF": lossless, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}[kind]
    content = encode(RGB, kind, **options)
    path = tmp_path / "photo.heic"
    path.write_bytes(content[: len(content) - missing])
    image = read_quietly(read_image, path, capfd)
    if missing:
        assert isinstance(image, BadFileError)
        return
    assert np.abs(image.astype(int) - RGB).max() <= (kind == "AVIF") * 4
    assert read_header(path).size == RGB.shape[:2]


def test_a_heic_photo_without_its_decoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x20ftypheic" + bytes(100))
    with pytest.raises(BadFileError, match=r"HEIC image, for which pillow-heif is not installed"):
        read_image(path)


@pytest.mark.parametrize("kind", MASKS)
def test_mask_is_read_exactly_under_any_name(kind, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(MASKS[kind])
    assert np.array_equal(read_mask(path), LABEL)
    assert np.array_equal(read_mask(path, colored=True), np.repeat(LABEL[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("read", "kind", "content"),
    [(read_image, kind, content) for kind, content in IMAGES.items()]
    + [(read_mask, kind, content) for kind, content in MASKS.items()],
)
def test_damaged_file_is_one_line(read, kind, content, tmp_path, capfd):
    """Cut anywhere, a file is an error; changed anywhere, an error or an image, never a crash."""
    path = tmp_path / "a.png"
    last = len(content) - PADDING.get(kind, 0)
    for keep in [1, 2, 8, 20, 30, *np.linspace(40, last - 1, 8).astype(int)]:
        path.write_bytes(content[:keep])
        assert isinstance(read_quietly(read, path, capfd), BadFileError), keep
    random = np.random.default_rng(len(content))
    for position in (*random.integers(0, 64, 8), *random.integers(0, len(content), 8)):
        changed = bytearray(content)
        changed[position] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        result = read_quietly(read, path, capfd)
        if kind.endswith("png"):  # whose checksums show any change
            assert isinstance(result, BadFileError), position


PIXELS = chunk(b"IDAT", zlib.compress(b"\0" * (50 * 3 + 1) * 40))
ODD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"<html>not found</html>", "cannot be decoded"),
    "zeros": (bytes(3000), "cannot be decoded"),
    "header of 60000 x 60000": (png(60000, 60000, 2, PIXELS), "60000 x 60000 pixels"),
    "larger header": (png(500, 400, 2, PIXELS), "cannot be decoded"),
    "no palette": (png(50, 40, 3, PIXELS), "has no palette"),
    "no pixels": (png(50, 40, 2), "cannot be decoded"),
    "no compressed data": (png(50, 40, 2, chunk(b"IDAT", b"no")), "cannot be decoded"),
    "unknown filter": (
        png(50, 40, 2, chunk(b"IDAT", zlib.compress(b"\x09" * 151 * 40))), "cannot be decoded",
    ),
    "text of 200 MB": (
        png(50, 40, 2, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000))), PIXELS),
        "too large",
    ),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be decoded"),
    "TIFF without tags": (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "cannot be decoded"),
    "TIFF of many tags": (b"II*\0\x08\0\0\0\xff\xff" + bytes(900), "cannot be decoded"),
    "TIFF without a size": (
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 258, 3, 1, 8) + bytes(4),
        "cannot be decoded as",
    ),
    "TIFF that ends": (b"II*\0\xff\xff\xff\xff", "cannot be decoded"),
    "huge PPM": (b"P6 60000 60000 255\n", "60000 x 60000 pixels"),
    "16 bits in planes": (
        b"II*\0\x08\0\0\0\x06\0" + b"".join(
            struct.pack("<HHII", tag, 3, 1, value)
            for tag, value in ((256, 50), (257, 40), (258, 16), (262, 2), (277, 3), (284, 2))
        ) + bytes(4),
        "cannot be decoded",
    ),
    "five channels": (
        b"II*\0\x08\0\0\0\x05\0" + b"".join(
            struct.pack("<HHII", tag, 3, 1, value)
            for tag, value in ((256, 50), (257, 40), (258, 8), (262, 1), (277, 5))
        ) + bytes(4),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 20, 39])
@pytest.mark.parametrize("kind", ["gray", "palette", "rgb", "rgba", "interlaced"])
def test_png_of_fewer_rows_than_its_header_says_is_an_error(kind, rows, tmp_path, capfd):
    """All checksums are right, and Pillow fills the other rows with zeros."""
    color, channels = {"palette": (3, 1), "rgb": (2, 3), "rgba": (6, 4)}.get(kind, (0, 1))
    sizes = [(40, 50)]
    if kind == "interlaced":
        sizes = [(5, 7), (5, 6), (5, 13), (10, 12), (10, 25), (20, 25), (20, 50)]
    lines = [b"\0" + b"\1" * width * channels for height, width in sizes for _ in range(height)]
    palette = chunk(b"PLTE", bytes(range(256)) * 3) * (kind == "palette")

    def write(missing):
        pixels = chunk(b"IDAT", zlib.compress(b"".join(lines[: len(lines) - missing])))
        content = png(50, 40, color, palette, pixels, interlaced=kind == "interlaced")
        path = tmp_path / f"{missing}.png"
        path.write_bytes(content)
        return path

    for read in (read_image, read_mask) if color in (0, 3) else (read_image,):
        assert isinstance(read_quietly(read, write(0), capfd), np.ndarray)
        assert "cannot be decoded" in str(read_quietly(read, write(40 - rows), capfd))


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("name", ODD_FILES)
def test_odd_file_is_one_line(read, name, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as in a command
    content, message = ODD_FILES[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert message in str(read_quietly(read, path, capfd))


@pytest.mark.parametrize("name", ["header of 60000 x 60000", "huge PPM"])
def test_the_limit_of_pillow_holds_in_other_programs(name, tmp_path, capfd):
    (tmp_path / "a.png").write_bytes(ODD_FILES[name][0])
    message = str(read_quietly(read_image, tmp_path / "a.png", capfd))
    assert "exceeds limit of 178956970 pixels, which is PIL.Image.MAX_IMAGE_PIXELS" in message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, None]], object), "cannot be decoded"),
        (np.zeros((3, 4, 5), np.uint8), "3 x 4 x 5 entries"),
        (np.zeros((0, 5), np.uint8), "0 x 5 entries"),
        (LABEL.astype(complex), "complex128"),
        (LABEL / 3, "no integers"),
        (np.where(LABEL, np.nan, 0), "no integers"),
        (np.where(LABEL, np.inf, 0), "cannot be decoded"),
        (LABEL.astype(np.int8) - 1, "values from -1"),
        (LABEL.astype(np.uint16) * 300, "values up to 600"),
    ],
)
def test_arrays_that_are_no_masks(array, message, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(encode_npy(array, allow_pickle=True))
    with pytest.raises(BadFileError, match=message):
        read_mask(path)


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")  # to open it would wait forever
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in ("folder.png", "pipe.png", "zero.png", "loop.png", "none.png", "a" * 300 + ".png"):
        for read in (read_image, read_mask, read_header):
            with pytest.raises(BadFileError, match=name):
                read(tmp_path / name)


def test_several_frames(tmp_path):
    path = tmp_path / "a.gif"
    first = Image.fromarray(LABEL * 80)
    first.save(path, save_all=True, append_images=[Image.fromarray(255 - LABEL)])
    assert np.array_equal(read_image(path)[..., 0], LABEL * 80)
    assert "several images" in read_header(path).changes()
    with pytest.raises(BadFileError, match="several frames"):
        read_mask(path)


def test_colors_of_a_gif_count_not_the_order_of_its_palette(tmp_path):
    for name, entries, pixels in (("a", [0, 255], LABEL > 0), ("b", [255, 0], LABEL == 0)):
        mask = Image.fromarray(pixels.astype(np.uint8), "P")
        mask.putpalette([value for gray in entries for value in [gray] * 3])
        mask.save(tmp_path / f"{name}.gif", optimize=False)
        assert np.array_equal(read_mask(tmp_path / f"{name}.gif"), (LABEL > 0) * np.uint8(255))


# bit depths


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_upper_8_bits_are_read(suffix, gray, bits, tmp_path):
    random = np.random.default_rng(bits)
    values = random.integers(0, 1 << bits, (40, 50) if gray else (40, 50, 3)).astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode_deep(values, suffix))
    expected = (values >> (bits - 8)).astype(np.uint8)
    actual = read_image(path, PixelFormat(bits=bits))
    assert np.array_equal(actual, np.repeat(expected[..., None], 3, 2) if gray else expected)


def test_bit_depth_is_that_of_the_data_set(tmp_path, capsys):
    """Dark images are read like the bright ones of the same set, also where they are alone."""
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, largest in zip(paths, (100, 900, 4095, 300, 2000), strict=True):
        path.write_bytes(encode_deep((RGB / RGB.max() * largest).astype(np.uint16), ".png"))
    plain = tmp_path / "plain.png"
    plain.write_bytes(IMAGES["png"])
    settings = with_pixel_format(SETTINGS, [*paths, plain])
    assert settings.image_bits == 12
    assert "values up to 4095" in capsys.readouterr().out
    assert read_image(paths[0], settings.pixel_format).max() == 100 >> 4
    assert np.array_equal(read_image(plain, PixelFormat(bits=12)), RGB)
    assert with_pixel_format(settings, []) == settings
    assert with_pixel_format(SETTINGS, [plain]) == SETTINGS
    assert not capsys.readouterr().out
    with pytest.raises(BadFileError, match=r"values up to 4095.*Set data\.image_bits=12"):
        read_image(paths[2], PixelFormat(bits=10))
    with pytest.raises(BadFileError, match=r"uint16 values up to 4095.*data\.image_bits"):
        read_image(paths[2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encode(np.float32(LABEL), "TIFF"), "float32 values, whose meaning"),
        (encode(LABEL.astype(np.int32), "TIFF"), r"int32 values up to 2.*image_bits"),
        (
            encode_deep(DEEP.astype(np.int16) - 300, ".tif"),
            r"values from -\d+ to -?\d+, whose.*image_range",
        ),
    ],
)
def test_values_without_a_scale_are_refused(content, message, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        read_image(path)


# orientation


def write_pair(folder, image, mask, orientation=None, mask_orientation=None):
    """Write an image and its mask, with EXIF orientations."""
    paths = folder / "image.jpg", folder / "mask.png"
    arrays = (image, mask)
    for path, array, value in zip(paths, arrays, (orientation, mask_orientation), strict=True):
        exif = Image.Exif()
        if value:
            exif[0x0112] = value
        Image.fromarray(array).save(path, exif=exif)
    item = Item("a", *paths)
    classes = ClassSet(("background", "red", "green"))
    return SegmentationDataset("train", [item], classes=classes, transform=IdentityTransform())


@pytest.mark.parametrize(
    ("orientation", "mask_orientation", "file"),
    [(6, None, "image.jpg"), (None, 3, "mask.png"), (8, 8, None), (1, None, None)],
)
def test_orientation_of_one_side_is_a_warning(tmp_path, orientation, mask_orientation, file):
    warnings = check_split(write_pair(tmp_path, RGB, LABEL, orientation, mask_orientation))
    assert len(warnings) == (file is not None)
    if file:
        assert "rotation, which is not applied" in warnings[0]
        assert str(Path(tmp_path, file)) in warnings[0]


def test_batches_of_several_sizes_are_refused(tmp_path):
    root = voc_tree(tmp_path, {"train": 2, "val": 3})
    Image.fromarray(RGB).save(root / "JPEGImages" / "val_1.jpg")  # 40 x 50 among 50 x 60
    settings = SegmentationSettings(
        name="voc", root=str(root), classes=("a", "b"), crop_size=33, eval_size=33
    )

    def data(**changes):
        changed = settings.model_copy(update=changes)
        options = {"steps": 1, "batch_size": 1, "seed": 0, "num_workers": 0}
        return SegmentationData(changed, VOCFolder(root), fill=(0, 0, 0), **options)

    data().check_eval_batches()
    with pytest.raises(UserError, match=r"eval_batch_size=2: .* or data\.eval_size=\[50, 60\]"):
        data(eval_batch_size=2).check_eval_batches()
    data(eval_batch_size=2, eval_size=(50, 60)).check_eval_batches()


def test_sizes_that_differ_by_the_orientation(tmp_path):
    with pytest.raises(UserError, match=r"mask 40 x 50, but its image is 50 x 40.*EXIF.*mogrify"):
        check_split(write_pair(tmp_path, RGB, LABEL.T, 6))
    with pytest.raises(UserError, match="export the mask at the image's size"):
        check_split(write_pair(tmp_path, RGB, LABEL.T))
