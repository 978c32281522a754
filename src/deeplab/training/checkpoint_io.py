"""Reading and writing of Lightning's checkpoints."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from deeplab.utils.files import atomic_write


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
