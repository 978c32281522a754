"""Cross-entropy on logits upsampled to the labels, one image at a time.

The paper upsamples the logits to the label map instead of shrinking the labels, which is worth 1.2
points of mIOU (DeepLabv3, section 4.1). Done plainly, autograd then keeps several
``(N, K, 513, 513)`` tensors alive. Here each image is upsampled, its loss and the gradient of its
small logits are computed at once, and the large tensors are dropped before the next image: peak
memory is that of one image, and the time about half of the plain version's
(``python src/benchmark.py loss``).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from deeplab.metrics.topk import UNLABELED
from deeplab.models.layers import resize
from deeplab.utils.constants import IGNORE


class SegmentationLoss(nn.Module):
    """Softmax cross-entropy over the labeled pixels of a batch (facts: the authors' loss).

    The sum over all pixels that are not 255, divided by their number; with ``hard_pixel_fraction`` below 1, only
    the hardest pixels count.

    Args:
        class_weights: a weight per class; the divisor stays the number of pixels.
        hard_pixel_fraction: the part of all pixels, ignored ones included, that is kept: those with the
            largest losses. The divisor is then the number of kept pixels with a loss above 0.
        hard_pixel_steps: the part falls linearly from 1 to ``hard_pixel_fraction`` over this many steps.
    """

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        hard_pixel_fraction: float = 1.0,
        hard_pixel_steps: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < hard_pixel_fraction <= 1:
            raise ValueError(
                f"hard_pixel_fraction {hard_pixel_fraction}: a part of all pixels, above 0 and at most 1"
            )
        self.hard_pixel_fraction, self.hard_pixel_steps = hard_pixel_fraction, hard_pixel_steps
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.class_weights: Tensor | None

    def forward(self, logits: Tensor, labels: Tensor, step: int = 0) -> Tensor:
        """Logits ``(N, K, h, w)`` and labels ``(N, H, W)``, uint8 or int64 in 0..K-1 and 255, to a
        scalar; 0 where no pixel is labeled. ``step`` is the training step, for ``hard_pixel_steps``."""
        keep = self.kept_part(step)
        with torch.autocast(logits.device.type, enabled=False):  # all of it in float32
            loss: Tensor = _FusedCrossEntropy.apply(  # type: ignore[no-untyped-call]
                logits, labels, self.class_weights, keep
            )
        return loss

    def kept_part(self, step: int) -> float:
        """The part of the pixels that counts at this training step."""
        if step >= self.hard_pixel_steps:
            return self.hard_pixel_fraction
        return 1 - (1 - self.hard_pixel_fraction) * step / self.hard_pixel_steps


class _FusedCrossEntropy(torch.autograd.Function):
    """Computes loss and gradient of the small logits together; see the head of the file."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, class_weights: Tensor | None, keep: float
    ) -> Tensor:
        if keep < 1:
            losses = [
                _pixel_losses(_log_probabilities(small, label), label, class_weights)
                for small, label in zip(logits, labels, strict=True)
            ]
            kept, total = _hardest(torch.stack(losses), keep)
        else:
            kept = labels != IGNORE
            total = kept.sum()
        scale = 1 / total.clamp(min=1).to(_wide(logits.dtype))
        loss = torch.zeros((), dtype=_wide(logits.dtype), device=logits.device)
        # In float32 also for float16 logits, where it would vanish before the loss is scaled.
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
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_outputs[0]).to(ctx.dtype), None, None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """float32, or the dtype itself where it is wider: losses are never summed in bfloat16."""
    return torch.promote_types(dtype, torch.float32)


def _log_probabilities(small: Tensor, labels: Tensor) -> Tensor:
    """One image's logits ``(K, h, w)`` upsampled to its labels ``(H, W)``: ``(K, H, W)``."""
    size = (labels.shape[0], labels.shape[1])
    wide = small[None].to(_wide(small.dtype), copy=True, memory_format=torch.contiguous_format)
    upsampled = resize(wide, size)[0]
    return torch.log_softmax(upsampled, dim=0, out=upsampled)  # fresh memory is slow to touch


def _index(labels: Tensor) -> Tensor:
    """Labels as an index ``(1, H, W)`` into the classes; ignored pixels point at class 0."""
    return labels.long().masked_fill(labels == IGNORE, 0)[None]


def _pixel_weights(labels: Tensor, class_weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The weight of each pixel ``(H, W)``: its class's, 0 where it is ignored."""
    labeled = (labels != IGNORE).to(dtype)
    if class_weights is None:
        return labeled
    return labeled * class_weights.to(dtype)[_index(labels)[0]]


def _pixel_losses(log_p: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Weighted cross-entropy of each pixel ``(H, W)``, 0 where it is ignored."""
    weights = _pixel_weights(labels, class_weights, log_p.dtype)
    return -log_p.gather(0, _index(labels))[0] * weights


def _gradient(log_p: Tensor, labels: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Gradient of the weighted losses for the small logits ``(K, *size)``; overwrites ``log_p``.

    For the upsampled logits it is (softmax - one-hot) * weight. The resize is linear and
    separable, so two matrix products with its transpose lead back to the small grid: half the time
    of the resize's own backward on a CPU, and without its atomic additions on a GPU, which add up
    in another order each time.
    """
    grad = log_p.exp_()
    index = _index(labels)
    grad.scatter_add_(0, index, grad.new_full((), -1).expand(index.shape))
    grad *= weights
    rows = _resize_matrix(size[0], grad.shape[1], grad)  # (H, h)
    columns = _resize_matrix(size[1], grad.shape[2], grad)  # (W, w)
    return rows.T @ (grad @ columns)


def _resize_matrix(small: int, large: int, like: Tensor) -> Tensor:
    """The aligned-corners resize of a row of ``small`` pixels as a matrix ``(large, small)``."""
    identity = torch.eye(small, dtype=like.dtype, device=like.device)[None]
    resized = F.interpolate(
        identity[..., None], size=(large, 1), mode="bilinear", align_corners=True
    )
    return resized[0, :, :, 0].T


def _hardest(losses: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Mask of the ``keep`` part of all pixels with the largest losses, and how many of these have
    a loss above 0."""
    count = max(1, int(keep * losses.numel()))
    values, indices = losses.flatten().topk(count, sorted=False)
    mask = torch.zeros(losses.numel(), dtype=torch.bool, device=losses.device)
    mask[indices] = True
    return mask.view_as(losses), (values > 0).sum()


class LabelLoss(nn.Module):
    """Cross-entropy of logits ``(N, K)`` with labels ``(N, M)``, averaged over pictures.

    Args:
        kind: ``softmax`` for one label each; ``sigmoid`` for several, summed over the classes,
            each of which is a question of its own.
    """

    def __init__(self, kind: Literal["softmax", "sigmoid"]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.kind == "softmax":
            return F.cross_entropy(logits, labels[:, 0], ignore_index=UNLABELED)
        there = labels != UNLABELED
        own = logits.gather(1, labels.clamp(min=0)) * there  # (N, M)
        # -log sigmoid(x) of the labels and -log(1 - sigmoid(x)) = softplus(x) of the others
        return (F.softplus(logits).sum(1) - own.sum(1)).mean()
