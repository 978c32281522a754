"""From the keys of ``conf/trainer`` to how the work is run on this machine."""

from deeplab.config.schema.trainer import TrainerConfig
from deeplab.utils.hardware import Execution, choose_execution


def build_execution(trainer: TrainerConfig) -> Execution:
    """What the trainer's ``auto`` stands for here."""
    return choose_execution(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        precision=trainer.precision,
        memory_format=trainer.memory_format,
        compile=trainer.compile,
        num_workers=trainer.num_workers,
    )
