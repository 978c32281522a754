"""Tests of how the classes of masks are found: drawn masks, saved in the ways of many tools."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab.data.class_set import ClassSet, voc_palette
from deeplab.data.image_io import read_mask
from deeplab.data.layouts.class_discovery import find_classes, select_classes
from deeplab.data.layouts.classes_file import format_classes_yaml, read_classes
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.mask_statistics import mask_statistics
from deeplab.utils.errors import UserError

SIZE = (90, 120)
COLORS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)], np.uint8)
CITY = np.array([(70, 70, 70), (128, 64, 128), (0, 80, 100), (0, 60, 100)], np.uint8)
CREAM = (224, 224, 192)
VOC = voc_palette()


def scene(seed, classes, scale=1, objects=9):
    """Return a label map of discs and boxes that holds all classes."""
    rng = np.random.default_rng(seed)
    label = np.zeros((SIZE[0] * scale, SIZE[1] * scale), np.uint8)
    for number in range(max(objects, classes - 1)):
        value = 1 + number % (classes - 1)
        x, y = (int(rng.integers(0, side * scale)) for side in SIZE[::-1])
        radius = scale * int(rng.integers(8, 18))
        if number % 3:
            cv2.circle(label, (x, y), radius, value, -1)
        else:
            cv2.rectangle(label, (x, y), (x + radius, y + radius), value, -1)
    return label


def antialiased(seed, values, classes=None):
    """Return a scene of gray values or colors that was drawn at four times its size."""
    large = np.asarray(values, np.uint8)[scene(seed, classes or len(values), 4)]
    return cv2.resize(large, SIZE[::-1], interpolation=cv2.INTER_AREA)


def resized(seed, values, scale, how):
    """Return a scene that was drawn at ``scale`` times its size, or at half if that is 1 / 2."""
    large = np.asarray(values, np.uint8)[scene(seed, len(values), max(1, int(scale)))]
    return cv2.resize(large, None, fx=1 / scale, fy=1 / scale, interpolation=how)


def blocks(mask, side):
    return mask.repeat(side, axis=0).repeat(side, axis=1)


def thin_lines(seed, scale=1, width=2):
    """Return lines of one class, all of them ``width`` pixels wide."""
    rng = np.random.default_rng(seed)
    label = np.zeros((SIZE[0] * scale, SIZE[1] * scale), np.uint8)
    for row in rng.integers(5, 80, 3):
        label[row * scale : (row + width) * scale] = 1
    for angle in rng.uniform(0.5, 1, 2 * (scale > 1)):
        cv2.line(label, (0, 0), (int(400 * angle), int(300 / angle)), 1, width * scale)
    return label


def with_band(label, reach=3, value=255):
    """Return labels with a band around all objects, which leaves them as they are."""
    wide = cv2.dilate(label, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.where((label == 0) & (wide > 0), value, label).astype(np.uint8)


def with_border(label, value=255, width=5):
    kernel = np.ones((width, width), np.uint8)
    return np.where(cv2.erode(label, kernel) != cv2.dilate(label, kernel), value, label).astype(
        np.uint8
    )


def with_spot(label, value, side, seed=0):
    label = label.copy()
    y, x = np.random.default_rng(seed).integers(5, 70, 2)
    label[y : y + side, x : x + side] = value
    return label


def palette_image(label, palette=VOC):
    image = Image.fromarray(label, mode="P")
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def gray(values, seed):
    return np.asarray(values, np.uint8)[scene(seed, len(values))]


def shuffled_palette(seed):
    """Return a scene whose palette has its colors in another order for each seed."""
    order = np.random.default_rng(seed).permutation(4)
    return palette_image(order.astype(np.uint8)[scene(seed, 4)], COLORS[np.argsort(order)])


def save(folder, masks, suffix="png", **kwargs):
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        image = Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask
        image.save(folder / f"{number:03}.{suffix}", **kwargs)
    return sorted(folder.iterdir())


def colors(array):
    return tuple(sorted(tuple(color) for color in np.asarray(array).tolist()))


N = range(8)
LEVELS = (0, 85, 170, 255)

FOUND = {
    "binary": ((0, 255), lambda s: gray((0, 255), s)),
    "one bit": ((0, 1), lambda s: scene(s, 2) > 0),
    "object 128": ((0, 128), lambda s: gray((0, 128), s)),
    "four levels": (LEVELS, lambda s: gray(LEVELS, s)),
    "three levels": ((0, 127, 255), lambda s: gray((0, 127, 255), s)),
    "17 levels": (tuple(range(0, 256, 15)), lambda s: gray(range(0, 256, 15), s)),
    "gray copy of colors": ((29, 76, 150, 255), lambda s: gray((29, 76, 150, 255), s)),
    "trimap": ((0, 128, 255), lambda s: with_border(gray((0, 255), s), 128, 9)),
    "Oxford pets": ((1, 2, 3), lambda s: gray((1, 2, 3), s)),
    "most without an object": ((0, 255), lambda s: gray((0, 255), s) * (s == 3)),
    "antialiased": ((0, 255), lambda s: antialiased(s, (0, 255))),
    "antialiased levels": (LEVELS, lambda s: antialiased(s, LEVELS)),
    "enlarged": ((0, 255), lambda s: cv2.resize(gray((0, 255), s), None, fx=3, fy=3)),
    "blurred": ((0, 255), lambda s: cv2.GaussianBlur(gray((0, 255), s), (0, 0), 1.2)),
    "two indices, enlarged": ((0, 15), lambda s: cv2.resize(gray((0, 15), s), None, fx=2, fy=2)),
    "one stray pixel": ((0, 255), lambda s: with_spot(gray((0, 255), s), 93, int(s == 4))),
    "rare objects in two masks": (
        (0, 1, 2, 3), lambda s: with_spot(scene(s, 3), 3, 5 * (s in (2, 5)))),
    "salt and pepper": ((0, 255), lambda s: np.where(
        np.random.default_rng(s).random(SIZE) < 0.002,
        np.random.default_rng(s + 9).integers(9, 247, SIZE), gray((0, 255), s)).astype(np.uint8)),
    "antialiased lines": ((0, 255), lambda s: cv2.line(
        np.zeros(SIZE, np.uint8), (0, 9 * s), (119, 40), 255, 2, cv2.LINE_AA)),
    "thin lines": ((0, 255), lambda s: cv2.resize(
        thin_lines(s, 4) * 255, SIZE[::-1], interpolation=cv2.INTER_AREA)),
    "antialiased, then enlarged": ((0, 255), lambda s: blocks(antialiased(s, (0, 255)), 2)),
    "levels of Lanczos, then enlarged": (
        (0, 128, 255), lambda s: blocks(resized(s, (0, 128, 255), 4, cv2.INTER_LANCZOS4), 3)),
    "colors, then enlarged": (colors(COLORS), lambda s: blocks(antialiased(s, COLORS), 4)),
    "enlarged by Lanczos": (
        (0, 255), lambda s: resized(s, (0, 255), 1 / 2, cv2.INTER_LANCZOS4)),
    "enlarged by cubic": (
        (0, 128, 255), lambda s: resized(s, (0, 128, 255), 1 / 2, cv2.INTER_CUBIC)),
    "colors of Lanczos": (colors(CITY), lambda s: resized(s, CITY, 4, cv2.INTER_LANCZOS4)),
    "labels in blocks": (tuple(range(5)), lambda s: blocks(np.random.default_rng(s).integers(
        0, 5, (9, 12), np.uint8), 8)),
    "trimap of boxes": ((0, 128, 255), lambda s: np.pad(
        np.pad(np.full((19 + s, 24), 255, np.uint8), 4, constant_values=128),
        ((9 + 3 * s, 20), (2 * s, 30)))),
    "a band around lines": ((0, 1), lambda s: with_band(thin_lines(s))),
    "few masks antialiased": (
        LEVELS, lambda s: antialiased(s, LEVELS) if s == 2 else gray(LEVELS, s)),
    "a thin class": ((0, 1, 2), lambda s: cv2.line(scene(s, 2), (0, 9 * s), (119, 40), 2, 1)),
    "an outline class": ((0, 1, 2), lambda s: with_border(2 * scene(s, 2), 1, 3)),
    "VOC": ((0, 1, 2, 3), lambda s: palette_image(with_border(scene(s, 4)))),
    "VOC, gray": ((0, 1, 2, 3), lambda s: with_border(scene(s, 4))),
    "some of VOC's classes": ((0, 3, 15), lambda s: with_border(gray((0, 3, 15), s))),
    "object with a border": ((0, 1), lambda s: with_border(scene(s, 2))),
    "train ids": (tuple(range(6)), lambda s: gray((*range(6), 255), s)),
    "label ids": ((0, 4, 7, 8, 11, 21, 24, 26), lambda s: gray((0, 4, 7, 8, 11, 21, 24, 26), s)),
    "COCO-Stuff": (
        (0, 3, 17, 44, 62, 95, 120, 145, 181),
        lambda s: gray((0, 3, 17, 44, 62, 95, 120, 145, 181, 255), s)),
    "labels without areas": ((0, 1, 2, 3, 4), lambda s: np.random.default_rng(s).integers(
        0, 5, SIZE, dtype=np.uint8)),
    "16 bits": ((0, 1, 2), lambda s: scene(s, 3).astype(np.uint16)),
    "colors": (colors(COLORS), lambda s: COLORS[scene(s, 4)]),
    "colors with alpha": (colors(COLORS), lambda s: np.dstack(
        [COLORS[scene(s, 4)], np.full(SIZE, 255, np.uint8)])),
    "colors, some masks black": (colors(COLORS), lambda s: COLORS[scene(s, 4) * (s % 2)]),
    "antialiased colors": (colors(CITY), lambda s: antialiased(s, CITY)),
    "VOC's colors with borders": (
        colors(VOC[:4]), lambda s: np.vstack([VOC[:255], [CREAM]]).astype(np.uint8)[
            with_border(scene(s, 4))]),
    "colors with borders of another color": (
        colors(COLORS), lambda s: np.vstack([COLORS, np.full((252, 3), 255)]).astype(np.uint8)[
            with_border(scene(s, 4, objects=4), width=3)]),
    "a thin class of another color": (
        colors([*COLORS[:3], (255, 255, 255)]), lambda s: cv2.line(
            COLORS[scene(s, 3)], (0, 9 * s), (119, 40), (255, 255, 255), 2)),
    "cream among colors that are not VOC's": (
        colors([*CITY, CREAM]), lambda s: np.array([*CITY, CREAM], np.uint8)[scene(s, 5)]),
    "a stray color": (colors(COLORS), lambda s: with_spot(COLORS[scene(s, 4)], (9, 9, 7), s == 1)),
    "palettes in other orders": (colors(COLORS), shuffled_palette),
    "palettes and colors": (
        colors(VOC[:4]), lambda s: palette_image(scene(s, 4)) if s % 2 else VOC[scene(s, 4)]),
    "palette of blended colors": (
        colors(COLORS), lambda s: Image.fromarray(antialiased(s, COLORS)).quantize(64)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOUND)
def test_found_classes(kind, tmp_path):
    expected, make = FOUND[kind]
    files = save(tmp_path, [make(seed) for seed in N])
    classes, _, reading = find_classes(files)
    assert classes.values == expected, reading
    for path in files:  # every mask can be read with them
        classes.decode(read_mask(path, colored=classes.colored), path)


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 100])
@pytest.mark.parametrize("values", [(0, 255), (0, 128, 255), LEVELS, COLORS, CITY])
def test_jpeg_masks(values, quality, tmp_path):
    """Their classes are as many as were drawn, and hardly any pixel gets another one."""
    labels = [cv2.resize(scene(s, len(values)), None, fx=3, fy=3, interpolation=0) for s in N]
    files = save(tmp_path, [np.uint8(values)[m] for m in labels], "jpg", quality=quality)
    classes, shares, reading = find_classes(files)
    assert len(classes) == len(values), reading
    found, drawn = (np.reshape(v, (len(values), -1)).astype(int) for v in (classes.values, values))
    order = np.abs(found[:, None] - drawn).max(axis=2).argmin(axis=1)
    assert sorted(order) == list(range(len(values)))
    wrong = ignored = 0.0
    counts = np.zeros(len(values))
    for path, truth in zip(files, labels, strict=True):
        label = classes.decode(read_mask(path, colored=classes.colored), path)
        used = label != 255
        counts += np.bincount(label[used], minlength=len(values))
        wrong += np.mean(order[label[used]] != truth[used]) / len(files)
        ignored += np.mean(~used) / len(files)
    assert wrong < 0.001
    assert ignored < 0.16
    assert np.allclose(shares, counts / counts.sum(), atol=0.04), (shares, counts)


def test_jpeg_of_indices_is_refused(tmp_path):
    """Their values are closer than what JPEG makes of them."""
    indices = [cv2.resize(scene(s, 6), None, fx=3, fy=3, interpolation=0) for s in N]
    files = save(tmp_path, indices, "jpg", quality=90)
    with pytest.raises(UserError, match=r"JPEG files, .* 'data\.mask_values=\[0,85,170\]'"):
        find_classes(files)


UNCLEAR = {
    "255 in areas beside 0 and 1": ([255], [0, 1, 255], lambda s: gray((0, 1, 255), s)),
    "255 in areas beside 3 and 15": ([255], [3, 15, 255], lambda s: gray((3, 15, 255), s)),
    "255 along borders of gray levels": (
        [255], [0, 128, 255], lambda s: with_border(gray((0, 128), s))),
    "a thin gray level in between": (
        [128], [0, 128, 255], lambda s: with_border(gray((0, 255), s), 128, 2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNCLEAR)
def test_two_likely_readings_are_a_question_with_two_answers(kind, tmp_path):
    ignored, values, make = UNCLEAR[kind]
    files = save(tmp_path, [make(seed) for seed in N])
    with pytest.raises(UserError) as error:
        find_classes(files)
    for key, choice in (("ignored_values", ignored), ("mask_values", values)):
        assert f"data.{key}={choice}".replace(" ", "") in str(error.value)
    without = find_classes(files, ignored=tuple(ignored)).classes
    assert without.values == tuple(v for v in values if v not in ignored)
    assert (without.decode(np.uint8([ignored]), files[0]) == 255).all()
    classes = find_classes(files, mask_values=tuple(values)).classes
    assert classes.decode(np.uint8([values]), files[0]).tolist() == [list(range(len(values)))]


WRONG = {
    "instance ids": ("as if they numbered its objects", lambda s: np.pad(np.kron(
        np.arange(s + 3, dtype=np.uint8)[None], np.ones((20, 7), np.uint8)), 3)),
    "instance colors": ("ids or colors of instances", lambda s: np.random.default_rng(s).integers(
        0, 256, (60, 3), dtype=np.uint8)[scene(s, 60)]),
    "photos": ("cannot all be classes", lambda s: np.random.default_rng(s).integers(
        0, 256, (*SIZE, 3), dtype=np.uint8)),
    "probabilities": (
        "cannot all be classes", lambda s: cv2.GaussianBlur(gray((0, 255), s), (0, 0), 9)),
    "depth": ("cannot all be classes", lambda s: np.tile(np.arange(120, dtype=np.uint8), (90, 1))),
    "indices resized with interpolation": (
        "resized with interpolation",
        lambda s: cv2.resize(gray((0, 3, 7, 15), s), None, fx=2, fy=2)),
    "indices and colors": (
        "holds colors", lambda s: COLORS[scene(s, 4)] if s % 2 else scene(s, 4)),
    "16 bits": (r"000\.png: .* values up to 65535", lambda s: np.uint16(
        [0, 300, 65535])[scene(s, 3)]),
    "only background": ("hold 1 class ", lambda s: np.zeros(SIZE, np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_masks_that_are_refused(kind, tmp_path):
    message, make = WRONG[kind]
    with pytest.raises(UserError, match=message):
        find_classes(save(tmp_path, [make(seed) for seed in range(12)]))


def test_one_mask_is_enough(tmp_path):
    for name, mask in (("a", gray((0, 255), 1)), ("b", antialiased(1, (0, 255)))):
        assert find_classes(save(tmp_path / name, [mask])).classes.values == (0, 255)


def test_a_mask_that_is_left_out_is_named_with_the_reason(tmp_path):
    files = save(tmp_path, [scene(s, 3) for s in N])
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(files[2])
    reading = find_classes(files).reading
    assert f"{files[2]} left out: this mask has values up to 40000" in reading


def test_reading_says_what_is_ignored_and_is_read_back(tmp_path):
    stray = find_classes(save(tmp_path / "a", [with_spot(scene(s, 3), 7, s == 3) for s in N]))
    assert stray.reading == "3 classes: 0 to 2; 1 pixel of 7 (stray) is ignored (0.0012 %)"
    blended = find_classes(save(tmp_path / "b", [antialiased(s, LEVELS) for s in N]))
    assert "of other values at edges are ignored (" in blended.reading
    jpeg = find_classes(save(tmp_path / "c", [gray((0, 255), s) for s in N], "jpg"))
    assert "of values near them count as them (" in jpeg.reading
    void = find_classes(save(tmp_path / "d", [with_border(scene(s, 4)) for s in N]))
    assert "of 255 are ignored, as usual beside indices (" in void.reading
    path = tmp_path / "classes.yaml"
    for found in (stray, blended, jpeg, void):
        path.write_text(format_classes_yaml(*found[:2], "8 masks", found.reading))
        assert found.reading in path.read_text()
        read = read_classes(path)
        assert read == found.classes
        every_value = np.arange(256, dtype=np.uint8)[None]
        if found is not stray and found is not void:
            labels = [c.decode(every_value, path) for c in (read, found.classes)]
            assert np.array_equal(*labels)


def test_nearest_class_reaches_a_quarter_of_the_distance(tmp_path):
    gray_levels = ClassSet(("a", "b", "c"), values=(0, 100, 255), unlisted_values="nearest")
    label = gray_levels.decode(np.arange(256, dtype=np.uint8)[None], tmp_path)[0].tolist()
    ranges = {0: range(26), 1: range(75, 126), 2: range(217, 256)}
    assert all(label[v] == k for k, values in ranges.items() for v in values)
    assert label.count(255) == 256 - sum(map(len, ranges.values()))
    near_void = ClassSet(("a", "b", "c"), values=(0, 128, 230), unlisted_values="nearest")
    assert near_void.decode(np.uint8([[254, 255]]), tmp_path).tolist() == [[2, 255]]
    rgb = ClassSet(("a", "b"), values=((0, 0, 0), (0, 40, 0)), unlisted_values="nearest")
    pixels = np.uint8([[(10, 10, 10), (11, 0, 0), (0, 30, 10), (0, 29, 0), (10, 50, 0)]])
    assert rgb.decode(pixels, tmp_path).tolist() == [[0, 255, 1, 255, 1]]


@pytest.mark.parametrize("values", [(0, 15), ((0, 0, 0), (0, 0, 15))])
def test_other_values_may_be_background(values, tmp_path):
    classes = ClassSet(("background", "person"), values=values, unlisted_values="background")
    masks = np.uint8([[0, 8, 15, 255]]), np.uint8([[(0, 0, 0), (9, 9, 9), (0, 0, 15)]])
    mask = masks[classes.colored]
    assert classes.decode(mask, tmp_path)[0].tolist() == [0, 0, 1, 255][: mask.shape[1]]
    with pytest.raises(UserError, match="Name the first one background"):
        ClassSet(("other", "person"), values=values, unlisted_values="background")


def test_values_of_a_huge_mask_are_counted_in_strips(tmp_path, monkeypatch):
    files = save(tmp_path, [with_border(gray((0, 3, 15), s)) for s in N])
    whole = find_classes(files)
    monkeypatch.setattr("deeplab.data.layouts.mask_statistics.STRIP_PIXELS", 1000)
    assert find_classes(files) == whole


def test_mask_values_choose_classes_of_a_file(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text("classes: {a: 0, b: 5, c: 255}\n")
    chosen = select_classes(read_classes(path), (), (255, 0))
    assert (chosen.names, chosen.values) == (("c", "a"), (255, 0))
    with pytest.raises(UserError, match=r"data\.mask_values=\[0,7\]: no class .* the value 7"):
        select_classes(read_classes(path), (), (0, 7))
    with pytest.raises(UserError, match=r"data\.ignored_values: \(0, 0, 0\) is no index"):
        select_classes(read_classes(path), ((0, 0, 0),), None)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mask_values": (5,)}, "at least two values"),
        ({"mask_values": (0, 0)}, "each once"),
        ({"mask_values": (0, 255), "ignored_values": (255,)}, "both contain 255"),
    ],
)
def test_contradictory_values_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FolderSettings(name="folder", root=".", **kwargs)


def test_a_single_pixel_of_255_is_no_question(tmp_path):
    files = save(tmp_path, [with_spot(scene(s, 2), 255, int(s == 3)) for s in N])
    classes, _, reading = find_classes(files)
    assert (classes.values, classes.ignored) == ((0, 1), (255,))
    assert "1 pixel of 255 (stray) is ignored" in reading


def test_chosen_values_of_jpeg_masks_must_cover_areas(tmp_path):
    files = save(tmp_path, [gray(LEVELS, s) for s in N], "jpg")
    with pytest.raises(UserError, match="the masks also hold 85 and 170"):
        find_classes(files, mask_values=(0, 255))
    found = find_classes(files, (85, 170), (0, 255)).classes
    assert (found.values, found.unlisted_values) == ((0, 255), "nearest")


def test_mask_values_must_cover_areas(tmp_path):
    files = save(tmp_path, [scene(s, 4) for s in N])
    with pytest.raises(UserError, match=r"the masks also hold 2 and 3 \(.*data\.unlisted_values="):
        find_classes(files, mask_values=(0, 1))
    found = find_classes(files, mask_values=(0, 1), unlisted_values="ignore")
    assert found.classes.values == (0, 1)
    assert find_classes(files, (2, 3), (0, 1)).classes.ignored == (2, 3)


def test_values_of_named_classes_are_compared_with_the_masks(tmp_path):
    """Masks of 0 and 255 with names alone would be nothing but background."""
    save(tmp_path / "masks", [gray((0, 255), s) for s in N])
    save(tmp_path / "images", [COLORS[scene(s, 4)] for s in N])

    def settings(**kwargs):
        data = FolderSettings(name="folder", root=str(tmp_path), **kwargs)
        return FolderLayout.check(data)

    names = ("ground", "house")
    with pytest.raises(UserError, match=r"data\.classes: .* 0 and 255.*data\.mask_values"):
        settings(classes=names)
    assert settings(classes=names, mask_values=(0, 255)).mask_values == (0, 255)
    assert settings(classes=names, ignored_values=(255,)).classes == names
    (tmp_path / "classes.txt").write_text("ground\nhouse\n")
    with pytest.raises(UserError, match=r"classes\.txt: .* are 0 and 1, .* hold 0 and 255"):
        settings()
    (tmp_path / "classes.yaml").write_text("ground: 0\nhouse: 255\n")
    assert settings().mask_values == (0, 255)
    (tmp_path / "classes.yaml").write_text("classes: {a: 0, b: 1}\nignored: [255]\n")
    assert settings().ignored_values == (255,)


def test_named_classes_beside_a_classes_file(tmp_path):
    """In another order they ask for the key; beside colors the message names the file."""
    save(tmp_path / "images", [COLORS[scene(s, 3)] for s in N])
    save(tmp_path / "masks", [scene(s, 3) for s in N])
    (tmp_path / "classes.txt").write_text("ground\nhouse\nroad\n")

    def names(*classes, **kwargs):
        data = FolderSettings(name="folder", root=str(tmp_path), classes=classes, **kwargs)
        return FolderLayout.check(data).classes

    for classes in (("ground", "house", "road"), ("floor", "house", "road")):
        assert names(*classes) == classes
    with pytest.raises(UserError) as raised:
        names("ground", "road", "house")
    assert "data.classes=[ground,road,house]: the value of road is 1" in str(raised.value)
    assert f"but 2 in {tmp_path}/classes.txt. Leave data.classes out" in str(raised.value)
    assert "add data.mask_values=[0,1,2]" in str(raised.value)
    for values in ((0, 1, 2), (0, 2, 1)):
        assert names("ground", "road", "house", mask_values=values)[1] == "road"
    (tmp_path / "classes.txt").write_text("house\nroad\n")  # without the background
    assert names("ground", "house", "road")
    (tmp_path / "classes.txt").write_text("house\nhouse\n")  # it is wrong, and not used
    assert names("ground", "house", "road")
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\nhouse:128,0,0::\nroad:0,128,0::\n")
    save(tmp_path / "masks", [COLORS[scene(s, 3)] for s in N])
    with pytest.raises(
        UserError, match=r"Leave .* those of .*labelmap\.txt. Otherwise: Set data\.mask_v"
    ):
        names("ground", "house", "rood")


OBJECTS = {
    "ignored index": ((0, 1, 2), (0, 1, 2, 3), "ignore", "of 3 are no class"),
    "new level": ((0, 255), (0, 255, 128), "nearest", "of 128 are no class"),
    "255": ((0, 1, 2), (0, 1, 2, 255), "ignore", "of 255 are ignored, as usual beside indices"),
    "colors": (COLORS[:3], COLORS, "ignore", r"of \(0,0,128\) are no class"),
    "all listed": ((0, 1, 2), (0, 1, 2), "ignore", r"are ignored\n$"),
    "error": ((0, 1), (0, 1, 2), "error", r"an error; [\d,]+ pixels of 2 are no class"),
    "other color": (COLORS[:3], COLORS[[0, 1, 3]], "error", r"of \(0,0,128\) are no class"),
    "noise": (
        (0, 1, 2),
        (0, 1, 2),
        "nearest",
        r"are near to, else ignored\n$",
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_that_are_not_listed_are_said(kind, tmp_path, capsys):
    listed, drawn, unlisted, message = OBJECTS[kind]
    save(tmp_path / "images", [COLORS[scene(s, 4)] for s in N])
    save(tmp_path / "masks", [np.asarray(drawn, np.uint8)[scene(s, len(drawn))] for s in N])
    lines = [f"  c{i}: {np.asarray(value).tolist()}\n" for i, value in enumerate(listed)]
    text = f"classes:\n{''.join(lines)}unlisted: {unlisted}\n"
    (tmp_path / "classes.yaml").write_text(text)
    FolderLayout.check(FolderSettings(name="folder", root=str(tmp_path)))
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert re.search(message, output), output


def test_indices_are_listed_but_masks_hold_colors(tmp_path):
    save(tmp_path / "images", masks := [COLORS[scene(s, 3)] for s in N])
    save(tmp_path / "masks", masks)
    (tmp_path / "classes.txt").write_text("ground\nhouse\nroad\n")
    with pytest.raises(
        UserError, match=r"classes\.txt: .* are 0 to 2, but .*\d+\.png holds colors"
    ):
        FolderLayout.check(FolderSettings(name="folder", root=str(tmp_path)))


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1)])
def test_mask_that_is_narrower_than_the_scale_of_the_others(tmp_path, size):
    Image.fromarray(np.full(size, 3, np.uint8)).save(tmp_path / "a.png")
    statistics = mask_statistics(tmp_path / "a.png", 4)
    assert statistics.codes.tolist() == [3]


def test_black_is_background_in_colors_as_in_gray(tmp_path):
    borders = np.vstack([COLORS, np.full((252, 3), 255)]).astype(np.uint8)
    drawn = {
        "gray": [gray((0, 255), s) for s in N],
        "two": [COLORS[scene(s, 2)] for s in N],
        "four": [borders[with_border(scene(s, 4, objects=4), width=3)] for s in N],
    }
    found = {name: find_classes(save(tmp_path / name, masks)) for name, masks in drawn.items()}
    assert found["gray"][0].names == found["two"][0].names == ("background", "object")
    assert found["four"][0].names == ("background", "class_1", "class_2", "class_3")
    assert "black is taken for background" in found["four"][2]
    assert "(255,255,255) are ignored, since they lie between all others" in found["four"][2]
    keeps = re.search(r"data\.mask_values=(\S+) keeps", found["four"][2])[1]
    assert keeps == "[[0,0,0],[0,0,128],[0,128,0],[128,0,0],[255,255,255]]"
