"""Keys of ``conf/optimizer``: one class for each choice.

Learning rate and weight decay are the stage's: they are set for each group of parameters.
"""

from typing import Literal

from deeplab.utils.settings import BelowOne, Bool, Settings, find_choice


class OptimizerSettings(Settings):
    """Optimizer, which updates the weights."""

    name: Literal["sgd", "adamw"]
    """Optimizer: ``sgd`` or ``adamw``."""


class SGDSettings(OptimizerSettings):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: BelowOne = 0.9
    """Momentum."""
    nesterov: Bool = False
    """Use Nesterov's momentum."""


class AdamWSettings(OptimizerSettings):
    """AdamW, whose weight decay is apart from the moments of the gradient."""

    name: Literal["adamw"] = "adamw"
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square, as ``[0.9,0.999]``."""


OPTIMIZERS: tuple[type[OptimizerSettings], ...] = (SGDSettings, AdamWSettings)


def optimizer_settings(name: str) -> type[OptimizerSettings]:
    """Return the settings of an optimizer; raise ValueError if there is none of this name."""
    return find_choice(name, OPTIMIZERS)
