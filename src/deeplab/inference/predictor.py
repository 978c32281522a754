"""Class maps of whole images under one or several inference strategies.

As in the authors' evaluation: an image is resized, never cut; the logits of each scale go to the
decoder's grid of the image (of the scaled image, where that is larger) and from there to the image;
softmax; the mean over scales and mirror images; the most likely class.

Strategies share forward passes: single scale is one of the passes of multi-scale, and these are
half of multi-scale with flip. The small logits of all passes are kept; only a band of rows of one
image is upsampled at a time.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deeplab.inference.strategy import Strategy, View
from deeplab.inference.windows import blended
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import Conv, resize

Size = tuple[int, int]
"""Height and width."""

BAND = {"cpu": 1 << 18}
"""Upsampled logits that are alive at a time, by device: on a CPU few enough for its cache."""

BAND_ELSEWHERE = 1 << 26


@torch.inference_mode()
def predict_labels(model: nn.Module, images: Tensor) -> Tensor:
    """The most likely class of each pixel, from one pass: what training validates with.

    Args:
        model: maps images to logits on a grid of its own.
        images: RGB ``(N, 3, H, W)``, 0 to 255.

    Returns:
        ``(N, H, W)`` uint8. The logits are upsampled and reduced image by image: those of all
        classes at full size are never alive for the whole batch.
    """
    size = (images.shape[2], images.shape[3])
    logits = model(images)  # (N, K, h, w)
    return torch.stack([_most_likely(resize(small[None].float(), size)[0]) for small in logits])


class Predictor:
    """A trained network under inference strategies.

    Args:
        model: the network. It is copied; the copy's batch norms are folded into the convolutions
            before them, where these are known, and its weights are channels_last.
        strategies: what is asked for; all with the same window, or none.

    Raises:
        ValueError: the network cannot run at an output stride.
    """

    def __init__(self, model: DeepLabV3Plus, strategies: Sequence[Strategy]) -> None:
        self.model = fold_batch_norms(model)
        self.strategies = tuple(strategies)
        self.window = self.strategies[0].window
        views = dict.fromkeys(view for strategy in strategies for view in strategy.views)
        self.views = sorted(views, key=lambda view: view.output_stride)
        self.weights = [[_weight(view, strategy) for strategy in strategies] for view in self.views]
        for view in self.views:
            self.model.set_output_stride(view.output_stride)

    @torch.inference_mode()
    def label_maps(self, images: Tensor, sizes: Sequence[Size]) -> list[list[Tensor]]:
        """The class maps of a batch.

        Args:
            images: RGB ``(N, 3, H, W)``, 0 to 255.
            sizes: height and width of each image without its padding.

        Returns:
            For each image and each strategy ``(h, w)``, uint8, where the images are.
        """
        maps = []
        for bands, size in zip(self._images(images), sizes, strict=True):
            labels = [images.new_empty(size, dtype=torch.uint8) for _ in self.strategies]
            for top, band in _without_padding(bands, size):
                for label, probabilities in zip(labels, band, strict=True):
                    label[top : top + band.shape[2]] = _most_likely(probabilities)
            maps.append(labels)
        return maps

    @torch.inference_mode()
    def probabilities(self, image: Tensor, size: Size) -> Iterator[tuple[int, Tensor]]:
        """The probabilities of an image ``(1, 3, H, W)`` from top to bottom: the first row of each
        band, and the band ``(strategies, classes, rows, w)``."""
        for bands in self._images(image):
            yield from _without_padding(bands, size)

    def _images(self, images: Tensor) -> Iterator[Iterator[tuple[int, Tensor]]]:
        """For each image its bands ``(strategies, classes, rows, W)`` with their first rows."""
        full = (images.shape[2], images.shape[3])
        if self.window and max(full) > self.window.size:
            for image in images:
                yield blended(image[None], self.window, self._mixed)
        else:
            logits = self._logits(images)
            for i in range(len(images)):
                yield self._bands([small[i] for small in logits], full)

    def _mixed(self, image: Tensor) -> Tensor:
        """One image ``(1, 3, h, w)`` to probabilities ``(strategies, classes, h, w)``."""
        logits = [small[0] for small in self._logits(image)]
        full = (image.shape[2], image.shape[3])
        return torch.cat([band for _, band in self._bands(logits, full)], dim=2)

    def _logits(self, images: Tensor) -> list[Tensor]:
        """For each view the logits ``(N, K, h, w)``, mirrored back, on the grid that is upsampled
        to the images at once."""
        full = (images.shape[2], images.shape[3])
        found = []
        for view in self.views:
            self.model.set_output_stride(view.output_stride)
            logits = self.model(_seen(images, view)).float()  # (N, K, h, w)
            step = self.model.logits_stride / max(1.0, view.scale)
            grid = (int((full[0] - 1) / step) + 1, int((full[1] - 1) / step) + 1)
            logits = resize(logits, grid)
            found.append((logits.flip(-1) if view.mirrored else logits).contiguous())
        return found

    def _bands(self, logits: Sequence[Tensor], full: Size) -> Iterator[tuple[int, Tensor]]:
        """The probabilities of one image, given its logits ``(K, h, w)`` of each view: the first
        row of each band, and the band ``(strategies, K, rows, W)``."""
        classes, device = logits[0].shape[0], logits[0].device
        most = BAND.get(device.type, BAND_ELSEWHERE)
        rows = max(1, most // (classes * full[1]))
        for top in range(0, full[0], rows):
            shape = (classes, min(rows, full[0] - top), full[1])
            band = torch.zeros(len(self.strategies), *shape, device=device)
            for small, weights in zip(logits, self.weights, strict=True):
                seen = _upsampled_rows(small, full, top, shape[1]).softmax(dim=0)
                for total, weight in zip(band, weights, strict=True):
                    if weight:
                        total.add_(seen, alpha=weight)
            yield top, band


def _weight(view: View, strategy: Strategy) -> float:
    """The part that a view has in a strategy's mean."""
    return 1 / len(strategy.views) if view in strategy.views else 0.0


def _without_padding(
    bands: Iterator[tuple[int, Tensor]], size: Size
) -> Iterator[tuple[int, Tensor]]:
    for top, band in bands:
        if top >= size[0]:
            return
        yield top, band[..., : size[0] - top, : size[1]]


def _seen(images: Tensor, view: View) -> Tensor:
    """The images as a view has them: a side n becomes int((n - 1) * scale + 1)."""
    height, width = (int((n - 1) * view.scale + 1) for n in images.shape[2:])
    scaled = resize(images if view.scale == 1 else images.float(), (height, width))
    scaled = scaled.flip(-1) if view.mirrored else scaled
    return scaled.contiguous(memory_format=torch.channels_last)


def _upsampled_rows(small: Tensor, full: Size, top: int, rows: int) -> Tensor:
    """Rows ``top`` and following of ``small`` ``(C, h, w)`` resized to ``full``, corners aligned:
    ``(C, rows, W)``."""
    h, distance = small.shape[1], (small.shape[1] - 1) / max(1, full[0] - 1)
    places = torch.arange(top, top + rows, dtype=torch.float64, device="cpu") * distance
    above = places.long().clamp(max=h - 1)
    part = (places - above).to(small)[None, :, None]
    above = above.to(small.device)
    below = (above + 1).clamp(max=h - 1)
    mixed = torch.lerp(small[:, above], small[:, below], part)  # (C, rows, w)
    return resize(mixed[None], (rows, full[1]))[0]


def _most_likely(scores: Tensor) -> Tensor:
    """``(K, h, w)`` to the index of the largest, uint8. (``argmax`` takes four times as long.)"""
    return scores.max(dim=0).indices.to(torch.uint8)


def fold_batch_norms(model: DeepLabV3Plus) -> DeepLabV3Plus:
    """A copy for inference: every batch norm is part of the convolution before it, but for those in
    networks of others, where no block says which belong together."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for block in folded.modules():
        conv, norm = getattr(block, "conv", None), getattr(block, "norm", None)
        if isinstance(conv, Conv) and isinstance(norm, nn.modules.batchnorm._BatchNorm):
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            block.norm = nn.Identity()
    channels_last: DeepLabV3Plus = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return channels_last
