"""Tests of VOC layouts, augmentation, the order of images, and synthetic scenes."""

import json
import multiprocessing
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab.data import loader
from deeplab.data.class_set import ClassSet, voc_palette
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationDataset, check_split
from deeplab.data.image_io import read_image, read_mask
from deeplab.data.items import fingerprint
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.samplers import EvalSampler, TrainSampler
from deeplab.data.settings import (
    AugmentationSettings,
    ScaleSettings,
    SceneSettings,
    SegmentationSettings,
)
from deeplab.data.synthetic import scenes
from deeplab.data.synthetic.scenes import draw_scene, get_or_draw_scenes
from deeplab.data.synthetic.shapes import SHAPES
from deeplab.data.transforms import CropParams, EvalTransform, TrainTransform
from deeplab.utils.errors import UserError
from support.trees import IdentityTransform, voc_tree, write_sample

FILL = (124, 116, 104)


# VOC layout


@pytest.mark.parametrize("subfolder", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_tree_is_found_in_its_usual_subfolders(tmp_path, subfolder):
    voc_tree(tmp_path / subfolder, {"train": 2})
    assert [i.id for i in VOCFolder(tmp_path).items("train")] == ["train_0", "train_1"]


def test_palette_png_is_read_as_indices(tmp_path):
    label = np.arange(64, dtype=np.uint8).reshape(8, 8)
    label[0, 0] = 255
    write_sample(tmp_path, "a", np.zeros((8, 8, 3), np.uint8), label, "SegmentationClass")
    path = tmp_path / "SegmentationClass" / "a.png"
    assert np.array_equal(read_mask(path), label)
    assert Image.open(path).convert("RGB").getpixel((1, 0)) == (128, 0, 0)  # the file has colors
    Image.fromarray(label, mode="L").save(path)
    assert np.array_equal(read_mask(path), label)


def test_voc_palette():
    assert voc_palette()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip


def test_images_are_rgb_and_not_rotated(tmp_path):
    image = np.zeros((16, 32, 3), np.uint8)
    image[..., 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees, which masks are not
    Image.fromarray(image).save(tmp_path / "red.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "red.jpg")
    assert read.shape == (16, 32, 3)
    assert read[..., 0].min() > 200
    assert read[..., 2].max() < 50


def test_official_mask_is_preferred_to_the_augmented_one(tmp_path):
    tree = VOCFolder(voc_tree(tmp_path, {"train": 1}))
    label = np.full((50, 60), 7, np.uint8)
    for name in ("train_0", "sbd"):
        write_sample(tmp_path, name, np.zeros((50, 60, 3), np.uint8), label, "SegmentationClassAug")
    (tmp_path / "ImageSets/Segmentation/both.txt").write_text("train_0\nsbd\n")
    folders = [item.mask.parent.name for item in tree.items("both")]
    assert folders == ["SegmentationClass", "SegmentationClassAug"]


CLASSES = ClassSet(tuple(f"class_{i}" for i in range(21)))


def dataset(root, split="train", classes=21):
    names = CLASSES.names[:classes]
    items = VOCFolder(root).items(split)
    return SegmentationDataset(split, items, classes=ClassSet(names), transform=IdentityTransform())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: (r / "JPEGImages/train_0.jpg").unlink(), r"train_0\.jpg: the image does not"),
        (
            lambda r: (r / "JPEGImages/train_0.jpg").write_bytes(b"no"),
            "cannot be decoded as an image",
        ),
        (
            lambda r: (r / "SegmentationClass/train_0.png").unlink(),
            r"train_0\.png: the mask does not",
        ),
        (
            lambda r: Image.new("RGB", (60, 50), "red").save(r / "SegmentationClass/train_0.png"),
            "a color mask",
        ),
        (
            lambda r: Image.new("L", (10, 50)).save(r / "SegmentationClass/train_0.png"),
            "mask 10 x 50, but its image is 60 x 50",
        ),
        (
            lambda r: Image.new("L", (60, 50), 21).save(r / "SegmentationClass/train_0.png"),
            r"label 21, but data\.classes names 21 classes",
        ),
    ],
)
def test_error_names_the_bad_file(tmp_path, damage, message):
    data = dataset(voc_tree(tmp_path, {"train": 1}))
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        data[0]


def test_split_check_finds_labels_out_of_range(tmp_path):
    voc_tree(tmp_path, {"train": 5})
    check_split(dataset(tmp_path))
    few = dataset(tmp_path, classes=2)
    with pytest.raises(UserError, match="Name all classes"):
        check_split(few)
    few.on_error = "next"
    with pytest.raises(UserError, match=r"none of the 5 images .* Name all classes"):
        check_split(few)


def test_fingerprint_depends_on_the_files(tmp_path):
    voc_tree(tmp_path, {"train": 3})
    before = fingerprint(dataset(tmp_path).items)
    assert fingerprint(dataset(tmp_path).items) == before
    Image.new("L", (60, 50), 255).save(tmp_path / "SegmentationClass/train_1.png")
    assert fingerprint(dataset(tmp_path).items) != before


# augmentation


def reference_crop(image, scaled, corner, size):
    """Crop with a bilinear resize, corners aligned, in float, padded with FILL."""
    h, w = image.shape[:2]
    out = np.empty((size, size, 3))
    out[:] = FILL
    for i in range(min(size, scaled[0] - corner[0])):
        for j in range(min(size, scaled[1] - corner[1])):
            y = (i + corner[0]) * (h - 1) / (scaled[0] - 1)
            x = (j + corner[1]) * (w - 1) / (scaled[1] - 1)
            y0, x0 = min(int(y), h - 2), min(int(x), w - 2)
            dy, dx = y - y0, x - x0
            top = (1 - dx) * image[y0, x0] + dx * image[y0, x0 + 1]
            bottom = (1 - dx) * image[y0 + 1, x0] + dx * image[y0 + 1, x0 + 1]
            out[i, j] = (1 - dy) * top + dy * bottom
    return out


def transform(size, **changes):
    return TrainTransform(AugmentationSettings(crop_size=size, **changes), fill=FILL)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
def test_crop_equals_reference(scale, flip):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    label = rng.integers(0, 5, (40, 52), dtype=np.uint8)
    scaled = (int(40 * scale), int(52 * scale))
    corner = tuple(max(0, side - 48) // 2 for side in scaled)
    crop, params = transform(48), CropParams(scaled, corner, flip)
    pixels, labels = np.empty((48, 48, 3), np.uint8), np.empty((48, 48), np.uint8)
    crop.crop_image(image, params, pixels)
    crop.crop_label(label, params, labels)
    if flip:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    assert np.abs(pixels - reference_crop(image.astype(float), scaled, corner, 48)).max() < 0.51
    for i in range(48):
        for j in range(48):
            y, x = i + corner[0], j + corner[1]
            if y < scaled[0] and x < scaled[1]:
                source = (
                    int(y * 39 / (scaled[0] - 1) + 0.5),
                    int(x * 51 / (scaled[1] - 1) + 0.5),
                )
                assert labels[i, j] == label[source]
            else:
                assert labels[i, j] == 255
                assert tuple(pixels[i, j]) == FILL


@pytest.mark.parametrize("step", [0.25, 0.0])
def test_image_and_mask_stay_aligned(step):
    """In flat areas the image is 10 times the label, for every draw."""
    label = np.zeros((60, 80), np.uint8)
    label[10:40, 20:50] = 7
    label[30:55, 45:75] = 12
    image = np.repeat(label[..., None] * 10, 3, axis=2)
    crop = transform(65, scales=ScaleSettings(step=step))
    for draw in range(60):
        pixels, labels = crop(image, label, np.random.default_rng(draw))
        assert pixels.shape == (65, 65, 3)
        assert pixels.dtype == labels.dtype == np.uint8
        inside = labels != 255
        flat = inside & (pixels.max(2) == pixels.min(2)) & np.isin(pixels[..., 0], [0, 70, 120])
        assert (pixels[..., 0][flat] == 10 * labels[flat]).mean() > 0.99
        blended = inside & ~np.isin(pixels[..., 0], [0, 70, 120])
        assert blended.sum() < 0.2 * inside.sum()  # only borders are blended


def test_sampled_scales_corners_and_flips():
    crop, rng = transform(33), np.random.default_rng(0)
    params = [crop.sample_params((40, 40), rng) for _ in range(300)]
    assert {p.scaled[0] for p in params} == {int(40 * f / 4) for f in range(2, 9)}
    corners = {p.corner[0] for p in params if p.scaled[0] == 40}
    assert corners == set(range(8))  # both ends are included
    assert {p.corner for p in params if p.scaled[0] < 33} == {(0, 0)}
    assert 120 < sum(p.flip for p in params) < 180
    never = transform(33, hflip_prob=0.0)
    assert not any(never.sample_params((40, 40), rng).flip for _ in range(50))


def test_result_does_not_depend_on_earlier_calls():
    """Scratch arrays are reused between calls."""
    rng = np.random.default_rng(0)
    crop = transform(65)
    images = [rng.integers(0, 256, (60 + 9 * i, 80 - 7 * i, 3), dtype=np.uint8) for i in range(5)]
    for i, image in enumerate(images):
        label = image[..., 0] % 7
        reused = crop(image, label, np.random.default_rng(i))
        fresh = transform(65)(image, label, np.random.default_rng(i))
        assert all(np.array_equal(a, b) for a, b in zip(reused, fresh, strict=True))


def test_albumentations_are_applied_and_checked(tmp_path):
    image = np.full((60, 60, 3), 90, np.uint8)
    label = np.zeros((60, 60), np.uint8)
    brighter = transform(
        33, augmentations=[{"RandomBrightnessContrast": {"p": 1, "brightness_limit": (0.5, 0.5)}}]
    )
    first, second = (brighter(image, label, np.random.default_rng(i))[0] for i in (3, 3))
    assert np.array_equal(first, second)
    assert first.max() > 120
    with pytest.raises(ValueError, match="no such transform"):
        transform(33, augmentations=[{"Brighten": {}}])
    with pytest.raises(ValueError, match=r"HorizontalFlip: .*amount"):
        transform(33, augmentations=[{"HorizontalFlip": {"amount": 1}}])
    with pytest.raises(UserError, match="uint8"):
        transform(33, augmentations=[{"Normalize": {}}])(image, label, np.random.default_rng(0))


def test_whole_images_are_padded_and_never_resized():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 70, 3), dtype=np.uint8)
    label = rng.integers(0, 5, (40, 70), dtype=np.uint8)
    pixels, labels = EvalTransform(size=(65, 65), fill=FILL)(image, label, rng)
    assert pixels.shape == (65, 70, 3)
    assert np.array_equal(pixels[:40], image)
    assert np.array_equal(labels[:40], label)
    assert (labels[40:] == 255).all()
    assert (pixels[40:] == FILL).all()


# order


def test_each_epoch_draws_every_image_once():
    batches = list(TrainSampler(7, steps=14, batch_size=3, seed=1))
    draws = [item for batch in batches for item in batch]
    assert [d for d, _ in draws] == list(range(42))
    epochs = [[i for _, i in draws[e : e + 7]] for e in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_resumed_sampler_gives_the_remaining_batches():
    batches = list(TrainSampler(7, steps=14, batch_size=4, seed=1))
    resumed = TrainSampler(7, steps=14, batch_size=4, seed=1, first_step=9)
    assert list(resumed) == batches[9:]
    assert len(resumed) == 14  # Lightning counts batches from the beginning


def test_processes_share_each_batch():
    batches = list(TrainSampler(7, steps=5, batch_size=4, seed=1))
    parts = [
        list(TrainSampler(7, steps=5, batch_size=4, seed=1, rank=r, world_size=2)) for r in (0, 1)
    ]
    assert [a + b for a, b in zip(*parts, strict=True)] == batches
    with pytest.raises(ValueError, match="not divisible by the number of processes, 2"):
        TrainSampler(7, steps=5, batch_size=3, seed=1, world_size=2)


def test_validation_uses_every_image_once():
    parts = [list(EvalSampler(10, rank=r, world_size=3)) for r in range(3)]
    assert sorted(i for part in parts for i in part) == list(range(10))


def data_module(root, num_workers):
    settings = SegmentationSettings(
        name="voc",
        root=str(root),
        classes=CLASSES.names,
        crop_size=33,
        eval_size=65,
        eval_batch_size=2,
    )
    return SegmentationData(
        settings,
        VOCFolder(root),
        fill=FILL,
        steps=4,
        batch_size=3,
        seed=3,
        num_workers=num_workers,
    )


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    voc_tree(tmp_path, {"train": 5, "val": 3})
    first, second = (list(data_module(tmp_path, w).train_dataloader()) for w in (0, 2))
    assert len(first) == len(second) == 4
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])
        assert a["image_id"] == b["image_id"]
    assert first[0]["image"].shape == (3, 3, 33, 33)
    assert first[0]["image"].dtype == first[0]["label"].dtype == torch.uint8


def test_batches_do_not_depend_on_the_size_of_shared_memory(tmp_path, monkeypatch, capsys):
    voc_tree(tmp_path, {"train": 5, "val": 3})
    data = data_module(tmp_path, 1)
    shared = [*data.train_dataloader(), *data.val_dataloader()]
    assert all(batch["image"].is_shared() for batch in shared)
    assert not capsys.readouterr().out
    usage = shutil.disk_usage(tmp_path)
    for free, instead in ((99_000, "through pipes"), (60_000, "This process loads")):
        monkeypatch.setattr(loader, "_reported", [])
        monkeypatch.setattr(shutil, "disk_usage", lambda path, f=free: usage._replace(free=f))
        loaders = data.train_dataloader(), data.val_dataloader()
        others = [batch for one in loaders for batch in one]
        assert {one.num_workers for one in loaders} == {int(instead == "through pipes")}
        printed = capsys.readouterr().out
        assert f"/dev/shm: {free / 1000} kB free" in printed
        assert instead in printed
        for a, b in zip(shared, others, strict=True):
            assert not b["image"].is_shared()
            assert torch.equal(a["image"], b["image"])
            assert a["image"].stride() == b["image"].stride()
            assert torch.equal(a["label"], b["label"])
            assert a["image_id"] == b["image_id"]


def test_loaders_do_not_use_the_global_generator(tmp_path):
    voc_tree(tmp_path, {"train": 5, "val": 3})
    before = torch.get_rng_state()
    data = data_module(tmp_path, 0)
    next(iter(data.train_dataloader()))
    batches = list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)
    assert [b["image_id"] for b in batches] == [["val_0", "val_1"], ["val_2"]]
    assert batches[0]["size"] == [(50, 60), (50, 60)]
    assert batches[0]["image"].shape == (2, 3, 65, 65)


def test_images_of_several_sizes_are_not_padded_to_each_other(tmp_path):
    """Padding would change the input of image pooling, and so the score."""
    voc_tree(tmp_path, {"train": 5, "val": 2})
    write_sample(
        tmp_path, "val_1", np.zeros((90, 60, 3), np.uint8), np.zeros((90, 60), np.uint8),
        "SegmentationClass",
    )  # fmt: skip
    data = data_module(tmp_path, 0)
    with pytest.raises(UserError, match=r"data\.eval_batch_size: images larger"):
        list(data.val_dataloader())
    data.eval_batch_size = 1
    assert len(list(data.val_dataloader())) == 2


# synthetic scenes


def spec(**changes):
    settings = {
        "classes": ("background", *SHAPES),
        "num_train": 6,
        "num_val": 2,
        "min_size": 48,
        "max_size": 64,
    }
    return SceneSettings(**(settings | changes))


def file_contents(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_scenes_are_a_voc_tree_from_a_seed(tmp_path):
    first = get_or_draw_scenes(tmp_path / "a", spec())
    second = get_or_draw_scenes(tmp_path / "b", spec())
    assert file_contents(first) == file_contents(second)
    tree = VOCFolder(first)
    assert tree.splits() == ["train", "val"]
    data = SegmentationDataset(
        "train", tree.items("train"), classes=CLASSES, transform=IdentityTransform()
    )
    assert len(data) == 6
    labels = [data[i].label for i in range(6)]
    assert any((label == 255).any() for label in labels)
    assert json.loads((first / "settings.json").read_text())["scene_seed"] == 0


def test_scenes_are_reused_unless_a_setting_changes(tmp_path, monkeypatch):
    first = get_or_draw_scenes(tmp_path, spec())
    assert get_or_draw_scenes(tmp_path, spec(max_objects=3)) != first
    assert get_or_draw_scenes(tmp_path, spec(scene_seed=1)) != first
    monkeypatch.setattr(scenes, "draw_scene", None)  # a new drawing would fail
    assert get_or_draw_scenes(tmp_path, spec()) == first


def test_interrupted_drawing_leaves_no_folder(tmp_path, monkeypatch):
    drawn = []

    def interrupted_draw(*arguments):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw_scene(*arguments)

    monkeypatch.setattr(scenes, "draw_scene", interrupted_draw)
    with pytest.raises(KeyboardInterrupt):
        get_or_draw_scenes(tmp_path, spec())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(VOCFolder(get_or_draw_scenes(tmp_path, spec())).items("train")) == 6


def test_two_processes_draw_the_same_scenes_at_the_same_time(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.starmap(get_or_draw_scenes, [(tmp_path, spec())] * 2)
    assert paths[0] == paths[1]
    assert [p.name for p in tmp_path.iterdir()] == [paths[0].name]


def test_every_class_has_a_border_and_an_interior():
    for index, name in enumerate(SHAPES, start=1):
        settings = spec(classes=("background", name), max_objects=1, min_size=96, max_size=96)
        labels = [draw_scene(settings, np.random.default_rng((index, i)))[1] for i in range(5)]
        assert any((label == 1).any() for label in labels), name
        assert all((label == 255).any() for label in labels), name
        for label in labels:  # the border separates the object from the background
            for y, x in np.argwhere(label == 1):
                neighbors = label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                assert not (neighbors == 0).any(), name
