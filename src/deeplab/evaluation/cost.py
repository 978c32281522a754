"""The multiply-adds of an inference strategy."""

from dataclasses import replace

from deeplab.config.build_model import check_model
from deeplab.config.schema.model import ModelConfig
from deeplab.inference.strategy import Strategy
from deeplab.inference.windows import starts
from deeplab.models.flops import Cost, measure_cost


def strategy_cost(
    config: ModelConfig, strategy: Strategy, *, classes: int, size: tuple[int, int]
) -> Cost:
    """What one image of a size costs a configured network under a strategy, counted; with windows
    all of them, each as an image of its own."""
    here = config.model_copy(update={"output_stride": strategy.output_stride})
    model = check_model(here, num_classes=classes)
    window, count = strategy.window, 1
    if window:
        count = len(starts(size[0], window)) * len(starts(size[1], window))
        size = (min(size[0], window.size), min(size[1], window.size))
    cost = measure_cost(model, input_size=size, scales=strategy.scales, flip=strategy.flip)
    return replace(cost, conv=count * cost.conv, paper=count * cost.paper)
