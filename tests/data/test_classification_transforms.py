"""Crops of whole pictures against literal computations."""

import numpy as np
import pytest

from deeplab.data.classification.transforms import CentralCrop, Part, RandomCrop, resized


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def averaging(source, size):
    """The part of each source pixel in each target pixel, ``(size, source)``."""
    matrix = np.zeros((size, source))
    step = source / size
    for i in range(size):
        for j in range(source):
            matrix[i, j] = max(0.0, min(j + 1, (i + 1) * step) - max(j, i * step)) / step
    return matrix


def interpolating(source, size):
    """Bilinear weights between pixels' centers, ``(size, source)``."""
    matrix = np.zeros((size, source))
    for i in range(size):
        place = min(max((i + 0.5) * source / size - 0.5, 0), source - 1)
        low = min(int(place), source - 2)
        matrix[i, low], matrix[i, low + 1] = 1 - (place - low), place - low
    return matrix


def literal(image, size):
    rows, columns = image.shape[:2]
    weights = averaging if min(rows, columns) >= size else interpolating
    return np.einsum("yr,xc,rck->yxk", weights(rows, size), weights(columns, size), image)


@pytest.mark.parametrize(("height", "width"), [(100, 160), (90, 70), (66, 66), (40, 44), (33, 90)])
def test_the_central_crop_against_a_literal_one(height, width):
    """87.5 % of the shorter side, from the middle."""
    image = noise(height, width)
    out = np.zeros((33, 33, 3), np.uint8)
    CentralCrop(size=33, part=0.875)(image, np.random.default_rng(0), out)
    side = round(0.875 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    expected = literal(image[top : top + side, left : left + side].astype(float), 33)
    assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_the_random_crop_is_the_part_that_is_drawn(seed):
    image = noise(80, 120)
    crop = RandomCrop(size=33, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip_prob=0.5)
    out = np.zeros((33, 33, 3), np.uint8)
    crop(image, np.random.default_rng(seed), out)
    generator = np.random.default_rng(seed)
    part = crop.draw(80, 120, generator)
    source = image[part.top : part.top + part.height, part.left : part.left + part.width]
    expected = literal(source.astype(float), 33)
    if generator.random() < 0.5:
        expected = expected[:, ::-1]
    assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(75, 100), (500, 333), (40, 400)])
def test_parts_are_inside_and_spread(height, width):
    crop = RandomCrop(size=33, scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3), hflip_prob=0.0)
    generator = np.random.default_rng(0)
    parts = [crop.draw(height, width, generator) for _ in range(2000)]
    assert all(0 <= p.top <= height - p.height and 0 <= p.left <= width - p.width for p in parts)
    if width == 400:  # no part of this shape is large enough: the whole picture
        assert set(parts) == {Part(0, 0, height, width)}
        return
    drawn = [p for p in parts if p != Part(0, 0, height, width)]
    areas = np.array([p.height * p.width / (height * width) for p in drawn])
    ratios = np.array([p.width / p.height for p in drawn])
    slack = 1 + 2 / min(height, width)  # whole pixels
    assert areas.min() > 0.25 / slack
    assert areas.max() <= 1
    assert (np.abs(np.log(ratios)) < np.log(4 / 3 * slack)).all()
    if (height, width) == (75, 100):  # nearly every draw fits, so that areas are drawn evenly
        assert areas.min() < 0.27
        assert abs(np.log(ratios).mean() - np.log(100 / 75) / 4) < 0.1


def test_flips_happen_as_often_as_asked():
    image = np.zeros((33, 33, 3), np.uint8)
    image[:, 20:] = 255
    left = 0
    for seed in range(300):
        crop = RandomCrop(size=33, scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip_prob=0.25)
        out = np.zeros_like(image)
        crop(image, np.random.default_rng(seed), out)
        left += bool(out[:, :5].all())
    assert 45 < left < 105


def test_a_part_as_large_as_the_crop_is_copied():
    image = noise(50, 60)
    assert (resized(image, Part(5, 7, 33, 33), 33) == image[5:38, 7:40]).all()


def test_further_augmentations_depend_on_the_generator():
    wanted = [{"ColorJitter": {"p": 1.0}}]
    crop = RandomCrop(
        size=33, scale=(0.5, 1.0), ratio=(1 / 1.2, 1.2), hflip_prob=0.5, augmentations=wanted
    )
    made = []
    for seed in (0, 0, 1):
        out = np.zeros((33, 33, 3), np.uint8)
        crop(noise(60, 60), np.random.default_rng(seed), out)
        made.append(out)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
