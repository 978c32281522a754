"""Masks and split lists derived from COCO and SBD."""

import json
import math

import cv2
import numpy as np
import pytest
import scipy.sparse
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

from deeplab.data.class_set import voc_palette
from deeplab.preparation.coco_masks import rasterize
from deeplab.preparation.sbd_masks import convert_masks, trainaug
from deeplab.utils.errors import UserError
from support.real_data import REAL
from support.scripts import check_imports

COCO, OFFICIAL_LISTS = REAL / "coco", REAL / "voc2012" / "official_lists"

CATEGORY_IDS = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
CUP, DOG, PERSON, TABLE = 47, 18, 1, 67  # categories of COCO; VOC has no cup
LABELS_BY_CATEGORY = {category: label for label, category in enumerate(CATEGORY_IDS)}
HEIGHT, WIDTH = 40, 50


# COCO


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def inside(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def annotation(category, segmentation, *, image=1, crowd=0):
    return {
        "category_id": category,
        "segmentation": segmentation,
        "image_id": image,
        "iscrowd": crowd,
    }


def instances_content(annotations):
    images = {a["image_id"] for a in annotations}
    return {
        "images": [
            {"id": i, "file_name": f"{i:012}.jpg", "height": HEIGHT, "width": WIDTH}
            for i in sorted(images, reverse=True)
        ],
        "annotations": [{"id": 100 + i, **a} for i, a in enumerate(annotations)],
        "categories": [{"id": i, "name": str(i)} for i in range(1, 91)],
    }


def write(root, content):
    (root / "images").mkdir(exist_ok=True)
    for image in content["images"]:
        (root / "images" / image["file_name"]).touch()
    (root / "instances.json").write_text(json.dumps(content))


def rasterize_folder(root, *, min_pixels=0, num_workers=1, masks="masks"):
    return rasterize(
        root / "instances.json",
        root / "images",
        root / masks,
        CATEGORY_IDS,
        min_pixels=min_pixels,
        num_workers=num_workers,
        progress=False,
    )


def draw(root, *annotations):
    write(root, instances_content(annotations))
    assert rasterize_folder(root) == ["000000000001"]
    return np.array(Image.open(root / "masks" / "000000000001.png"))


def uncompressed(mask):
    counts, last = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != last:
            counts.append(0)
            last = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def compressed(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def test_polygon_becomes_its_class_in_a_palette_png(tmp_path):
    label = draw(tmp_path, annotation(DOG, [box(5, 3, 20, 13)]))
    assert np.array_equal(label, 12 * inside(5, 3, 20, 13))
    mask = Image.open(tmp_path / "masks" / "000000000001.png")
    assert mask.mode == "P"
    assert mask.getpalette() == voc_palette().ravel().tolist()


@pytest.mark.parametrize("degenerate", [[], [1, 1, 9, 9], [1, 1, 9, 9, 1], [1, 1, 9, 9, 1, 9, 3]])
def test_polygons_of_an_instance_are_merged_without_degenerate_ones(tmp_path, degenerate):
    polygons = [box(0, 0, 9, 9), degenerate, box(5, 5, 20, 9), box(40, 30, 50, 40)]
    label = draw(tmp_path, annotation(DOG, polygons))
    expected = inside(0, 0, 9, 9) | inside(5, 5, 20, 9) | inside(40, 30, 50, 40)
    assert np.array_equal(label, 12 * expected)


def test_instance_with_only_degenerate_polygons_is_empty(tmp_path):
    write(tmp_path, instances_content([annotation(DOG, [[1, 1, 9, 9]])]))
    assert rasterize_folder(tmp_path) == []


@pytest.mark.parametrize("encode", [uncompressed, compressed])
@pytest.mark.parametrize("density", [0, 0.02, 0.5, 1])
def test_run_lengths_are_drawn_exactly(tmp_path, encode, density):
    mask = (np.random.default_rng(7).uniform(size=(HEIGHT, WIDTH)) < density).astype(np.uint8)
    mask[-1, -1] = 1
    mask[5:30, 20:40] = 1  # long runs, of several characters
    assert np.array_equal(draw(tmp_path, annotation(DOG, encode(mask))), 12 * mask)


@pytest.mark.parametrize("order", [1, -1])
def test_two_classes_on_a_pixel_make_it_ignored(tmp_path, order):
    dogs = [annotation(DOG, [box(0, 0, 10, 10)]), annotation(DOG, [box(5, 0, 15, 10)])]
    person = annotation(PERSON, [box(8, 0, 30, 10)])
    label = draw(tmp_path, *[*dogs, person][::order])
    expected = 12 * inside(0, 0, 15, 10) + 15 * inside(15, 0, 30, 10)
    expected[:10, 8:15] = 255
    assert np.array_equal(label, expected)


@pytest.mark.parametrize("order", [1, -1])
def test_crowd_is_ignored_outside_of_instances(tmp_path, order):
    crowd = annotation(PERSON, uncompressed(inside(0, 0, 30, 20)), crowd=1)
    instances = [annotation(PERSON, [box(5, 5, 9, 9)]), annotation(DOG, [box(20, 10, 40, 30)])]
    label = draw(tmp_path, *[crowd, *instances][::order])
    expected = 255 * inside(0, 0, 30, 20)
    expected[5:9, 5:9] = 15
    expected[10:30, 20:40] = 12
    assert np.array_equal(label, expected)


def test_other_categories_are_background_and_leave_a_table_whole(tmp_path):
    label = draw(
        tmp_path,
        annotation(TABLE, [box(0, 10, 30, 20)]),
        annotation(CUP, [box(5, 5, 10, 15)]),
        annotation(CUP, uncompressed(inside(0, 30, 9, 39)), crowd=1),
    )
    assert np.array_equal(label, 11 * inside(0, 10, 30, 20))


def test_images_with_more_than_min_pixels_are_kept(tmp_path):
    crowd = annotation(DOG, uncompressed(inside(0, 0, 50, 40)), crowd=1, image=4)
    write(
        tmp_path,
        instances_content(
            [
                annotation(DOG, [box(0, 0, 50, 20), box(0, 20, 1, 21)], image=3),  # 1001
                annotation(DOG, [box(0, 0, 50, 20)], image=2),  # 1000
                annotation(DOG, [box(0, 0, 40, 30)], image=1),
                crowd,
                annotation(CUP, [box(0, 0, 50, 40)], image=5),
            ]
        ),
    )
    assert rasterize_folder(tmp_path, min_pixels=1000) == ["000000000001", "000000000003"]
    assert {p.stem for p in (tmp_path / "masks").iterdir()} == {"000000000001", "000000000003"}


def random_annotations(count):
    rng = np.random.default_rng(0)
    boxes = rng.integers(1, 35, (count, 2))
    categories = rng.choice([DOG, PERSON, TABLE, CUP], count)
    return [
        annotation(int(c), [box(0, 0, int(x), int(y))], image=i // 2 + 1)
        for i, (c, (x, y)) in enumerate(zip(categories, boxes, strict=True))
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_num_workers_does_not_change_masks_and_existing_masks_are_kept(tmp_path):
    write(tmp_path, instances_content(random_annotations(120)))
    one = rasterize_folder(tmp_path, min_pixels=200, masks="one")
    two = rasterize_folder(tmp_path, min_pixels=200, masks="two", num_workers=2)
    assert one == two
    assert 10 < len(one) < 50
    assert contents(tmp_path / "one") == contents(tmp_path / "two")

    removed = tmp_path / "one" / f"{one[3]}.png"
    removed.unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").iterdir()}
    assert rasterize_folder(tmp_path, min_pixels=200, masks="one") == one
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_missing_images_are_counted_and_listed(tmp_path):
    write(
        tmp_path,
        instances_content([annotation(DOG, [box(0, 0, 9, 9)], image=i) for i in range(1, 7)]),
    )
    for i in (1, 2, 4, 5):
        (tmp_path / "images" / f"{i:012}.jpg").unlink()
    with pytest.raises(UserError, match=r"4 of the 6 images.*000000000001\.jpg.*\.\.\."):
        rasterize_folder(tmp_path)


def test_image_without_vocs_classes_may_be_missing(tmp_path):
    write(tmp_path, instances_content([annotation(CUP, [box(0, 0, 9, 9)])]))
    (tmp_path / "images" / "000000000001.jpg").unlink()
    assert rasterize_folder(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"[]", "no 'images'"),
        (b'{"images": [], "categories": []}', "no 'annotations'"),
        (b'{"images": [], "annotations": []}', "no 'categories'"),
        (b'{"images": {}, "annotations": [], "categories": []}', "'images' cannot be '{}'"),
        (None, "cannot be read"),
    ],
)
def test_invalid_instances_file_is_an_error(tmp_path, content, words):
    if content is not None:
        (tmp_path / "instances.json").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        rasterize_folder(tmp_path)
    assert str(tmp_path / "instances.json") in str(error.value)


def rle(size=(HEIGHT, WIDTH), counts=(0, HEIGHT * WIDTH)):
    return {"size": list(size), "counts": counts if isinstance(counts, str) else list(counts)}


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("annotations", {"category_id": 91}, "annotation 100: category 91"),
        ("annotations", {"image_id": 2}, "annotation 100: image 2"),
        ("annotations", {"segmentation": "x"}, "annotation 100: 'segmentation'"),
        ("annotations", {"segmentation": [["a"] * 6]}, "annotation 100: a polygon"),
        ("annotations", {"segmentation": [[1, 1, 5, 5, 1, 1e9]]}, "annotation 100: a polygon"),
        ("annotations", {"segmentation": [[1, 1, 5, 5, 1, math.nan]]}, "annotation 100: a polygon"),
        ("annotations", {"segmentation": rle((50, 40))}, r"annotation 100: .*\[50, 40\].*\[40, 50"),
        ("annotations", {"segmentation": rle(counts=(3, 4))}, "annotation 100: .*add up"),
        ("annotations", {"segmentation": rle(counts=(-1, 2001))}, "annotation 100: .*add up"),
        ("annotations", {"segmentation": rle(counts="34")}, "annotation 100: .*add up"),
        ("annotations", {"segmentation": {"size": [40, 50]}}, "annotation 100: .*'counts'"),
        ("images", {"height": 0}, "image 1: its size is 50 x 0"),
        ("images", {"width": -3}, "image 1: its size is -3 x 40"),
        ("images", {"height": "40"}, "image 1: 'height'"),
        ("images", {"id": None}, "'id' cannot be 'None'"),
    ],
)
def test_error_names_the_invalid_entry(tmp_path, part, change, words):
    content = instances_content([annotation(DOG, [box(0, 0, 9, 9)])])
    content[part][0].update(change)
    write(tmp_path, content)
    with pytest.raises(UserError, match=words) as error:
        rasterize_folder(tmp_path)
    assert str(tmp_path / "instances.json") in str(error.value)


# Real COCO


@pytest.fixture(scope="module", params=["train2017", "val2017"])
def real(request, tmp_path_factory):
    """Annotations of the real COCO by image, and their masks."""
    if not COCO.is_dir():
        pytest.skip(f"{COCO} does not exist")
    source = COCO / "annotations" / f"instances_{request.param}.json"
    masks = tmp_path_factory.mktemp(request.param)
    images = COCO / request.param
    kept = rasterize(
        source, images, masks, CATEGORY_IDS, min_pixels=1000, num_workers=1, progress=False
    )
    assert kept
    annotations = {stem: [] for stem in kept}
    for entry in json.loads(source.read_text())["annotations"]:
        stem = f"{entry['image_id']:012}"
        if entry["category_id"] in LABELS_BY_CATEGORY and stem in annotations:
            annotations[stem].append(entry)
    return images, {
        s: (np.array(Image.open(masks / f"{s}.png")), o) for s, o in annotations.items()
    }


def test_real_masks_have_the_sizes_of_their_images(real):
    images, masks = real
    for stem, (label, _) in masks.items():
        assert Image.open(images / f"{stem}.jpg").size == label.shape[::-1]


def test_real_areas_match_the_annotations(real):
    single = [(label, o[0]) for label, o in real[1].values() if len(o) == 1]
    assert len(single) > 5
    for label, entry in single:
        pixels = np.count_nonzero(label == LABELS_BY_CATEGORY[entry["category_id"]])
        assert pixels == pytest.approx(entry["area"], rel=0.02)


def test_real_masks_match_opencv_polygons(real):
    """Compare with OpenCV's polygons, which may differ only along their edges."""
    for label, annotations in real[1].values():
        class_masks, edges = np.zeros((21, *label.shape), np.uint8), np.zeros(label.shape, np.uint8)
        crowd = np.zeros(label.shape, bool)
        for entry in annotations:
            if entry["iscrowd"]:
                counts = entry["segmentation"]["counts"]
                crowd |= np.repeat(np.arange(len(counts)) % 2, counts).reshape(label.T.shape).T > 0
                continue
            for polygon in entry["segmentation"]:
                points = [np.array(polygon).reshape(-1, 1, 2).astype(np.int32)]
                cv2.fillPoly(class_masks[LABELS_BY_CATEGORY[entry["category_id"]]], points, 1)
                cv2.polylines(edges, points, True, 1, thickness=5)
        classes = class_masks.sum(axis=0)
        expected = np.where(classes == 1, class_masks.argmax(axis=0), 0)
        expected[(classes > 1) | (crowd & (classes == 0))] = 255
        assert np.array_equal(label[edges == 0], expected[edges == 0])


# SBD


def write_mat(path, segmentation, **more):
    """Write a struct like SBD's: borders by class, labels, and the classes present."""
    borders = np.empty((20, 1), object)
    for i in range(20):
        borders[i, 0] = scipy.sparse.csc_matrix(np.zeros((4, 6)))
    struct = {
        "Boundaries": borders,
        "Segmentation": segmentation,
        "CategoriesPresent": np.array([[1], [20]], np.uint8),
    }
    path.parent.mkdir(exist_ok=True)
    savemat(path, {"GTcls": struct | more}, do_compression=True)


def segmentation(seed=0, size=(30, 45)):
    label = np.random.default_rng(seed).integers(0, 21, size).astype(np.uint8)
    label[0, 0], label[0, 1] = 20, 255
    return label


def convert_folder(root, num_workers=1, masks="masks"):
    return convert_masks(root / "cls", root / masks, num_workers=num_workers, progress=False)


def test_sbd_masks_become_palette_pngs(tmp_path):
    labels = {f"2008_{i:06}": segmentation(i) for i in range(20)}
    labels["2009_000001"] = segmentation(size=(1, 45))
    labels["2009_000002"] = segmentation(size=(45, 2))
    for name, label in labels.items():
        write_mat(tmp_path / "cls" / f"{name}.mat", label)
    assert convert_folder(tmp_path) == sorted(labels)
    for name, label in labels.items():
        mask = Image.open(tmp_path / "masks" / f"{name}.png")
        assert mask.mode == "P"
        assert mask.getpalette() == voc_palette().ravel().tolist()
        assert np.array_equal(np.array(mask), label)

    assert convert_folder(tmp_path, num_workers=2, masks="two") == sorted(labels)
    assert contents(tmp_path / "masks") == contents(tmp_path / "two")

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}
    assert convert_folder(tmp_path) == sorted(labels)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.write_bytes(b"no MATLAB"), "cannot be read"),
        (lambda p: p.write_bytes(b""), "cannot be read"),
        (lambda p: p.write_bytes(p.read_bytes()[:-200]), "cannot be read"),
        (lambda p: savemat(p, {"GTinst": segmentation()}), r"no GTcls\.Segmentation"),
        (lambda p: savemat(p, {"GTcls": segmentation()}), r"no GTcls\.Segmentation"),
        (lambda p: savemat(p, {"GTcls": {"Boundaries": 1}}), r"no GTcls\.Segmentation"),
        (lambda p: write_mat(p, np.zeros((3, 4, 2), np.uint8)), r"shape \(3, 4, 2\)"),
        (lambda p: write_mat(p, np.zeros((0, 0), np.uint8)), "number per pixel"),
        (lambda p: write_mat(p, np.array([["a", "b"]], object)), "number per pixel"),
        (lambda p: write_mat(p, np.full((3, 4), 21, np.uint8)), "label 21"),
        (lambda p: write_mat(p, np.full((3, 4), 0.5)), r"label 0\.5"),
        (lambda p: write_mat(p, np.full((3, 4), -1, np.int16)), "label -1"),
    ],
)
def test_error_names_the_damaged_sbd_mask(tmp_path, damage, words):
    path = tmp_path / "cls" / "2008_000002.mat"
    write_mat(path, segmentation())
    damage(path)
    with pytest.raises(UserError, match=words) as error:
        convert_folder(tmp_path)
    assert str(path) in str(error.value)
    assert not list(tmp_path.glob("masks/*"))


def test_folder_without_sbd_masks_is_an_error(tmp_path):
    with pytest.raises(UserError, match="Unpack benchmark"):
        convert_folder(tmp_path)


def test_trainaug_is_vocs_train_and_sbd_without_vocs_val():
    sbd = ["2009_9", "2008_2", "2008_1", "2007_5"]
    assert trainaug(["2008_1", "2007_3"], ["2007_5", "2007_6"], sbd) == [
        "2007_3", "2008_1", "2008_2", "2009_9",
    ]  # fmt: skip


@pytest.mark.skipif(not OFFICIAL_LISTS.is_dir(), reason=f"{OFFICIAL_LISTS} does not exist")
def test_trainaug_of_the_official_lists():
    train, val, official = (
        (OFFICIAL_LISTS / f"{name}.txt").read_text().split()
        for name in ("train", "val", "trainaug")
    )
    sbd = [*val[::2], *(set(official) - set(train[::3]))]  # SBD lacks some of train, has some val
    assert len(official) == 10582
    assert trainaug(train, val, sbd) == official


def test_workers_do_not_import_torch():
    check_imports(
        "import deeplab.preparation.coco_masks, deeplab.preparation.sbd_masks", without=["torch"]
    )
