"""Choices of groups that other overrides of a command line imply."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

import yaml

from deeplab.config.paths import OWN_GROUPS, group_choices, project_choices, script_groups
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.program import CONF

GPU_BACKBONES = {"mobilenetv2": "resnet50_torchvision"}
"""Backbone that a GPU trains instead of the one that a data set's file selects.

A GPU has time for the larger network, whose ImageNet weights are more accurate: 76.1 instead of
71.9 % top-1 (https://docs.pytorch.org/vision/stable/models.html, the V1 weights of both).
"""

SELECTS_BACKBONE = "override /backbone@_global_.backbone"

NAMES_NETWORK = ("backbone", "init_from", "preset", "ablation")
"""Keys that name a network, or weights that fit only one."""

FIT_ALL = ("null", "auto", "imagenet")
"""Values of ``backbone.pretrained`` and ``init_from`` that fit every network."""


def implied_overrides(script: str, arguments: Sequence[str]) -> list[str]:
    """Return overrides of groups that others imply, if the groups are not chosen.

    ``stage=NAME`` implies ``data=NAME`` if that is a data set. (The other direction is in each data
    set's file, which picks its stage; Hydra allows only one.) ``GROUP._target_=...`` implies
    ``GROUP=own``, a choice without other keys. On a GPU, images of one's own imply a larger
    backbone (``GPU_BACKBONES``), unless a key names the network or its weights.

    Args:
        script: name of the script's file in ``conf/``.
        arguments: its command line, overrides among them.
    """
    overrides = _by_key(arguments)
    stage = overrides.get("stage", "")
    implied = [f"data={stage}"] if stage in group_choices("data") else []
    implied += own_choices(arguments)
    implied = [override for override in implied if override.partition("=")[0] not in overrides]
    everything = {**_by_key(implied), **overrides}
    if backbone := _gpu_backbone(script, everything):
        implied.append(f"backbone={backbone}")
    return implied


def own_choices(arguments: Sequence[str]) -> list[str]:
    """Return ``GROUP=own`` for each ``GROUP._target_=...``, if the group is not chosen."""
    overrides = _by_key(arguments)
    groups = (group for group in OWN_GROUPS if f"{group}.{TARGET}" in overrides)
    return [f"{group}=own" for group in groups if group not in overrides]


def _by_key(arguments: Sequence[str]) -> dict[str, str]:
    pairs = (argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument)
    return dict(pairs)


@cache
def _selected_backbone(data: str) -> str:
    """Return the backbone that one of the project's data sets selects; empty: none."""
    defaults = yaml.safe_load((CONF / "data" / f"{data}.yaml").read_text()).get("defaults", [])
    return next((entry[SELECTS_BACKBONE] for entry in defaults if SELECTS_BACKBONE in entry), "")


def _gpu_backbone(script: str, overrides: Mapping[str, str]) -> str | None:
    """Return the backbone for a GPU, where the data set's file selects a lighter one."""
    data = overrides.get("data", "")
    keys = {key.partition(".")[0] for key, value in overrides.items() if value not in FIT_ALL}
    if data not in project_choices("data") or keys & {*NAMES_NETWORK}:
        return None
    larger = GPU_BACKBONES.get(_selected_backbone(data))
    if larger is None or "trainer" not in script_groups(script):  # trains nothing
        return None
    from deeplab.utils.hardware import resolve_accelerator  # imports torch

    with suppress(UserError):  # reported where it is used
        if resolve_accelerator(overrides.get("trainer.accelerator", "auto")) != "cpu":
            return larger
    return None
