"""Multiply-adds of an inference strategy."""

import json
from dataclasses import replace

from deeplab.config.build_model import check_model, model_settings
from deeplab.config.schema.model import ModelConfig
from deeplab.inference.strategy import Strategy
from deeplab.inference.windows import window_spans
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.flops import Cost, PassCost, count_pass, pass_sizes, sum_cost


def strategy_cost(
    config: ModelConfig, strategy: Strategy, *, classes: int, size: tuple[int, int]
) -> Cost:
    """Count the cost of one image for a configured network under a strategy.

    With windows it is the sum over all windows, each counted as one image.

    Args:
        config: config of the network.
        strategy: the inference strategy.
        classes: number of classes.
        size: height and width of the image.
    """
    model, known = _network(config, strategy.output_stride, classes)
    window, count = strategy.window, 1
    if window:
        count = len(window_spans(size[0], window)) * len(window_spans(size[1], window))
        size = (min(size[0], window.size), min(size[1], window.size))
    sizes = pass_sizes(size, [forward_pass.scale for forward_pass in strategy.passes])
    for new in {*sizes} - known.keys():
        known[new] = count_pass(model, new)
    cost = sum_cost(model, [known[pass_size] for pass_size in sizes], input_size=size)
    return replace(cost, conv=count * cost.conv, paper=count * cost.paper)


Passes = dict[tuple[int, int], PassCost]
"""Forward passes that have been counted, by the size of the image."""


def _network(config: ModelConfig, output_stride: int, classes: int) -> tuple[DeepLabV3Plus, Passes]:
    """Return a network without values and its passes, which strategies and rows of tables share."""
    config = config.model_copy(update={"output_stride": output_stride})
    key = json.dumps(model_settings(config)), classes
    if key not in _networks:
        _networks[key] = check_model(config, num_classes=classes), {}
    return _networks[key]


_networks: dict[tuple[str, int], tuple[DeepLabV3Plus, Passes]] = {}
