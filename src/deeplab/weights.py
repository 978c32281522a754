"""Weights alone, as safetensors, and reading them back from that or from a checkpoint."""

import textwrap
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deeplab.errors import UserError
from deeplab.files import replacing

PREFIX = "model."
"""What stands before the network's names in a checkpoint of the LightningModule."""


HEAD = "logits."
"""The names of the layer whose size is the number of classes."""


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write the state dict, whole or not at all, with words about it."""
    state = {name: t.contiguous().cpu() for name, t in model.state_dict().items()}
    with replacing(path) as draft:
        save_file(state, draft, metadata=metadata)


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
        raise UserError(
            f"{path}: these are weights of another network. {textwrap.shorten(first, 200)}"
        ) from None


def start_from(model: nn.Module, path: Path) -> list[str]:
    """Load the weights of a network that may have another number of classes.

    Returns:
        The names that keep their own values: those of the logits, if the classes differ.

    Raises:
        UserError: the file cannot be read, or the networks differ in more than their classes.
    """
    state, kept = fitting(model, path)
    own = model.state_dict()
    model.load_state_dict({**state, **{name: own[name] for name in kept}})
    return kept


def fitting(model: nn.Module, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of a file and what ``start_from`` would leave out of them; raises as it does.

    The network may be without memory.
    """
    try:
        state = _read(path)
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path}: the weights cannot be read ({error}).") from None
    own = model.state_dict()
    kept: list[str] = []
    differing: list[str] = []
    for name, tensor in own.items():
        if name not in state or state[name].shape != tensor.shape:
            (kept if name in state and name.startswith(HEAD) else differing).append(name)
    unused = [name for name in state if name not in own]
    if differing or unused:
        raise UserError(
            f"init_from={path}: these are weights of another network: {len(differing)} of its "
            f"{len(own)} tensors differ or are missing, {len(unused)} have no place (such as "
            f"{(differing + unused)[0]}). Backbone, aspp and decoder must be the same."
        )
    return state, kept


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix(PREFIX): t for name, t in state.items() if name.startswith(PREFIX)}
