"""The configuration's types and limits, checked before anything starts.

Hydra composes the YAML files of ``conf/``; these classes say what may stand in them. The keys of a
group are the keyword names of the class that it configures.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deeplab.config.data import DataConfig
from deeplab.config.network import AsppConfig, BackboneConfig, DecoderConfig
from deeplab.config.types import (
    AboveZero,
    Beta,
    Bool,
    Float,
    Momentum,
    Natural,
    Positive,
    Rate,
    Schema,
    Seed,
    Side,
    Text,
)

BELONGS = {
    "momentum": ("optimiser", "sgd", "0.9"),
    "betas": ("optimiser", "adamw", "[0.9,0.999]"),
    "power": ("schedule", "poly", "0.9"),
}
"""Keys of ``StageConfig`` that only one choice of another key looks at, and a usual value."""


class StageConfig(Schema):
    """``deeplab.training.module.Recipe``, and the batch size.

    Keys with a default here came later than runs that are recorded without them; the default is
    what those did, and does not count in a run's hash.
    """

    steps: Positive
    batch_size: Positive
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: AboveZero
    schedule: Literal["poly", "cosine"] = "poly"
    power: Rate | None
    momentum: Beta | None
    betas: tuple[Beta, Beta] | None = None
    weight_decay: Rate
    gradient_clip: AboveZero | None = None
    slow_start: Literal["constant", "linear"] = "constant"
    slow_start_steps: Natural
    slow_start_lr: AboveZero
    ema_decay: Annotated[Float, Field(gt=0, lt=1)] | None = None
    backbone_lr: Rate
    head_lr: Rate
    bias_lr: Rate
    batch_norm: Literal["finetune", "frozen"]
    bn_momentum: Momentum | None
    class_weights: tuple[Rate, ...] | None
    top_k: Annotated[Float, Field(gt=0, le=1)]
    top_k_steps: Natural

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        wrong = []
        for key, (choice, owner, usual) in BELONGS.items():
            value, chosen = getattr(self, key), getattr(self, choice)
            if chosen == owner and value is None:
                wrong.append(f"{choice}={owner} wants {key}, such as stage.{key}={usual}")
            if chosen != owner and value is not None:
                wrong.append(f"{key} does nothing with {choice}={chosen}, set stage.{key}=null")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _slow_start_ends(self) -> Self:
        if self.slow_start_steps >= self.steps:
            raise ValueError(
                f"slow_start_steps ({self.slow_start_steps}) must be below steps ({self.steps})"
            )
        return self


class TrainerConfig(Schema):
    """How and how often, nothing that the result depends on; ``deeplab.hardware`` fills in auto."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Positive | Literal["auto"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    memory_format: Literal["auto", "contiguous", "channels_last"]
    compile: Bool | Literal["auto"]
    num_workers: Natural | Literal["auto"]
    validations: Natural
    checkpoints: Positive
    log_every: Positive
    progress: Bool


class LoggerConfig(Schema):
    """Where metrics go besides ``metrics.csv``."""

    name: Literal["csv", "wandb", "tensorboard"]
    project: Text | None = None
    entity: Text | None = None
    group: Text | None = None
    tags: tuple[Text, ...] = ()
    mode: Literal["auto", "online", "offline"] = "auto"


class ModelConfig(Schema):
    """The network: what ``deeplab.builder.build_model`` needs."""

    backbone: BackboneConfig
    aspp: AsppConfig
    decoder: DecoderConfig
    output_stride: Literal[8, 16, 32]


OneOrMore = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class EvaluationConfig(Schema):
    """What is evaluated when a training has ended: keys of ``conf/evaluate.yaml``."""

    strategies: OneOrMore
    split: Text | None = None
    export: Literal["voc", "cityscapes"] | None = None


class TrainConfig(ModelConfig):
    """``conf/train.yaml``."""

    name: Annotated[Text, Field(pattern=r"^\w[\w.+=-]*$", max_length=100)]
    seed: Seed
    runs: Text
    init_from: Text | None
    init_strict: Bool = True
    resume: Text | None
    restart: Bool
    data: DataConfig
    stage: StageConfig
    evaluate: tuple[EvaluationConfig, ...] = ()
    trainer: TrainerConfig
    logger: LoggerConfig

    @model_validator(mode="after")
    def _one_weight_per_class(self) -> Self:
        weights, classes = self.stage.class_weights, self.data.classes
        if weights is not None and not any(weights):
            raise ValueError("stage.class_weights are all 0")
        if weights is not None and classes and len(weights) != len(classes):
            raise ValueError(
                f"stage.class_weights has {len(weights)} weights, "
                f"data.classes names {len(classes)} classes"
            )
        return self


class CostConfig(ModelConfig):
    """``conf/cost.yaml``."""

    data: DataConfig
    stage: StageConfig
    input_size: Side | tuple[Side, Side]
    scales: Annotated[tuple[Annotated[AboveZero, Field(le=16)], ...], Field(min_length=1)]
    flip: Bool
    strategies: OneOrMore | None
    measure: Bool
    trainer: TrainerConfig
    format: Literal["table", "json"]


class PrepareConfig(ModelConfig):
    """``conf/prepare.yaml``."""

    data: DataConfig
    stage: StageConfig
    choice: Text
    source: Text | None
    downloads: Text
    check: Bool
    splits: Annotated[tuple[Text, ...], Field(min_length=1)] | None
    report: Text
    workers: Positive | Literal["auto"]
    again: Bool
    progress: Bool


class PlaceConfig(Schema):
    """Where the images of a recorded run are now."""

    root: Text | None


class EvaluationDataConfig(PlaceConfig):
    """And what is done with bad files."""

    on_error: Literal["stop", "skip"] | None


class EvaluateConfig(Schema):
    """``conf/evaluate.yaml``."""

    run: Text
    strategies: OneOrMore
    output_stride: Literal[8, 16, 32] | None
    window: Side | None
    overlap: Annotated[Float, Field(ge=0, le=0.9)]
    split: Text | None
    bands: Annotated[
        tuple[AboveZero, ...],
        BeforeValidator(lambda value: [value] if isinstance(value, int | float) else value),
    ]
    predictions: Bool
    measure: Bool
    export: Literal["voc", "cityscapes"] | None
    publish: Bool
    again: Bool
    data: EvaluationDataConfig
    trainer: TrainerConfig

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        if self.trainer.devices not in (1, "auto"):
            raise ValueError("trainer.devices: an evaluation runs on one device")
        return self

    @model_validator(mode="after")
    def _predictions_to_export(self) -> Self:
        if self.export and not self.predictions:
            raise ValueError("export packs the predictions, so predictions is to be true")
        return self

    @field_validator("bands")
    @classmethod
    def _rising(cls, bands: tuple[float, ...]) -> tuple[float, ...]:
        if list(bands) != sorted(set(bands)):
            raise ValueError("bands are widths in pixels, from narrow to wide")
        return bands


class CompareConfig(Schema):
    """``conf/compare.yaml``."""

    runs: OneOrMore
    output: Text


class PredictConfig(Schema):
    """``conf/predict.yaml``."""

    run: Text
    input: OneOrMore
    output: Text
    strategy: Text
    window: Side | None
    overlap: Annotated[Float, Field(ge=0, le=0.9)]
    overlay: Bool
    probabilities: Bool
    frames: Bool
    trainer: TrainerConfig


class ConvertConfig(Schema):
    """``conf/convert.yaml``."""

    input: Text
    out: Text | None
    train: tuple[Text, ...]
    progress: Bool


class GalleryConfig(Schema):
    """``conf/gallery.yaml``."""

    run: Text
    against: Text | None
    strategy: Text | None
    output: Text | None
    images: Positive
    per_class: Positive
    pairs: Positive
    thumbnail: Side
    large: Side
    progress: Bool
    data: PlaceConfig


def plain(value: Any) -> dict[str, Any]:
    """A schema object as a dictionary of lists, numbers and strings."""
    dumped: dict[str, Any] = value.model_dump(mode="json")
    return dumped
