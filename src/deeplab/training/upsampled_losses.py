"""Losses of logits in the size of the labels: those of kornia, weighted sums, the user's own.

Unlike the cross-entropy of ``deeplab.training.losses`` they keep the upsampled logits of the whole
batch in memory. Each device computes the loss of its own images.

Departures from kornia, whose losses do not leave ignored pixels and images out of their means:
the focal loss is divided by the number of labeled pixels in the whole batch; an image without a
labeled pixel counts as 0; the Lovasz-softmax loss is computed on the labeled pixels, and averaged
over the classes that the image has, as its authors do.
"""

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from deeplab.config.schema.loss import (
    DiceSettings,
    FocalSettings,
    LossSettings,
    LovaszSettings,
    PixelLossSettings,
    SumSettings,
)
from deeplab.models.layers import resize
from deeplab.training.collectives import num_devices, sum_over_devices
from deeplab.training.losses import Loss, SegmentationLoss
from deeplab.utils.constants import IGNORE, TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.own_code.building import build, takes
from deeplab.utils.own_code.node import OwnCode


class UpsampledLoss(Loss):
    """Base class of losses that are computed from upsampled logits."""

    def adds_up(self, step: int) -> bool:
        """See ``Loss``."""
        return True

    def forward(
        self, logits: Tensor, labels: Tensor, step: int = 0, all_labels: Tensor | None = None
    ) -> Tensor:
        """See ``Loss``."""
        with torch.autocast(logits.device.type, enabled=False):  # compute everything in float32
            dtype = torch.promote_types(logits.dtype, torch.float32)
            upsampled = resize(logits.to(dtype), (labels.shape[-2], labels.shape[-1]))
            return self.compute(
                upsampled, labels.long(), labels if all_labels is None else all_labels
            )

    def compute(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """Return the loss of logits ``(N, K, H, W)`` and labels ``(N, H, W)``; see ``Loss``."""
        raise NotImplementedError


class OwnLoss(UpsampledLoss):
    """A loss of the user's own.

    Args:
        loss: maps float32 logits ``(N, K, H, W)`` and int64 labels ``(N, H, W)``, with values
            0..K-1 and 255 for ignored pixels, to a scalar.
        label: names it in messages.
    """

    def __init__(self, loss: nn.Module, label: str) -> None:
        super().__init__()
        self.loss, self.label = loss, label
        if any(True for _ in loss.parameters()):
            raise UserError(
                f"{label}: it has parameters, which no optimizer trains. Make them buffers."
            )

    def adds_up(self, step: int) -> bool:
        """See ``Loss``; nothing is known of it."""
        return False

    def compute(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """See ``UpsampledLoss``.

        Raises:
            UserError: it returns no scalar.
        """
        value = self.loss(logits, labels)
        if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
            return value
        got = type(value).__name__
        if isinstance(value, Tensor):
            got = f"{value.dtype} of shape {tuple(value.shape)}"
        raise UserError(f"{self.label}: it returns {got}; expected a scalar. Take the mean.")


class DiceLoss(UpsampledLoss):
    """One minus the Dice coefficient of each image, from the probabilities."""

    def __init__(self, settings: DiceSettings) -> None:
        super().__init__()
        self.average, self.kornia = settings.average, _kornia("dice")

    def compute(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """See ``UpsampledLoss``."""
        labeled = _has_labels(labels)
        if not labeled.any():
            return 0 * logits.sum()
        loss: Tensor = self.kornia.losses.dice_loss(
            logits[labeled], labels[labeled], average=self.average, ignore_index=IGNORE
        )
        return loss * (labeled.sum() / len(all_labels))


class FocalLoss(UpsampledLoss):
    """Cross-entropy in which pixels count less the better they are classified."""

    def __init__(self, settings: FocalSettings) -> None:
        super().__init__()
        self.settings, self.kornia = settings, _kornia("focal")

    def compute(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """See ``UpsampledLoss``."""
        loss: Tensor = self.kornia.losses.focal_loss(
            logits,
            labels,
            alpha=self.settings.alpha,
            gamma=self.settings.gamma,
            reduction="sum",
            ignore_index=IGNORE,
        )
        total = sum_over_devices((all_labels != IGNORE).sum()).clamp(min=1)
        return loss / total * num_devices()


class LovaszLoss(UpsampledLoss):
    """Lovasz-softmax, a surrogate of one minus the IoU of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.kornia = _kornia("lovasz")

    def compute(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """See ``UpsampledLoss``."""
        total = 0 * logits.sum()
        for image, label in zip(logits, labels, strict=True):
            kept = label != IGNORE
            if kept.any():
                pixels, classes = image[:, kept], label[kept]
                present = torch.bincount(classes, minlength=len(image)) > 0
                total = total + self.kornia.losses.lovasz_softmax_loss(
                    pixels[None, :, None],
                    classes[None, None],
                    weight=present * (len(image) / present.sum()),
                )
        return total / len(all_labels)


class SumLoss(Loss):
    """Weighted sum of losses."""

    def __init__(self, terms: Mapping[str, tuple[float, Loss]]) -> None:
        super().__init__()
        self.weights = {name: weight for name, (weight, _) in terms.items()}
        self.terms = nn.ModuleDict({name: loss for name, (_, loss) in terms.items()})

    def adds_up(self, step: int) -> bool:
        """See ``Loss``."""
        return all(loss.adds_up(step) for loss in self.terms.values())  # type: ignore[operator]

    def forward(
        self, logits: Tensor, labels: Tensor, step: int = 0, all_labels: Tensor | None = None
    ) -> Tensor:
        """See ``Loss``."""
        values = [
            self.weights[name] * loss(logits, labels, step, all_labels)
            for name, loss in self.terms.items()
        ]
        return torch.stack(values).sum()


def build_loss(settings: LossSettings | OwnCode, key: str = "loss") -> Loss:
    """Return a loss.

    A class of the user's own that has an argument ``ignore_index`` gets 255 for it.

    Args:
        settings: keys of the loss.
        key: where they stand, for messages.

    Raises:
        UserError: kornia is not installed; or a class cannot be imported, takes other arguments, or
            makes no ``nn.Module``.
    """
    match settings:
        case OwnCode():
            known = "ignore_index" in settings.arguments
            ignore = not known and takes(settings, key, "ignore_index")
            extra = {"ignore_index": IGNORE} if ignore else {}
            module = build(settings, key, nn.Module, **extra)
            return OwnLoss(module, f"{key}.{TARGET}={settings.target}")
        case DiceSettings():
            return DiceLoss(settings)
        case FocalSettings():
            return FocalLoss(settings)
        case LovaszSettings():
            return LovaszLoss()
        case SumSettings():
            terms = {
                name: (term.weight, build_loss(term.loss, f"{key}.terms.{name}.loss"))
                for name, term in settings.terms.items()
            }
            return SumLoss(terms)
        case _:
            assert isinstance(settings, PixelLossSettings)
            return SegmentationLoss(settings)


def _has_labels(labels: Tensor) -> Tensor:
    """Return for each image whether it has a labeled pixel, ``(N,)``."""
    return (labels != IGNORE).flatten(1).any(1)


def _kornia(loss: str) -> ModuleType:
    require_extra("losses", "kornia", setting=f"loss={loss}", alternative="choose another loss")
    import kornia

    return kornia
