"""Training images drawn by class, mixtures of crops, and weights of classes."""

import numpy as np
import pytest

from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.mixing import Mixing
from deeplab.data.rare_classes import ClassSampler, balanced_weights
from deeplab.data.settings import AugmentationSettings, ScaleSettings
from deeplab.data.transforms import TrainTransform
from support.trees import write_sample

FILL = (124, 116, 104)
NAMES = ("background", "disc", "arrow")


@pytest.fixture
def images(tmp_path):
    """Ten images of background and disc; in two of them one pixel is an arrow."""
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    ids = [f"image_{i}" for i in range(10)]
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("\n".join(ids) + "\n")
    for i, name in enumerate(ids):
        label = np.zeros((60, 80), np.uint8)
        label[10:30, 20:60] = 1
        if i in (3, 7):
            label[51, 74] = 2
        pixels = np.repeat(label[..., None] * 40 + i, 3, axis=2)  # tells the image and its classes
        write_sample(tmp_path, name, pixels, label, "SegmentationClass")
    return VOCFolder(tmp_path).items("train")


def dataset(items, **augmentation):
    scales = ScaleSettings(min=0.8, max=1.6, step=0)
    settings = AugmentationSettings(crop_size=33, scales=scales, **augmentation)
    transform = TrainTransform(settings, fill=FILL)
    return SegmentationDataset("train", items, classes=ClassSet(NAMES), transform=transform)


def draws(images, count):
    return images.__getitems__([(draw, draw % len(images)) for draw in range(count)])


def test_pixels_of_each_class_are_counted(images):
    counts = dataset(images).count_pixels()
    assert counts.shape == (10, 3)
    assert counts[3].tolist() == [60 * 80 - 801, 800, 1]
    assert counts[:, 2].nonzero()[0].tolist() == [3, 7]


def test_probabilities_follow_the_formula_of_daformer():
    """exp((1 - f) / T), normalized (their equation 4), computed here in another way."""
    pixels = np.array([[600, 300, 0, 0], [0, 0, 100, 0]])
    shares, temperature = np.array([0.6, 0.3, 0.1]), 0.25
    expected = np.exp((1 - shares) / temperature) / np.exp((1 - shares) / temperature).sum()
    sampler = ClassSampler(pixels, temperature)
    assert sampler.probabilities == pytest.approx([*expected, 0])
    generator = np.random.default_rng(0)
    drawn = [sampler.draw(generator) for _ in range(2000)]
    assert set(drawn) == {(0, 0), (0, 1), (1, 2)}
    counts = np.bincount([k for _, k in drawn], minlength=3) / len(drawn)
    assert counts == pytest.approx(expected, abs=0.05)
    assert ClassSampler(pixels, 1e-4).probabilities[2] == 1  # no overflow
    with pytest.raises(ValueError, match="no image has a labeled pixel"):
        ClassSampler(np.zeros((4, 3), np.int64), 0.01)


def test_crops_show_the_class_that_they_are_drawn_for(images):
    rare = dataset(images)
    rare.class_sampler = ClassSampler(rare.count_pixels(), 0.001)
    batch = draws(rare, 40)
    assert set(batch["image_id"]) == {"image_3", "image_7"}
    enlarged = [bool((label == 2).any()) for label in batch["label"].numpy()]
    assert np.mean(enlarged) > 0.9  # scales below 1 may drop a single pixel
    usual = draws(dataset(images), 40)["label"].numpy()
    assert np.mean([(label == 2).any() for label in usual]) < 0.2
    places = {tuple(np.argwhere(label == 2)[0]) for label in batch["label"].numpy() if 2 in label}
    assert len(places) > 20  # anywhere in the crop


@pytest.mark.parametrize(
    ("mixing", "pasted"),
    [(Mixing(1, 0, background=0), {1}), (Mixing(0, 1, background=0), {0, 1, 255})],
)
def test_mixtures_move_pixels_with_their_labels(images, mixing, pasted):
    """Images are gray by image and class, so each pixel tells where it is from."""
    plain, mixed = dataset(images, hflip_prob=0), dataset(images, hflip_prob=0)
    mixed.mixing = mixing
    before, after = draws(plain, 60), draws(mixed, 60)
    assert after["image_id"] == before["image_id"]
    changed = (after["image"] != before["image"]).any(1) | (after["label"] != before["label"])
    assert changed.flatten(1).any(1).float().mean() > 0.5
    assert set(after["label"][changed].unique().tolist()) <= pasted
    image, label = after["image"][:, 0].numpy().astype(int), after["label"].numpy()
    for value in (0, 1):  # JPEG and interpolation blur the borders
        inner = image[(label == value)]
        assert np.mean(np.abs(inner - 40 * value - 4.5) < 10) > 0.9


def test_a_draw_is_the_same_in_any_batch(images):
    mixed = dataset(images)
    mixed.mixing = Mixing(0.7, 0.7, background=0)
    mixed.class_sampler = ClassSampler(mixed.count_pixels(), 0.1)
    batch, alone = draws(mixed, 12), mixed.__getitems__([(7, 7)])
    assert np.array_equal(batch["image"][7], alone["image"][0])
    assert np.array_equal(batch["label"][7], alone["label"][0])


@pytest.mark.parametrize("focus", [None, 0, 1, 2, 7])
def test_copy_paste_pastes_a_class_whatever_the_crop_was_drawn_for(focus):
    mixing, generator = Mixing(1, 0, background=0), np.random.default_rng(0)
    (objects,) = mixing.draw(generator)
    label = np.uint8([[0, 0, 1, 2, 255]])
    for _ in range(50):
        region = objects(label, focus, generator)[0].tolist()
        assert region[2] or region[3]
        assert not any(region[:2] + region[4:])
        if focus in (1, 2):
            assert region[1 + focus]


def test_a_box_has_any_area():
    mixing, generator = Mixing(0, 1, background=None), np.random.default_rng(0)
    (box,) = mixing.draw(generator)
    regions = [box(np.zeros((40, 60), np.uint8), None, generator) for _ in range(2000)]
    areas = np.array([region.mean() for region in regions])
    assert areas.min() < 0.02
    assert areas.max() > 0.85
    assert 0.25 < areas.mean() < 0.5  # 1/2, less what the borders cut off
    for region in regions[:50]:
        rows, columns = region.any(1), region.any(0)
        assert np.array_equal(region, rows[:, None] & columns)


def test_weights_balance_the_classes():
    pixels = np.array([8100, 900, 100, 0])
    weights = np.array(balanced_weights(pixels))
    share = pixels / pixels.sum()
    assert (share * weights).sum() == pytest.approx(1, rel=1e-3)
    assert weights[2] / weights[0] == pytest.approx(9, rel=1e-3)  # sqrt(81)
    assert weights[3] == weights[2]
    assert balanced_weights(np.zeros(3, np.int64)) == [1, 1, 1]
