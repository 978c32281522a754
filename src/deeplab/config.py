"""The configuration's types and limits, checked before anything starts.

Hydra composes the YAML files of ``conf/``; these classes say what may stand in them. The keys of a
group are the keyword names of the class that it configures.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), AllowInfNan(False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Positive = Annotated[Int, Field(ge=1, le=10**9)]
Channels = Annotated[Int, Field(ge=1, le=2**16)]
Side = Annotated[Int, Field(ge=33, le=2**14)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Natural = Annotated[Int, Field(ge=0)]
Rate = Annotated[Float, Field(ge=0)]
AboveZero = Annotated[Float, Field(gt=0)]
Part = Annotated[Float, Field(ge=0, le=1)]
Momentum = Annotated[Float, Field(gt=0, le=1)]
Pixel = Annotated[Float, Field(ge=0, le=255)]
Colour = tuple[Pixel, Pixel, Pixel]
Deviation = tuple[AboveZero, AboveZero, AboveZero]
Grid = tuple[Positive, Positive, Positive]
WeightInit = AboveZero | Literal["variance_scaling", "xavier", "head"]


class Schema(BaseModel):
    """A group of keys: no other key is allowed, and none changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Backbone(Schema):
    mean: Colour
    std: Deviation
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum
    weight_decay: Rate


class XceptionConfig(_Backbone):
    """``deeplab.backbones.Xception``."""

    family: Literal["xception"]
    depth: Literal[41, 65, 71]
    multi_grid: Grid


class ResNetConfig(_Backbone):
    """``deeplab.backbones.ResNet``."""

    family: Literal["resnet"]
    depth: Literal[50, 101] | tuple[Positive, Positive, Positive, Positive]
    layout: Literal["beta", "torchvision"]
    width: Positive
    stem: Literal["3x3x3", "7x7"]
    multi_grid: Grid


class MobileNetV2Config(_Backbone):
    """``deeplab.backbones.MobileNetV2``."""

    family: Literal["mobilenetv2"]
    width: AboveZero
    divisor: Positive


BackboneConfig = Annotated[
    XceptionConfig | ResNetConfig | MobileNetV2Config, Field(discriminator="family")
]


class AsppConfig(Schema):
    """``deeplab.aspp.ASPP``."""

    channels: Channels
    rates: tuple[Positive, ...]
    image_pooling: Bool
    separable: Bool
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


def _odd(kernel: int) -> int:
    if isinstance(kernel, int) and kernel % 2 == 0:
        raise ValueError("a kernel is odd")
    return kernel


class DecoderConfig(Schema):
    """``deeplab.decoder.Decoder``."""

    low_level: tuple[Text, ...]
    low_level_channels: Channels
    convs: tuple[tuple[Annotated[Positive, BeforeValidator(_odd)], Channels], ...]
    separable: Bool
    weight_init: WeightInit
    bn_eps: AboveZero
    bn_momentum: Momentum


class ScalesConfig(Schema):
    """Range of the random scale in training."""

    min: Annotated[Float, Field(ge=0.01, le=16)]
    max: Annotated[Float, Field(ge=0.01, le=16)]
    step: Rate

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        steps = (self.max - self.min) / self.step if self.step else 0
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"step ({self.step}) does not divide max - min ({self.max - self.min})"
            )
        return self


class _Data(Schema):
    root: Text
    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=255)]
    train_split: Text
    val_split: Text
    crop_size: Side
    eval_size: Side
    eval_batch_size: Positive
    scales: ScalesConfig
    flip: Part


class VOCConfig(_Data):
    """A VOC layout that is there already."""

    name: Literal["voc"]


class ShapesConfig(_Data):
    """Scenes that are drawn; ``deeplab.data.shapes.ShapesSpec``."""

    name: Literal["shapes"]
    train: Positive
    val: Positive
    size_min: Side
    size_max: Side
    objects_max: Positive
    scene_seed: Seed

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.size_max < self.size_min:
            raise ValueError(f"size_max ({self.size_max}) is below size_min ({self.size_min})")
        return self


DataConfig = Annotated[VOCConfig | ShapesConfig, Field(discriminator="name")]


class StageConfig(Schema):
    """``deeplab.module.Recipe``, and the batch size."""

    steps: Positive
    batch_size: Positive
    lr: AboveZero
    power: Rate
    momentum: Annotated[Float, Field(ge=0, lt=1)]
    weight_decay: Rate
    slow_start_steps: Natural
    slow_start_lr: AboveZero
    backbone_lr: Rate
    head_lr: Rate
    bias_lr: Rate
    batch_norm: Literal["finetune", "frozen"]
    bn_momentum: Momentum | None
    class_weights: tuple[Rate, ...] | None
    top_k: Annotated[Float, Field(gt=0, le=1)]
    top_k_steps: Natural

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


class TrainConfig(ModelConfig):
    """``conf/train.yaml``."""

    name: Annotated[Text, Field(pattern=r"^\w[\w.+=-]*$", max_length=100)]
    seed: Seed
    runs: Text
    resume: Text | None
    restart: Bool
    data: DataConfig
    stage: StageConfig
    trainer: TrainerConfig
    logger: LoggerConfig

    @model_validator(mode="after")
    def _one_weight_per_class(self) -> Self:
        weights, classes = self.stage.class_weights, self.data.classes
        if weights is not None and not any(weights):
            raise ValueError("stage.class_weights are all 0")
        if weights is not None and len(weights) != len(classes):
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
    format: Literal["table", "json"]


class PlaceConfig(Schema):
    """Where the images of a recorded run are now."""

    root: Text | None


class EvaluateConfig(Schema):
    """``conf/evaluate.yaml``."""

    run: Text
    output_stride: Literal[8, 16, 32] | None
    split: Text | None
    data: PlaceConfig
    trainer: TrainerConfig


def plain(value: Any) -> dict[str, Any]:
    """A schema object as a dictionary of lists, numbers and strings."""
    dumped: dict[str, Any] = value.model_dump(mode="json")
    return dumped
