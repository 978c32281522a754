import numpy as np

from deeplab.data.labels import voc_palette
from deeplab.pictures import IGNORE_COLOUR, Example, example_sheet, overlay


def test_overlay_paints_all_but_the_background():
    image = np.full((4, 6, 3), (200, 100, 50), np.uint8)
    label = np.zeros((4, 6), np.uint8)
    label[:, 2:4] = 1
    label[:, 4:] = 255
    painted = overlay(image, label, ["background", "thing"], voc_palette(), opacity=1.0)
    assert len({int(c) for c in painted[0, 0]}) == 1  # grey
    assert tuple(painted[0, 2]) == (128, 0, 0)
    assert tuple(painted[0, 5]) == IGNORE_COLOUR
    road = overlay(image, label, ["road", "thing"], voc_palette() + np.uint8(1), opacity=1.0)
    assert tuple(road[0, 0]) == (1, 1, 1)  # the first class is not always background
    assert voc_palette()[255].tolist() == [224, 224, 192]  # and the palette is as it was


def test_sheet_has_a_row_for_each_example_and_a_legend():
    image = np.zeros((30, 60, 3), np.uint8)
    label = np.ones((30, 60), np.uint8)
    examples = [Example(str(i), image, label, label) for i in range(3)]
    sheet = example_sheet(examples, ["background", "thing"], voc_palette(), tile=120)
    one = example_sheet(examples[:1], ["background", "thing"], voc_palette(), tile=120)
    assert sheet.height - one.height == 2 * (60 + 8)
    colours = {c for _, c in sheet.getcolors(1 << 16)}
    assert (128, 0, 0) in colours  # the swatch of class 1
    assert IGNORE_COLOUR in colours
