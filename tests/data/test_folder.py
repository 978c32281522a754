"""Tests of your own folders of images and masks, in their usual arrangements."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from deeplab.data.class_set import ClassSet
from deeplab.data.image_io import read_mask
from deeplab.data.layouts import class_discovery
from deeplab.data.layouts.base import move_data
from deeplab.data.layouts.class_discovery import find_classes, read_or_find_classes
from deeplab.data.layouts.classes_file import read_classes
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.utils.errors import UserError
from support.pairs import SIZE, label_map, write_image, write_mask, write_pairs
from support.scripts import TINY, run, run_folders

COLORS = [(128, 64, 128), (0, 0, 192), (64, 0, 64)]


def folder_layout(root, **kwargs):
    return FolderLayout(FolderSettings(name="folder", root=str(root), **kwargs))


def split_ids(root, **kwargs):
    layout = folder_layout(root, **kwargs)
    return {split: [item.id for item in layout.items(split)] for split in ("train", "val")}


ABC, DE = ["a", "b", "c"], ["d", "e"]

WITH_SPLITS = {
    "a folder for each split in both folders": ("images/{s}/{{}}.jpg", "masks/{s}/{{}}.png"),
    "both folders in a folder for each split": ("{s}/images/{{}}.jpg", "{s}/labels/{{}}.png"),
    "CamVid as in SegNet": ("{s}/{{}}.png", "{s}annot/{{}}.png"),
    "CamVid as in Kaggle": ("{s}/{{}}.png", "{s}_labels/{{}}_L.png"),
    "images and masks in one folder for each split": ("{s}/{{}}.jpg", "{s}/{{}}_mask.png"),
    "in folders for cities": ("images/{s}/bonn/{{}}.png", "gt/{s}/bonn/{{}}.png"),
    "other formats": ("img/{s}/{{}}.JPG", "annotations/{s}/{{}}.bmp"),
}


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
@pytest.mark.parametrize("arrangement", WITH_SPLITS)
def test_split_folders(arrangement, val, tmp_path):
    patterns = WITH_SPLITS[arrangement]
    for split, names in (("train", ABC), (val, DE)):
        write_pairs(tmp_path, *(pattern.format(s=split) for pattern in patterns), names)
    ids = split_ids(tmp_path)
    assert [i.split("/")[-1] for i in ids["train"]] == ABC
    assert [i.split("/")[-1] for i in ids["val"]] == DE
    layout = folder_layout(tmp_path)
    assert all(i.image.is_file() and i.mask.is_file() for i in layout.items("train"))
    assert {"train", "val"} <= set(layout.splits())


WITHOUT_SPLITS = {
    "two folders": ("images/{}.jpg", "masks/{}.png"),
    "two folders, masks with a suffix": ("imgs/{}.png", "labels/{}_label.png"),
    "one folder": ("{}.jpg", "{}_mask.png"),
    "one folder, same format": ("{}.png", "{}_gt.png"),
    "names with dots and spaces": ("images/scan 1.2 {}.jpg", "masks/scan 1.2 {}.png"),
    "one folder, masks with another format": ("{}.jpg", "{}.png"),
    "only a train folder": ("train/{}.jpg", "train_masks/{}.png"),
    "capitals": ("Images/{}.jpg", "Masks/{}.png"),
    "upper-case suffixes": ("images/{}.JPG", "masks/{}.PNG"),
}


@pytest.mark.parametrize("arrangement", WITHOUT_SPLITS)
def test_random_split(arrangement, tmp_path):
    names = [f"n{i:02}" for i in range(20)]
    write_pairs(tmp_path, *WITHOUT_SPLITS[arrangement], names)
    ids = split_ids(tmp_path)
    assert len(ids["val"]) == 4
    assert sorted(i[-3:] for i in ids["train"] + ids["val"]) == names
    assert split_ids(tmp_path) == ids
    assert split_ids(tmp_path, split_seed=1) != ids
    assert len(split_ids(tmp_path, val_fraction=0.5)["val"]) == 10
    write_image(tmp_path / WITHOUT_SPLITS[arrangement][0].format("n99"))
    write_mask(tmp_path / WITHOUT_SPLITS[arrangement][1].format("n99"))
    new_ids = split_ids(tmp_path)  # an additional image moves at most one other
    assert len(set(ids["val"]) & set(new_ids["val"])) >= 3


def test_files_of_operating_systems_are_not_images(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC + DE)
    for name in ("images/.DS_Store", "images/Thumbs.db", "masks/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "images" / "._a.jpg").write_bytes(b"x")
    (tmp_path / "masks" / "._a.png").write_bytes(b"x")
    layout = folder_layout(tmp_path)
    assert [item.id for item in layout.items("all")] == ABC + DE


def test_configured_folders_and_suffixes(tmp_path):
    write_pairs(tmp_path, "one/{}-left.png", "two/{}-classes.png", ABC + DE)
    with pytest.raises(UserError, match=r"data\.image_dir=FOLDER data\.mask_dir=FOLDER"):
        folder_layout(tmp_path)
    layout = folder_layout(
        tmp_path, image_dir="one", mask_dir="two", image_suffix="-left", mask_suffix="-classes"
    )
    assert [item.id for item in layout.items("all")] == ABC + DE
    with pytest.raises(UserError, match=r"data\.mask_dir=missing: the folder .*missing"):
        folder_layout(tmp_path, image_dir="one", mask_dir="missing")


def test_two_images_with_the_same_name(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC)
    write_image(tmp_path / "images" / "b.png")
    with pytest.raises(UserError, match=r"b\.jpg and b\.png: two files have the same name"):
        folder_layout(tmp_path).items("all")


def test_train_and_test_without_val(tmp_path):
    write_pairs(tmp_path, "train/{}.jpg", "train_masks/{}.png", [f"n{i}" for i in range(10)])
    write_pairs(tmp_path, "test/{}.jpg", "test_masks/{}.png", DE)
    layout = folder_layout(tmp_path)
    assert layout.splits() == ["train", "val", "test", "all"]
    assert [len(layout.items(split)) for split in layout.splits()] == [8, 2, 2, 12]


def test_names_that_begin_with_their_split(tmp_path):
    names = [f"train_{i}" for i in range(10)] + ["testA_1", "testA_2", "testB_1"]
    write_pairs(tmp_path, "{}.png", "{}_anno.png", names)
    layout = folder_layout(tmp_path)
    assert layout.splits() == ["train", "val", "test", "all"]
    assert [len(layout.items(split)) for split in layout.splits()] == [8, 2, 3, 13]
    assert layout.origin("test") == "images named test"
    write_pairs(tmp_path, "{}.png", "{}_anno.png", ["street"])
    assert folder_layout(tmp_path).splits() == ["train", "val", "all"]  # a name without a split


def test_image_without_a_mask_is_listed(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC)
    (tmp_path / "masks" / "b.png").unlink()
    items = folder_layout(tmp_path).items("all")
    assert [item.id for item in items] == ABC
    assert items[1].mask == tmp_path / "masks" / "b.png"


LISTS = {
    "ids": lambda n: n,
    "file names": lambda n: f"{n}.jpg",
    "paths": lambda n: f"images/{n}.jpg",
    "pairs": lambda n: f"images/{n}.jpg masks/{n}.png",
    "pairs from another machine": lambda n: (
        f"/data/me/set/images/{n}.jpg /data/me/set/masks/{n}.png"
    ),
    "pairs with a tab": lambda n: f"images/{n}.jpg\tmasks/{n}.png",
    "pairs with a comma": lambda n: f"images/{n}.jpg,masks/{n}.png",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("folder", [".", "splits", "ImageSets/Segmentation"])
def test_split_lists(folder, kind, end, tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC + DE)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for split, names in (("train", ["c", "a"]), ("val", DE)):
        text = end.join(LISTS[kind](name) for name in names) + end
        (tmp_path / folder / f"{split}.txt").write_bytes(text.encode())
    assert split_ids(tmp_path) == {"train": ["c", "a"], "val": DE}
    items = folder_layout(tmp_path).items("train")
    assert all(i.image.is_file() and i.mask.is_file() for i in items)


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ({"classes": ["a", "c"], "mask_values": [0, 2]}, True),
        ({"classes": ["c", "a"], "mask_values": [2, 0]}, True),
        ({"classes": ["a", "b", "c"]}, True),
        ({"classes": ["a", "c", "b"]}, False),
        ({"classes": ["a", "b", "d"], "mask_values": [0, 1, 3]}, False),
    ],
    ids=str,
)
def test_a_run_reads_folders_that_hold_its_classes(keys, allowed, tmp_path):
    """Their file may list others, as that of the folder which it was trained on."""
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", "ab", label_map)
    (tmp_path / "classes.yaml").write_text("{a: 0, b: 1, c: 2}")
    run = FolderSettings(name="folder", root="elsewhere", **keys)
    if allowed:
        assert move_data(run, str(tmp_path)).root == str(tmp_path)
    else:
        with pytest.raises(UserError, match="differ from those that the run was trained with"):
            move_data(run, str(tmp_path))


def test_a_single_class_is_refused():
    assert FolderSettings(name="folder", root=".", classes=None).classes == ()
    with pytest.raises(ValidationError, match=r"at least two.*data\.classes=\[background,road\]"):
        FolderSettings(name="folder", root=".", classes=["road"])


def test_wrong_split_lists(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC)
    (tmp_path / "train.txt").write_text("a\nz\n")
    (tmp_path / "val.txt").write_text("\n")
    layout = folder_layout(tmp_path)
    with pytest.raises(UserError, match=r"train\.txt, line 2: 'z' is no image of"):
        layout.items("train")
    with pytest.raises(UserError, match="lists no images"):
        layout.items("val")
    with pytest.raises(UserError, match=r"Available splits: .*train"):
        layout.items("test")


def test_missing_or_empty_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        folder_layout(tmp_path / "missing")
    with pytest.raises(UserError, match="no images and masks found in this folder"):
        folder_layout(tmp_path)
    write_image(tmp_path / "images" / "a.jpg")
    with pytest.raises(UserError, match=r"1 image \(images/a.jpg\), but no .* masks"):
        folder_layout(tmp_path)


# classes


FILES = {
    "classes.yaml": ["road: 0\ncar: 1\nsky: 2\n", "[road, car, sky]", "- road\n- car\n- sky\n",
                     "classes: {road: 0, car: 1, sky: 2}\nignored: [255]\n"],
    "classes.csv": ["name,value\nroad,0\ncar,1\nsky,2\n", "road,0\ncar,1\nsky,2\n",
                    "value,name\n0,road\n1,car\n2,sky\n"],
    "classes.txt": ["road\ncar\nsky\n"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, ts in FILES.items() for t in ts])
def test_classes_by_index(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    classes = read_classes(tmp_path / name)
    assert classes.names == ("road", "car", "sky")
    assert classes.values == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.yaml", "road: [128, 64, 128]\ncar: [0, 0, 192]\nsky: [64, 0, 64]\nVoid: [0,0,0]"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\ncar,0,0,192\nsky,64,0,64\nVoid,0,0,0\n"),
    ],
)
def test_classes_by_color(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    classes = read_classes(tmp_path / name)
    assert classes.names == ("road", "car", "sky")
    assert list(classes.values) == COLORS
    assert classes.ignored == ((0, 0, 0),)
    assert classes.palette[:3].tolist() == [list(c) for c in COLORS]
    table = np.array([*COLORS, (0, 0, 0)], np.uint8)
    expected = np.random.default_rng(0).integers(0, 4, (20, 30))
    label = classes.decode(table[expected], tmp_path)
    assert np.array_equal(label, np.where(expected == 3, 255, expected))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.yaml", "road: [1, 2\n", "cannot be read"),
        ("classes.yaml", "5", "names no classes"),
        ("classes.yaml", "road: 0\n", "1 class; 2 to 254 are allowed"),
        ("classes.yaml", "road: 0\ncar: 0\n", "road and car have the same value 0"),
        (
            "classes.yaml",
            "road: 0\ncar: [1, 2, 3]\n",
            "some classes have an index",
        ),
        ("classes.yaml", "road: 0\ncar: 300\n", "from 0 to 255"),
        ("classes.yaml", "road: 0\ncar: blue\n", "neither an index nor a color"),
        ("classes.yaml", "road: 0\ncar: [1, 2]\n", "or a color of three such numbers"),
        ("classes.yaml", "classes: {a: 0, b: 1}\nignore: [3]\n", "unknown key"),
        ("classes.yaml", "[road, road]", "named more than once"),
        *(
            ("classes.yaml", f"classes: {{a: 0, b: 1}}\ncolors: {colors}\n", message)
            for colors, message in (
                ("{a: [0, 0, 0]}", "colors: 'b' has no color"),
                ("{a: [0, 0, 0], b: 5}", "colors: 'b' has no color"),
                ("{a: [0, 0, 0], b: [1, 1, 1], c: [2, 2, 2]}", "'c' is none of the classes"),
                ("{a: [0, 0, 0], b: blue}", "'colors: b': 'blue' is neither"),
            )
        ),
        ("classes.csv", "road,0,1\ncar,1,2\n", "neither name,r,g,b nor name,value"),
        ("classes.csv", "0,1,2\n", "neither name,r,g,b nor name,value"),
        ("classes.txt", "road\nroad\n", "named more than once"),
    ],
)
def test_wrong_classes_files(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_classes(tmp_path / name)
    assert name in str(error.value)


def classes_of_masks(root, arrays, **kwargs):
    for i, array in enumerate(arrays):
        write_mask(root / "masks" / f"{i}.png", array)
    return find_classes(sorted((root / "masks").iterdir()), **kwargs)[0]


def color_mask(seed):
    return np.array(COLORS, np.uint8)[label_map(seed)]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ([label_map(0), label_map(1)], (0, 1, 2)),
        ([label_map(0) * 100], (0, 100, 200)),
        ([np.where(label_map(0, 4) == 3, 255, label_map(0, 4)).astype(np.uint8)], (0, 1, 2)),
        ([np.where(label_map(0) == 2, 255, 0).astype(np.uint8)], (0, 255)),
        ([label_map(0) == 2], (0, 1)),
        ([np.repeat(label_map(0)[..., None], 3, axis=2)], (0, 1, 2)),
        ([label_map(0).astype(np.uint16)], (0, 1, 2)),
        ([color_mask(0), color_mask(1)], tuple(sorted(COLORS))),
        ([np.dstack([color_mask(0), np.full(SIZE, 255, np.uint8)])], tuple(sorted(COLORS))),
    ],
    ids=[
        "gray",
        "gaps",
        "ignored",
        "binary",
        "bits",
        "gray as color",
        "16 bits",
        "color",
        "alpha",
    ],
)
def test_classes_are_found(arrays, expected, tmp_path):
    classes = classes_of_masks(tmp_path, arrays)
    assert classes.values == expected
    for path in (tmp_path / "masks").iterdir():
        label = classes.decode(read_mask(path, colored=classes.colored), path)
        assert set(np.unique(label)) - {255} <= set(range(len(expected)))


def test_binary_mask_is_object_and_background(tmp_path):
    classes = classes_of_masks(tmp_path, [np.where(label_map(0) == 2, 255, 0).astype(np.uint8)])
    assert classes.names == ("background", "object")
    label = classes.decode(read_mask(tmp_path / "masks" / "0.png"), tmp_path)
    assert set(np.unique(label)) == {0, 1}


def test_found_classes_are_written_and_read_back(tmp_path):
    palette = Image.fromarray(label_map(0), mode="P")
    palette.putpalette([9, 8, 7, 60, 50, 40, 200, 100, 0])
    (tmp_path / "masks").mkdir()
    palette.save(tmp_path / "masks" / "a.png")
    write_image(tmp_path / "images" / "a.jpg")
    items = folder_layout(tmp_path).items("all")
    found = read_or_find_classes(tmp_path, items, classes_file=None, ignored=())
    assert found.colors == ((9, 8, 7), (60, 50, 40), (200, 100, 0))
    read = read_or_find_classes(tmp_path, items, classes_file=None, ignored=())
    assert read == found
    path = tmp_path / "classes.yaml"
    path.write_text(path.read_text().replace("class_1:", "car:"))
    renamed = read_or_find_classes(tmp_path, items, classes_file=None, ignored=())
    assert renamed.names[1] == "car"
    assert len(read_or_find_classes(tmp_path, items, classes_file=None, ignored=(1,))) == 2


def test_classes_that_cannot_be_written_are_found_once(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(30, "Read-only file system")

    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", "ab", label_map)
    items = folder_layout(tmp_path).items("all")
    monkeypatch.setattr(class_discovery, "write_text", fail)
    found = read_or_find_classes(tmp_path, items, classes_file=None)
    with monkeypatch.context() as patch:
        patch.setattr(class_discovery, "find_classes", fail)
        assert read_or_find_classes(tmp_path, items, classes_file=None) is found
    write_mask(tmp_path / "masks/a.png", label_map(0, classes=4))
    assert len(read_or_find_classes(tmp_path, items, classes_file=None)) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros(SIZE, np.uint8)], "hold 1 class"),
        ([np.full(SIZE, 255, np.uint8)], "hold 1 class"),
        ([label_map(0), color_mask(0)], "this mask holds indices or gray values, .* holds colors"),
        (
            [np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)],
            "cannot all be classes",
        ),
    ],
)
def test_masks_without_classes(arrays, message, tmp_path):
    with pytest.raises(UserError, match=message):
        classes_of_masks(tmp_path, arrays)


def test_an_error_of_several_data_sets_names_their_folders(tmp_path):
    for name, mask in (("cats", label_map(0)), ("dogs", color_mask(0))):
        for i in range(3):
            write_image(tmp_path / f"{name}/images/{name}_{i}.jpg")
            write_mask(tmp_path / f"{name}/masks/{name}_{i}.png", mask)
    settings = FolderSettings(name="folder", root=str(tmp_path))
    layout = FolderLayout(settings)
    with pytest.raises(UserError, match="has several folders of images and masks: cats, dogs"):
        layout.with_classes(settings, layout.items("all"))


# the scripts


def test_camvid_with_one_command(tmp_path):
    """SegNet's copy has gray masks 0 to 11, with 11 ignored, and lists of another machine."""
    root = tmp_path / "CamVid"
    for split, names in (("train", ABC), ("val", DE)):
        patterns = (f"{split}/{{}}.png", f"{split}annot/{{}}.png")
        write_pairs(root, *patterns, names, lambda seed: label_map(seed, 12))
        lines = (
            f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png" for n in names
        )
        (root / f"{split}.txt").write_text("\n".join(lines))
    done = run(
        "train", "data=folder", "data.root=CamVid", "data.ignored_values=[11]", *TINY, cwd=tmp_path
    )
    assert "11 classes: 0 to 10. Found in 5 masks; name them in CamVid/classes.yaml" in done.stdout
    (folder,) = run_folders(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert len(config["data"]["classes"]) == 11
    assert 11 in config["data"]["ignored_values"]
    assert "Data:       train: 3 images (train.txt)" in done.stdout
    record = json.loads((folder / "run.json").read_text())
    assert record["splits"] == {"train": "train.txt", "val": "val.txt"}
    evaluated = run("evaluate", f"run={folder}", cwd=tmp_path)
    assert "Data:    val: 2 images (val.txt)" in evaluated.stdout
    for path in [folder / "metrics.json", *folder.glob("evaluations/*/result.json")]:
        assert json.loads(path.read_text())["protocol"]["split_origin"] == "val.txt"
    listing = run("prepare", "data=folder", "data.root=CamVid", cwd=tmp_path).stdout
    assert "train                3 images" in listing
    checked = run("prepare", "data=folder", "data.root=CamVid", "data.ignored_values=[11]",
                  "check=true", cwd=tmp_path)  # fmt: skip
    assert "0 errors" in checked.stdout or "nothing wrong" in checked.stdout
    assert "data.crop_size" not in checked.stdout  # a training chooses it for these images


def test_color_masks_with_a_csv_classes_file(tmp_path):
    root = tmp_path / "mine"
    write_pairs(root, "images/{}.jpg", "masks/{}.png", [*ABC, *DE], color_mask)
    names = ("road", "car", "sky")
    rows = [",".join([n, *map(str, c)]) for n, c in zip(names, COLORS, strict=True)]
    (root / "class_dict.csv").write_text("name,r,g,b\n" + "\n".join(rows) + "\n")
    run("train", "data=folder", "data.root=mine", *TINY, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    assert list(json.loads((folder / "metrics.json").read_text())["class_IoU"]) == list(names)
    figure = Image.open(folder / "validation.png").convert("RGB")
    colors = {color for _, color in figure.getcolors(1 << 20)}
    assert set(COLORS) <= colors  # the legend shows them
    write_mask(root / "masks" / "a.png", np.full((*SIZE, 3), 5, np.uint8) + np.uint8([0, 1, 2]))
    done = run("train", "data=folder", "data.root=mine", "seed=1", *TINY, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "no class has color (5, 6, 7)" in done.stderr


def test_colors_of_classes_for_gray_masks(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC)
    (tmp_path / "label_colors.txt").write_text("0 0 0 road\n1 1 1 car\n2 2 2 sky\n")
    layout = folder_layout(tmp_path)
    settings = layout.with_classes(layout.settings, layout.items("all"))
    assert settings.classes == ("road", "car", "sky")


def test_number_of_classes_comes_from_the_masks(tmp_path):
    assert len(ClassSet(("a", "b"))) == 2
    write_pairs(
        tmp_path / "mine", "{}.jpg", "{}_mask.png", [*ABC, *DE], lambda seed: label_map(seed, 5)
    )
    run("train", "data=folder", "data.root=mine", *TINY, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    scores = json.loads((folder / "metrics.json").read_text())["class_IoU"]
    assert list(scores) == [f"class_{i}" for i in range(5)]


def test_a_link_that_leads_to_itself_is_named(tmp_path):
    write_pairs(tmp_path, "images/{}.jpg", "masks/{}.png", ABC)
    (tmp_path / "train.txt").symlink_to("train.txt")
    with pytest.raises(UserError, match=r"train\.txt: cannot be read \(Too many levels of symb"):
        split_ids(tmp_path)
