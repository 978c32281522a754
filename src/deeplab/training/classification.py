"""Training a backbone as a classifier of whole pictures."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from deeplab.config.build_classification_data import (
    build_classification_data,
    classification_fingerprint,
    is_multi_label,
    labeled,
)
from deeplab.config.build_model import build_classifier
from deeplab.config.schema.run import ClassifierConfig
from deeplab.data.classification.dataset import ClassificationData
from deeplab.data.dataset import spread
from deeplab.metrics.percent import to_percent
from deeplab.metrics.topk import Errors, TopErrors, ranks
from deeplab.models.classifier import Classifier
from deeplab.tracking.console import error_report, print_errors
from deeplab.tracking.protocol import crop_protocol
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.loggers import publish_sheet
from deeplab.training.losses import LabelLoss
from deeplab.training.module import Batch, Recipe, TrainingModule
from deeplab.training.task import EXAMPLES, Monitor, Task, recipe, ways
from deeplab.utils.files import replacing
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import ClassifiedImage, label_sheet


class ClassificationModule(TrainingModule):
    """Trains and validates a classifier.

    Args:
        model: the network.
        recipe: how it is trained.
        class_names: one per class.
        loss: of logits and labels.
        more: see ``TrainingModule``.
    """

    model: Classifier

    def __init__(
        self,
        model: Classifier,
        recipe: Recipe,
        class_names: Sequence[str],
        *,
        loss: LabelLoss,
        **more: Any,
    ) -> None:
        super().__init__(model, recipe, class_names, **more)
        self.loss = loss
        self.tally = TopErrors()
        self.errors: Errors | None = None
        """Of the last validation."""
        self.train()  # Lightning keeps the modes that it finds

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = {"names": list(self.class_names)}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images = batch["image"].contiguous(memory_format=self.memory_format)
        loss: Tensor = self.loss(self._runner[0](images), batch["label"])
        self.log_step(loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the class with the highest logit, ``(N,)``, for the callbacks."""
        logits = self.result(batch["image"].contiguous(memory_format=self.memory_format))
        self.tally.update(ranks(logits, batch["label"]))
        return logits.argmax(1)

    def on_validation_epoch_end(self) -> None:
        self.errors, self.scored_step = self.tally.compute(), self.global_step
        self.tally.reset()
        self.log("step", float(self.global_step - 1))  # Lightning logs this value's row there
        self.log("val/top1_error", to_percent(self.errors.top1), prog_bar=True)
        self.log("val/top5_error", to_percent(self.errors.top5))


class LabelPictures(Callback):
    """Paints some validation pictures with their labels and what they were taken for.

    Args:
        image_ids: which pictures.
        class_names: one per class.
        path: the file.
        publish: called with the file and the step.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        class_names: Sequence[str],
        path: Path,
        publish: Sequence[Any] = (),
    ) -> None:
        self.image_ids, self.class_names = list(image_ids), class_names
        self.path, self.publish = path, publish
        self._found: dict[str, ClassifiedImage] = {}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        for i, name in enumerate(batch["image_id"]):
            if name in self.image_ids:
                self._found[name] = labeled(batch, i, int(outputs[i]), self.class_names)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = [self._found[name] for name in self.image_ids if name in self._found]
        if trainer.is_global_zero and found:
            with replacing(self.path) as draft:
                label_sheet(found).save(draft, format="PNG")
            for publish in self.publish:
                publish(self.path, trainer.global_step)


class ClassificationTask(Task):
    """See ``Task``."""

    monitor = Monitor("val/top1_error", "min")

    def __init__(self, config: ClassifierConfig, execution: Execution) -> None:
        self.config: ClassifierConfig = config
        self.execution = execution
        self.data: ClassificationData = build_classification_data(
            config, num_workers=execution.num_workers
        )

    @property
    def metrics(self) -> list[str]:
        return ["train/loss", "train/lr", "val/top1_error", "val/top5_error"]

    def fingerprint(self) -> str:
        return classification_fingerprint(self.data.folder, self.config.data)

    def use_cache(self) -> None:
        """There is none: decoded, ImageNet takes more than a terabyte."""

    def build_module(self) -> ClassificationModule:
        classes = self.data.classes
        return ClassificationModule(
            build_classifier(self.config, num_classes=len(classes)),
            recipe(self.config.stage),
            classes,
            loss=LabelLoss("sigmoid" if is_multi_label(self.config.data) else "softmax"),
            epoch_steps=self.data.epoch_steps,
            seed=self.config.seed,
            **ways(self.execution),
        )

    def pictures(self, folder: RunFolder, loggers: Sequence[Logger]) -> LabelPictures:
        shown = spread(self.data.val_set.ids, 4 * EXAMPLES)
        publish = [partial(publish_sheet, loggers)]
        return LabelPictures(shown, self.data.classes, folder.picture, publish)

    def metadata(self, module: ClassificationModule) -> dict[str, str]:
        return {"classes": json.dumps({"names": list(module.class_names)})}

    def result(self, module: ClassificationModule) -> dict[str, Any]:
        assert module.errors is not None
        return {
            **error_report(module.errors),
            "protocol": crop_protocol(
                split=self.data.val_split,
                images=len(self.data.val_set),
                content=self.data.val_set.content(),
                classes=self.data.classes,
                crop_size=self.config.data.crop_size,
                part=self.config.data.crop_pct,
                precision=str(module.trainer.precision),
            ),
        }

    def say(self, module: ClassificationModule) -> None:
        assert module.errors is not None
        print_errors(module.errors)
