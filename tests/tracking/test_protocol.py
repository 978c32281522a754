from deeplab.inference.strategy import Strategy, Window
from deeplab.tracking.protocol import differences, protocol


def stamp(**changed):
    values = {
        "split": "val",
        "images": 200,
        "content": "abc",
        "classes": ("background", "disc", "ring", "square", "star"),
        "padded_to": (513, 513),
        "strategy": Strategy(16),
        "precision": "32-true",
    }
    return protocol(**(values | changed))


def test_equal_conditions_compare():
    assert differences(stamp(), stamp()) == []


def test_every_other_condition_is_said():
    for changed, words in (
        ({"split": "train"}, "split: val against train"),
        ({"images": 100}, "number of images: 200 against 100"),
        ({"content": "abd"}, "content of the images and masks"),
        ({"classes": ("background", "disc")}, "5 (background, disc, ring, square ...)"),
        ({"padded_to": (129, 129)}, "size that images are padded to"),
        ({"strategy": Strategy(8, flip=True)}, "output stride 16 against output stride 8, flip"),
        ({"strategy": Strategy(16, window=Window(513, 0.3))}, "windows of 513"),
        ({"precision": "bf16-mixed"}, "precision"),
    ):
        lines = differences(stamp(), stamp(**changed))
        assert any(words in line for line in lines), (changed, lines)


def test_what_a_row_states_itself_may_differ():
    assert differences(stamp(), stamp(strategy=Strategy(8)), without=["strategy"]) == []
    assert differences(stamp(), {"split": "val"}) != []
