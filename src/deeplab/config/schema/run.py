"""Schemas of ``conf/train.yaml``: a training run."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from deeplab.config.schema.classification_data import CLASSIFICATION_DATA, ClassificationDataConfig
from deeplab.config.schema.data import DataConfig
from deeplab.config.schema.logger import LoggerConfig
from deeplab.config.schema.model import (
    ModelConfig,
    NetworkConfig,
)
from deeplab.config.schema.stage import ClassifierStageConfig, StageConfig
from deeplab.config.schema.trainer import TrainerConfig
from deeplab.config.schema.types import (
    Bool,
    OneOrMore,
    Schema,
    Seed,
    Text,
)


class EvaluationConfig(Schema):
    """Evaluation at the end of a run: keys of ``conf/evaluate.yaml``."""

    strategies: OneOrMore
    split: Text | None = None
    submission: Literal["voc", "cityscapes"] | None = None


class RunConfig(NetworkConfig):
    """Keys of ``conf/train.yaml`` for every kind of run."""

    name: Annotated[Text, Field(pattern=r"^\w[\w.+=-]*$", max_length=100)]
    seed: Seed
    runs_dir: Text
    init_from: Text | None
    init_strict: Bool = True
    resume: Text | None
    overwrite: Bool
    data: DataConfig | ClassificationDataConfig
    stage: StageConfig
    eval_after_training: tuple[EvaluationConfig, ...] = ()
    trainer: TrainerConfig
    logger: LoggerConfig

    @model_validator(mode="before")
    @classmethod
    def _check_stage_fits_data(cls, values: Any) -> Any:
        """Check this before the single keys, which differ between the kinds of stages."""
        data, stage = values.get("data", {}), values.get("stage", {})
        task = getattr(stage, "task", None) or dict(stage).get("task", "segmentation")
        name = getattr(data, "name", None) or dict(data).get("name")
        if task == "segmentation" and name in CLASSIFICATION_DATA:
            raise ValueError(
                f"stage: this stage trains a segmentation network, but data={name} has image "
                "labels and no masks. To train a classifier, set stage=imagenet"
            )
        if task == "classification" and name not in CLASSIFICATION_DATA:
            raise ValueError(
                f"stage: this stage trains an image classifier, but data={name} has masks. Data "
                f"sets with image labels are data={' and data='.join(CLASSIFICATION_DATA)}"
            )
        return values


class TrainConfig(ModelConfig, RunConfig):
    """Keys of a segmentation network's run."""

    data: DataConfig

    @model_validator(mode="after")
    def _check_class_weights(self) -> Self:
        weights, classes = self.stage.class_weights, self.data.classes
        if weights is not None and not any(weights):
            raise ValueError("stage.class_weights: all weights are 0")
        if weights is not None and classes and len(weights) != len(classes):
            raise ValueError(
                f"stage.class_weights: {len(weights)} weights, but data.classes has "
                f"{len(classes)} classes"
            )
        return self


class ClassifierConfig(RunConfig):
    """Keys of a classifier's run: a backbone at output stride 32, without ASPP and decoder."""

    data: ClassificationDataConfig
    stage: ClassifierStageConfig

    @model_validator(mode="after")
    def _check_init_from(self) -> Self:
        if self.init_from is not None:
            raise ValueError(
                "init_from: not available for a classifier. Set backbone.pretrained=FILE"
            )
        return self


def run_schema(data: Any) -> type[RunConfig]:
    """Return the schema of runs on a data set, given its keys."""
    return ClassifierConfig if data.get("name") in CLASSIFICATION_DATA else TrainConfig
