import os

import pytest
import torch

from deeplab.config.execution import choose_execution, inference_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils import cores, hardware
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


@pytest.mark.parametrize(
    ("load", "threads", "said"),
    [
        (0.3, 4, "4 threads"),
        (1.2, 3, "3 threads (other processes use 1.2 of 4 cores)"),
        (9.0, 1, "1 thread (other processes use 9.0 of 4 cores)"),
    ],
)
def test_threads_leave_the_cores_of_other_processes(monkeypatch, load, threads, said):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.setattr(hardware, "measure_other_load", lambda: load)
    execution = choose_execution(TrainerSettings(accelerator="cpu"))
    assert execution.num_threads == threads
    assert str(execution).endswith(f", {said}")
    assert choose_execution(TrainerSettings(accelerator="cpu", num_threads=2)).num_threads == 2
    assert choose_execution(TrainerSettings(accelerator="cpu", devices=2)).num_threads == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose_execution(TrainerSettings(accelerator="cpu")).num_threads == 4


def test_threads_of_a_container_leave_the_cores_of_others_on_its_host(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "cpu.max").write_text("1600000 100000\n")
    monkeypatch.setattr(cores, "QUOTAS", [tmp_path / "cpu.max"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    for load, end in ((20, "16 threads"), (60, "4 threads (other processes use 60.0 of 64 cores)")):
        monkeypatch.setattr(hardware, "measure_other_load", lambda load=load: float(load))
        assert str(choose_execution(TrainerSettings(accelerator="cpu"))).endswith(f", {end}")


@pytest.mark.parametrize(
    "key",
    [{"num_checkpoints": 5}, {"log_every_n_steps": 1}, {"compile": True}, {"profiler": "simple"}],
)
def test_keys_of_trainings_are_refused_elsewhere(key):
    trainer = TrainerSettings(accelerator="cpu", **key)
    (name,) = key
    with pytest.raises(UserError, match=rf"trainer\.{name}: has an effect in training only"):
        inference_execution(trainer)
    assert not trainer.for_inference().training_only()


def test_several_devices_are_refused_where_one_is_used():
    for devices in (2, "auto", (0, 1)):
        trainer = TrainerSettings(accelerator="cpu", devices=devices)
        with pytest.raises(
            UserError, match=r"^trainer\.devices=\S.*: this command uses one device"
        ):
            inference_execution(trainer)
    two = TrainerSettings(accelerator="cpu", devices=2)
    assert inference_execution(two, one_device=False).devices == 2


def test_threads_are_set_for_a_while(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with choose_execution(TrainerSettings(accelerator="cpu", num_threads=3)).threads():
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
