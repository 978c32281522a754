"""Gradient accumulation: the gradient of a whole batch from parts that fit into memory.

Lightning's ``accumulate_grad_batches`` averages the losses of several batches. That is another loss
if they differ in their number of labeled pixels, or if the hardest pixels are selected in each of
them. Here a batch of the data is still one step, and its gradient that of the loss of all its
images. A step therefore is the same for schedules, averages of the weights, logs and checkpoints.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from deeplab.training.collectives import mean_over_devices


class Module(Protocol):
    """What accumulation takes of a training module; see ``TrainingModule``."""

    model: nn.Module

    @property
    def trainer(self) -> Any: ...

    @property
    def loss_adds_up(self) -> bool: ...

    def run_part(self, images: Tensor, part: int = 0) -> Tensor: ...

    def compute_loss(
        self, logits: Tensor, label: Tensor, all_labels: Tensor | None = None
    ) -> Tensor: ...


class MicroBatches:
    """The loss of a batch that goes through the network in parts.

    If the loss adds up over the parts, each goes forward and backward once. Otherwise all parts go
    forward without gradients first, the loss of all logits gives the gradient of each logit, and
    each part goes forward and backward with these: a third more work.

    Args:
        count: number of parts, which a smaller batch of another trainer may not have.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def loss(self, module: Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch, of which the gradient of the last part is still to compute.

        The gradients of the other parts are in the parameters by then.
        """
        if self.count == 1:
            return mean_over_devices(module.compute_loss(module.run_part(images), labels))
        module.trainer.optimizers[0].zero_grad()
        count = min(self.count, len(images))
        parts = images.tensor_split(count)
        if not module.loss_adds_up:
            return self._loss_of_all_logits(module, parts, labels)
        total = torch.zeros((), device=labels.device)
        for number, (image, label) in enumerate(
            zip(parts, labels.tensor_split(count), strict=True)
        ):
            logits = module.run_part(image, number)
            loss = mean_over_devices(module.compute_loss(logits, label, all_labels=labels))
            total = total + loss
            if number < count - 1:
                _backward(module, loss)
                total = total.detach()
        return total

    def _loss_of_all_logits(
        self, module: Module, parts: Sequence[Tensor], labels: Tensor
    ) -> Tensor:
        statistics = [(buffer, buffer.clone()) for buffer in module.model.buffers()]
        with torch.no_grad():
            logits = torch.cat([module.run_part(part, i) for i, part in enumerate(parts)])
            # float16 gradients would underflow, because the loss is scaled below only
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            for buffer, before in statistics:  # batch norms count each image once
                buffer.copy_(before)
        torch.clear_autocast_cache()  # of weights without gradients
        logits.requires_grad_()
        loss = mean_over_devices(module.compute_loss(logits, labels))
        (gradient,) = torch.autograd.grad(loss, logits)
        gradients = gradient.tensor_split(len(parts))
        for number, (part, part_gradient) in enumerate(zip(parts, gradients, strict=True)):
            product = (module.run_part(part, number) * part_gradient).sum()
            if number < len(parts) - 1:
                _backward(module, product)
        return loss.detach() + (product - product.detach())


def _backward(module: Module, loss: Tensor) -> None:
    """Add the gradient of a part to the parameters; DistributedDataParallel sums up at the last."""
    with torch.autocast(loss.device.type, enabled=False):
        module.trainer.strategy.backward(loss, None)
