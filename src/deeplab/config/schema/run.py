"""Keys of ``conf/train.yaml``: a training run."""

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
    """What is evaluated when a training has ended: keys of ``conf/evaluate.yaml``."""

    strategies: OneOrMore
    split: Text | None = None
    export: Literal["voc", "cityscapes"] | None = None


class RunConfig(NetworkConfig):
    """What ``conf/train.yaml`` has for all kinds of runs."""

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
    def _stage_fits_data(cls, values: Any) -> Any:
        """Before the keys are looked at, which are others for each kind of stage."""
        data, stage = values.get("data", {}), values.get("stage", {})
        task = getattr(stage, "task", None) or dict(stage).get("task", "segmentation")
        name = getattr(data, "name", None) or dict(data).get("name")
        if task == "segmentation" and name in CLASSIFICATION_DATA:
            raise ValueError(
                f"stage: it trains a segmentation network, and data={name} has labels of whole "
                "pictures but no masks. For a classifier of them: stage=imagenet"
            )
        if task == "classification" and name not in CLASSIFICATION_DATA:
            raise ValueError(
                f"stage: it trains a classifier of whole pictures, and data={name} has masks. Such "
                f"pictures are in data={' or data='.join(CLASSIFICATION_DATA)}"
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

    data: ClassificationDataConfig
    stage: ClassifierStageConfig

    @model_validator(mode="after")
    def _starts_from_a_backbone(self) -> Self:
        if self.init_from is not None:
            raise ValueError("init_from: a classifier starts from backbone.pretrained=FILE")
        return self


def run_schema(data: Any) -> type[RunConfig]:
    """The schema of runs on a data set, given by its keys."""
    return ClassifierConfig if data.get("name") in CLASSIFICATION_DATA else TrainConfig
