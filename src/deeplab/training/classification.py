"""Training of a backbone as an image classifier."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lightning import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from deeplab.config.build_data import build_classification_data
from deeplab.config.build_model import build_classifier
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.stage import Recipe
from deeplab.data.classification.dataset import classification_example
from deeplab.data.datamodules import ClassificationData
from deeplab.data.dataset import Batch
from deeplab.metrics.definitions import CLASSIFICATION, LEARNING_RATE, TRAIN_LOSS
from deeplab.metrics.topk import TopKErrorMetric, TopKErrors, ranks
from deeplab.models.classifier import Classifier
from deeplab.tracking.console import print_errors
from deeplab.tracking.evaluation_protocol import crop_protocol
from deeplab.tracking.result import Result, in_percent
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.example_figure import ExampleFigure
from deeplab.training.loggers import log_examples
from deeplab.training.losses import ClassificationLoss
from deeplab.training.module import TrainingModule
from deeplab.training.task import NUM_EXAMPLES, Task, execution_options
from deeplab.utils.hardware import Execution
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.visualization import classification_figure


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

    @property
    def loss_adds_up(self) -> bool:
        return True

    def compute_loss(
        self, logits: Tensor, label: Tensor, all_labels: Tensor | None = None
    ) -> Tensor:
        """See ``TrainingModule``."""
        loss: Tensor = self.loss(logits, label, all_labels=all_labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the class with the highest logit, ``(N,)``, for the callbacks."""
        logits = self.eval_model(self.to_layout(batch["image"]))
        self.top_errors.update(ranks(logits, batch["label"]))
        return logits.argmax(1)

    def on_validation_epoch_end(self) -> None:
        self.errors = self.top_errors.compute()
        self.top_errors.reset()
        self.log_scores({metric.key: self.errors[metric.key] for metric in CLASSIFICATION})


class ClassificationTask(Task):
    """Classification task of one run; see ``Task``."""

    main_metric = CLASSIFICATION[0]

    def __init__(self, config: ClassifierConfig, execution: Execution) -> None:
        self.config: ClassifierConfig = config
        self.execution = execution
        self.data: ClassificationData = build_classification_data(
            config, num_workers=execution.num_workers
        )
        self.restrict_data()

    @property
    def metrics(self) -> list[str]:
        return [TRAIN_LOSS, LEARNING_RATE, *(metric.logged_as for metric in CLASSIFICATION)]

    def build_module(self) -> ClassificationModule:
        classes = self.data.classes
        return ClassificationModule(
            build_classifier(self.config, num_classes=len(classes)),
            self.config.stage,
            classes,
            loss=ClassificationLoss("sigmoid" if self.data.layout.multi_label else "softmax"),
            optimizer=self.config.optimizer,
            lr_scheduler=self.config.lr_scheduler,
            epoch_steps=self.data.epoch_steps,
            seed=self.config.seed,
            **execution_options(self.execution, self.config.trainer),
        )

    def figure_callbacks(self, folder: RunFolder, loggers: Sequence[Logger]) -> list[Callback]:
        figure = ExampleFigure(
            sample_evenly(self.data.val_set.ids, 4 * NUM_EXAMPLES),
            folder.validation_figure,
            make_example=partial(classification_example, classes=self.data.classes),
            draw=classification_figure,
            log=partial(log_examples, loggers, self.data.classes),
        )
        return [figure]

    def result(self, module: ClassificationModule) -> dict[str, Any]:
        assert module.errors is not None
        return {
            "scores": in_percent(module.errors),
            "protocol": crop_protocol(
                self.data,
                crop_size=self.config.data.crop_size,
                crop_pct=self.config.data.crop_pct,
                precision=self.execution.validation_precision,
            ),
        }

    def report(self, result: Result) -> None:
        print_errors(result)
