"""Base class of the networks: the constants that belong to their weights."""

from typing import Any

import torch
from torch import Tensor, nn

from deeplab.models.backbones.base import Backbone
from deeplab.models.layers import Normalize, batch_norms, set_batch_norm
from deeplab.utils.constants import CONSTANTS


class Network(nn.Module):
    """A backbone behind the normalization of its input.

    Weights are right with the normalization and the epsilon that they were trained with, so the
    state dict has both. One without them, of the backbone alone or written before they were in it,
    leaves them as they are.

    Args:
        backbone: the feature extractor; it also defines the input normalization.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.normalize = Normalize(backbone.mean, backbone.std)
        self.backbone = backbone

    def get_extra_state(self) -> Tensor:
        """Return mean, standard deviation and epsilon of each channel ``(3, C)``, float64.

        Epsilon is that of the backbone's batch norms; 0 if they have none in common.
        """
        epsilons = {norm.eps for norm in batch_norms(self.backbone)}
        eps = epsilons.pop() if len(epsilons) == 1 else 0.0
        mean, std = self.normalize.constants.values()
        return torch.tensor([mean, std, [eps] * len(mean)], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take the constants of the weights that are loaded."""
        mean, std, (eps, *_) = state.tolist()
        self.normalize.set_constants(mean, std)
        set_batch_norm(self.backbone, eps=eps or None)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = self.get_extra_state()
        stored = state_dict.get(prefix + CONSTANTS, own)
        # images of other channels: PyTorch's message about the first convolution follows
        state_dict[prefix + CONSTANTS] = stored if stored.shape == own.shape else own
        super()._load_from_state_dict(state_dict, prefix, *args)


def without_constants(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights alone of the state dict of a network, or of a module that has networks."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(CONSTANTS)}
