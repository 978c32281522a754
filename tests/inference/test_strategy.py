import pytest

from deeplab.inference.strategy import MULTI_SCALE, Strategy, Window, parse_strategy


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("single-scale", Strategy(16)),
        ("os8", Strategy(8)),
        ("os16-ms", Strategy(16, MULTI_SCALE)),
        ("ms-flip-os8", Strategy(8, MULTI_SCALE, flip=True)),
        ("flip", Strategy(16, flip=True)),
        ("x0.75+1+1.25-flip", Strategy(16, (0.75, 1.0, 1.25), flip=True)),
        ("x.5", Strategy(16, (0.5,))),
        ("x0.1234567+8", Strategy(16, (0.1234567, 8.0))),
    ],
)
def test_parse_strategy(name, strategy):
    assert parse_strategy(name, output_stride=16) == strategy
    assert parse_strategy(strategy.name, output_stride=32) == strategy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os4", "'os4'"),
        ("", "''"),
        ("ms-ms", "twice"),
        ("os8-os16", "twice"),
        ("single-scale-ms", "twice"),
        ("x1+1", "different"),
        ("x0", "0.1 to 8"),
        ("x1,2", "parts are"),
        ("MS", "parts are"),
        ("flip=true", "parts are"),
    ],
)
def test_invalid_names_raise(name, message):
    with pytest.raises(ValueError, match="strategy") as error:
        parse_strategy(name, output_stride=16)
    assert message in str(error.value)


def test_strategies_share_forward_passes():
    single_scale, multi_scale = Strategy(16), Strategy(16, MULTI_SCALE)
    with_flip = Strategy(16, MULTI_SCALE, flip=True)
    assert set(single_scale.passes) < set(multi_scale.passes) < set(with_flip.passes)
    assert len(with_flip.passes) == 12


def test_window_is_part_of_name_and_label():
    strategy = Strategy(16, window=Window(513, 0.33))
    assert strategy.name == "os16-w513"
    assert "513" in strategy.label
