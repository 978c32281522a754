"""The figure of validation images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from deeplab.utils.files import atomic_write
from deeplab.utils.visualization import Example, Pixels, segmentation_figure


class ExampleFigure(Callback):
    """Draws the predictions for some validation images after each validation.

    Args:
        image_ids: ids of the images.
        class_names: one per class, for the legend.
        palette: colors of the classes.
        path: file of the figure.
        log_functions: called with the examples, the path and the step, such as for W&B.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        class_names: Sequence[str],
        palette: Pixels,
        path: Path,
        log_functions: Sequence[Callable[[list[Example], Path, int], None]] = (),
    ) -> None:
        self.image_ids = list(image_ids)
        self.class_names, self.palette, self.path = class_names, palette, path
        self.log_functions = log_functions
        self._examples: dict[str, Example] = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Any,
        batch: dict[str, Any],
        *_: Any,
    ) -> None:
        for i, image_id in enumerate(batch["image_id"]):
            if image_id in self.image_ids:
                height, width = batch["size"][i]  # without the padding
                self._examples[image_id] = Example(
                    image_id,
                    batch["image"][i].permute(1, 2, 0)[:height, :width].cpu().numpy(),
                    batch["label"][i, :height, :width].cpu().numpy(),
                    outputs[i, :height, :width].cpu().numpy(),
                )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        examples = [self._examples[i] for i in self.image_ids if i in self._examples]
        if trainer.is_global_zero and examples:
            figure = segmentation_figure(examples, self.class_names, self.palette)
            with atomic_write(self.path) as draft:
                figure.save(draft, format="PNG")
            for log in self.log_functions:
                log(examples, self.path, trainer.global_step)
