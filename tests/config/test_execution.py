import os

import pytest
import torch

from deeplab.config.execution import choose_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils import hardware
from deeplab.utils.errors import UserError


def test_cpu_is_not_compiled_and_has_few_workers():
    execution = choose_execution(TrainerSettings(accelerator="cpu"))
    assert (execution.accelerator, execution.devices) == ("cpu", 1)
    assert not execution.compiled
    assert execution.num_workers in (0, 2)
    assert execution.channels_last == (execution.precision == "bf16-mixed")


def test_gpu_uses_all_fast_settings(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(hardware, "find_spec", lambda _: object())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    execution = choose_execution(TrainerSettings(devices="auto"))
    assert (execution.accelerator, execution.devices) == ("cuda", 2)
    assert execution.precision == "bf16-mixed"
    assert execution.channels_last
    assert execution.compiled
    assert execution.fused_optimizer
    assert execution.num_workers == 4  # eight cores for two GPUs
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert not choose_execution(TrainerSettings()).compiled
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert choose_execution(TrainerSettings()).precision == "32-true"
    with pytest.raises(UserError, match=r"trainer\.devices=3: this machine has 2 GPUs"):
        choose_execution(TrainerSettings(devices=3))


def test_explicit_settings_override_auto():
    execution = choose_execution(
        TrainerSettings(
            accelerator="cpu",
            precision="32-true",
            memory_format="channels_last",
            compile=True,
            num_workers=3,
        )
    )
    assert execution.precision == "32-true"
    assert execution.channels_last
    assert execution.compiled
    assert execution.num_workers == 3


def test_more_devices_than_cores():
    with pytest.raises(UserError, match=r"trainer\.devices=5000: this machine has \d+ cores"):
        choose_execution(TrainerSettings(accelerator="cpu", devices=5000))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_unavailable_gpu():
    with pytest.raises(UserError, match=r"trainer\.accelerator=gpu: not available on this machine"):
        choose_execution(TrainerSettings(accelerator="gpu"))
