"""Comparison of protocols."""

from deeplab.inference.strategy import Strategy, Window
from deeplab.tracking.evaluation_protocol import (
    IGNORED_LABEL_RULE,
    Protocol,
    StrategyRecord,
    differences,
)
from support import results


def make_protocol(**changed):
    values = {
        "split": "val",
        "images": 200,
        "content": "abc",
        "classes": ("background", "disc", "ring", "square", "star"),
        "padded_to": (513, 513),
        "strategy": Strategy(16),
    }
    return results.make_protocol(**values | changed)


def test_a_strategy_is_recorded_with_its_windows():
    record = StrategyRecord.of(Strategy(16, (0.75, 1.0), window=Window(513, 0.33)))
    assert record.model_dump() == {
        "name": "os16-x0.75+1-w513",
        "label": "output stride 16, scales 0.75, 1, windows of 513",
        "output_stride": 16,
        "scales": (0.75, 1.0),
        "flip": False,
        "window": {"size": 513, "overlap": 0.33},
    }


def test_equal_protocols_have_no_differences():
    assert differences(make_protocol(), make_protocol()) == []


def test_origin_of_the_split_is_no_condition():
    """Its images are compared by their content; older records have no origin."""
    drawn = make_protocol(split_origin="20 % of train.txt by seed 0")
    assert drawn == make_protocol()
    assert hash(drawn) == hash(make_protocol())
    assert differences(drawn, make_protocol()) == []
    assert drawn != make_protocol(content="abd")
    assert Protocol(**make_protocol().model_dump(exclude={"split_origin"})) == drawn
    assert Protocol(**drawn.model_dump()).split_origin == "20 % of train.txt by seed 0"


def test_every_differing_condition_is_reported():
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
        lines = differences(make_protocol(), make_protocol(**changed))
        assert any(words in line for line in lines), (changed, lines)


def test_ignored_conditions_may_differ():
    other_strategy = make_protocol(strategy=Strategy(8))
    assert differences(make_protocol(), other_strategy, ignore=["strategy"]) == []


def test_the_protocol_states_the_rule_for_the_ignored_label():
    assert "255" in IGNORED_LABEL_RULE
    (line,) = differences(make_protocol(), make_protocol(ignored_label="another rule"))
    assert line.startswith("rule for the ignored label: pixels labeled 255 are ignored")
