"""Execution settings of this machine from the keys of ``conf/trainer``."""

from deeplab.config.schema.trainer import TrainerConfig
from deeplab.utils.hardware import Execution, choose_execution


def build_execution(trainer: TrainerConfig) -> Execution:
    """Return the execution settings with every ``auto`` resolved for this machine."""
    return choose_execution(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        precision=trainer.precision,
        memory_format=trainer.memory_format,
        compile=trainer.compile,
        num_workers=trainer.num_workers,
    )
