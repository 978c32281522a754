"""Warning about atrous rates that crops are too small to train."""

import re

import pytest
import torch

from deeplab.config.schema.run import TrainConfig
from deeplab.models.aspp import ASPP
from deeplab.training.atrous_rate_fit import untrained_rates
from deeplab.training.compose_config import compose_seeds


def compose(crop: int, output_stride: int = 16, rates: str = "[6,12,18]") -> TrainConfig:
    overrides = [f"data.crop_size={crop}", f"aspp.atrous_rates={rates}"]
    (config,) = compose_seeds(["data=voc", f"output_stride={output_stride}", *overrides], [0])
    assert isinstance(config, TrainConfig)
    return config


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("crop", [129, 257, 289, 321, 513])
def test_named_rates_have_no_gradient(crop, output_stride):
    """Every rate that the warning names trains its center weights only, and no other rate does."""
    side = -(-crop // output_stride)
    aspp = ASPP(4, channels=4)
    aspp.set_output_stride(output_stride)
    aspp(torch.randn(2, 4, side, side)).sum().backward()
    outer = torch.ones(3, 3, dtype=torch.bool)
    outer[1, 1] = False
    untrained = [
        rate
        for rate, branch in zip(aspp.atrous_rates, aspp.atrous, strict=True)
        if not branch.conv.weight.grad[..., outer].any()
    ]
    warning = "".join(untrained_rates(compose(crop, output_stride)))
    named = re.search(r"outer weights of ([\d, ]+), which", warning)
    assert (named[1] if named else "") == ", ".join(map(str, untrained))


@pytest.mark.parametrize(
    ("crop", "output_stride", "rates"),
    [(257, 16, "[6,12,18]"), (129, 32, "[6,12,18]"), (65, 8, "[12,24]"), (321, 16, "[21]")],
)
def test_suggested_rates_fit(crop, output_stride, rates):
    (warning,) = untrained_rates(compose(crop, output_stride, rates))
    suggested = re.search(r"fit: aspp\.atrous_rates=(\S+)\.$", warning)[1]
    assert not untrained_rates(compose(crop, output_stride, suggested))


def test_no_warning_where_images_are_as_small_as_crops():
    """Drawn scenes: the outer weights of rates 12 and 18 see padding in evaluation as well."""
    (config,) = compose_seeds(["data=shapes"], [0])
    assert isinstance(config, TrainConfig)
    assert untrained_rates(config) == []
