import numpy as np

from deeplab.data.class_set import voc_palette
from deeplab.utils.visualization import (
    IGNORE_COLOR,
    Example,
    segmentation_figure,
    overlay,
    overlay_with_outlines,
    add_legend,
)


def test_overlay_paints_all_but_the_background():
    image = np.full((4, 6, 3), (200, 100, 50), np.uint8)
    label = np.zeros((4, 6), np.uint8)
    label[:, 2:4] = 1
    label[:, 4:] = 255
    painted = overlay(image, label, ["background", "thing"], voc_palette(), opacity=1.0)
    assert len({int(c) for c in painted[0, 0]}) == 1  # gray
    assert tuple(painted[0, 2]) == (128, 0, 0)
    assert tuple(painted[0, 5]) == IGNORE_COLOR
    road = overlay(image, label, ["road", "thing"], voc_palette() + np.uint8(1), opacity=1.0)
    assert tuple(road[0, 0]) == (1, 1, 1)  # the first class is not always background
    assert voc_palette()[255].tolist() == [224, 224, 192]  # and the palette is as it was


def test_sheet_has_a_row_for_each_example_and_a_legend():
    image = np.zeros((30, 60, 3), np.uint8)
    label = np.ones((30, 60), np.uint8)
    examples = [Example(str(i), image, label, label) for i in range(3)]
    sheet = segmentation_figure(examples, ["background", "thing"], voc_palette(), tile=120)
    one = segmentation_figure(examples[:1], ["background", "thing"], voc_palette(), tile=120)
    assert sheet.height - one.height == 2 * (60 + 8)
    colors = {c for _, c in sheet.getcolors(1 << 16)}
    assert (128, 0, 0) in colors  # the swatch of class 1
    assert IGNORE_COLOR in colors


def test_tinted_keeps_the_background_and_tells_classes_apart():
    image = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    label = np.zeros((40, 60), np.uint8)
    label[10:30, 20:50] = 1
    names = ["background", "thing"]
    painted = overlay_with_outlines(image, label, names, voc_palette())
    assert (painted[label == 0] == image[0, 0]).all()
    inside = painted[20, 35].astype(int)
    assert np.abs(inside - (0.45 * image[0, 0] + 0.55 * np.array([128, 0, 0]))).max() <= 1
    assert painted[10, 35].min() > 120  # the border's light line
    assert np.array_equal(add_legend(image, np.zeros_like(label), names, voc_palette()), image)
    sheet = add_legend(painted, label, names, voc_palette())
    assert np.array_equal(sheet[:40, :60], painted)
    assert (sheet[40:] == (128, 0, 0)).all(-1).any()
    narrow = add_legend(painted[:, 20:22], label[:, 20:22], names, voc_palette())
    assert narrow.shape[1] > 40  # as wide as the name
