"""Losses: cross-entropy of label maps, one image at a time, and of image labels.

The paper upsamples the logits to the label map instead of shrinking the labels, which gains 1.2
points of mIOU (DeepLabv3, section 4.1). In a plain implementation autograd keeps several
``(N, K, 513, 513)`` tensors alive. ``SegmentationLoss`` upsamples one image, computes its loss and
the gradient of its small logits together, and frees the large tensors before the next image: peak
memory is that of one image, and it takes about half the time of the plain version
(``deeplab benchmark loss``).
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from deeplab.config.schema.loss import (
    CrossEntropySettings,
    PixelLossSettings,
    TopKSettings,
)
from deeplab.models.layers import at_least_float32, resize
from deeplab.training.collectives import gather_from_devices, num_devices, sum_over_devices
from deeplab.utils.constants import IGNORE, NO_LABEL


class Loss(nn.Module):
    """Base class of the losses of segmentation networks."""

    def adds_up(self, step: int) -> bool:
        """Return True if the loss of a batch is the sum of the losses of its parts."""
        return False

    def forward(
        self, logits: Tensor, labels: Tensor, step: int = 0, all_labels: Tensor | None = None
    ) -> Tensor:
        """Return this device's part of the loss as a scalar; the mean over the devices is the loss.

        Args:
            logits: ``(N, K, h, w)``.
            labels: ``(N, H, W)``, uint8 or int64, with values 0..K-1 and 255.
            step: training step.
            all_labels: labels of all images of this device in the step, if ``logits`` are of a
                part; the sum over the parts is then the loss. Only for a loss that adds up.
        """
        raise NotImplementedError


class SegmentationLoss(Loss):
    """Softmax cross-entropy over the labeled pixels of a batch, as in the authors' code.

    It is the sum over all pixels that are not labeled 255, divided by their number. With
    ``TopKSettings``, only the hardest pixels count (online hard example mining).
    On several devices pixels are counted and selected in the whole batch: each device divides the
    sum over its own by the mean number of a device, and the mean over the devices is the loss.

    Args:
        settings: keys of ``loss``. With class weights the divisor stays the number of pixels. The
            fraction of hard pixels is of all pixels, including ignored ones; the divisor is then
            the number of kept pixels with a loss above 0.
    """

    def __init__(
        self,
        settings: PixelLossSettings = CrossEntropySettings(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        self.settings = settings
        weights = None if settings.class_weights is None else torch.tensor(settings.class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.class_weights: Tensor | None

    def forward(
        self, logits: Tensor, labels: Tensor, step: int = 0, all_labels: Tensor | None = None
    ) -> Tensor:
        """See ``Loss``; it is 0 if no pixel is labeled. ``hard_pixel_steps`` counts in steps."""
        fraction = self.kept_fraction(step)
        with torch.autocast(logits.device.type, enabled=False):  # compute everything in float32
            loss: Tensor = _FusedCrossEntropy.apply(  # type: ignore[no-untyped-call]
                logits,
                labels,
                self.class_weights,
                fraction,
                labels if all_labels is None else all_labels,
            )
        return loss

    def adds_up(self, step: int) -> bool:
        """See ``Loss``; a selection of hard pixels does not."""
        return self.kept_fraction(step) == 1

    def kept_fraction(self, step: int) -> float:
        """Return the fraction of the pixels that counts at a training step."""
        settings = self.settings
        if not isinstance(settings, TopKSettings):
            return 1.0
        if step >= settings.hard_pixel_steps:
            return settings.hard_pixel_fraction
        return 1 - (1 - settings.hard_pixel_fraction) * step / settings.hard_pixel_steps


class _FusedCrossEntropy(torch.autograd.Function):
    """Loss and gradient of the small logits, computed together; see the module docstring."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        class_weights: Tensor | None,
        fraction: float,
        all_labels: Tensor,
    ) -> Tensor:
        if fraction < 1:
            losses = [
                _pixel_losses(_log_probabilities(small, label), label, class_weights)
                for small, label in zip(logits, labels, strict=True)
            ]
            all_losses, own = gather_from_devices(torch.stack(losses))
            kept, total = _hardest_pixels(all_losses, fraction)
            kept = kept[own]
        else:
            kept = labels != IGNORE
            total = sum_over_devices((all_labels != IGNORE).sum())
        scale = num_devices() / total.clamp(min=1).to(at_least_float32(logits.dtype))
        loss = torch.zeros((), dtype=at_least_float32(logits.dtype), device=logits.device)
        # float32 also for float16 logits: the gradient would underflow before the loss is scaled.
        grad = torch.empty_like(logits, dtype=loss.dtype) if ctx.needs_input_grad[0] else None
        for i, (small, label) in enumerate(zip(logits, labels, strict=True)):
            log_p = _log_probabilities(small, label)
            loss += (_pixel_losses(log_p, label, class_weights) * kept[i]).sum() * scale
            if grad is not None:
                weights = kept[i] * scale * _pixel_weights(label, class_weights, log_p.dtype)
                grad[i] = _gradient(log_p, label, weights, (small.shape[1], small.shape[2]))
        if grad is not None:
            ctx.save_for_backward(grad)
            ctx.dtype = logits.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_outputs[0]).to(ctx.dtype), None, None, None, None


def _log_probabilities(small: Tensor, labels: Tensor) -> Tensor:
    """Return log-probabilities ``(K, H, W)`` of logits ``(K, h, w)`` upsampled to the labels."""
    size = (labels.shape[0], labels.shape[1])
    logits = small[None].to(
        at_least_float32(small.dtype), copy=True, memory_format=torch.contiguous_format
    )
    upsampled = resize(logits, size)[0]
    return torch.log_softmax(upsampled, dim=0, out=upsampled)  # in place: new memory is slow


def _index(labels: Tensor) -> Tensor:
    """Return labels as class indices ``(1, H, W)``; ignored pixels get index 0."""
    return labels.long().masked_fill(labels == IGNORE, 0)[None]


def _pixel_weights(labels: Tensor, class_weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the weight of each pixel ``(H, W)``: that of its class, or 0 if it is ignored."""
    labeled = (labels != IGNORE).to(dtype)
    if class_weights is None:
        return labeled
    return labeled * class_weights.to(dtype)[_index(labels)[0]]


def _pixel_losses(log_p: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the weighted cross-entropy of each pixel ``(H, W)``, 0 for ignored pixels."""
    weights = _pixel_weights(labels, class_weights, log_p.dtype)
    return -log_p.gather(0, _index(labels))[0] * weights


def _gradient(log_p: Tensor, labels: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the gradient of the weighted losses for the small logits ``(K, *size)``.

    Overwrites ``log_p``. For the upsampled logits the gradient is (softmax - one-hot) * weight.
    The resize is linear and separable, so two matrix products with its transpose lead back to the
    small grid. They take half the time of the backward pass of the resize on a CPU, and avoid its
    atomic additions on a GPU, whose order changes each time.
    """
    grad = log_p.exp_()
    index = _index(labels)
    grad.scatter_add_(0, index, grad.new_full((), -1).expand(index.shape))
    grad *= weights
    rows = _resize_matrix(size[0], grad.shape[1], grad)  # (H, h)
    columns = _resize_matrix(size[1], grad.shape[2], grad)  # (W, w)
    return rows.T @ (grad @ columns)


def _resize_matrix(small: int, large: int, like: Tensor) -> Tensor:
    """Return the aligned-corners resize of ``small`` pixels as a matrix ``(large, small)``."""
    identity = torch.eye(small, dtype=like.dtype, device=like.device)[None]
    resized = F.interpolate(
        identity[..., None], size=(large, 1), mode="bilinear", align_corners=True
    )
    return resized[0, :, :, 0].T


def _hardest_pixels(losses: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Select the fraction of all pixels with the largest losses.

    Returns:
        Mask of these pixels, and the number of them with a loss above 0.
    """
    count = max(1, int(fraction * losses.numel()))
    values, indices = losses.flatten().topk(count, sorted=False)
    mask = torch.zeros(losses.numel(), dtype=torch.bool, device=losses.device)
    mask[indices] = True
    return mask.view_as(losses), (values > 0).sum()


class ClassificationLoss(nn.Module):
    """Cross-entropy of logits ``(N, K)`` with labels ``(N, M)``, averaged over images.

    On several devices the mean over the devices is the loss, as in ``SegmentationLoss``.

    Args:
        kind: ``softmax`` for one label per image; ``sigmoid`` for several, with a binary
            cross-entropy per class, summed over the classes.
    """

    def __init__(self, kind: Literal["softmax", "sigmoid"]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, logits: Tensor, labels: Tensor, all_labels: Tensor | None = None) -> Tensor:
        """Return this device's part of the loss; ``all_labels`` as in ``SegmentationLoss``."""
        all_labels = labels if all_labels is None else all_labels
        if self.kind == "softmax":
            label = labels[:, 0]
            total = sum_over_devices((all_labels[:, 0] != NO_LABEL).sum()).clamp(min=1)
            loss = F.cross_entropy(logits, label, ignore_index=NO_LABEL, reduction="sum")
            return loss / total * num_devices()
        is_label = labels != NO_LABEL
        label_logits = logits.gather(1, labels.clamp(min=0)) * is_label  # (N, M)
        # -log sigmoid(x) for the labels, -log(1 - sigmoid(x)) = softplus(x) for all other classes
        return (F.softplus(logits).sum(1) - label_logits.sum(1)).sum() / len(all_labels)
