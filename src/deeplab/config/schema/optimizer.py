"""Keys of ``conf/optimizer``: one class for each choice.

Learning rate and weight decay are the stage's: they are set for each group of parameters.
"""

from typing import Annotated, Literal

from pydantic import SerializeAsAny

from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import BelowOne, Bool, Settings, choices_of, settings_by_name


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


OPTIMIZERS = choices_of(SGDSettings, AdamWSettings)

Optimizer = Annotated[
    SerializeAsAny[OptimizerSettings | OwnCode], settings_by_name(OPTIMIZERS, OwnCode)
]
"""Keys of an optimizer: those of a choice, or a class of the user's own with its arguments."""
