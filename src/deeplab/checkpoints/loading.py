"""Weights alone, as safetensors, and reading them back from that, from a checkpoint, or from what
others publish."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deeplab.checkpoints.key_mapping import KeyMapping, find_key_mapping
from deeplab.models.backbones.base import Backbone
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write

MODEL_PREFIX = "model."
"""What stands before the network's names in a checkpoint of the LightningModule."""

AVERAGE_PREFIX = "average."
"""The same for the moving average of the network, which a checkpoint may hold beside it."""

BACKBONE_PREFIX = "backbone."
"""What stands before the backbone's names in the network's."""

PROJECT_PREFIXES = ("units.", "timm.")
"""What some of a backbone's names begin with, and nobody else's."""

HEAD_PREFIX = "logits."
"""The names of the layer whose size is the number of classes."""

CLASSIFIER_PREFIX = "classifier."
"""The names of a classification network's last layer, whose others are its backbone's."""

THIS_PROJECT = "this project"


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write the state dict, whole or not at all, with words about it."""
    state = {name: t.contiguous().cpu() for name, t in model.state_dict().items()}
    with atomic_write(path) as draft:
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


class LoadReport(NamedTuple):
    """What a file holds for a network or for its backbone, and what not."""

    state: dict[str, Tensor]
    """By the names of the network, or of the backbone alone."""
    whose: str
    """Who has named the tensors in the file."""
    left_out: Counter[str]
    """Tensors of the file that have no place, by their part of its network."""
    new: Counter[str]
    """Tensors that keep their own values, by their part of the network."""

    def __str__(self) -> str:
        said = f"{len(self.state)} tensors by {self.whose}'s names"
        for what, parts in (("left out", self.left_out), ("new", self.new)):
            if parts:
                said += f"; {what}: {', '.join(f'{part} ({n})' for part, n in parts.items())}"
        return said


def initialize_from(model: DeepLabV3Plus, path: Path, *, strict: bool = True) -> LoadReport:
    """Load the weights of a network that may have other classes, or of its backbone.

    Raises:
        UserError: as ``fitting`` does.
    """
    fit = match_weights(model, path, strict=strict)
    model.load_state_dict({**model.state_dict(), **fit.state})
    return fit


def match_weights(model: DeepLabV3Plus, path: Path, *, strict: bool = True) -> LoadReport:
    """What ``initialize_from`` would load. The network may be without memory.

    Args:
        model: the network that starts.
        path: a file of this project's. With the backbone alone in it, and perhaps a classifier,
            ASPP, decoder and logits are new.
        strict: whether the networks may differ in their classes only; else all that fits by name
            and shape is taken.

    Raises:
        UserError: the file cannot be read, is of another network, or nothing in it fits.
    """
    state, own = _read(path), model.state_dict()
    if strict and all(name.startswith((BACKBONE_PREFIX, CLASSIFIER_PREFIX)) for name in state):
        fit = _match_backbone_state(model.backbone, state, f"init_from={path}")
        others = _parts(name for name in own if not name.startswith(BACKBONE_PREFIX))
        return fit._replace(state={BACKBONE_PREFIX + n: t for n, t in fit.state.items()}, new=others)
    found = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
    left_out = [name for name in state if name not in found]
    new = [name for name in own if name not in found]
    classes = {name for name in own if name.startswith(HEAD_PREFIX) and name in state}
    differing = [name for name in (*new, *left_out) if name not in classes]
    if (differing and strict) or not found:
        advice = (
            "Backbone, aspp and decoder must be the same; init_strict=false takes what fits."
            if found
            else "Nothing in it fits by name and shape."
        )
        raise UserError(
            f"init_from={path}: these are weights of another network: {len(new)} of its "
            f"{len(own)} tensors differ or are missing, {len(left_out)} have no place (such as "
            f"{(differing or left_out or new)[0]}). {advice}"
        )
    return LoadReport(found, THIS_PROJECT, _parts(left_out), _parts(new))


def load_backbone(backbone: Backbone, path: Path) -> LoadReport:
    """Start a backbone from the weights of a classification or segmentation network.

    Raises:
        UserError: the file cannot be read, or holds no weights of such a backbone.
    """
    fit = match_backbone(backbone, path)
    backbone.load_state_dict({**backbone.state_dict(), **fit.state})
    return fit


def match_backbone(backbone: Backbone, path: Path) -> LoadReport:
    """What ``load_backbone`` would load; raises as it does.

    The network may be without memory.
    """
    return _match_backbone_state(backbone, _read(path), f"backbone.pretrained={path}")


def _match_backbone_state(backbone: Backbone, state: dict[str, Tensor], asked: str) -> LoadReport:
    """What fits a backbone, by its own names, whoever has named the tensors."""
    if any(name.startswith(BACKBONE_PREFIX) for name in state):
        state = {name.removeprefix(BACKBONE_PREFIX): tensor for name, tensor in state.items()}
    own = backbone.state_dict()
    names = find_key_mapping(backbone)
    if any(name.startswith(PROJECT_PREFIXES) for name in state):
        same = {part: part for part, _, _ in (name.rpartition(".") for name in own)}
        names = KeyMapping(THIS_PROJECT, same, ("aspp", "decoder", "logits", "classifier"))
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
    left_out = Counter(part for part in unused for name in rest if name.startswith(f"{part}."))
    return LoadReport(found, whose, left_out, Counter())


def _parts(names: Iterable[str]) -> Counter[str]:
    """How many tensors are in each part of a network; the counts of batches are none."""
    counted = (name for name in names if not name.endswith(".num_batches_tracked"))
    return Counter(name.partition(".")[0] for name in counted)


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
        of = AVERAGE_PREFIX if any(name.startswith(AVERAGE_PREFIX) for name in state) else MODEL_PREFIX
        state = {k.removeprefix(of): t for k, t in state.items() if k.startswith(of)}
    if others := [name for name, tensor in state.items() if not isinstance(tensor, Tensor)]:
        raise UserError(f"{path}: this is no state dict, {others[0]} is no tensor.")
    return state
