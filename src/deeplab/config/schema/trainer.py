"""Keys of ``conf/trainer``: execution of a training, and the arguments of Lightning's trainer."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from deeplab.utils.settings import (
    Bool,
    Float,
    Fraction,
    Int,
    Natural,
    Positive,
    Settings,
    Text,
    wrong_value,
)

PRECISIONS = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""Lightning's short names of precisions."""


def _parse_devices(value: Any) -> Any:
    """Return devices as Lightning reads them: a number, ``-1`` for all, or indices of GPUs."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*,?\s*", value):
        numbers = [int(number) for number in value.split(",") if number.strip()]
        value = numbers if "," in value else numbers[0]
    if isinstance(value, list | tuple) and any(value.count(number) > 1 for number in value):
        raise wrong_value("a GPU is named twice")
    return "auto" if value in (-1, "-1") else value


def _parse_precision(value: Any) -> Any:
    return PRECISIONS.get(str(value), value)


def _check_strategy(value: Any) -> Any:
    if str(value).startswith(("fsdp", "deepspeed", "model_parallel")):
        raise wrong_value(
            "the weights would be in shards, which neither checkpoints nor results of a run are. "
            "Use ddp; trainer.accumulate_grad_batches and trainer.gradient_checkpointing=true "
            "save memory"
        )
    return value


def _check_duration(text: str) -> str:
    if not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", text):
        raise wrong_value("expected DD:HH:MM:SS, as in 00:12:00:00 for twelve hours")
    return text


Devices = Annotated[
    Positive | Literal["auto"] | Annotated[tuple[Natural, ...], Field(min_length=1)],
    BeforeValidator(_parse_devices),
]
Batches = Natural | Fraction
"""A number of batches, or a fraction of all."""


class _OwnTrainerSettings(Settings):
    """Keys of which this project decides what they do."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    devices: Devices = 1
    """Number of devices of a machine, or the indices of its GPUs, as ``[0,1]``; auto or -1: every
    GPU."""
    num_nodes: Annotated[Int, Field(ge=1, le=1024)] = 1
    """Number of machines; ``srun`` or ``torchrun`` starts a process for each of their devices."""
    strategy: Annotated[
        Literal[
            "auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"
        ],
        BeforeValidator(_check_strategy),
    ] = "auto"
    """How several devices train together; auto: ``ddp``, DistributedDataParallel."""
    precision: Annotated[
        Literal["auto", "64-true", "32-true", "bf16-mixed", "16-mixed"],
        BeforeValidator(_parse_precision),
    ] = "auto"
    """Lightning's name of the precision; 64, 32, 16 and bf16 are short for the others. auto:
    bfloat16 in training steps where the machine computes it faster, float32 in validations,
    evaluations and predictions."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory format of weights and images."""
    compile: Bool | Literal["auto"] = "auto"
    """Train the network compiled by ``torch.compile``."""
    num_workers: Annotated[Int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    """Loading processes per device."""
    num_threads: Annotated[Int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Threads of a process that compute on the CPU; auto: as many as there are cores that no other
    process uses, or ``OMP_NUM_THREADS``. Trainings with another number differ in rounding."""
    accumulate_grad_batches: Positive = 1
    """Parts of each batch that a device trains on after another, which takes less memory.
    ``stage.batch_size`` stays the number of images in a step, and the gradient that of all of them;
    only batch norms that are trained see the images of one part."""
    gradient_checkpointing: Bool = False
    """Compute the units of the backbone again in the backward pass instead of keeping their inner
    feature maps: less memory for large crops, more time."""
    overfit_batches: Batches = 0
    """Train on the images of so many batches, or a fraction of all, and validate on the same ones:
    a test whether the network can learn them; 0: all images."""
    limit_val_batches: Positive | Annotated[Float, Field(gt=0, le=1)] | None = None
    """Validate on so many batches, or a fraction of all, spread evenly; null: all images."""
    fast_dev_run: Bool | Natural = False
    """Train and validate for this number of batches (true: one) as a test, and keep nothing."""
    max_time: Annotated[Text, AfterValidator(_check_duration)] | None = None
    """Stop with a checkpoint after this time, as ``DD:HH:MM:SS``; the same command goes on."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Lightning's profiler, whose report lies in the run folder."""
    num_validations: Natural = 10
    """Number of validations, evenly spaced, the last one at the end; 0: the last one only."""
    num_checkpoints: Positive = 20
    """How often ``last.ckpt`` is written, evenly spaced."""
    log_every_n_steps: Positive = 10
    """Steps between two rows of the log."""
    enable_progress_bar: Bool = True
    """Show progress: bars in a terminal or notebook, else lines. False: lines of trainings only."""


class TrainerSettings(_OwnTrainerSettings):
    """Execution of a training, and the arguments of Lightning's trainer."""

    num_sanity_val_steps: Int | None = 0
    """Batches of validation before the training, whose score does not count."""
    enable_model_summary: Bool | None = False
    """Print a table of the parts of the network."""
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    """What ``stage.gradient_clip_val`` limits: ``norm`` (the default) or ``value``."""
    deterministic: Bool | Literal["warn"] | None = None
    """Use deterministic algorithms only, or an error; ``warn``: a warning."""
    benchmark: Bool | None = None
    """Let cuDNN measure which algorithms are fastest; null: PyTorch's setting."""
    inference_mode: Bool = True
    """Validate in ``torch.inference_mode`` instead of ``torch.no_grad``."""
    detect_anomaly: Bool = False
    """Let autograd name the operation that made a nan; slow."""
    enable_autolog_hparams: Bool = True
    """Let Lightning log the hyperparameters of a module that has saved them."""

    @property
    def max_duration(self) -> timedelta | None:
        """``max_time`` as a duration."""
        if self.max_time is None:
            return None
        days, hours, minutes, seconds = map(int, self.max_time.split(":"))
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    def for_inference(self) -> Self:
        """Return these settings without the keys that have an effect in training only."""
        return type(self)(**{name: getattr(self, name) for name in INFERENCE_KEYS})

    def training_only(self) -> list[str]:
        """Return the keys that are set and have an effect in training only."""
        fields = type(self).model_fields.items()
        return [
            name
            for name, field in fields
            if name not in INFERENCE_KEYS and getattr(self, name) != field.default
        ]

    @property
    def lightning_arguments(self) -> dict[str, Any]:
        """Arguments that Lightning's trainer receives as they are."""
        own = _OwnTrainerSettings.model_fields
        return {name: getattr(self, name) for name in type(self).model_fields if name not in own}

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out arguments of Lightning with their default, so that records fit any version."""
        values: dict[str, Any] = serialize(self)
        kept = {*ALWAYS_RECORDED, *self.training_only()}
        return {name: value for name, value in values.items() if name in kept}


INFERENCE_KEYS = {
    *("accelerator", "devices", "precision", "memory_format"),
    *("num_workers", "num_threads", "enable_progress_bar"),
}
"""Keys that evaluations and predictions take; the others have an effect in training only."""

ALWAYS_RECORDED = {
    *INFERENCE_KEYS,
    *("compile", "num_validations", "num_checkpoints", "log_every_n_steps"),
}
"""Keys that are in every record of a run; of the others those that are set."""

EXECUTION_ARGUMENTS = {
    *ALWAYS_RECORDED,
    *("num_nodes", "strategy"),  # the same gradient, to rounding
    "gradient_checkpointing",  # likewise
    "accumulate_grad_batches",  # likewise, but see ``changes_result``
    *("fast_dev_run", "max_time"),  # a run that is not kept, or goes on later
    *("profiler", "detect_anomaly", "inference_mode", "num_sanity_val_steps"),  # watch only
    *("enable_model_summary", "enable_autolog_hparams"),
    *("deterministic", "benchmark"),  # choose between kernels that differ in rounding
}
"""Keys of ``trainer`` that change no result.

All others belong to a run's identity as soon as they are set.
"""
