"""Weights alone, as safetensors, and reading them back from that or from a checkpoint."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deeplab.errors import UserError
from deeplab.files import replacing

PREFIX = "model."
"""What stands before the network's names in a checkpoint of the LightningModule."""


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict, whole or not at all."""
    with replacing(path) as draft:
        save_file({name: t.contiguous().cpu() for name, t in model.state_dict().items()}, draft)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict into a network that has exactly its names and shapes.

    Raises:
        UserError: the file is missing, unreadable, or of another network.
    """
    try:
        state = _read(path)
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path}: the weights cannot be read ({error}).") from None
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path}: these are weights of another network. {first}") from None


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    # A checkpoint of ours: it holds more than tensors, so it is only read from a run folder.
    state = torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
    return {name.removeprefix(PREFIX): t for name, t in state.items() if name.startswith(PREFIX)}
