"""Learning-rate schedules: factors of the initial learning rate by step."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from deeplab.config.schema.lr_scheduler import (
    ExponentialSettings,
    LRSchedulerSettings,
    PolySettings,
)
from deeplab.config.schema.stage import Recipe
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.building import build_class
from deeplab.utils.own_code.node import OwnCode

Schedule = Callable[[int], float]
"""Function from the training step (the first is 0) to the factor of the base learning rate."""


def build_lr_scheduler(
    optimizer: Optimizer,
    settings: LRSchedulerSettings | OwnCode,
    recipe: Recipe,
    epoch_steps: float,
) -> LRScheduler:
    """Return the scheduler of an optimizer's learning rates, which is stepped after each step.

    Args:
        optimizer: the optimizer.
        settings: keys of ``lr_scheduler``.
        recipe: the recipe.
        epoch_steps: training steps in one pass over the images.

    Raises:
        UserError: a class of the user's own cannot be imported, takes other arguments, or is no
            scheduler by step; or the recipe has a warm-up, which it would not know of.
    """
    if not isinstance(settings, OwnCode):
        return LambdaLR(optimizer, build_schedule(settings, recipe, epoch_steps))
    if recipe.warmup_steps:
        raise UserError(
            f"stage.warmup_steps={recipe.warmup_steps}: a scheduler of your own has its own "
            "warm-up, if any. Set stage.warmup_steps=0."
        )
    scheduler = build_class(settings, "lr_scheduler", LRScheduler, optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"lr_scheduler.{TARGET}={settings.target}: it needs a score at each step, and there is "
            "none. Choose a schedule by step."
        )
    return scheduler


def build_schedule(settings: LRSchedulerSettings, recipe: Recipe, epoch_steps: float) -> Schedule:
    """Return a schedule after the recipe's warm-up.

    Args:
        settings: keys of ``lr_scheduler``.
        recipe: the recipe.
        epoch_steps: training steps in one pass over the images.
    """
    steps = recipe.max_steps - recipe.warmup_steps
    if isinstance(settings, PolySettings):
        schedule = poly(steps=steps, power=settings.power)
    elif isinstance(settings, ExponentialSettings):
        factor, epochs = settings.decay_rate, settings.decay_epochs
        schedule = exponential(factor=factor, steps=epochs * epoch_steps)
    else:
        schedule = cosine(steps=steps)
    return warmup(
        schedule,
        steps=recipe.warmup_steps,
        factor=recipe.warmup_lr / recipe.lr,
        linear=recipe.warmup_mode == "linear",
    )


def poly(*, steps: int, power: float) -> Schedule:
    """Return the paper's "poly" schedule: ``(1 - step / steps) ** power``."""
    return lambda step: float(max(0.0, 1 - step / max(1, steps)) ** power)


def cosine(*, steps: int) -> Schedule:
    """Return half a cosine wave from 1 to 0: ``(1 + cos(pi * step / steps)) / 2``."""
    return lambda step: (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2


def exponential(*, factor: float, steps: float) -> Schedule:
    """Return a staircase: multiply by ``factor`` every ``steps`` steps.

    The paper's ImageNet training uses 0.94 every two epochs.
    """
    return lambda step: float(factor ** (step // steps))


def warmup(schedule: Schedule, *, steps: int, factor: float, linear: bool = False) -> Schedule:
    """Add a warm-up before a schedule; the end of the warm-up is step 0 of ``schedule``.

    During the first ``steps`` steps the value is the constant ``factor``, as in the authors' code
    ("slow start"). With ``linear`` it rises linearly from ``factor`` to 1, which the authors added
    later.
    """

    def factor_at(step: int) -> float:
        if step >= steps:
            return schedule(step - steps)
        return factor + (1 - factor) * step / steps if linear else factor

    return factor_at
