"""Initial weights of a network or its backbone: matches the tensors of a file with its own.

A file may be of a network with other classes, of a classifier, or of another publisher.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab.checkpoints.key_mapping import KeyMapping, find_key_mapping
from deeplab.checkpoints.loading import check_tensors, read_state
from deeplab.checkpoints.run_weights import BACKBONE_PREFIX, read_header
from deeplab.models.backbones.base import Backbone
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.network import without_constants
from deeplab.utils.errors import UserError

HEAD_PREFIX = "logits."
"""Prefix of the names of the layer whose size is the number of classes."""

CLASSIFIER_PREFIX = "classifier."
"""Prefix of the names of a classifier's last layer; all its other layers are the backbone's."""

COUNTER_SUFFIX = ".num_batches_tracked"
"""End of the names of the counters of batches, which no result depends on."""

THIS_PROJECT = "this project"

HEAD_PARTS = ("aspp", "decoder", "logits")
"""Parts of a network behind its backbone."""


class LoadReport(NamedTuple):
    """Tensors that a network or its backbone takes from a file, and those that do not match."""

    state: dict[str, Tensor]
    """Matching tensors, by the names of the network, or of the backbone alone."""
    publisher: str
    """Project whose names the tensors have in the file."""
    left_out: Counter[str]
    """Number of tensors of the file that have no counterpart, by the part of its network."""
    new: Counter[str]
    """Number of tensors that keep their initial values, by the part of the network."""
    note: str = ""
    """What was done with the first layer or the last one, unless they are the network's."""

    def __str__(self) -> str:
        text = f"{len(self.state)} tensors by {self.publisher}'s names"
        for title, parts in (("left out", self.left_out), ("new", self.new)):
            if parts:
                text += f"; {title}: {', '.join(f'{part} ({n})' for part, n in parts.items())}"
        return f"{text}; {self.note}" if self.note else text


def initialize_from(
    model: DeepLabV3Plus, path: Path, *, classes: Sequence[str] | None = None, strict: bool = True
) -> LoadReport:
    """Load the weights of a network, which may have other classes, or of its backbone.

    Args:
        model: network to initialize. On the meta device it stays as it is: the file is checked.
        path: file with this project's names. If it holds the backbone alone, perhaps with a
            classifier, then ASPP, decoder and logits are new.
        classes: names of the network's classes. The last layer is taken by their names if the file
            has the same ones in any order; with other names it is new.
        strict: whether the networks may differ in their classes only; otherwise every tensor that
            matches by name and shape is taken.

    Raises:
        UserError: the file cannot be read, is of another network, or nothing in it matches.
    """
    state, model_state = read_state(path), without_constants(model.state_dict())
    if strict and all(name.startswith((BACKBONE_PREFIX, CLASSIFIER_PREFIX)) for name in state):
        report = _match_backbone_state(model.backbone, state, f"init_from={path}")
        new_parts = _count_parts(
            name for name in model_state if not name.startswith(BACKBONE_PREFIX)
        )
        matched = {BACKBONE_PREFIX + n: t for n, t in report.state.items()}
        return _load(model, report._replace(state=matched, new=new_parts), path)
    matched = {
        n: t for n, t in state.items() if n in model_state and model_state[n].shape == t.shape
    }
    head = {name: tensor for name, tensor in matched.items() if name.startswith(HEAD_PREFIX)}
    check_tensors(head, model_state, path)
    note = _match_classes(matched, list(head), path, classes) if classes and head else ""
    left_out = [name for name in state if name not in matched]
    new = [name for name in model_state if name not in matched]
    last_layer = {name for name in model_state if name.startswith(HEAD_PREFIX) and name in state}
    if last_layer and not head and (shape := state[min(last_layer)].shape):
        note = f"logits are new because the file has {shape[0]} classes"
    differing = [name for name in (*new, *left_out) if name not in last_layer]
    if (differing and strict) or not matched:
        advice = (
            "Use the same backbone, aspp and decoder, or set init_strict=false to load what fits."
            if matched
            else "Nothing in it fits by name and shape."
        )
        raise UserError(
            f"init_from={path}: these are weights of another network: {len(new)} of this run's "
            f"{len(model_state)} tensors are missing or have another shape, {len(left_out)} of the "
            f"file have no counterpart (such as {(differing or left_out or new)[0]}). {advice}"
        )
    parts = _count_parts(left_out), _count_parts(new)
    return _load(model, LoadReport(matched, THIS_PROJECT, *parts, note), path)


def _load(network: nn.Module, report: LoadReport, path: Path) -> LoadReport:
    expected = network.state_dict()
    check_tensors(report.state, expected, path)
    if not any(tensor.is_meta for tensor in expected.values()):
        network.load_state_dict({**expected, **report.state})
    return report


def _match_classes(
    state: dict[str, Tensor], head: Sequence[str], path: Path, classes: Sequence[str]
) -> str:
    """Order the last layer in ``state`` by the names of the classes; remove it if they differ.

    Returns:
        A description of what was done; empty if the file has the same classes.
    """
    stored = _class_names(path)
    if stored == list(classes):
        return ""
    if stored is None or len(stored) != len(classes):
        return "the file does not name its classes: taken to be this run's, in the same order"
    if sorted(stored) == sorted(classes):
        order = [stored.index(name) for name in classes]
        state.update({name: state[name][order] for name in head})
        return "the file has the classes in another order: logits ordered by their names"
    for name in head:
        del state[name]
    other = sorted(set(classes) - set(stored))
    return f"logits are new because the file has no class {other[0]!r}"


def _class_names(path: Path) -> list[str] | None:
    """Return the names of the classes that a weight file holds; None if it has none."""
    try:
        if path.suffix == ".safetensors":
            values = json.loads(read_header(path).metadata["classes"])
        else:
            values = torch.load(path, mmap=True, weights_only=True)["classes"]
        names = values["names"]
        return names if all(isinstance(name, str) for name in names) else None
    except Exception:  # of a file without classes, or with damaged ones, anything
        return None


def load_backbone(backbone: Backbone, path: Path) -> LoadReport:
    """Initialize a backbone with the weights of a classification or segmentation network.

    On the meta device it stays as it is: the file is checked.

    Raises:
        UserError: the file cannot be read, or holds no weights of such a backbone.
    """
    report = _match_backbone_state(backbone, read_state(path), f"backbone.pretrained={path}")
    return _load(backbone, report, path)


def _match_backbone_state(backbone: Backbone, state: dict[str, Tensor], setting: str) -> LoadReport:
    """Return the tensors that a backbone takes, by its own names, whoever published them."""
    if any(name.startswith(BACKBONE_PREFIX) for name in state):
        state = {name.removeprefix(BACKBONE_PREFIX): tensor for name, tensor in state.items()}
    backbone_state = backbone.state_dict()
    mapping = find_key_mapping(backbone)
    public = _public_names(backbone_state, mapping) if mapping else {}
    if state.keys() & backbone_state.keys() - set(public.values()):  # names of this project alone
        same = {part: part for part, _, _ in (name.rpartition(".") for name in backbone_state)}
        mapping = KeyMapping(THIS_PROJECT, same, (*HEAD_PARTS, "classifier"))
        public = _public_names(backbone_state, mapping)
    if mapping is None:
        raise UserError(
            f"{setting}: these are not weights of this backbone by this project's names, and no "
            "other publisher's weights of its layout can be read here. For torchvision's ResNets "
            "set backbone=resnet101_torchvision or backbone=resnet50_torchvision."
        )
    publisher, _, unused, rename = mapping
    if rename and not state.keys() >= set(public.values()):
        state = rename(state)
    matched, used, differing = {}, set(), []
    note = ""
    for name, tensor in backbone_state.items():
        public_name = public[name]
        if public_name in state and _reads_rgb(state[public_name], tensor, backbone.in_channels):
            state[public_name] = adapt_channels(state[public_name], backbone.in_channels)
            note = f"first convolution adapted from RGB to in_channels={backbone.in_channels}"
        if public_name in state and state[public_name].shape == tensor.shape:
            matched[name] = state[public_name]
            used.add(public_name)
        elif public_name in state or not public_name.endswith(COUNTER_SUFFIX):
            differing.append(public_name)
    rest = [name for name in state if name not in used]
    unknown = [name for name in rest if not name.startswith(tuple(f"{k}." for k in unused))]
    if differing or unknown:
        raise UserError(
            f"{setting}: these are not weights of this backbone, by {publisher}'s names: "
            f"{len(differing)} of its {len(backbone_state)} tensors are missing or have another "
            f"shape, {len(unknown)} of the file have no counterpart (such as "
            f"{(differing + unknown)[0]})."
        )
    left_out = Counter(
        part
        for part in unused
        for name in rest
        if name.startswith(f"{part}.") and not name.endswith(COUNTER_SUFFIX)
    )
    return LoadReport(matched, publisher, left_out, Counter(), note)


def _public_names(names: Iterable[str], mapping: KeyMapping) -> dict[str, str]:
    """Return the publisher's names of tensors, by those in the backbone."""
    split = {name: name.rpartition(".") for name in names}
    return {
        name: f"{mapping.parts[part]}.{kind}".removeprefix(".")
        for name, (part, _, kind) in split.items()
    }


def _reads_rgb(weight: Tensor, expected: Tensor, in_channels: int) -> bool:
    """Return True for the weight of a first convolution that reads RGB, and must read other images.

    ``expected`` is the network's own.
    """
    channels = [size[1:2] for size in (weight.shape, expected.shape)]
    return in_channels != 3 and channels == [(3,), (in_channels,)]


def adapt_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Return the weight of a convolution of RGB for images of another number of channels.

    As in timm: a single channel gets the sum of the three, so that gray images give what they gave
    as RGB; more channels repeat the three, scaled so that the sum over all channels stays.

    Args:
        weight: ``(N, 3, h, w)``.
        in_channels: the number of channels.

    Returns:
        ``(N, in_channels, h, w)``.
    """
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, [i % 3 for i in range(in_channels)]] * (3 / in_channels)


def _count_parts(names: Iterable[str]) -> Counter[str]:
    """Return the number of tensors in each part of a network, without batch counters."""
    counted = (name for name in names if not name.endswith(COUNTER_SUFFIX))
    return Counter(name.partition(".")[0] for name in counted)
