"""Interface between a training run and the task that it trains a network for."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback
from lightning.pytorch.loggers import Logger

from deeplab.config.schema.run import RunConfig
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.datamodules import StreamData
from deeplab.data.layouts.base import data_fingerprint, describe_splits, split_origin
from deeplab.metrics.definitions import Metric
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.module import TrainingModule
from deeplab.utils.hardware import Execution
from deeplab.utils.text import pluralize
from deeplab.utils.visualization import Color

NUM_EXAMPLES = 6
"""Number of rows in the figure of validation images."""


class Task(ABC):
    """Segmentation or classification, as configured for one run."""

    config: RunConfig
    execution: Execution
    data: StreamData[Any]
    main_metric: Metric
    """Metric by which ``best.ckpt`` is chosen."""

    @property
    @abstractmethod
    def metrics(self) -> list[str]:
        """Columns of ``metrics.csv``."""

    @property
    def class_colors(self) -> Mapping[str, Color]:
        """Colors of the classes in figures, by name; empty if nothing is painted in them."""
        return {}

    def fingerprint(self) -> str:
        """Return the fingerprint of the training and validation images."""
        return data_fingerprint(self.config.data, self.data.layout)

    def split_origins(self) -> dict[str, str]:
        """Return where the images of training and validation come from."""
        splits = (self.data.train_split, self.data.val_split)
        return {split: split_origin(self.data.layout, split) for split in splits}

    def describe_data(self) -> list[str]:
        """Return lines about the training and validation images."""
        lines = describe_splits(self.data.layout, self.data.train_split, self.data.val_split)
        trainer = self.config.trainer
        if trainer.overfit_batches:
            count = len(self.data.train_set)
            lines = [*lines[:1], f"training and validation on {count} of them (overfit_batches)"]
        if trainer.limit_val_batches is not None:
            validated = pluralize(len(self.data.val_set), "image")
            lines.append(f"validation on {validated} (limit_val_batches)")
            splits = {entry.split or self.config.data.val_split for entry in self.config.strategies}
            for split in () if trainer.fast_dev_run else sorted(splits):
                evaluated = pluralize(self.data.layout.num_images(split), "image")
                lines.append(f"evaluation after the training on all {evaluated} of {split}")
        return lines

    def describe_choices(self) -> list[str]:
        """Return lines about the values that were chosen for this run."""
        return []

    def restrict_data(self) -> None:
        """Use the part of the images that the trainer's settings select."""
        trainer = self.config.trainer
        self.data.restrict(trainer.overfit_batches, trainer.limit_val_batches)

    def use_cache(self) -> None:  # noqa: B027  a task without a cache is complete
        """Read images from a cache of decoded images, if the config has one."""

    @abstractmethod
    def build_module(self) -> TrainingModule:
        """Build the network and wrap it in its training module."""

    @abstractmethod
    def figure_callbacks(self, folder: RunFolder, loggers: Sequence[Logger]) -> list[Callback]:
        """Return callbacks that draw some validation images after each validation."""

    def metadata(self, module: TrainingModule) -> dict[str, str]:
        """Return the metadata to save in the weights file."""
        return {"classes": json.dumps(module.classes)}

    @abstractmethod
    def result(self, module: Any) -> dict[str, Any]:
        """Return the scores of the last validation and their protocol, as fields of ``Result``."""

    def check_result(self, module: Any) -> None:  # noqa: B027  not every task has a check
        """Print a warning if the scores of the last validation look wrong."""

    @abstractmethod
    def report(self, result: Result) -> None:
        """Print the scores at the end of training."""


def execution_options(execution: Execution, trainer: TrainerSettings) -> dict[str, Any]:
    """Return the options of a training module that the execution settings determine."""
    return {
        "parts": trainer.accumulate_grad_batches,
        "gradient_checkpointing": trainer.gradient_checkpointing,
        "channels_last": execution.channels_last,
        "compiled": execution.compiled,
        "fused_optimizer": execution.fused_optimizer,
    }
