"""Training of a backbone as an image classifier."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from deeplab.config.build_data import build_classification_data
from deeplab.config.build_model import build_classifier
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.stage import Recipe
from deeplab.data.classification.dataset import ClassificationData, classification_example
from deeplab.data.dataset import evenly_spaced
from deeplab.data.layouts.base import data_fingerprint
from deeplab.metrics.definitions import CLASSIFICATION, to_percent
from deeplab.metrics.topk import TopKErrorMetric, TopKErrors, ranks
from deeplab.models.classifier import Classifier
from deeplab.tracking.console import print_errors
from deeplab.tracking.evaluation_protocol import crop_protocol
from deeplab.tracking.result import Result, in_percent
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.loggers import log_figure
from deeplab.training.losses import ClassificationLoss
from deeplab.training.module import Batch, TrainingModule
from deeplab.training.task import NUM_EXAMPLES, Task, execution_options
from deeplab.utils.files import atomic_write
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import ClassificationExample, classification_figure


class ClassificationModule(TrainingModule):
    """Training and validation of a classifier.

    Args:
        model: the network.
        recipe: optimization recipe.
        class_names: one per class.
        loss: loss of logits and labels.
        options: see ``TrainingModule``.
    """

    model: Classifier

    def __init__(
        self,
        model: Classifier,
        recipe: Recipe,
        class_names: Sequence[str],
        *,
        loss: ClassificationLoss,
        **options: Any,
    ) -> None:
        super().__init__(model, recipe, class_names, **options)
        self.loss = loss
        self.top_errors = TopKErrorMetric()
        self.errors: TopKErrors | None = None
        """Errors of the last validation."""
        self.train()  # Lightning does not change the training mode

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = {"names": list(self.class_names)}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images = batch["image"].contiguous(memory_format=self.memory_format)
        loss: Tensor = self.loss(self._runner[0](images), batch["label"])
        self.log_step(loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the class with the highest logit, ``(N,)``, for the callbacks."""
        logits = self.eval_model(batch["image"].contiguous(memory_format=self.memory_format))
        self.top_errors.update(ranks(logits, batch["label"]))
        return logits.argmax(1)

    def on_validation_epoch_end(self) -> None:
        self.errors, self.scored_step = self.top_errors.compute(), self.global_step
        self.top_errors.reset()
        self.log("step", float(self.global_step - 1))  # step at which Lightning logs this row
        for metric in CLASSIFICATION:
            value = to_percent(self.errors[metric.key])
            self.log(f"val/{metric.key}", value, prog_bar=metric is CLASSIFICATION[0])


class ClassificationFigure(Callback):
    """Draws some validation images with their labels and predicted classes.

    Args:
        image_ids: ids of the images.
        class_names: one per class.
        path: file of the figure.
        log_functions: called with the path and the step, such as for W&B.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        class_names: Sequence[str],
        path: Path,
        log_functions: Sequence[Any] = (),
    ) -> None:
        self.image_ids, self.class_names = list(image_ids), class_names
        self.path, self.log_functions = path, log_functions
        self._examples: dict[str, ClassificationExample] = {}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        for i, name in enumerate(batch["image_id"]):
            if name in self.image_ids:
                self._examples[name] = classification_example(
                    batch, i, int(outputs[i]), self.class_names
                )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        examples = [self._examples[name] for name in self.image_ids if name in self._examples]
        if trainer.is_global_zero and examples:
            with atomic_write(self.path) as draft:
                classification_figure(examples).save(draft, format="PNG")
            for log in self.log_functions:
                log(self.path, trainer.global_step)


class ClassificationTask(Task):
    """Classification task of one run; see ``Task``."""

    main_metric = CLASSIFICATION[0]

    def __init__(self, config: ClassifierConfig, execution: Execution) -> None:
        self.config: ClassifierConfig = config
        self.execution = execution
        self.data: ClassificationData = build_classification_data(
            config, num_workers=execution.num_workers
        )

    @property
    def metrics(self) -> list[str]:
        return ["train/loss", "train/lr", *(f"val/{metric.key}" for metric in CLASSIFICATION)]

    def fingerprint(self) -> str:
        return data_fingerprint(self.config.data, self.data.layout)

    def use_cache(self) -> None:
        """Do nothing: decoded, ImageNet takes more than a terabyte."""

    def build_module(self) -> ClassificationModule:
        classes = self.data.classes
        return ClassificationModule(
            build_classifier(self.config, num_classes=len(classes)),
            self.config.stage,
            classes,
            loss=ClassificationLoss("sigmoid" if self.data.layout.multi_label else "softmax"),
            epoch_steps=self.data.epoch_steps,
            seed=self.config.seed,
            **execution_options(self.execution),
        )

    def figure_callback(self, folder: RunFolder, loggers: Sequence[Logger]) -> ClassificationFigure:
        image_ids = evenly_spaced(self.data.val_set.ids, 4 * NUM_EXAMPLES)
        log_functions = [partial(log_figure, loggers)]
        return ClassificationFigure(
            image_ids, self.data.classes, folder.validation_figure, log_functions
        )

    def metadata(self, module: ClassificationModule) -> dict[str, str]:
        return {"classes": json.dumps({"names": list(module.class_names)})}

    def result(self, module: ClassificationModule) -> dict[str, Any]:
        assert module.errors is not None
        return {
            "scores": in_percent(module.errors),
            "protocol": crop_protocol(
                self.data,
                crop_size=self.config.data.crop_size,
                crop_pct=self.config.data.crop_pct,
                precision=str(module.trainer.precision),
            ),
        }

    def report(self, result: Result) -> None:
        print_errors(result)
