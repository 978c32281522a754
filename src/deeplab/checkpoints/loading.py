"""Writing of weights as safetensors, and reading of weight files.

Weights are read from safetensors, from checkpoints of a run, and from files that others publish.
"""

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar
from zipfile import ZipFile, is_zipfile

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from deeplab.checkpoints.run_weights import WEIGHTS_HINT
from deeplab.models.layers import Normalize
from deeplab.models.network import without_constants
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.reading import check_regular, report_damage

M = TypeVar("M", bound=nn.Module)

MODEL_PREFIX = "model."
"""Prefix of the network's names in a checkpoint of the LightningModule."""

AVERAGE_PREFIX = "average."
"""Prefix of the names of the network's moving average, which a checkpoint may also hold."""


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write the state dict, with metadata as text."""
    state = {name: t.contiguous().cpu() for name, t in model.state_dict().items()}
    with atomic_write(path) as draft:
        draft.write_bytes(save(state, metadata))


def load_model(build: Callable[[], M], path: Path) -> M:
    """Return the network that a function builds, with the weights of a file.

    It is built without memory at first: weights of another network are refused before it is
    allocated, and no initial weights are drawn, which takes seconds for Xception-65.

    Raises:
        UserError: as in ``load_weights``.
    """
    with torch.device("meta"):
        model = build()
    load_weights(model, path)
    for module in model.modules():
        if isinstance(module, Normalize):
            module.make_tensors()
    if any(buffer.is_meta for buffer in model.buffers()):  # constants of some networks of timm
        model = build()
        load_weights(model, path)
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Replace the tensors of a network by those of a file, which has exactly its names and shapes.

    Raises:
        UserError: the file is missing, unreadable, or of another network.
    """
    state, expected = read_state(path), model.state_dict()
    check_tensors({n: t for n, t in state.items() if n in expected}, expected, path)
    # copies, because the pages of a file that is mapped into memory change with it
    copies = {n: t.to(expected[n].dtype, copy=True) for n, t in state.items() if n in expected}
    try:
        model.load_state_dict(state | copies, assign=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{path}: these are weights of another network. {textwrap.shorten(detail, 200)}"
        ) from None


def check_tensors(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Check types and values of the tensors that a network takes, not their shapes.

    Of Xception-65's 41 million weights it takes 10 ms: a sum finds nan and inf in one pass.

    Raises:
        UserError: a tensor holds no numbers of the network's kind, or nan or inf.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() != expected[name].is_floating_point() or (
            tensor.is_complex() or tensor.layout != torch.strided or tensor.device.type != "cpu"
        ):
            raise UserError(f"{path}: {name} has the type {tensor.dtype}. {WEIGHTS_HINT}")
        finite = not tensor.is_floating_point() or bool(
            tensor.sum(dtype=torch.float32).isfinite() or tensor.isfinite().all()
        )
        if not finite:
            raise UserError(
                f"{path}: {name} has values that are nan or inf, so the network predicts nothing. "
                f"{WEIGHTS_HINT}"
            )


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the content of a file of weights or of a checkpoint; no code in it is executed.

    Raises:
        UserError: the file is damaged, or holds code.
    """
    with report_damage(path, WEIGHTS_HINT):
        check_regular(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".ckpt" and is_zipfile(path):  # torch does not compare its checksums
            with ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is damaged")
        mapped = path.suffix != ".ckpt" and is_zipfile(path)  # a training replaces its checkpoints
        try:
            content = torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
        except UnpicklingError as error:
            if code := re.search(r"GLOBAL (\S+)", str(error)):
                raise UserError(
                    f"{path}: this pickle is refused. Besides tensors it needs {code[1]}, which is "
                    "code. If you trust the file, save its state dict as safetensors."
                ) from None
            raise ValueError("it is no file of torch.save") from None  # torch's text is a page
        if not isinstance(content, dict):
            raise ValueError("it holds no tensors by name")
        return content


def read_state(path: Path) -> dict[str, Tensor]:
    """Return what ``read_entries`` does without the constants, which the config has by now."""
    return without_constants(read_entries(path))


def read_entries(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; of a checkpoint, the moving average if it has one.

    Raises:
        UserError: the file is damaged, holds no state dict, or holds more than weights.
    """
    content = read_tensors(path)
    with report_damage(path, WEIGHTS_HINT):
        state = {str(k): t for k, t in content.get("state_dict", content).items()}
    if path.suffix == ".ckpt":
        averaged = any(name.startswith(AVERAGE_PREFIX) for name in state)
        prefix = AVERAGE_PREFIX if averaged else MODEL_PREFIX
        state = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    if wrong := [name for name, tensor in state.items() if not isinstance(tensor, Tensor)]:
        raise UserError(f"{path}: not a state dict ({wrong[0]} is not a tensor).")
    return state
