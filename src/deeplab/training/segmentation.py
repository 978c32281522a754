"""Training of segmentation networks."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning import Callback
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray
from torch import Tensor

from deeplab.config.build_data import build_segmentation_data
from deeplab.config.build_model import build_model, check_is_network, rebuild_model
from deeplab.config.hydra_app import is_later_job
from deeplab.config.parsing import validate
from deeplab.config.schema.loss import CrossEntropySettings, Loss, LossSettings
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.stage import Recipe
from deeplab.data.bad_files import split_overlap_message
from deeplab.data.cache import use_cache
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationBatch, check_split
from deeplab.data.items import shared_images
from deeplab.data.layouts.base import exclusive_splits, split_items
from deeplab.data.layouts.own import OwnLayout
from deeplab.data.memory_cache import use_memory
from deeplab.inference.predictor import predict_labels
from deeplab.inference.strategy import Strategy
from deeplab.metrics.confusion_matrix import ConfusionMatrix, Scores, scores
from deeplab.metrics.definitions import CLASS_IOU, LEARNING_RATE, SEGMENTATION, TRAIN_LOSS
from deeplab.metrics.iou import Fractions, class_iou, mean_over_classes
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.tracking.console import print_scores
from deeplab.tracking.evaluation_protocol import segmentation_protocol
from deeplab.tracking.result import Result, in_percent
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.atrous_rate_fit import untrained_rates
from deeplab.training.batch_norm_lag import lagging_statistics
from deeplab.training.callbacks.confusion_figure import ConfusionFigure
from deeplab.training.callbacks.example_figure import ExampleFigure, WorstFigure
from deeplab.training.describe_choices import describe_choices
from deeplab.training.loggers import log_examples, log_figure
from deeplab.training.module import TrainingModule
from deeplab.training.task import NUM_EXAMPLES, Task, execution_options
from deeplab.training.upsampled_losses import build_loss
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.hardware import Execution
from deeplab.utils.own_code.node import OwnCode, targets
from deeplab.utils.own_code.trust import trust
from deeplab.utils.parallel import is_first_process
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.settings import Settings, to_dict
from deeplab.utils.text import name_some, print_folded
from deeplab.utils.visualization import Color, Example, rgb, segmentation_figure


class _LossKeys(Settings):
    loss: Loss


class SegmentationModule(TrainingModule):
    """Training, validation, test and prediction of a DeepLabv3+ in any ``lightning.Trainer``.

    Settings may be objects or plain values, as checkpoints hold them for ``load_from_checkpoint``.

    Args:
        model: the network; or the settings of one, for a new one.
        recipe: optimization recipe; None: the default one over the steps of the trainer.
        class_names: one per class; None: their numbers.
        loss: keys of ``loss``.
        palette: colors of the classes, which are saved in checkpoints.
        trust_remote_code: import the classes that the settings name by ``_target_``, such as those
            of a checkpoint, which may be another's.
        options: see ``TrainingModule``.
    """

    model: DeepLabV3Plus

    def __init__(
        self,
        model: DeepLabV3Plus | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        *,
        loss: LossSettings | OwnCode | Mapping[str, Any] = CrossEntropySettings(),  # noqa: B008  frozen
        palette: Sequence[Sequence[int]] = (),
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        if trust_remote_code:
            trust(targets([model, loss, *options.values()]))
        network = rebuild_model(model) if isinstance(model, Mapping) else model
        check_is_network(network)
        names = [str(k) for k in range(network.num_classes)] if class_names is None else class_names
        if len(names) != network.num_classes:
            raise UserError(
                f"class_names: {len(names)} names, but the network has num_classes="
                f"{network.num_classes}."
            )
        super().__init__(network, recipe, names, **options)
        self.palette = [list(color) for color in palette]
        self.loss_settings = validate(_LossKeys, {"loss": loss}).loss
        self.loss = build_loss(self.loss_settings)
        self.confusion = ConfusionMatrix(network.num_classes)
        self.scores: Scores | None = None
        """Scores of the last validation."""
        self.matrix: NDArray[np.int64] | None = None
        """Confusion matrix of the last validation, by true and predicted class ``(K, K)``."""
        self.train()  # Lightning does not change the training mode

    def setup(self, stage: str) -> None:
        """Check that the data of the trainer have as many classes as the network.

        Raises:
            UserError: they have not.
        """
        data = getattr(self.trainer, "datamodule", None)
        count = self.model.num_classes
        if isinstance(data, SegmentationData) and len(data.classes) != count:
            raise UserError(
                f"num_classes={count}: the data have {len(data.classes)} classes "
                f"({name_some(data.classes.names, 8)}). Create the model with as many."
            )

    @property
    def classes(self) -> dict[str, Any]:
        """See ``TrainingModule``."""
        return {**super().classes, "palette": self.palette}

    @property
    def loss_adds_up(self) -> bool:
        return self.loss.adds_up(self.global_step)

    def compute_loss(
        self, logits: Tensor, label: Tensor, all_labels: Tensor | None = None
    ) -> Tensor:
        """Return the loss of logits ``(N, K, H/4, W/4)``."""
        loss: Tensor = self.loss(logits, label, step=self.global_step, all_labels=all_labels)
        return loss

    def validation_step(self, batch: SegmentationBatch, batch_idx: int) -> Tensor:
        """Predict whole images and return the label maps ``(N, H, W)`` for the callbacks."""
        prediction = predict_labels(self.eval_model, self.to_layout(batch["image"]))
        self.confusion.update(prediction, batch["label"])
        return prediction

    @property
    def image_iou(self) -> Fractions:
        """Mean IoU of each image of the last batch; nan where no pixel is labeled."""
        return mean_over_classes(class_iou(self.confusion.image_counts.cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        self._finish_scores("val")

    def test_step(self, batch: SegmentationBatch, batch_idx: int) -> None:
        """Score whole images as in validation; the scores are ``test/mIoU`` and so on."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._finish_scores("test")

    def predict_step(self, batch: SegmentationBatch, batch_idx: int) -> list[Tensor]:
        """Return the label map ``(H, W)`` of each image, uint8, without its padding."""
        label_maps = predict_labels(self.eval_model, self.to_layout(batch["image"]))
        return [m[:h, :w] for m, (h, w) in zip(label_maps, batch["size"], strict=True)]

    def arguments(self) -> dict[str, Any]:
        """See ``TrainingModule``; without the network if it was put together by hand."""
        stride = {"output_stride": self.model.output_stride}
        network = self.model.settings and self.model.settings | stride
        values: dict[str, Any] = {
            "recipe": to_dict(self.recipe) if self.has_recipe else None,
            "loss": to_dict(self.loss_settings),
            "optimizer": to_dict(self.optimizer_settings),
            "lr_scheduler": to_dict(self.lr_scheduler_settings),
            "class_names": list(self.class_names),
            "palette": self.palette,
            "epoch_steps": self.epoch_steps,
            "seed": self.seed,
        }
        return {"model": network, **values} if network else values

    def _finish_scores(self, stage: str) -> None:
        matrix = self.confusion.compute()
        self.scores, self.matrix = scores(matrix), matrix.cpu().numpy()
        self.confusion.reset()
        values = {metric.key: self.scores.values[metric.key] for metric in SEGMENTATION}
        for name, iou in zip(self.class_names, self.scores.class_iou, strict=True):
            values[f"IoU/{name}"] = iou
        self.log_scores(values, stage)


class SegmentationTask(Task):
    """Segmentation task of one run; see ``Task``."""

    main_metric = SEGMENTATION[0]

    def __init__(self, config: TrainConfig, execution: Execution) -> None:
        self.config: TrainConfig = config
        self.execution = execution
        self.data: SegmentationData = build_segmentation_data(
            config, num_workers=execution.num_workers
        )
        self.restrict_data()
        for dataset in (self.data.train_set, self.data.val_set):
            _warn(check_split(dataset))
        _warn([*untrained_rates(config), *lagging_statistics(config)])
        self.data.check_eval_batches()
        _warn_about_overlap(self.data)

    def describe_data(self) -> list[str]:
        """See ``Task``; with the classes that training images are drawn by."""
        lines, sampler = super().describe_data(), self.data.train_set.class_sampler
        if sampler:
            drawn = sampler.describe(self.config.data.classes)
            lines.append(f"training images drawn by their classes: {drawn}")
        return lines

    def describe_choices(self) -> list[str]:
        """See ``Task``."""
        return describe_choices(self.config, self.data)

    @property
    def metrics(self) -> list[str]:
        per_class = [f"{CLASS_IOU}{name}" for name in self.config.data.classes]
        scores = [metric.logged_as for metric in SEGMENTATION]
        return [TRAIN_LOSS, LEARNING_RATE, *scores, *per_class]

    @property
    def class_colors(self) -> Mapping[str, Color]:
        classes = self.data.classes
        return {name: rgb(classes.palette[index]) for index, name in enumerate(classes.names)}

    def use_cache(self) -> None:
        folder, progress = self.config.data.cache_dir, self.config.trainer.enable_progress_bar
        if folder:
            for dataset in (self.data.train_set, self.data.val_set):
                use_cache(dataset, folder, num_workers=cpu_count(), progress=progress)
        elif not isinstance(self.data.layout, OwnLayout):
            stage, images = self.config.stage, self.data.train_set
            line = use_memory(
                images,
                self.config.data.memory_cache,
                passes=stage.max_steps * stage.batch_size / len(images),
                num_workers=self.execution.num_workers,
                devices=self.execution.devices,
            )
            if line and is_first_process() and not is_later_job():
                print_folded(f"Cache:      {line}")

    def build_module(self) -> SegmentationModule:
        classes = self.config.data.classes
        return SegmentationModule(
            build_model(
                self.config,
                num_classes=len(classes),
                logits_init=self.config.stage.logits_init,
            ),
            self.config.stage,
            classes,
            loss=self.config.loss,
            optimizer=self.config.optimizer,
            lr_scheduler=self.config.lr_scheduler,
            palette=self.data.classes.palette[: len(classes)].tolist(),
            epoch_steps=self.data.epoch_steps,
            seed=self.config.seed,
            **execution_options(self.execution, self.config.trainer),
        )

    def figure_callbacks(self, folder: RunFolder, loggers: Sequence[Logger]) -> list[Callback]:
        names, palette = self.data.classes.names, self.data.classes.palette
        draw = partial(segmentation_figure, class_names=names, palette=palette)
        shown = sample_evenly(self.data.val_set.ids, NUM_EXAMPLES)
        log = partial(log_examples, loggers, names)
        return [
            ExampleFigure(
                shown, folder.validation_figure, make_example=_example, draw=draw, log=log
            ),
            WorstFigure(NUM_EXAMPLES, folder.worst_figure, make_example=_example, draw=draw),
            ConfusionFigure(
                names, folder.confusion_figure, log=partial(log_figure, loggers, "confusion_matrix")
            ),
        ]

    def result(self, module: SegmentationModule) -> dict[str, Any]:
        assert module.scores is not None
        ious = zip(self.config.data.classes, module.scores.class_iou, strict=True)
        return {
            "scores": in_percent(module.scores.values),
            "class_IoU": in_percent(dict(ious)),
            "protocol": segmentation_protocol(
                self.data,
                Strategy(self.config.output_stride),
                content=self.data.val_set.content_hash(),
                padded_to=self.config.data.padded_size,
                precision=self.execution.validation_precision,
            ),
        }

    def check_result(self, module: SegmentationModule) -> None:
        """See ``Task``."""
        assert module.matrix is not None
        predicted = module.matrix.sum(axis=0).nonzero()[0]
        if len(predicted) == 1:
            name = module.class_names[predicted[0]]
            _warn(
                [
                    f"every labeled pixel of the validation images was predicted as {name}. Train "
                    "longer (stage.max_steps), from other weights (backbone.pretrained), or check "
                    "the masks."
                ]
            )

    def report(self, result: Result) -> None:
        print_scores(result)


def _example(batch: SegmentationBatch, index: int, prediction: Tensor) -> Example:
    """Return an image of a batch, without its padding."""
    height, width = batch["size"][index]
    return Example(
        batch["image_id"][index],
        batch["image"][index].permute(1, 2, 0)[:height, :width].cpu().numpy(),
        batch["label"][index, :height, :width].cpu().numpy(),
        prediction[:height, :width].cpu().numpy(),
    )


def _warn(warnings: Sequence[str]) -> None:
    if is_first_process():
        for warning in warnings:
            print(f"Warning: {warning}")


def _warn_about_overlap(data: SegmentationData) -> None:
    """Print a warning if images are in two of the splits of training, validation and test.

    The doctor reports this as an error. Here it may be intended, as in training on trainval.
    """
    if not is_first_process() or data.overfit_batches:
        return
    for first, second in exclusive_splits(data.layout, data.train_split, data.val_split):
        try:
            shared = shared_images(*(split_items(data.layout, name) for name in (first, second)))
        except UserError:  # a test split that cannot be read
            continue
        if shared:
            problem, _ = split_overlap_message(first, second)
            print(f"Warning: {name_some([item.id for item in shared], 1)}: {problem}.")
