"""Schemas of the scripts' config files, checked before anything starts.

Hydra composes the YAML files of ``conf/``; these classes define the allowed keys, types and limits.
The keys of a group are the keyword names of the class that it configures.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deeplab.config.schema.classification_data import CLASSIFICATION_DATA, ClassificationDataConfig
from deeplab.config.schema.data import DataConfig
from deeplab.config.schema.model import (
    ModelConfig,
)
from deeplab.config.schema.stage import ClassifierStageConfig, StageConfig
from deeplab.config.schema.trainer import TrainerConfig
from deeplab.config.schema.types import (
    AboveZero,
    Bool,
    Float,
    Natural,
    OneOrMore,
    Positive,
    Schema,
    Side,
    Text,
)


class CostConfig(ModelConfig):
    """Keys of ``conf/cost.yaml``."""

    data: DataConfig
    stage: StageConfig
    input_size: Side | tuple[Side, Side]
    scales: Annotated[tuple[Annotated[AboveZero, Field(le=16)], ...], Field(min_length=1)]
    flip: Bool
    strategies: OneOrMore | None
    measure_speed: Bool
    trainer: TrainerConfig
    format: Literal["table", "json"]

    @model_validator(mode="before")
    @classmethod
    def _check_segmentation(cls, values: Any) -> Any:
        if values["data"].get("name") in CLASSIFICATION_DATA:
            raise ValueError(
                "data: cost.py counts segmentation networks only. The cost of a classifier is in "
                "the result that evaluate.py writes"
            )
        return values


class _PrepareConfig(ModelConfig):
    """Keys of ``conf/prepare.yaml`` for every data set."""

    data_choice: Text
    source: Text | None
    download_dir: Text
    check: Bool
    splits: Annotated[tuple[Text, ...], Field(min_length=1)] | None
    report_dir: Text
    num_workers: Positive | Literal["auto"]
    overwrite: Bool
    enable_progress_bar: Bool


class PrepareConfig(_PrepareConfig):
    """Keys of ``conf/prepare.yaml`` for images with masks."""

    data: DataConfig
    stage: StageConfig


class PrepareClassificationConfig(_PrepareConfig):
    """Keys of ``conf/prepare.yaml`` for images with labels."""

    data: ClassificationDataConfig
    stage: ClassifierStageConfig


class DataRootConfig(Schema):
    """Current location of a recorded run's images."""

    root: Text | None


class EvaluationDataConfig(DataRootConfig):
    """Current location of a recorded run's images, and the treatment of bad files."""

    on_error: Literal["stop", "skip"] | None


class EvaluateConfig(Schema):
    """Keys of ``conf/evaluate.yaml``."""

    run: Text
    strategies: OneOrMore
    output_stride: Literal[8, 16, 32] | None
    window_size: Side | None
    overlap: Annotated[Float, Field(ge=0, le=0.9)]
    split: Text | None
    trimap_widths: Annotated[
        tuple[AboveZero, ...],
        BeforeValidator(lambda value: [value] if isinstance(value, int | float) else value),
    ]
    save_predictions: Bool
    measure_speed: Bool
    submission: Literal["voc", "cityscapes"] | None
    log_to_wandb: Bool
    overwrite: Bool
    data: EvaluationDataConfig
    trainer: TrainerConfig

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        if self.trainer.devices not in (1, "auto"):
            raise ValueError(
                f"trainer.devices={self.trainer.devices}: an evaluation runs on one device. Set "
                "trainer.devices=1"
            )
        return self

    @model_validator(mode="after")
    def _check_submission(self) -> Self:
        if self.submission and not self.save_predictions:
            raise ValueError(
                f"submission={self.submission}: it packs the predictions. Set save_predictions=true"
            )
        return self

    @field_validator("trimap_widths")
    @classmethod
    def _check_ascending(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if list(widths) != sorted(set(widths)):
            raise ValueError("the widths, in pixels, must rise from narrow to wide")
        return widths


class CompareConfig(Schema):
    """Keys of ``conf/compare.yaml``."""

    runs: OneOrMore
    output: Text


class PredictConfig(Schema):
    """Keys of ``conf/predict.yaml``."""

    run: Text
    input: OneOrMore
    output: Text
    strategy: Text
    window_size: Side | None
    overlap: Annotated[Float, Field(ge=0, le=0.9)]
    save_overlay: Bool
    save_probabilities: Bool
    save_frames: Bool
    trainer: TrainerConfig


class ConvertConfig(Schema):
    """Keys of ``conf/convert.yaml``."""

    input: Text
    output: Text | None
    overrides: tuple[Text, ...]
    enable_progress_bar: Bool


HubId = Annotated[Text, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", max_length=96)]


class ExportConfig(Schema):
    """Keys of ``conf/export.yaml``."""

    run: Text
    format: Literal["onnx", "torch_export", "safetensors"]
    output: Text | None
    output_stride: Literal[8, 16, 32] | None
    padding: Bool
    probabilities: Bool
    num_check_images: Annotated[Natural, Field(le=1000)]
    push_to_hub: HubId | None
    private: Bool
    license: Annotated[Text, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None
    data: DataRootConfig

    @model_validator(mode="after")
    def _check_graph_keys(self) -> Self:
        if self.format == "safetensors" and (
            self.output_stride or self.probabilities or not self.padding
        ):
            raise ValueError(
                "format=safetensors: output_stride, padding and probabilities are for format=onnx "
                "and format=torch_export. Weights alone serve every output stride"
            )
        return self

    @model_validator(mode="after")
    def _check_hub_keys(self) -> Self:
        if self.private and not self.push_to_hub:
            raise ValueError(
                "private=true: there is no repository to create. Set push_to_hub=USER/NAME"
            )
        if self.license and not (self.push_to_hub or self.format == "safetensors"):
            raise ValueError(
                f"license={self.license}: it goes into the model card, which only push_to_hub and "
                "format=safetensors write. Set one of them"
            )
        return self


class GalleryConfig(Schema):
    """Keys of ``conf/gallery.yaml``."""

    run: Text
    compare_with: Text | None
    strategy: Text | None
    output: Text | None
    num_images: Positive
    num_per_class: Positive
    num_confused_pairs: Positive
    thumbnail_width: Side
    max_image_size: Side
    enable_progress_bar: Bool
    data: DataRootConfig
