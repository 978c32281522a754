"""Reading and writing of Lightning's checkpoints."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from deeplab.checkpoints.loading import check_tensors, read_tensors
from deeplab.models.network import without_constants
from deeplab.tracking.run_folder import RESTORE_HINT
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.reading import check_regular, exists, report_damage


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it once it is on the disk.

    Lightning writes into the folder of temporary files and moves the file. On another file system
    that is a copy over the last checkpoint, which a kill or a full disk leaves incomplete.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: the disk is full.
        """
        buffer = io.BytesIO()  # torch.save into a file hides the reason of a failure
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as draft:
            draft.write_bytes(buffer.getbuffer())


def read_step(path: Path, max_steps: int) -> int:
    """Return the step of a checkpoint; 0 if there is none.

    Raises:
        UserError: the checkpoint is damaged, or beyond the last step of the run.
    """
    if not exists(path):
        return 0
    with report_damage(path, RESTORE_HINT):
        check_regular(path)
        step = torch.load(path, mmap=True, weights_only=True)["global_step"]
        if type(step) is not int or not 0 <= step <= max_steps:
            raise ValueError(f"global_step={step}, but the run has {max_steps} steps")
        return step


def check_checkpoint(path: Path, module: nn.Module) -> None:
    """Check that a training can go on from a checkpoint: its weights and the optimizer's state.

    Raises:
        UserError: it is damaged or of another network; the message names the tensor.
    """
    content, expected = read_tensors(path), without_constants(module.state_dict())
    shapes = {tensor.shape for tensor in expected.values()} | {torch.Size()}
    with report_damage(path, RESTORE_HINT):
        state = without_constants(content["state_dict"])
        if different := expected.keys() ^ state.keys():
            raise ValueError(f"state_dict: {min(different)} is missing or of another network")
        for name, tensor in state.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(f"state_dict: {name} has the shape {tuple(tensor.shape)}")
        check_tensors(state, expected, path)
        for key in ("optimizer_states", "lr_schedulers", "loops"):
            if not content[key]:
                raise ValueError(f"{key} is empty")
        for number, optimizer in enumerate(content["optimizer_states"]):
            for group in optimizer["param_groups"]:
                for key in {"lr", "initial_lr", "weight_decay"} & group.keys():
                    if not 0 <= float(group[key]) < math.inf:
                        raise ValueError(f"optimizer_states: {key} is {group[key]}")
            for index, values in optimizer["state"].items():
                tensors = {k: t for k, t in values.items() if isinstance(t, Tensor)}
                if any(t.shape not in shapes or not t.isfinite().all() for t in tensors.values()):
                    raise ValueError(f"optimizer_states: the state {number}.{index} is damaged")


@contextmanager
def report_resume_errors(path: Path, timer: Timer) -> Iterator[None]:
    """Turn an exception of resuming, before the training starts, into a UserError with the file."""
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if timer.start_time("train") is not None:
            raise
        problem = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise UserError(
            f"{path}: cannot be continued from ({problem[:200]}). {RESTORE_HINT}"
        ) from error
