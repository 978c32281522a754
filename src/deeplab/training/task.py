"""What a run asks of the kind of network that it trains."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from lightning import Callback
from lightning.pytorch.loggers import Logger

from deeplab.config.schema.run import RunConfig
from deeplab.config.schema.stage import StageConfig
from deeplab.data.datamodules import StreamData
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.module import Recipe, TrainingModule
from deeplab.utils.hardware import Execution

EXAMPLES = 6
"""Rows of the picture of validation images."""


class Monitor(NamedTuple):
    """The score by which ``best.ckpt`` is chosen."""

    name: str
    mode: Literal["min", "max"]


class Task(ABC):
    """Segmentation or classification, as one run is configured.

    Args:
        config: of the run.
        execution: how it is run.
    """

    config: RunConfig
    data: StreamData
    monitor: Monitor

    @property
    @abstractmethod
    def metrics(self) -> list[str]:
        """The columns of ``metrics.csv``."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Of the images that the run is trained and validated on."""

    @abstractmethod
    def use_cache(self) -> None:
        """Read images from a decoded cache, if one is asked for."""

    @abstractmethod
    def build_module(self) -> TrainingModule:
        """The network with what trains it."""

    @abstractmethod
    def pictures(self, folder: RunFolder, loggers: Sequence[Logger]) -> Callback:
        """Paints some validation images after each validation."""

    @abstractmethod
    def metadata(self, module: Any) -> dict[str, str]:
        """What is written into the file of the weights."""

    @abstractmethod
    def result(self, module: Any) -> dict[str, Any]:
        """The scores of the last validation, and their protocol."""

    @abstractmethod
    def say(self, module: Any) -> None:
        """Print the scores of the last validation."""


def recipe(stage: StageConfig) -> Recipe:
    """The part of a stage that the module is trained by."""
    return Recipe(**{key: getattr(stage, key) for key in Recipe.__dataclass_fields__})


def ways(execution: Execution) -> dict[str, bool]:
    """The part of an execution that the module is told."""
    return {
        "channels_last": execution.channels_last,
        "compiled": execution.compiled,
        "fused_optimizer": execution.fused_optimizer,
    }
