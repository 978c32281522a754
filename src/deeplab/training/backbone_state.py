"""Freezing of the backbone, for the first steps of a training or for good.

Lightning's ``BackboneFinetuning`` adds the backbone to the optimizer when it thaws, by epochs. That
neither fits one stream of steps nor a schedule of all parameter groups. Here the optimizer has the
backbone from the start, unless it is frozen for good; a parameter without a gradient gets no state
and no weight decay.
"""

from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import nn


class BackboneState:
    """Whether the backbone is trained at a step.

    Args:
        backbone: the backbone.
        frozen_steps: number of first steps that leave it as it is.
    """

    def __init__(self, backbone: nn.Module, frozen_steps: float) -> None:
        self._backbone = (backbone,)  # in a tuple, so that it is no second submodule
        self.frozen_steps = frozen_steps
        self.is_frozen = False
        self.update(0)

    def update(self, step: int) -> bool:
        """Freeze or thaw the backbone for a step; return True if that changed it."""
        changed = self.is_frozen != (step < self.frozen_steps)
        if changed:
            self.is_frozen = not self.is_frozen
            self._backbone[0].requires_grad_(not self.is_frozen)
        return changed

    def keep_in_eval_mode(self) -> None:
        """Let a frozen backbone keep its running statistics, without dropout."""
        if self.is_frozen:
            self._backbone[0].eval()


def wrap_again(strategy: Strategy) -> None:
    """Let DistributedDataParallel, which lists the trained parameters once, list them again."""
    if isinstance(strategy, DDPStrategy):
        assert strategy.lightning_module is not None
        strategy.model = strategy._setup_model(strategy.lightning_module)
