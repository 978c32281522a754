"""The configuration's types and limits, checked before anything starts.

Hydra composes the YAML files of ``conf/``; these classes say what may stand in them. The keys of a
group are the keyword names of the class that it configures.
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
    """``conf/cost.yaml``."""

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
    def _of_segmentation(cls, values: Any) -> Any:
        if values["data"].get("name") in CLASSIFICATION_DATA:
            raise ValueError(
                "data: it counts segmentation networks; what a classifier costs is in the result "
                "that evaluate.py leaves"
            )
        return values


class _PrepareConfig(ModelConfig):
    """``conf/prepare.yaml``."""

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
    """Of images with masks."""

    data: DataConfig
    stage: StageConfig


class PrepareClassificationConfig(_PrepareConfig):
    """Of whole pictures."""

    data: ClassificationDataConfig
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
    def _one_device(self) -> Self:
        if self.trainer.devices not in (1, "auto"):
            raise ValueError("trainer.devices: an evaluation runs on one device")
        return self

    @model_validator(mode="after")
    def _predictions_to_export(self) -> Self:
        if self.submission and not self.save_predictions:
            raise ValueError("submission packs the predictions and needs save_predictions=true")
        return self

    @field_validator("trimap_widths")
    @classmethod
    def _rising(cls, bands: tuple[float, ...]) -> tuple[float, ...]:
        if list(bands) != sorted(set(bands)):
            raise ValueError("trimap_widths must rise from narrow to wide, in pixels")
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
    window_size: Side | None
    overlap: Annotated[Float, Field(ge=0, le=0.9)]
    save_overlay: Bool
    save_probabilities: Bool
    save_frames: Bool
    trainer: TrainerConfig


class ConvertConfig(Schema):
    """``conf/convert.yaml``."""

    input: Text
    output: Text | None
    overrides: tuple[Text, ...]
    enable_progress_bar: Bool


HubId = Annotated[Text, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", max_length=96)]


class ExportConfig(Schema):
    """``conf/export.yaml``."""

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
        if self.private and not self.push_to_hub:
            raise ValueError("private=true needs push_to_hub=USER/NAME, the repository to make")
        if self.license and not (self.push_to_hub or self.format == "safetensors"):
            raise ValueError(
                "license goes into the model card, which push_to_hub or format=safetensors writes"
            )
        return self


class GalleryConfig(Schema):
    """``conf/gallery.yaml``."""

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
    data: PlaceConfig
