"""Multiply-adds of an inference strategy."""

from dataclasses import replace

from deeplab.config.build_model import check_model
from deeplab.config.schema.model import ModelConfig
from deeplab.inference.strategy import Strategy
from deeplab.inference.windows import window_spans
from deeplab.models.flops import Cost, measure_cost


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
    model_config = config.model_copy(update={"output_stride": strategy.output_stride})
    model = check_model(model_config, num_classes=classes)
    window, count = strategy.window, 1
    if window:
        count = len(window_spans(size[0], window)) * len(window_spans(size[1], window))
        size = (min(size[0], window.size), min(size[1], window.size))
    cost = measure_cost(model, input_size=size, scales=strategy.scales, flip=strategy.flip)
    return replace(cost, conv=count * cost.conv, paper=count * cost.paper)
