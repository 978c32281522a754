"""The figure of validation images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from lightning import Callback, LightningModule, Trainer
from PIL.Image import Image
from torch import Tensor

from deeplab.utils.files import atomic_write

E = TypeVar("E")


class ExampleFigure(Callback, Generic[E]):
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
        self.image_ids, self.path = list(image_ids), path
        self.make_example, self.draw, self.log_figure = make_example, draw, log
        self._examples: dict[str, E] = {}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        for i, image_id in enumerate(batch["image_id"]):
            if image_id in self.image_ids:
                self._examples[image_id] = self.make_example(batch, i, outputs[i])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        examples = [self._examples[i] for i in self.image_ids if i in self._examples]
        if trainer.is_global_zero and examples:
            with atomic_write(self.path) as draft:
                self.draw(examples).save(draft, format="PNG")
            self.log_figure(examples, self.path, trainer.global_step)
