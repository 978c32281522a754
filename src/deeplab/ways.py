"""In which ways the network of a run can be looked at, whatever it does."""

from deeplab.config import RunConfig, TrainConfig
from deeplab.inference.strategy import parse_strategy

ONE_CROP = "ss"
"""The one way of a classifier: the central crop, once."""


def strategy_name(config: RunConfig, asked: str) -> str:
    """The whole name of the inference strategy that was asked for.

    Raises:
        ValueError: it cannot be read, or the run is a classifier, which has one only.
    """
    if isinstance(config, TrainConfig):
        return parse_strategy(asked, output_stride=config.output_stride).name
    if asked != ONE_CROP:
        raise ValueError(f"{asked!r}: a classifier looks at one crop ({ONE_CROP})")
    return ONE_CROP
