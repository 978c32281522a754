"""Tests of classification crops against straightforward computations."""

import numpy as np
import pytest

from deeplab.data.classification.transforms import (
    Box,
    CentralCrop,
    RandomResizedCrop,
    crop_and_resize,
)
from deeplab.data.settings import CropSettings


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def area_weights(source, size):
    """Return the weight of each source pixel in each target pixel, ``(size, source)``."""
    matrix = np.zeros((size, source))
    step = source / size
    for i in range(size):
        for j in range(source):
            matrix[i, j] = max(0.0, min(j + 1, (i + 1) * step) - max(j, i * step)) / step
    return matrix


def bilinear_weights(source, size):
    """Return bilinear weights between pixel centers, ``(size, source)``."""
    matrix = np.zeros((size, source))
    for i in range(size):
        position = min(max((i + 0.5) * source / size - 0.5, 0), source - 1)
        low = min(int(position), source - 2)
        matrix[i, low], matrix[i, low + 1] = 1 - (position - low), position - low
    return matrix


def reference_resize(image, size):
    rows, columns = image.shape[:2]
    weights = area_weights if min(rows, columns) >= size else bilinear_weights
    return np.einsum("yr,xc,rck->yxk", weights(rows, size), weights(columns, size), image)


@pytest.mark.parametrize(("height", "width"), [(100, 160), (90, 70), (66, 66), (40, 44), (33, 90)])
def test_central_crop_equals_reference(height, width):
    """The crop is the central square of 87.5 % of the shorter side."""
    image = random_image(height, width)
    out = np.zeros((33, 33, 3), np.uint8)
    CentralCrop(size=33, crop_pct=0.875)(image, np.random.default_rng(0), out)
    side = round(0.875 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    expected = reference_resize(image[top : top + side, left : left + side].astype(float), 33)
    assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_random_crop_equals_reference_on_the_sampled_box(seed):
    image = random_image(80, 120)
    crop = RandomResizedCrop(
        CropSettings(crop_size=33, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip_prob=0.5)
    )
    out = np.zeros((33, 33, 3), np.uint8)
    crop(image, np.random.default_rng(seed), out)
    generator = np.random.default_rng(seed)
    box = crop.sample_box(80, 120, generator)
    source = image[box.top : box.top + box.height, box.left : box.left + box.width]
    expected = reference_resize(source.astype(float), 33)
    if generator.random() < 0.5:
        expected = expected[:, ::-1]
    assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(75, 100), (500, 333), (40, 400)])
def test_boxes_are_inside_and_cover_their_ranges(height, width):
    crop = RandomResizedCrop(
        CropSettings(crop_size=33, scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3), hflip_prob=0.0)
    )
    generator = np.random.default_rng(0)
    boxes = [crop.sample_box(height, width, generator) for _ in range(2000)]
    assert all(0 <= b.top <= height - b.height and 0 <= b.left <= width - b.width for b in boxes)
    if width == 400:  # no box of an allowed ratio is large enough: the whole image is used
        assert set(boxes) == {Box(0, 0, height, width)}
        return
    sampled = [b for b in boxes if b != Box(0, 0, height, width)]
    areas = np.array([b.height * b.width / (height * width) for b in sampled])
    ratios = np.array([b.width / b.height for b in sampled])
    slack = 1 + 2 / min(height, width)  # sides are rounded to whole pixels
    assert areas.min() > 0.25 / slack
    assert areas.max() <= 1
    assert (np.abs(np.log(ratios)) < np.log(4 / 3 * slack)).all()
    if (height, width) == (75, 100):  # nearly every box fits, so areas are nearly uniform
        assert areas.min() < 0.27
        assert abs(np.log(ratios).mean() - np.log(100 / 75) / 4) < 0.1


def test_flips_have_the_given_probability():
    image = np.zeros((33, 33, 3), np.uint8)
    image[:, 20:] = 255
    flips = 0
    for seed in range(300):
        crop = RandomResizedCrop(
            CropSettings(crop_size=33, scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip_prob=0.25)
        )
        out = np.zeros_like(image)
        crop(image, np.random.default_rng(seed), out)
        flips += bool(out[:, :5].all())
    assert 45 < flips < 105


def test_box_of_the_crop_size_is_copied():
    image = random_image(50, 60)
    assert (crop_and_resize(image, Box(5, 7, 33, 33), 33) == image[5:38, 7:40]).all()


def test_augmentations_depend_on_the_generator():
    augmentations = [{"ColorJitter": {"p": 1.0}}]
    crop = RandomResizedCrop(
        CropSettings(
            crop_size=33,
            scale=(0.5, 1.0),
            ratio=(1 / 1.2, 1.2),
            hflip_prob=0.5,
            augmentations=augmentations,
        )
    )
    crops = []
    for seed in (0, 0, 1):
        out = np.zeros((33, 33, 3), np.uint8)
        crop(random_image(60, 60), np.random.default_rng(seed), out)
        crops.append(out)
    assert (crops[0] == crops[1]).all()
    assert (crops[0] != crops[2]).any()
