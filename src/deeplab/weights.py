"""Weights alone, as safetensors, and reading them back from that, from a checkpoint, or from what
others publish."""

import re
import textwrap
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deeplab.backbones.base import Backbone
from deeplab.backbones.public import PublicNames, public_names
from deeplab.errors import UserError
from deeplab.files import replacing

PREFIX = "model."
"""What stands before the network's names in a checkpoint of the LightningModule."""

AVERAGE = "average."
"""The same for the moving average of the network, which a checkpoint may hold beside it."""

BACKBONE = "backbone."
"""What stands before the backbone's names in the network's."""

OWN = ("units.", "timm.")
"""What some of a backbone's names begin with, and nobody else's."""

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
    state = _read(path)
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
    state = _read(path)
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


class BackboneFit(NamedTuple):
    """What a file holds for a backbone."""

    state: dict[str, Tensor]
    """By the backbone's names; without the batch counts that the file may lack."""
    whose: str
    """Who has named the tensors."""
    left_out: list[str]
    """The parts of the file that a backbone has no place for."""


def load_backbone(backbone: Backbone, path: Path) -> BackboneFit:
    """Start a backbone from the weights of a classification or segmentation network.

    Raises:
        UserError: the file cannot be read, or holds no weights of such a backbone.
    """
    fit = fitting_backbone(backbone, path)
    backbone.load_state_dict({**backbone.state_dict(), **fit.state})
    return fit


def fitting_backbone(backbone: Backbone, path: Path) -> BackboneFit:
    """What ``load_backbone`` would load; raises as it does.

    The network may be without memory.
    """
    asked, state = f"backbone.pretrained={path}", _read(path)
    if any(name.startswith(BACKBONE) for name in state):
        state = {name.removeprefix(BACKBONE): tensor for name, tensor in state.items()}
    own = backbone.state_dict()
    names = public_names(backbone)
    if any(name.startswith(OWN) for name in state):
        same = {part: part for part, _, _ in (name.rpartition(".") for name in own)}
        names = PublicNames("this project", same, ("aspp", "decoder", "logits"))
    if names is None:
        raise UserError(
            f"{asked}: these are not weights of this project, and of this backbone's layout nobody "
            "else publishes any that can be read here. torchvision's ResNets go with "
            "backbone=resnet101_torchvision or backbone=resnet50_torchvision."
        )
    whose, parts, unused, rename = names
    split = {name: name.rpartition(".") for name in own}
    public = {n: f"{parts[part]}.{kind}".removeprefix(".") for n, (part, _, kind) in split.items()}
    if rename and not state.keys() >= set(public.values()):
        state = rename(state)
    found, used, differing = {}, set(), []
    for name, tensor in own.items():
        theirs = public[name]
        if theirs in state and state[theirs].shape == tensor.shape:
            found[name] = state[theirs]
            used.add(theirs)
        elif theirs in state or not theirs.endswith("num_batches_tracked"):
            differing.append(theirs)
    rest = [name for name in state if name not in used]
    unknown = [name for name in rest if not name.startswith(tuple(f"{k}." for k in unused))]
    if differing or unknown:
        raise UserError(
            f"{asked}: these are not weights of this backbone, by {whose}'s names: "
            f"{len(differing)} of its {len(own)} tensors are missing or have "
            f"another shape, {len(unknown)} have no place (such as {(differing + unknown)[0]})."
        )
    left_out = [part for part in unused if any(name.startswith(f"{part}.") for name in rest)]
    return BackboneFit(found, whose, left_out)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; of a checkpoint those of the average, where it has one.

    Raises:
        UserError: it is damaged, holds something else, or more than weights.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        state = {str(k): t for k, t in found.get("state_dict", found).items()}
    except UnpicklingError as error:
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: this pickle is refused. Beside tensors it wants {wanted[1]}, which is "
                "code. Where you trust the file, save its state dict as safetensors."
            ) from None
        raise UserError(f"{path}: the weights cannot be read ({error}).") from None
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path}: the weights cannot be read ({error}).") from None
    if path.suffix == ".ckpt":
        of = AVERAGE if any(name.startswith(AVERAGE) for name in state) else PREFIX
        state = {k.removeprefix(of): t for k, t in state.items() if k.startswith(of)}
    if others := [name for name, tensor in state.items() if not isinstance(tensor, Tensor)]:
        raise UserError(f"{path}: this is no state dict, {others[0]} is no tensor.")
    return state
