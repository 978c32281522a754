"""Execution settings of this machine from the keys of ``conf/trainer``."""

import os

import torch

from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils.errors import UserError
from deeplab.utils.hardware import (
    Execution,
    can_compile,
    default_num_workers,
    has_fast_bf16,
    resolve_accelerator,
)


def choose_execution(trainer: TrainerSettings) -> Execution:
    """Resolve every ``auto`` for this machine.

    On a GPU: bfloat16 where it is native, channels_last, a compiled network, a fused optimizer. On
    a CPU: bfloat16 and channels_last where its matrix units support bfloat16 (AMX: measured 1.5 to
    2.6 times as fast as contiguous float32 for ResNets and Xception-65 at 161 pixels), else float32
    and contiguous; never compiled, which alone took most of a minute for a tiny network; and no
    loading workers on few cores, where they would take the cores that the network needs.

    Raises:
        UserError: this machine does not have the accelerator or that many devices.
    """
    accelerator = resolve_accelerator(trainer.accelerator)
    gpus = {"cuda": torch.cuda.device_count(), "mps": 1}
    available = gpus.get(accelerator, os.cpu_count() or 1)
    count = (
        (available if accelerator == "cuda" else 1)
        if trainer.devices == "auto"
        else trainer.devices
    )
    if count > available:
        kind = "GPUs" if accelerator in gpus else "cores"
        raise UserError(
            f"trainer.devices={count}: this machine has {available} {kind}. Set trainer.devices to "
            f"{available} or less."
        )
    fast_bf16 = has_fast_bf16(accelerator)
    gpu = accelerator == "cuda"
    precision = trainer.precision
    if precision == "auto":
        precision = "bf16-mixed" if fast_bf16 else "32-true"
    channels_last = gpu or (fast_bf16 and precision != "32-true")
    return Execution(
        accelerator=accelerator,
        devices=count,
        precision=precision,
        channels_last=channels_last
        if trainer.memory_format == "auto"
        else trainer.memory_format == "channels_last",
        compiled=gpu and can_compile() if trainer.compile == "auto" else trainer.compile,
        fused_optimizer=gpu,
        num_workers=default_num_workers(gpu, count)
        if trainer.num_workers == "auto"
        else trainer.num_workers,
    )
