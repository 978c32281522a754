"""Time of a training step on this machine, measured without any data."""

import statistics
import time
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

from deeplab.config.build_model import build_classifier, build_model
from deeplab.config.execution import choose_execution
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.tracking.console import silence_library_messages
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.classification import ClassificationModule
from deeplab.training.losses import ClassificationLoss
from deeplab.training.module import TrainingModule
from deeplab.training.segmentation import SegmentationModule
from deeplab.training.task import execution_options
from deeplab.training.trainer import build_trainer
from deeplab.utils.hardware import Execution

WARM_UP, MEASURED = 3, 5
"""Number of steps before and in the measurement; the first steps compile and allocate memory."""


class StepClock(Callback):
    """Callback that measures the steps of a training, without the time between them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """Duration of each step."""

    def on_train_batch_start(self, *_: Any) -> None:
        self._started_at = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        outputs["loss"].item()  # waits for the GPU
        self.seconds.append(time.monotonic() - self._started_at)


def measure_step(
    config: RunConfig, *, num_classes: int, warm_up: int = WARM_UP, measured: int = MEASURED
) -> float:
    """Return the median seconds of a training step on one device, on random images in memory.

    Reading and augmenting images is not part of it.

    Args:
        config: config of a training.
        num_classes: number of classes, which the config of a data set need not list.
        warm_up: number of steps before the measurement.
        measured: number of measured steps.

    Raises:
        torch.OutOfMemoryError: the batch does not fit.
    """
    silence_library_messages()
    steps = warm_up + measured
    stage = config.stage.model_copy(
        update={
            "max_steps": steps,
            "warmup_steps": 0,
            # A backbone that is frozen for some steps takes more time and memory after them.
            "freeze_backbone": config.stage.freeze_backbone is True,
        }
    )
    trainer_settings = config.trainer.model_copy(
        update={"num_validations": 0, "devices": 1, "num_nodes": 1, "enable_progress_bar": False}
    )
    config = config.model_copy(update={"stage": stage, "trainer": trainer_settings})
    execution, clock = choose_execution(trainer_settings), StepClock()
    module = _build_module(config, execution, num_classes)
    batch: Any = [_random_batch(config, num_classes)] * steps
    batches: DataLoader[Any] = DataLoader(batch, batch_size=None)
    with TemporaryDirectory() as folder, execution.threads():
        trainer = build_trainer(config, execution, RunFolder(folder), [], [clock], quiet=True)
        trainer.limit_val_batches = 0
        trainer.fit(module, batches, batches)
    return statistics.median(clock.seconds[warm_up:])


def _build_module(config: RunConfig, execution: Execution, num_classes: int) -> TrainingModule:
    names = [str(k) for k in range(num_classes)]
    options: dict[str, Any] = {
        "optimizer": config.optimizer,
        "lr_scheduler": config.lr_scheduler,
        **execution_options(execution, config.trainer),
    }
    if isinstance(config, TrainConfig):
        network = build_model(config, num_classes=num_classes)
        return SegmentationModule(network, config.stage, names, loss=config.loss, **options)
    assert isinstance(config, ClassifierConfig)
    classifier = build_classifier(config, num_classes=num_classes)
    loss = ClassificationLoss("softmax")
    return ClassificationModule(classifier, config.stage, names, loss=loss, **options)


def _random_batch(config: RunConfig, num_classes: int) -> dict[str, Any]:
    count, side = config.stage.batch_size, config.data.crop_size
    channels = config.data.pixel_format.channels
    is_segmentation = isinstance(config, TrainConfig)
    labels = (count, side, side) if is_segmentation else (count, 1)
    return {
        "image": torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8),
        "label": torch.randint(
            0, num_classes, labels, dtype=torch.uint8 if is_segmentation else torch.int64
        ),
        "skipped": [],
    }
