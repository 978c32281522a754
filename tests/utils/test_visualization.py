import numpy as np

from deeplab.data.class_set import voc_palette
from deeplab.utils import visualization
from deeplab.utils.visualization import (
    IGNORE_COLOR,
    Example,
    add_legend,
    overlay,
    overlay_with_outlines,
    segmentation_figure,
)


def test_overlay_colors_all_classes_but_background():
    image = np.full((4, 6, 3), (200, 100, 50), np.uint8)
    label = np.zeros((4, 6), np.uint8)
    label[:, 2:4] = 1
    label[:, 4:] = 255
    colored = overlay(image, label, ["background", "thing"], voc_palette(), opacity=1.0)
    assert len({int(c) for c in colored[0, 0]}) == 1  # gray
    assert tuple(colored[0, 2]) == (128, 0, 0)
    assert tuple(colored[0, 5]) == IGNORE_COLOR
    road = overlay(image, label, ["road", "thing"], voc_palette() + np.uint8(1), opacity=1.0)
    assert tuple(road[0, 0]) == (1, 1, 1)  # the first class is not always background
    assert voc_palette()[255].tolist() == [224, 224, 192]  # the palette is unchanged


def test_figure_has_a_row_for_each_example_and_a_legend():
    image = np.zeros((30, 60, 3), np.uint8)
    label = np.ones((30, 60), np.uint8)
    examples = [Example(str(i), image, label, label) for i in range(3)]
    figure = segmentation_figure(examples, ["background", "thing"], voc_palette(), tile=120)
    one = segmentation_figure(examples[:1], ["background", "thing"], voc_palette(), tile=120)
    assert figure.height - one.height == 2 * (60 + 8)
    colors = {c for _, c in figure.getcolors(1 << 16)}
    assert (128, 0, 0) in colors  # the swatch of class 1
    assert IGNORE_COLOR not in colors
    with_border = Example("3", image, np.where(np.eye(30, 60) > 0, 255, label), label)
    figure = segmentation_figure(
        [*examples, with_border], ["background", "thing"], voc_palette(), tile=120
    )
    assert IGNORE_COLOR in {c for _, c in figure.getcolors(1 << 16)}


def test_overlay_in_strips_equals_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(0, 4, (9, 11)), np.ones((7, 5))).astype(np.uint8)
    image = rng.integers(0, 256, (*label.shape, 3), dtype=np.uint8)
    arguments = (image, label, ["background", "a", "b", "c"], voc_palette())
    whole = overlay_with_outlines(*arguments)
    for rows in (1, 2, 13):
        monkeypatch.setattr(visualization, "STRIP_ROWS", rows)
        assert np.array_equal(overlay_with_outlines(*arguments), whole)


def test_outlined_overlay_keeps_the_background_and_colors_classes():
    image = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    label = np.zeros((40, 60), np.uint8)
    label[10:30, 20:50] = 1
    names = ["background", "thing"]
    colored = overlay_with_outlines(image, label, names, voc_palette())
    assert (colored[label == 0] == image[0, 0]).all()
    inside = colored[20, 35].astype(int)
    assert np.abs(inside - (0.45 * image[0, 0] + 0.55 * np.array([128, 0, 0]))).max() <= 1
    assert colored[10, 35].min() > 120  # the light outline
    empty = add_legend(image, np.zeros_like(label), names, voc_palette())
    assert np.array_equal(empty[:40, :60], image)
    assert (empty[40:] == 0).all(-1).any()  # the swatch of background, which the legend names
    figure = add_legend(colored, label, names, voc_palette())
    assert np.array_equal(figure[:40, :60], colored)
    assert (figure[40:] == (128, 0, 0)).all(-1).any()
    narrow = add_legend(colored[:, 20:22], label[:, 20:22], names, voc_palette())
    assert narrow.shape[1] > 40  # wide enough for the name
