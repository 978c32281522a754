"""Batch norms whose statistics a short training leaves near their initial values."""

import math

from deeplab.config.schema.run import TrainConfig
from deeplab.utils.constants import BN_MOMENTUM

MAX_LAG = 0.1
"""Largest part of the initial statistics that goes without a word."""


def lagging_statistics(config: TrainConfig) -> list[str]:
    """Return a warning if the running statistics of new batch norms cannot follow so few steps.

    Of the initial mean 0 and variance 1, ``(1 - momentum) ** steps`` is left at the end. Training
    does not see it, which uses the statistics of its batches; validation and prediction do.
    """
    stage = config.stage
    steps = stage.max_steps * config.trainer.accumulate_grad_batches
    if stage.batch_norm == "frozen" or config.init_from or config.trainer.fast_dev_run:
        return []
    momentum = stage.bn_momentum or getattr(config.aspp, "bn_momentum", None) or BN_MOMENTUM
    lag = (1 - momentum) ** steps
    if lag <= MAX_LAG:
        return []
    enough = math.ceil(100 * (1 - MAX_LAG ** (1 / steps))) / 100
    return [
        f"stage.max_steps={stage.max_steps}: new batch norms keep {100 * lag:.0f} % of their "
        "initial statistics, with which validations and predictions are worse than the network "
        f"is. Train longer, or set stage.bn_momentum={enough:g}."
    ]
