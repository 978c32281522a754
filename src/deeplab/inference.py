"""Class maps of whole images."""

import torch
from torch import Tensor, nn

from deeplab.layers import resize


@torch.inference_mode()
def predict_labels(model: nn.Module, images: Tensor) -> Tensor:
    """The most likely class of each pixel.

    Args:
        model: maps images to logits on a grid of its own.
        images: RGB ``(N, 3, H, W)``, 0 to 255.

    Returns:
        ``(N, H, W)`` uint8. The logits are upsampled and reduced image by image: those of all
        classes at full size are never alive for the whole batch.
    """
    size = (images.shape[2], images.shape[3])
    logits = model(images)  # (N, K, h, w)
    return torch.stack([most_likely(small, size) for small in logits])


def most_likely(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """One image's logits ``(K, h, w)`` to its class map ``(*size)``, uint8."""
    return resize(logits[None].float(), size)[0].argmax(dim=0).to(torch.uint8)
