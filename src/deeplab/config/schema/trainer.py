"""Schema of ``conf/trainer``."""

from typing import Literal

from deeplab.config.schema.types import Bool, Natural, Positive, Schema


class TrainerConfig(Schema):
    """Execution keys, on which no result depends; ``deeplab.utils.hardware`` resolves auto."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Positive | Literal["auto"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    memory_format: Literal["auto", "contiguous", "channels_last"]
    compile: Bool | Literal["auto"]
    num_workers: Natural | Literal["auto"]
    num_validations: Natural
    num_checkpoints: Positive
    log_every_n_steps: Positive
    enable_progress_bar: Bool
