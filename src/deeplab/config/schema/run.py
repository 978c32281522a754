"""Keys of ``conf/train.yaml``: a training run."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, model_validator

from deeplab.config.schema.logger import LoggerSettings
from deeplab.config.schema.loss import CrossEntropySettings, Loss
from deeplab.config.schema.lr_scheduler import LRScheduler, PolySettings
from deeplab.config.schema.model import ModelConfig, NetworkConfig
from deeplab.config.schema.optimizer import Optimizer, SGDSettings
from deeplab.config.schema.stage import ClassifierRecipe, Recipe
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.layouts.base import layout_names, settings_class
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.settings import ClassificationSettings, DataSettings, SegmentationSettings
from deeplab.utils.constants import MAX_RUN_NAME, MAX_SEEDS
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import (
    Bool,
    FilePath,
    Int,
    Seed,
    Settings,
    SplitName,
    Text,
    settings_by,
    wrong_value,
)

BY_NAME = settings_by("name", settings_class, OwnDataSettings)
"""Validator that takes the settings of the data set that ``data.name`` names."""

Data = Annotated[SerializeAsAny[DataSettings], BY_NAME]
SegmentationData = Annotated[SerializeAsAny[SegmentationSettings], BY_NAME]
ClassificationData = Annotated[SerializeAsAny[ClassificationSettings], BY_NAME]


class OptimizationConfig(Settings):
    """Keys of the groups that a stage chooses."""

    optimizer: Optimizer = SGDSettings()
    lr_scheduler: LRScheduler = PolySettings()


class StrategySettings(Settings):
    """Evaluation after training: an inference strategy, and its other settings."""

    strategy: Text
    """Inference strategy."""
    split: SplitName | None = None
    """Split to evaluate; null: the validation split."""
    submission: Literal["voc", "cityscapes"] | None = None
    """Test server to pack the predictions for."""


def _check_name(name: str) -> str:
    if len(name.encode()) > MAX_RUN_NAME:
        raise wrong_value(f"longer than {MAX_RUN_NAME} bytes; shorten it")
    return name


def _as_strategies(value: Any) -> Any:
    """Return a list of names as a list of their settings, as ``deeplab evaluate`` takes them."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list):
        return entries
    return [{"strategy": entry} if isinstance(entry, str) else entry for entry in entries]


Strategies = Annotated[tuple[StrategySettings, ...], BeforeValidator(_as_strategies)]
"""Inference strategies to evaluate with, as names or with their splits."""


COMMAND_KEYS = (
    "resume",
    "resume_with_other_code",
    "trust_remote_code",
    "overwrite",
    "strategies",
    "objective",
)
"""Keys of one command, not of the run: its config file has their defaults."""


class RunConfig(NetworkConfig, OptimizationConfig):
    """Keys of ``conf/train.yaml`` for every kind of run."""

    name: Annotated[
        Text,
        Field(pattern=r"^\w[\w.+=-]*$", json_schema_extra={"default": None}),
        AfterValidator(_check_name),
    ]
    """Name of the run, to which a hash of its settings is added; null: data, backbone, ASPP,
    decoder, output stride and seed."""
    seed: Seed = 0
    """Seed of the initial weights, the order of the images and their augmentation."""
    runs_dir: FilePath = "runs"
    """Parent folder of the run folders."""
    init_from: FilePath | None = None
    """Initial weights of the whole network: a run folder, a weights file, ``hf://user/name`` on the
    Hugging Face hub, or a network of the authors such as ``deeplabv3plus_xception65_voc``."""
    init_strict: Bool = True
    """Only the classes may differ from the initial weights; false: load what matches by name and
    shape, and list the rest."""
    resume: FilePath | None = None
    """Folder of an interrupted run to continue."""
    resume_with_other_code: Bool = False
    """Continue an interrupted run although the source code has changed since; the run records
    both codes."""
    overwrite: Bool = False
    """Move a run of the same settings aside and train again."""
    data: Data
    stage: Recipe = Recipe()
    strategies: Strategies = ()
    """Inference strategies to evaluate with after the training, as ``[os16,os8-ms-flip]``, or with
    another split as ``[{strategy: os16, split: test}]``; a sweep without them uses
    ``single-scale``."""
    objective: Text | None = None
    """Score that a search over settings optimizes (``hydra/sweeper=optuna``), as
    ``val/pixel_accuracy``; null: ``val/mIoU``, or ``val/top1_error`` of a classifier."""
    callbacks: dict[Text, OwnCode] = Field({})
    """Lightning callbacks of one's own by any name, as ``callbacks.NAME._target_=module.Name``."""
    trust_remote_code: Bool = False
    """Import the classes that the folder of the run to resume names, which may be another's."""
    automatic: tuple[Text, ...] = ()
    """Keys that were ``auto``, whose values were chosen from the images and the machine."""
    trainer: TrainerSettings = TrainerSettings()
    logger: LoggerSettings = LoggerSettings()

    @model_validator(mode="before")
    @classmethod
    def _check_stage_fits_data(cls, values: Any) -> Any:
        """Check this before the single keys, which differ between the kinds of stages."""
        data, stage = values.get("data", {}), values.get("stage", {})
        task = getattr(stage, "task", None) or dict(stage).get("task", "segmentation")
        name = getattr(data, "name", None) or dict(data).get("name")
        labeled = has_labels(name)
        if task == "segmentation" and labeled:
            raise ValueError(
                f"stage: this stage trains a segmentation network, but data={name} has image "
                "labels and no masks. To train a classifier, set stage=imagenet"
            )
        if task == "classification" and not labeled:
            choices = [name for name in layout_names() if has_labels(name)]
            raise ValueError(
                f"stage: this stage trains an image classifier, but data={name} has masks. Data "
                f"sets with image labels are data={' and data='.join(choices)}"
            )
        return values


class SweepConfig(Settings):
    """Keys of ``conf/train.yaml`` that define several runs."""

    num_seeds: Annotated[Int, Field(ge=1, le=MAX_SEEDS)] | None = None
    """Number of runs of each variant or row, with the seeds 0, 1, ...; null: 1."""
    data_roots: dict[Text, FilePath] = Field({})
    """Folders of the tables' data sets, as ``data_roots.voc=... data_roots.coco=...``."""
    external_weights: dict[Text, FilePath] = Field({})
    """Files of weights that the tables name, as ``external_weights.resnet101=FILE``."""


class TrainConfig(ModelConfig, RunConfig):
    """Training of a segmentation network."""

    data: SegmentationData
    loss: Loss = CrossEntropySettings()

    @model_validator(mode="after")
    def _check_class_weights(self) -> Self:
        classes = self.data.classes
        weights = getattr(self.loss, "class_weights", None)
        if weights is not None and classes and len(weights) != len(classes):
            raise ValueError(
                f"loss.class_weights: {len(weights)} weights, but data.classes has "
                f"{len(classes)} classes"
            )
        return self


class ClassifierConfig(RunConfig):
    """Keys of a classifier's run: a backbone at output stride 32, without ASPP and decoder."""

    data: ClassificationData
    stage: ClassifierRecipe

    @model_validator(mode="after")
    def _check_init_from(self) -> Self:
        if self.init_from is not None:
            raise ValueError(
                "init_from: not available for a classifier. Set backbone.pretrained=FILE"
            )
        return self


def has_labels(name: Any) -> bool:
    """Return True if the images of a data set have labels instead of masks.

    Names of no data set have none; the check of ``data`` reports them.
    """
    try:
        return issubclass(settings_class(str(name)), ClassificationSettings)
    except ValueError:
        return False


def run_schema(data: Any) -> type[RunConfig]:
    """Return the schema of runs on a data set, given its keys."""
    return ClassifierConfig if has_labels(data.get("name")) else TrainConfig
