"""Execution settings of this machine from the keys of ``conf/trainer``."""

import os
from typing import Any

import torch

from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils.errors import UserError
from deeplab.utils.hardware import (
    Execution,
    can_compile,
    default_num_threads,
    default_num_workers,
    has_fast_bf16,
    resolve_accelerator,
)

FLOAT32 = "32-true"
"""Lightning's name of float32."""


def choose_execution(trainer: TrainerSettings) -> Execution:
    """Resolve every ``auto`` for this machine.

    On a GPU: bfloat16 where it is native, channels_last, a compiled network, a fused optimizer. On
    a CPU: bfloat16 and channels_last where it has instructions for bfloat16, else float32 and
    contiguous; as many threads as other processes leave cores; never compiled, which alone took
    most of a minute for a tiny network; and no loading workers on few cores, where they would take
    the cores that the network needs. (Measured against contiguous float32: with AMX 1.5 to 2.6
    times as fast for ResNets and Xception-65 at 161 pixels; with AVX-512 BF16 2.0 times for
    ResNet-50 at 161 pixels, 2.5 for MobileNetV2 at 257, 1.6 for the network for drawn scenes.)

    Only training steps choose bfloat16. It rounds to 8 bits: 1.5 % of the pixels of VOC images had
    another label than in float32, and on 200 images the mIoU of two networks moved by -0.5 and
    +1.6. So validations, evaluations and predictions compute in float32, unless
    ``trainer.precision`` is set.

    Raises:
        UserError: this machine does not have the accelerator or that many devices.
    """
    accelerator = resolve_accelerator(trainer.accelerator)
    indices, count = _find_devices(accelerator, trainer.devices)
    if indices:
        torch.cuda.set_device(indices[0])  # PyTorch's questions below are about the current GPU
    fast_bf16 = has_fast_bf16(accelerator)
    gpu = accelerator == "cuda"
    precision: str = trainer.precision
    validation_precision = precision
    if precision == "auto":
        precision, validation_precision = "bf16-mixed" if fast_bf16 else FLOAT32, FLOAT32
    threads, load = (
        default_num_threads(accelerator, count)
        if trainer.num_threads == "auto"
        else (trainer.num_threads, 0.0)
    )
    channels_last = gpu or (fast_bf16 and precision != FLOAT32)
    return Execution(
        accelerator=accelerator,
        devices=count,
        indices=indices,
        precision=precision,
        validation_precision=validation_precision,
        channels_last=channels_last
        if trainer.memory_format == "auto"
        else trainer.memory_format == "channels_last",
        compiled=gpu and can_compile() if trainer.compile == "auto" else trainer.compile,
        fused_optimizer=gpu,
        num_workers=default_num_workers(gpu, count)
        if trainer.num_workers == "auto"
        else trainer.num_workers,
        num_threads=threads,
        other_load=load,
    )


def inference_execution(trainer: TrainerSettings, *, one_device: bool = True) -> Execution:
    """Resolve every ``auto`` for evaluation and prediction.

    Float32, as in ``choose_execution``, and no compilation, because image sizes vary.

    Args:
        trainer: keys of ``trainer``.
        one_device: allow a single device only.

    Raises:
        UserError: a key is set that has an effect in training only, there are several devices, or
            the machine does not have them.
    """
    if keys := trainer.training_only():
        raise UserError(f"trainer.{keys[0]}: has an effect in training only. Leave it out.")
    devices = trainer.devices
    if one_device and devices != 1 and not (isinstance(devices, tuple) and len(devices) == 1):
        shown = devices if not isinstance(devices, tuple) else list(devices)
        raise UserError(
            f"trainer.devices={shown}: this command uses one device. Leave it out, or name a GPU, "
            "as in trainer.devices=[1]."
        )
    chosen: dict[str, Any] = {"compile": False}
    if trainer.precision == "auto":
        chosen["precision"] = FLOAT32
    return choose_execution(trainer.model_copy(update=chosen))


def _find_devices(
    accelerator: str, devices: int | str | tuple[int, ...]
) -> tuple[tuple[int, ...], int]:
    """Return the indices of the GPUs, if they are named, and the number of devices."""
    gpus = {"cuda": torch.cuda.device_count(), "mps": 1}
    # more processes than cores are slow, not wrong
    available = gpus.get(accelerator, max(os.cpu_count() or 1, 8))
    kind = "GPUs" if accelerator in gpus else "cores"
    if isinstance(devices, tuple):
        shown = f"trainer.devices=[{','.join(map(str, devices))}]"
        if accelerator != "cuda":
            raise UserError(
                f"{shown}: a list names GPUs, but the accelerator is {accelerator}. Set the number "
                f"of devices, as in trainer.devices={len(devices)}."
            )
        if max(devices) >= available:
            raise UserError(
                f"{shown}: this machine has {available} GPUs, numbered from 0. Name some of them."
            )
        return devices, len(devices)
    if devices == "auto":
        return (), available if accelerator == "cuda" else 1
    assert isinstance(devices, int)
    if devices > available:
        raise UserError(
            f"trainer.devices={devices}: this machine has {gpus.get(accelerator, os.cpu_count())} "
            f"{kind}. Set trainer.devices to {available} or less."
        )
    return (), devices
