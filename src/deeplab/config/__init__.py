"""The configuration's types and limits, checked before anything starts.

Hydra composes the YAML files of ``conf/``; these classes say what may stand in them. The keys of a
group are the keyword names of the class that it configures.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deeplab.config.data import DataConfig
from deeplab.config.network import AsppConfig, BackboneConfig, DecoderConfig
from deeplab.config.pictures import PICTURES, PicturesConfig
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
    "decay_factor": ("schedule", "exponential", "0.94"),
    "decay_epochs": ("schedule", "exponential", "2.0"),
}
"""Keys of ``StageConfig`` that only one choice of another key looks at, and a usual value."""

Task = Literal["segmentation", "classification"]


class StageConfig(Schema):
    """``deeplab.training.module.Recipe``, the batch size, and what it is the recipe of.

    Keys with a default here came later than runs that are recorded without them; the default is
    what those did, and does not count in a run's hash.
    """

    task: Task = "segmentation"
    steps: Positive
    batch_size: Positive
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: AboveZero
    schedule: Literal["poly", "cosine", "exponential"] = "poly"
    power: Rate | None
    decay_factor: Annotated[Float, Field(gt=0, le=1)] | None = None
    decay_epochs: AboveZero | None = None
    momentum: Beta | None
    nesterov: Bool = False
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
        if self.nesterov and self.optimiser != "sgd":
            wrong.append(f"nesterov does nothing with optimiser={self.optimiser}")
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


class ClassifierStageConfig(StageConfig):
    """The recipe of a classifier, and the part of its features that dropout sets to 0."""

    dropout: Annotated[Float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _nothing_about_pixels(self) -> Self:
        if self.class_weights is not None or self.top_k < 1:
            raise ValueError("class_weights and top_k are about pixels, which a classifier has not")
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


class NetworkConfig(Schema):
    """What all networks have."""

    backbone: BackboneConfig


class ModelConfig(NetworkConfig):
    """The segmentation network: what ``deeplab.builder.build_model`` needs."""

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


class RunConfig(NetworkConfig):
    """What ``conf/train.yaml`` has for all kinds of runs."""

    name: Annotated[Text, Field(pattern=r"^\w[\w.+=-]*$", max_length=100)]
    seed: Seed
    runs: Text
    init_from: Text | None
    init_strict: Bool = True
    resume: Text | None
    restart: Bool
    data: DataConfig | PicturesConfig
    stage: StageConfig
    evaluate: tuple[EvaluationConfig, ...] = ()
    trainer: TrainerConfig
    logger: LoggerConfig

    @model_validator(mode="before")
    @classmethod
    def _stage_fits_data(cls, values: Any) -> Any:
        """Before the keys are looked at, which are others for each kind of stage."""
        data, stage = values.get("data", {}), values.get("stage", {})
        task = getattr(stage, "task", None) or dict(stage).get("task", "segmentation")
        name = getattr(data, "name", None) or dict(data).get("name")
        if task == "segmentation" and name in PICTURES:
            raise ValueError(
                f"stage: it trains a segmentation network, and data={name} has labels of whole "
                "pictures but no masks. For a classifier of them: stage=imagenet"
            )
        if task == "classification" and name not in PICTURES:
            raise ValueError(
                f"stage: it trains a classifier of whole pictures, and data={name} has masks. Such "
                f"pictures are in data={' or data='.join(PICTURES)}"
            )
        return values


class TrainConfig(ModelConfig, RunConfig):
    """A run of a segmentation network."""

    data: DataConfig

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


class ClassifierConfig(RunConfig):
    """A run of a backbone as a classifier: no ASPP, no decoder, output stride 32."""

    data: PicturesConfig
    stage: ClassifierStageConfig

    @model_validator(mode="after")
    def _starts_from_a_backbone(self) -> Self:
        if self.init_from is not None:
            raise ValueError("init_from: a classifier starts from backbone.pretrained=FILE")
        return self


def run_schema(data: Any) -> type[RunConfig]:
    """The schema of runs on a data set, given by its keys."""
    return ClassifierConfig if data.get("name") in PICTURES else TrainConfig


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

    @model_validator(mode="before")
    @classmethod
    def _of_segmentation(cls, values: Any) -> Any:
        if values["data"].get("name") in PICTURES:
            raise ValueError(
                "data: it counts segmentation networks; what a classifier costs is in the result "
                "that evaluate.py leaves"
            )
        return values


class _PrepareConfig(ModelConfig):
    """``conf/prepare.yaml``."""

    choice: Text
    source: Text | None
    downloads: Text
    check: Bool
    splits: Annotated[tuple[Text, ...], Field(min_length=1)] | None
    report: Text
    workers: Positive | Literal["auto"]
    again: Bool
    progress: Bool


class PrepareConfig(_PrepareConfig):
    """Of images with masks."""

    data: DataConfig
    stage: StageConfig


class PreparePicturesConfig(_PrepareConfig):
    """Of whole pictures."""

    data: PicturesConfig
    stage: ClassifierStageConfig


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


HubId = Annotated[Text, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", max_length=96)]


class ExportConfig(Schema):
    """``conf/export.yaml``."""

    run: Text
    format: Literal["onnx", "torch_export", "safetensors"]
    output: Text | None
    output_stride: Literal[8, 16, 32] | None
    padding: Bool
    probabilities: Bool
    check: Annotated[Natural, Field(le=1000)]
    push: HubId | None
    private: Bool
    license: Annotated[Text, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None
    data: PlaceConfig

    @model_validator(mode="after")
    def _of_graphs(self) -> Self:
        if self.format == "safetensors" and (
            self.output_stride or self.probabilities or not self.padding
        ):
            raise ValueError(
                "output_stride, padding and probabilities are about format=onnx and torch_export; "
                "weights alone serve every output stride"
            )
        return self

    @model_validator(mode="after")
    def _of_the_hub(self) -> Self:
        if self.private and not self.push:
            raise ValueError("private is about what push uploads; name a repository with push")
        if self.license and not (self.push or self.format == "safetensors"):
            raise ValueError(
                "license goes into the model card, which push or format=safetensors makes"
            )
        return self


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
