import json
import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab.data.class_set import ClassSet, voc_palette
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationDataset, check_split, spread
from deeplab.data.image_io import read_image, read_mask
from deeplab.data.layouts.base import voc_layout
from deeplab.data.samplers import EvalShare, TrainStream
from deeplab.data.synthetic import scenes
from deeplab.data.synthetic.scenes import SHAPES, ShapesSpec, draw_scene, ensure_shapes
from deeplab.data.transforms import Draw, EvalTransform, TrainTransform
from deeplab.utils.errors import UserError
from support.trees import AsItIs, voc_tree, write_sample

FILL = (124, 116, 104)


# VOC layout


@pytest.mark.parametrize("place", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_tree_is_found_wherever_it_begins(tmp_path, place):
    voc_tree(tmp_path / place, {"train": 2})
    assert [i.id for i in voc_layout(tmp_path).items("train")] == ["train_0", "train_1"]


def test_palette_png_is_read_as_indices(tmp_path):
    label = np.arange(64, dtype=np.uint8).reshape(8, 8)
    label[0, 0] = 255
    write_sample(tmp_path, "a", np.zeros((8, 8, 3), np.uint8), label, "SegmentationClass")
    path = tmp_path / "SegmentationClass" / "a.png"
    assert np.array_equal(read_mask(path), label)
    assert Image.open(path).convert("RGB").getpixel((1, 0)) == (128, 0, 0)  # it does have colors
    Image.fromarray(label, mode="L").save(path)
    assert np.array_equal(read_mask(path), label)


def test_palette_is_vocs():
    assert voc_palette()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip


def test_images_are_rgb_and_not_rotated(tmp_path):
    image = np.zeros((16, 32, 3), np.uint8)
    image[..., 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees: masks know nothing of it
    Image.fromarray(image).save(tmp_path / "red.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "red.jpg")
    assert read.shape == (16, 32, 3)
    assert read[..., 0].min() > 200
    assert read[..., 2].max() < 50


def test_official_mask_before_the_augmented_one(tmp_path):
    tree = voc_layout(voc_tree(tmp_path, {"train": 1}))
    other = np.full((50, 60), 7, np.uint8)
    for name in ("train_0", "sbd"):
        write_sample(tmp_path, name, np.zeros((50, 60, 3), np.uint8), other, "SegmentationClassAug")
    (tmp_path / "ImageSets/Segmentation/both.txt").write_text("train_0\nsbd\n")
    folders = [item.mask.parent.name for item in tree.items("both")]
    assert folders == ["SegmentationClass", "SegmentationClassAug"]


CLASSES = ClassSet(tuple(f"class_{i}" for i in range(21)))


def dataset(root, split="train", classes=21):
    names = CLASSES.names[:classes]
    items = voc_layout(root).items(split)
    return SegmentationDataset(split, items, classes=ClassSet(names), transform=AsItIs())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: (r / "JPEGImages/train_0.jpg").unlink(), r"train_0\.jpg: the image does not"),
        (lambda r: (r / "JPEGImages/train_0.jpg").write_bytes(b"no"), "no image that can be"),
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
            "mask 50 x 10, but its image is 50 x 60",
        ),
        (
            lambda r: Image.new("L", (60, 50), 21).save(r / "SegmentationClass/train_0.png"),
            r"label 21, but data\.classes names 21 classes",
        ),
    ],
)
def test_bad_files_are_named(tmp_path, damage, message):
    data = dataset(voc_tree(tmp_path, {"train": 1}))
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        data[0]


def test_split_check_finds_labels_beyond_the_classes(tmp_path):
    voc_tree(tmp_path, {"train": 5})
    check_split(dataset(tmp_path))
    with pytest.raises(UserError, match="Name all classes"):
        check_split(dataset(tmp_path, classes=2))


def test_fingerprint_changes_with_the_files(tmp_path):
    voc_tree(tmp_path, {"train": 3})
    before = dataset(tmp_path).fingerprint()
    assert dataset(tmp_path).fingerprint() == before
    Image.new("L", (60, 50), 255).save(tmp_path / "SegmentationClass/train_1.png")
    assert dataset(tmp_path).fingerprint() != before


def test_spread():
    assert spread(list("abcdefgh"), 3) == ["a", "d", "g"]
    assert spread(list("ab"), 3) == ["a", "b"]


# augmentation


def reference_crop(image, scaled, corner, size):
    """Bilinear with corners aligned, in float, padded with FILL."""
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
    settings = {
        "scale_min": 0.5,
        "scale_max": 2.0,
        "scale_step": 0.25,
        "hflip_prob": 0.5,
        "fill": FILL,
    }
    return TrainTransform(crop_size=size, **(settings | changes))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
def test_scale_pad_crop_flip_is_the_aligned_resize(scale, flip):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    label = rng.integers(0, 5, (40, 52), dtype=np.uint8)
    scaled = (int(40 * scale), int(52 * scale))
    corner = tuple(max(0, side - 48) // 2 for side in scaled)
    crop, draw = transform(48), Draw(scaled, corner, flip)
    pixels, labels = np.empty((48, 48, 3), np.uint8), np.empty((48, 48), np.uint8)
    crop.crop_image(image, draw, pixels)
    crop.crop_label(label, draw, labels)
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
    """In flat areas the image is 10 times the label, whatever was drawn."""
    label = np.zeros((60, 80), np.uint8)
    label[10:40, 20:50] = 7
    label[30:55, 45:75] = 12
    image = np.repeat(label[..., None] * 10, 3, axis=2)
    crop = transform(65, scale_step=step)
    for draw in range(60):
        pixels, labels = crop(image, label, np.random.default_rng(draw))
        assert pixels.shape == (65, 65, 3)
        assert pixels.dtype == labels.dtype == np.uint8
        inside = labels != 255
        flat = inside & (pixels.max(2) == pixels.min(2)) & np.isin(pixels[..., 0], [0, 70, 120])
        assert (pixels[..., 0][flat] == 10 * labels[flat]).mean() > 0.99
        blended = inside & ~np.isin(pixels[..., 0], [0, 70, 120])
        assert blended.sum() < 0.2 * inside.sum()  # the rest are borders


def test_drawn_factors_corners_and_flips():
    crop, rng = transform(33), np.random.default_rng(0)
    drawn = [crop.draw((40, 40), rng) for _ in range(300)]
    assert {d.scaled[0] for d in drawn} == {int(40 * f / 4) for f in range(2, 9)}
    corners = {d.corner[0] for d in drawn if d.scaled[0] == 40}
    assert corners == set(range(8))  # both ends are drawn
    assert {d.corner for d in drawn if d.scaled[0] < 33} == {(0, 0)}
    assert 120 < sum(d.flip for d in drawn) < 180
    assert not any(transform(33, hflip_prob=0.0).draw((40, 40), rng).flip for _ in range(50))


def test_a_result_does_not_depend_on_the_one_before():
    """Scratch arrays are kept between calls."""
    rng = np.random.default_rng(0)
    crop = transform(65)
    images = [rng.integers(0, 256, (60 + 9 * i, 80 - 7 * i, 3), dtype=np.uint8) for i in range(5)]
    for i, image in enumerate(images):
        label = image[..., 0] % 7
        one = crop(image, label, np.random.default_rng(i))
        other = transform(65)(image, label, np.random.default_rng(i))
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_further_augmentations_are_albumentations(tmp_path):
    image = np.full((60, 60, 3), 90, np.uint8)
    label = np.zeros((60, 60), np.uint8)
    brighter = transform(
        33, augmentations=[{"RandomBrightnessContrast": {"p": 1, "brightness_limit": (0.5, 0.5)}}]
    )
    one, other = (brighter(image, label, np.random.default_rng(i))[0] for i in (3, 3))
    assert np.array_equal(one, other)
    assert one.max() > 120
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
    stream = list(TrainStream(7, steps=14, batch_size=3, seed=1))
    draws = [item for batch in stream for item in batch]
    assert [d for d, _ in draws] == list(range(42))
    epochs = [[i for _, i in draws[e : e + 7]] for e in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_continued_stream_is_the_rest_of_the_whole_one():
    whole = list(TrainStream(7, steps=14, batch_size=4, seed=1))
    rest = TrainStream(7, steps=14, batch_size=4, seed=1, first_step=9)
    assert list(rest) == whole[9:]
    assert len(rest) == 14  # Lightning counts batches from the beginning


def test_processes_share_each_batch():
    whole = list(TrainStream(7, steps=5, batch_size=4, seed=1))
    shares = [
        list(TrainStream(7, steps=5, batch_size=4, seed=1, rank=r, world_size=2)) for r in (0, 1)
    ]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole
    with pytest.raises(ValueError, match="leaves a rest"):
        TrainStream(7, steps=5, batch_size=3, seed=1, world_size=2)


def test_validation_sees_every_image_once():
    shares = [list(EvalShare(10, rank=r, world_size=3)) for r in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(10))


def data_module(root, num_workers):
    return SegmentationData(
        voc_layout(root),
        classes=CLASSES,
        train_split="train",
        val_split="val",
        crop_size=33,
        scale_min=0.5,
        scale_max=2.0,
        scale_step=0.25,
        hflip_prob=0.5,
        eval_size=(65, 65),
        fill=FILL,
        steps=4,
        batch_size=3,
        eval_batch_size=2,
        seed=3,
        num_workers=num_workers,
    )


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    voc_tree(tmp_path, {"train": 5, "val": 3})
    one, two = (list(data_module(tmp_path, w).train_dataloader()) for w in (0, 2))
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])
        assert a["image_id"] == b["image_id"]
    assert one[0]["image"].shape == (3, 3, 33, 33)
    assert one[0]["image"].dtype == one[0]["label"].dtype == torch.uint8


def test_loaders_leave_the_global_generator_alone(tmp_path):
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
    """Padding would change what image pooling sees, and with it the score."""
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


# shapes


def spec(**changes):
    settings = {
        "classes": ("background", *SHAPES),
        "train": 6,
        "val": 2,
        "min_size": 48,
        "max_size": 64,
        "max_objects": 4,
        "seed": 0,
    }
    return ShapesSpec(**(settings | changes))


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_scenes_are_a_voc_tree_from_a_seed(tmp_path):
    first = ensure_shapes(tmp_path / "a", spec())
    again = ensure_shapes(tmp_path / "b", spec())
    assert contents(first) == contents(again)
    tree = voc_layout(first)
    assert tree.splits() == ["train", "val"]
    data = SegmentationDataset("train", tree.items("train"), classes=CLASSES, transform=AsItIs())
    assert len(data) == 6
    labels = [data[i].label for i in range(6)]
    assert any((label == 255).any() for label in labels)
    assert json.loads((first / "spec.json").read_text())["seed"] == 0


def test_a_second_start_reuses_and_a_changed_setting_does_not(tmp_path, monkeypatch):
    first = ensure_shapes(tmp_path, spec())
    assert ensure_shapes(tmp_path, spec(max_objects=3)) != first
    assert ensure_shapes(tmp_path, spec(seed=1)) != first
    monkeypatch.setattr(scenes, "draw_scene", None)  # drawing would fail now
    assert ensure_shapes(tmp_path, spec()) == first


def test_an_interruption_leaves_nothing_half_done(tmp_path, monkeypatch):
    drawn = []

    def interrupted(*arguments):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw_scene(*arguments)

    monkeypatch.setattr(scenes, "draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_shapes(tmp_path, spec())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(voc_layout(ensure_shapes(tmp_path, spec())).items("train")) == 6


def test_two_processes_draw_the_same_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.starmap(ensure_shapes, [(tmp_path, spec())] * 2)
    assert paths[0] == paths[1]
    assert [p.name for p in tmp_path.iterdir()] == [paths[0].name]


def test_every_class_has_a_border_and_an_inside():
    for index, name in enumerate(SHAPES, start=1):
        settings = spec(classes=("background", name), max_objects=1, min_size=96, max_size=96)
        labels = [draw_scene(settings, np.random.default_rng((index, i)))[1] for i in range(5)]
        assert any((label == 1).any() for label in labels), name
        assert all((label == 255).any() for label in labels), name
        for label in labels:  # the border separates the object from the background
            inside = np.argwhere(label == 1)
            for y, x in inside:
                around = label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                assert not (around == 0).any(), name
