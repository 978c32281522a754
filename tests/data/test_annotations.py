"""Annotations of labeling tools, drawn into label maps.

The expected label maps come from a second implementation, which tests each pixel's center.
"""

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageOps

from deeplab.data.annotations.base import ImageFinder
from deeplab.data.annotations.bitmaps import decode_label_studio_runs, decode_runs
from deeplab.data.annotations.find import FORMS
from deeplab.data.annotations.regions import Ellipse, Outlines
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset, check_split
from deeplab.data.labels import read_label
from deeplab.data.layouts.base import move_data
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_settings import AnnotationForm, FolderSettings
from deeplab.utils.errors import UserError
from support.annotations import (
    NAMES,
    SIZE,
    Object,
    brush,
    coco_content,
    draw,
    png_text,
    random_objects,
    runs,
    write_cvat,
    write_image,
    write_json,
    write_label_studio,
    write_labelme,
    write_supervisely,
    write_yolo,
)
from support.scripts import SMALL, run, run_folders

CLASSES = ("background", *NAMES)


def objects(*seeds):
    return {f"photo_{seed}": random_objects(seed) for seed in seeds}


def folder(root, **keys):
    """Return the layout and its classes, as training finds them."""
    settings = FolderSettings(name="folder", root=str(root), **keys)
    layout = FolderLayout(settings)
    classes = layout.with_classes(settings, layout.items("all")).classes
    return FolderLayout(settings.model_copy(update={"classes": classes})), classes


def labels(root, **keys):
    """Return the label maps of all images by their ids."""
    layout, classes = folder(root, **keys)
    return {item.id: read_label(item, ClassSet(classes)) for item in layout.items("all")}


def check(root, expected, **keys):
    """Check the label maps of a folder and that both splits have images."""
    layout, classes = folder(root, **keys)
    assert classes == CLASSES
    found = labels(root, **keys)
    assert found.keys() == expected.keys()
    for name, things in expected.items():
        assert np.array_equal(found[name], draw(things)), name
    assert layout.items("train")
    assert layout.items("val")
    return layout


def mask(seed):
    """Return a mask of random blocks."""
    blocks = np.random.default_rng(seed).random((SIZE[0] // 4, SIZE[1] // 4)) < 0.3
    return np.kron(blocks, np.ones((4, 4))).astype(bool)


def store_rotated(folder, orientation):
    """Store the pixels of all photos otherwise; by their EXIF orientation they look as before."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in folder.rglob("*.jpg"):
        stored = Image.open(path).transpose(back[orientation])
        stored.save(path, exif=exif, quality=95)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("write", [write_labelme, write_yolo])
def test_annotations_of_rotated_photos_lie_on_what_the_tool_shows(orientation, write, tmp_path):
    split = "train/" if write is write_yolo else ""
    images = {f"{split}{name}": things for name, things in objects(1, 2, 3, 4).items()}
    write(tmp_path, images)
    store_rotated(tmp_path, orientation)
    found = labels(tmp_path)
    assert len(found) == 4
    for name, label in found.items():
        stored = Image.fromarray(label)
        stored.getexif()[0x0112] = orientation
        things = next(v for k, v in images.items() if k.split("/")[-1] == name.split("/")[-1])
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), draw(things))
    layout, classes = folder(tmp_path)
    dataset = SegmentationDataset(
        "train", layout.items("all"), classes=ClassSet(classes), transform=None
    )
    (warning,) = check_split(dataset)
    assert "4 of 4 images" in warning
    assert "annotations are taken to lie on the rotated image" in warning


def test_annotations_that_record_the_stored_size_lie_on_the_stored_photo(tmp_path):
    images = objects(1, 2)
    write_labelme(tmp_path, images)
    for path in tmp_path.glob("*.jpg"):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(path).save(path, exif=exif)
    check(tmp_path, images)


class TestLabelMe:
    """Files beside the images, and in a folder of their own with every kind of shape."""

    def test_beside_images(self, tmp_path):
        images = objects(1, 2, 3, 4)
        write_labelme(tmp_path, images)
        layout = check(tmp_path, images)
        assert layout.items("all")[0].mask == tmp_path / "photo_1.json"

    def test_kinds_of_shapes(self, tmp_path):
        images = objects(1, 2, 3)
        write_labelme(tmp_path, images, folder="labels", image_folder="pictures")
        path = tmp_path / "labels/photo_1.json"
        content = json.loads(path.read_text())
        patch = mask(5)[:8, :12]
        content["shapes"] = [
            {"label": "cat", "shape_type": "rectangle", "points": [[30, 20], [10, 4]]},
            {"label": "dog", "shape_type": "circle", "points": [[40, 24], [40, 34]]},
            {
                "label": "cat", "shape_type": "mask", "points": [[50, 2], [61, 9]],
                "mask": png_text(patch, compressed=False),
            },
            {"label": "dog", "shape_type": "linestrip", "points": [[0, 0], [63, 47], [3, 3]]},
            {
                "label": "__ignore__", "shape_type": "rectangle",  # all corners, as X-AnyLabeling
                "points": [[0, 40], [5, 40], [5, 48], [0, 48]],
            },
        ]  # fmt: skip
        write_json(path, content)
        y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        expected = np.zeros(SIZE, np.uint8)
        expected[4:20, 10:30] = 1
        expected[(x - 40) ** 2 + (y - 24) ** 2 <= 100] = 2
        expected[2:10, 50:62][patch] = 1
        expected[40:48, 0:5] = 255
        assert np.array_equal(labels(tmp_path)["photo_1"], expected)
        layout, classes = folder(tmp_path)
        assert classes == CLASSES
        assert "1 lines and points, which have no area, are not used" in layout.notes()

    def test_other_json_files_in_the_folder(self, tmp_path):
        images = objects(1, 2, 3)
        write_labelme(tmp_path, images)
        for name in ("a_first", "z_last"):
            write_json(tmp_path / f"{name}.json", {"names": ["cat", "dog"]})
        layout = check(tmp_path, images)
        (note,) = (note for note in layout.notes() if "JSON files" in note)
        assert note.endswith("not LabelMe's and are not used: a_first.json, z_last.json")


class TestCoco:
    """One file beside the images, and a file for each split, as Roboflow and COCO have them."""

    def test_file_for_all_images(self, tmp_path):
        images = {f"{name}.jpg": things for name, things in objects(1, 2, 3, 4).items()}
        images["empty.jpg"] = []
        images["photo_1.jpg"] = [Object("cat", mask=mask(1)), *images["photo_1.jpg"][:0]]
        images = {name: things[:1] for name, things in images.items()}  # nothing overlaps
        for name in images:
            write_image(tmp_path / "images" / name)
        write_json(tmp_path / "annotations/instances_default.json", coco_content(images))
        check(tmp_path, {Path(name).stem: things for name, things in images.items()})

    def test_file_in_the_folder_of_each_split(self, tmp_path):
        for split, seeds in (("train", (1, 2)), ("valid", (3,)), ("test", (4,))):
            images = {f"{n}.jpg": things[:1] for n, things in objects(*seeds).items()}
            for name in images:
                write_image(tmp_path / split / name)
            content = coco_content(images)
            content["categories"].insert(0, {"id": 0, "name": "my-project"})  # Roboflow's
            write_json(tmp_path / split / "_annotations.coco.json", content)
        expected = {n: things[:1] for n, things in objects(1, 2, 3, 4).items()}
        layout = check(tmp_path, expected)
        assert "category 0, my-project, has no region and is no class" in layout.notes()
        ids = {split: [i.id for i in layout.items(split)] for split in ("train", "val", "test")}
        assert ids == {
            "train": ["photo_1", "photo_2"], "val": ["photo_3"], "test": ["photo_4"],
        }  # fmt: skip

    def test_split_by_the_name_of_the_file(self, tmp_path):
        for split, seeds in (("train", (1, 2)), ("val", (3,))):
            images = {f"{n}.jpg": things for n, things in objects(*seeds).items()}
            for name in images:
                write_image(tmp_path / "images" / name)
            write_json(tmp_path / f"instances_{split}.json", coco_content(images))
        layout, _ = folder(tmp_path)
        assert [i.id for i in layout.items("train")] == ["photo_1", "photo_2"]
        assert [i.id for i in layout.items("val")] == ["photo_3"]

    def test_boxes_are_refused(self, tmp_path):
        content = coco_content({"a.jpg": random_objects(1), "b.jpg": random_objects(2)})
        for annotation in content["annotations"]:
            annotation["segmentation"] = []
        for name in ("a.jpg", "b.jpg"):
            write_image(tmp_path / name)
        write_json(tmp_path / "a.json", content)
        with pytest.raises(UserError, match=r"its 6 annotations have boxes but no outlines"):
            folder(tmp_path)

    def test_overlaps_and_crowds_are_ignored(self, tmp_path):
        square = ((0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (0.0, 20.0))
        beside = tuple((x + 10, y) for x, y in square)
        images = {"a.jpg": [Object("cat", square), Object("dog", beside), Object("cat", square)]}
        content = coco_content(images | {"b.jpg": [Object("dog", square)]})
        content["annotations"][2] |= {"iscrowd": 1, "segmentation": {"size": list(SIZE),
            "counts": runs(np.ones(SIZE, bool).ravel())}}  # fmt: skip
        for name in ("a.jpg", "b.jpg"):
            write_image(tmp_path / name)
        write_json(tmp_path / "annotations.json", content)
        expected = np.full(SIZE, 255, np.uint8)
        expected[:20, :10], expected[:20, 20:30] = 1, 2
        assert np.array_equal(labels(tmp_path)["a"], expected)

    @pytest.mark.parametrize("recorded", [True, False])
    def test_run_lengths_of_another_size_are_refused(self, recorded, tmp_path):
        content = coco_content({"a.jpg": [Object("cat", mask=mask(1))]})
        content["annotations"][0]["segmentation"]["size"] = list(SIZE[::-1])
        if not recorded:
            del content["images"][0]["height"]
        write_image(tmp_path / "a.jpg")
        write_json(tmp_path / "a.json", content)
        with pytest.raises(BadFileError, match=r"48 x 64 pixels, not for 64 x 48|for 48 x 64"):
            labels(tmp_path)

    def test_compressed_run_lengths_equal_those_of_pycocotools(self, tmp_path):
        coco_mask = pytest.importorskip("pycocotools.mask")
        drawn = mask(3)
        encoded = coco_mask.encode(np.asfortranarray(drawn.astype(np.uint8)))
        content = coco_content({"a.jpg": [Object("cat", mask=drawn)]})
        text = encoded["counts"].decode()
        content["annotations"][0]["segmentation"] = {"size": list(SIZE), "counts": text}
        write_image(tmp_path / "a.jpg")
        write_json(tmp_path / "a.json", content)
        assert np.array_equal(labels(tmp_path)["a"], drawn)


class TestYolo:
    """The arrangements of Ultralytics and of Roboflow."""

    @pytest.mark.parametrize("split_first", [True, False])
    def test_splits(self, tmp_path, split_first):
        images = {f"train/{n}": things for n, things in objects(1, 2, 3).items()}
        images |= {f"valid/{n}": things for n, things in objects(4).items()}
        write_yolo(tmp_path, images, split_first=split_first)
        layout = check(tmp_path, {Path(name).name: things for name, things in images.items()})
        assert [i.id for i in layout.items("val")] == ["photo_4"]

    def test_image_without_labels_is_background(self, tmp_path):
        write_yolo(tmp_path, {f"train/{n}": things for n, things in objects(1, 2, 3).items()})
        (tmp_path / "train/labels/photo_2.txt").unlink()
        (tmp_path / "train/labels/photo_3.txt").write_text("")
        found = labels(tmp_path)
        assert not found["photo_2"].any()
        assert not found["photo_3"].any()
        layout, _ = folder(tmp_path)
        assert any("1 image without a file of labels, all" in n for n in layout.notes())

    def test_boxes_are_refused(self, tmp_path):
        write_yolo(tmp_path, {f"train/{n}": things for n, things in objects(1, 2).items()})
        for path in (tmp_path / "train/labels").iterdir():
            path.write_text("0 0.5 0.5 0.25 0.25\n1 0.5 0.5 0.1 0.1")
        with pytest.raises(UserError, match=r"lines are boxes .* do not outline"):
            folder(tmp_path)

    def test_names_are_needed(self, tmp_path):
        write_yolo(tmp_path, {f"train/{n}": things for n, things in objects(1, 2).items()})
        (tmp_path / "data.yaml").unlink()
        with pytest.raises(UserError, match=r"no data\.yaml with the names"):
            folder(tmp_path)


class TestCvat:
    """Polygons in the order of z_order, and masks."""

    def test_polygons(self, tmp_path):
        images = objects(1, 2, 3, 4)
        write_cvat(tmp_path, images)
        check(tmp_path, images)

    def test_masks_boxes_and_ellipses(self, tmp_path):
        images = objects(1, 2, 3)
        images["photo_1"] = [Object("dog", mask=mask(1)), Object("cat", mask=mask(2))]
        write_cvat(tmp_path, images)
        check(tmp_path, images)
        path = tmp_path / "annotations.xml"
        box = '<box label="cat" xtl="3" ytl="5" xbr="20" ybr="9" z_order="8"/>'
        ellipse = '<ellipse label="dog" cx="30" cy="20" rx="8" ry="4" z_order="9"/>'
        text = path.read_text().replace("</image>", f"{box}{ellipse}</image>", 1)
        path.write_text(text)
        label = labels(tmp_path)["photo_1"]
        assert (label[5:9, 3:20] == 1).all()
        y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        assert (label[((x - 30) / 8) ** 2 + ((y - 20) / 4) ** 2 <= 1] == 2).all()

    def test_a_turned_box(self, tmp_path):
        images = objects(1, 2)
        write_cvat(tmp_path, images)
        corners = (
            '<box label="cat" xtl="22.5" ytl="12" xbr="42.5" ybr="20" rotation="30.0" z_order="9"/>'
        )
        path = tmp_path / "annotations.xml"
        path.write_text(path.read_text().replace("</image>", f"{corners}</image>", 1))
        y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        z = (x - 32.5 + 1j * (y - 16)) * np.exp(-1j * np.pi / 6)
        expected = draw(images["photo_1"])
        expected[(abs(z.real) < 10) & (abs(z.imag) < 4)] = 1
        assert np.array_equal(labels(tmp_path)["photo_1"], expected)

    def test_a_video_is_refused(self, tmp_path):
        write_cvat(tmp_path, objects(1, 2))
        path = tmp_path / "annotations.xml"
        path.write_text(path.read_text().replace("</meta>", '</meta><track id="0"/>'))
        with pytest.raises(UserError, match=r'xml: .* a video\. Export .* "CVAT for images"'):
            folder(tmp_path)


class TestSupervisely:
    """Data sets as splits, polygons with holes and bitmaps."""

    def test_holes(self, tmp_path):
        hole = ((12.25, 12.25), (20.25, 12.25), (16.25, 20.25))
        outside = ((2.25, 2.25), (40.25, 6.25), (30.25, 40.25))
        images = {f"train/{n}": things for n, things in objects(1, 2, 3).items()}
        images["train/photo_1"] = [Object("cat", outside, (hole,))]
        write_supervisely(tmp_path, images)
        check(tmp_path, {Path(name).name: things for name, things in images.items()})

    def test_bitmaps_and_splits(self, tmp_path):
        images = {f"train/{n}": things for n, things in objects(1, 2).items()}
        images["val/photo_3"] = [Object("dog", mask=mask(1)), Object("cat", mask=mask(2))]
        write_supervisely(tmp_path, images)
        layout = check(tmp_path, {Path(name).name: things for name, things in images.items()})
        assert [i.id for i in layout.items("val")] == ["photo_3"]


class TestLabelStudio:
    """Polygons in percent, and brushes."""

    def test_polygons(self, tmp_path):
        images = objects(1, 2, 3, 4)
        write_label_studio(tmp_path, images)
        check(tmp_path, images)

    def test_brushes_and_tasks_without_annotation(self, tmp_path):
        images = objects(1, 2, 3)
        images["photo_2"] = [Object("cat", mask=mask(1)), Object("dog", mask=mask(2))]
        write_label_studio(tmp_path, images)
        check(tmp_path, images)
        (path,) = tmp_path.glob("*.json")
        tasks = json.loads(path.read_text())
        tasks[0]["annotations"] = []
        write_json(path, tasks)
        layout, _ = folder(tmp_path)
        assert "1 task without an annotation, not used" in layout.notes()
        assert len(layout.items("all")) == 2

    def test_labels_apart_from_their_shapes(self, tmp_path):
        """As of the tag ``Labels`` beside ``Polygon`` or ``Brush``; a text is no region."""
        images = objects(1, 2, 3)
        images["photo_2"] = [Object("cat", mask=mask(1)), Object("dog", mask=mask(2))]
        write_label_studio(tmp_path, images)
        (path,) = tmp_path.glob("*.json")
        tasks = json.loads(path.read_text())
        for task in tasks:
            (work,) = task["annotations"]
            for result in work["result"]:
                name = "polygonlabels" if "points" in result["value"] else "brushlabels"
                result |= {"type": "labels"}
                result["value"]["labels"] = result["value"].pop(name)
            word = {"start": 0, "end": 3, "text": "cat", "labels": ["noun"]}
            work["result"].append({"type": "labels", "value": word})
        write_json(path, tasks)
        check(tmp_path, images)


def test_a_brush_is_decoded_as_encoded():
    for seed in range(5):
        drawn = mask(seed)
        assert np.array_equal(decode_label_studio_runs(brush(drawn), *SIZE), drawn)
    with pytest.raises(ValueError, match="ends early"):
        decode_label_studio_runs(brush(mask(0))[:-9], *SIZE)


def test_run_lengths_must_add_up():
    assert np.array_equal(decode_runs(runs(mask(0).ravel()), *SIZE), mask(0))
    for wrong in ([1, 2, 3], [-1, SIZE[0] * SIZE[1] + 1]):
        with pytest.raises(ValueError, match="do not add up"):
            decode_runs(wrong, *SIZE)


@pytest.mark.parametrize("seed", range(30))
def test_outlines_follow_the_even_odd_rule(seed):
    """Also where they cross themselves and leave the image."""
    generator = np.random.default_rng(seed)
    points = tuple(map(tuple, generator.uniform(-30, 90, (generator.integers(3, 9), 2)).tolist()))
    part, top, left = Outlines([points]).draw(*SIZE)
    label = np.zeros(SIZE, np.uint8)
    label[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert np.array_equal(label, draw([Object("cat", points)]))


def test_a_turned_ellipse():
    part, top, left = Ellipse(30, 20, 12, 5, degrees=30).draw(*SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    z = (x - 30 + 1j * (y - 20)) * np.exp(-1j * np.pi / 6)
    expected = (z.real / 12) ** 2 + (z.imag / 5) ** 2 <= 1
    assert expected.sum() == part.sum()
    assert expected[top : top + part.shape[0], left : left + part.shape[1]][part].all()


def test_pixels_without_a_region_may_be_ignored(tmp_path):
    images = objects(1, 2, 3)
    write_labelme(tmp_path, images)
    _, classes = folder(tmp_path, unlabeled="ignore")
    assert classes == NAMES
    found = labels(tmp_path, unlabeled="ignore")
    for name, things in images.items():
        expected = draw(things)
        assert np.array_equal(found[name], np.where(expected, expected - 1, 255))


def test_chosen_classes(tmp_path):
    images = objects(1, 2, 3)
    write_labelme(tmp_path, images)
    with pytest.raises(UserError, match=r"the annotations have regions of cat too"):
        labels(tmp_path, classes=["background", "dog"])
    chosen = {"classes": ["dog", "background"], "unlisted_values": "ignore"}
    found = labels(tmp_path, **chosen)["photo_1"]
    label = draw(images["photo_1"])
    assert np.array_equal(found, np.array([1, 255, 0], np.uint8)[label])
    chosen["unlisted_values"] = "background"
    assert np.array_equal(labels(tmp_path, **chosen)["photo_1"], np.uint8([1, 1, 0])[label])
    with pytest.raises(UserError, match="need a class named background"):
        labels(tmp_path, classes=["cat", "dog"])


def test_the_text_of_an_annotation_is_the_same_in_every_process(tmp_path):
    """Names of caches depend on it; the order of a set would be another in each process."""
    names = [f"class_{number}" for number in range(9)]
    things = [random_objects(0)[0]._replace(name=name) for name in names]
    write_labelme(tmp_path, objects(1, 2) | {"photo_3": things})
    layout, _ = folder(tmp_path, classes=CLASSES, unlisted_values="ignore")
    assert re.findall(r"class_\d", str(layout.items("all")[0].annotation)) == names


def test_a_damaged_annotation_is_skipped_by_the_hash_of_the_content(tmp_path):
    write_labelme(tmp_path, objects(1, 2, 3))
    layout, classes = folder(tmp_path)
    data = SegmentationDataset(
        "all", layout.items("all"), classes=ClassSet(classes), transform=None, on_error="next"
    )
    hashes = [data.content_hash()]
    for damaged in (data.items[0].mask, data.items[1].image):
        damaged.write_bytes(b"damaged")
        hashes.append(data.content_hash())
    assert len(set(hashes)) == 3


def test_masks_are_used_before_annotations(tmp_path):
    images = objects(1, 2, 3)
    write_labelme(tmp_path, images, folder="labels", image_folder="images")
    for name in images:
        target = tmp_path / f"masks/{name}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(np.kron(np.eye(2), np.ones((24, 32))).astype(np.uint8)).save(target)
    layout = FolderLayout(FolderSettings(name="folder", root=str(tmp_path)))
    assert layout.items("all")[0].mask.suffix == ".png"
    (note,) = (note for note in layout.notes() if "Annotations not used" in note)
    assert note.endswith("labels/photo_3.json (data.annotations=labelme uses them)")
    used = labels(tmp_path, annotations="labelme")
    assert np.array_equal(used["photo_1"], draw(images["photo_1"]))
    with pytest.raises(UserError, match=r"data\.annotations=yolo: no annotations of YOLO are in"):
        labels(tmp_path, annotations="yolo")
    with pytest.raises(UserError, match=r"data\.mask_suffix: it is for files of masks"):
        labels(tmp_path, annotations="labelme", mask_suffix="_mask")


def test_changed_annotations_are_read_again(tmp_path):
    write_labelme(tmp_path, objects(1, 2, 3))
    labels(tmp_path)
    write_labelme(tmp_path, objects(1, 2, 3) | {"photo_1": random_objects(9)})
    assert np.array_equal(labels(tmp_path)["photo_1"], draw(random_objects(9)))


def test_two_forms_ask_which_to_use(tmp_path):
    images = objects(1, 2, 3)
    write_labelme(tmp_path, images)
    write_json(tmp_path / "all/coco.json", coco_content({f"{n}.jpg": t for n, t in images.items()}))
    with pytest.raises(UserError, match=r"several forms \(coco: all/coco\.json; labelme: photo_1"):
        folder(tmp_path)
    labels(tmp_path, annotations="coco")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c["shapes"][0].update(points=[["x", 1]]), "shapes.0.points.0.0"),
        (lambda c: c.update(imageWidth=65), r"photo_1\.jpg is 64 x 48 pixels.*for 65 x 48"),
        (lambda c: c["shapes"][0].update(shape_type="mask", mask="!"), "a bitmap is not base64"),
        (lambda c: c.pop("shapes"), "shapes: Field required"),
        (lambda c: c["shapes"][0]["points"].append([1e300, 5]), "far outside the image"),
    ],
)
def test_damaged_annotations_name_the_file(tmp_path, damage, message):
    write_labelme(tmp_path, objects(1, 2, 3, 0))
    path = tmp_path / "photo_1.json"
    content = json.loads(path.read_text())
    damage(content)
    write_json(path, content)
    with pytest.raises(BadFileError, match=message) as error:
        labels(tmp_path)
    assert error.value.path == str(path)


def test_hostile_numbers_end_in_errors(tmp_path):
    write_cvat(tmp_path, objects(1, 2, 3))
    path = tmp_path / "annotations.xml"
    original = path.read_text()
    for shape, message in (
        ('<polygon label="cat" points="nan,1;2,3;4,5"/>', "far outside"),
        ('<polygon label="cat" points="1;2,3;4,5"/>', "no pairs of numbers"),
        ('<ellipse label="cat" cx="1e300" cy="1" rx="2" ry="3"/>', "far outside"),
        ('<box label="cat" xtl="1" ytl="2" xbr="3"/>', "a box has no ybr"),
        ('<mask label="cat" rle="0, 9" left="0" top="0" width="2" height="2"/>', "do not add up"),
        (
            '<mask label="cat" rle="1000000000000" left="0" top="0" width="1000000" '
            'height="1000000"/>', "do not add up",
        ),
    ):  # fmt: skip
        path.write_text(original.replace("</image>", f"{shape}</image>", 1))
        with pytest.raises(BadFileError, match=message):
            labels(tmp_path)
    bomb = '<!DOCTYPE a [<!ENTITY b "cccccccc">]>'
    path.write_text(bomb + original)
    with pytest.raises(BadFileError, match="document type"):
        labels(tmp_path)


def test_every_form_has_a_name():
    assert {*FORMS, "masks"} == {*get_args(AnnotationForm)}


def test_only_images_of_the_folder_are_used(tmp_path):
    """A path in a file of annotations leads nowhere else."""
    write_image(tmp_path / "elsewhere/secret.jpg")
    root = tmp_path / "mine"
    images = {f"{n}.jpg": things[:1] for n, things in objects(1, 2, 3).items()}
    for name in images:
        write_image(root / name)
    content = coco_content(images)
    for i, path in enumerate(("../elsewhere/secret.jpg", str(tmp_path / "elsewhere/secret.jpg"))):
        content["images"].append({"id": 90 + i, "file_name": path, "height": 48, "width": 64})
    write_json(root / "all.json", content)
    layout, _ = folder(root)
    assert {item.image.parent for item in layout.items("all")} == {root}
    assert any("2 annotated images are not in this folder" in note for note in layout.notes())


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    images = {f"{place}/1.jpg": random_objects(i)[:1] for i, place in enumerate("abc")}
    for name in images:
        write_image(tmp_path / "images" / name)
    write_json(tmp_path / "all.json", coco_content({f"images/{n}": t for n, t in images.items()}))
    found = labels(tmp_path)
    for name, things in images.items():
        assert np.array_equal(found[f"{name.removesuffix('.jpg')}"], draw(things))


def test_names_in_another_unicode_form(tmp_path):
    """As of a file that was written on macOS."""
    write_image(tmp_path / "caf\u00e9.jpg")
    content = coco_content({"cafe\u0301.jpg": random_objects(1)[:1]})
    write_json(tmp_path / "all.json", content)
    assert list(labels(tmp_path)) == ["caf\u00e9"]


def test_names_that_are_not_utf8(tmp_path):
    images = {f"\udcff{place}/1": random_objects(place) for place in range(3)}
    write_labelme(tmp_path, images)
    for path in tmp_path.rglob("*.json"):
        write_json(path, json.loads(path.read_text()) | {"imagePath": None})
    layout, _ = folder(tmp_path)
    assert all(item.id.isprintable() for item in layout.items("all"))
    assert len(layout.fingerprint("all")) == 16


def test_a_list_of_classes_beside_annotations_is_not_that_of_masks(tmp_path):
    write_labelme(tmp_path, objects(1, 2, 3))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    run = FolderSettings(name="folder", root="elsewhere", classes=CLASSES)
    assert move_data(run, str(tmp_path)).root == str(tmp_path)


def test_images_of_many_folders_are_found_at_once():
    """Without comparing each with all others of its name."""
    names = [f"{camera}/images/{frame}.jpg" for camera in range(500) for frame in range(20)]
    finder = ImageFinder(f"root/{name}" for name in names)
    assert [finder.find(name, "all.json") for name in names] == [f"root/{name}" for name in names]
    assert finder.find("7.jpg", "root/3/labels/a.json") == "root/3/images/7.jpg"
    assert finder.find("images/7.jpg", "all.json") is None


@pytest.mark.processes
def test_train_evaluate_and_check_a_folder_of_annotations(tmp_path):
    images = {f"{name}.jpg": things[:1] for name, things in objects(*range(10)).items()}
    for seed, name in enumerate(images):
        write_image(tmp_path / "mine" / name, seed)
    write_json(tmp_path / "mine/all.json", coco_content(images))
    data = ("data=folder", f"data.root={tmp_path}/mine")
    network = [item for item in SMALL if not item.startswith("data")]
    small = ("backbone=resnet_tiny", "data.crop_size=33", "data.eval_size=64")
    trained = run("train", *network, *data, *small, cwd=tmp_path)
    reading = "COCO annotations, 3 classes: background, cat, dog; pixels without a region are backg"
    assert reading in trained.stdout
    (made,) = run_folders(tmp_path)
    assert "annotations: null" in (made / "config.yaml").read_text()
    evaluated = run("evaluate", f"run={made}", cwd=tmp_path)
    assert "val: 2 images" in evaluated.stdout
    assert not [
        path for path in (tmp_path / "mine").iterdir() if path.suffix not in (".jpg", ".json")
    ]
    run("gallery", f"run={made}", cwd=tmp_path)
    checked = run("prepare", *data, "check=true", cwd=tmp_path)
    assert "10 images: 0 errors" in checked.stdout
