"""Figures of validation images."""

from collections.abc import Callable, Sequence
from math import isnan
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, TypeVar

from lightning import LightningModule, Trainer
from PIL.Image import Image
from torch import Tensor

from deeplab.training.callbacks.validation_figure import ValidationFigure
from deeplab.utils.figures import save_image

E = TypeVar("E")


class ExampleFigure(ValidationFigure, Generic[E]):
    """Draws the predictions for some validation images after each validation.

    Args:
        image_ids: ids of the images.
        path: file of the figure.
        make_example: returns the example of a batch, an index in it and the prediction.
        draw: returns the figure of some examples.
        log: called with the examples, the path and the step, such as for W&B.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        path: Path,
        *,
        make_example: Callable[[Any, int, Tensor], E],
        draw: Callable[[list[E]], Image],
        log: Callable[[list[E], Path, int], None],
    ) -> None:
        super().__init__()
        self.image_ids, self.path = list(image_ids), path
        self.make_example, self.draw_examples, self.log_figure = make_example, draw, log
        self._examples: dict[str, E] = {}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        for i, image_id in enumerate(batch["image_id"]):
            if image_id in self.image_ids:
                self._examples[image_id] = self.make_example(batch, i, outputs[i])

    def draw(self, trainer: Trainer, module: Any) -> None:
        examples = [self._examples[i] for i in self.image_ids if i in self._examples]
        if examples:
            save_image(self.draw_examples(examples), self.path)
            self.log_figure(examples, self.path, trainer.global_step - 1)  # as the scores are


class WorstFigure(ValidationFigure, Generic[E]):
    """Draws the validation images with the lowest IoU after each validation.

    On several devices they are the worst of those that the first device has predicted.

    Args:
        count: number of images.
        path: file of the figure.
        make_example: see ``ExampleFigure``.
        draw: see ``ExampleFigure``.
    """

    def __init__(
        self,
        count: int,
        path: Path,
        *,
        make_example: Callable[[Any, int, Tensor], E],
        draw: Callable[[list[E]], Image],
    ) -> None:
        super().__init__()
        self.count, self.path = count, path
        self.make_example, self.draw_examples = make_example, draw
        self._worst: list[tuple[float, E]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._worst = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        if not trainer.is_global_zero:
            return
        for i, iou in enumerate(pl_module.image_iou.tolist()):
            is_full = len(self._worst) == self.count
            if isnan(iou) or (is_full and iou >= self._worst[-1][0]):
                continue
            self._worst.append((iou, self.make_example(batch, i, outputs[i])))
            self._worst = sorted(self._worst, key=itemgetter(0))[: self.count]

    def draw(self, trainer: Trainer, module: Any) -> None:
        if self._worst:
            save_image(self.draw_examples([example for _, example in self._worst]), self.path)
