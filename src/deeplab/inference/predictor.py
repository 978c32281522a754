"""Label maps and probabilities of whole images under one or several inference strategies.

As in the authors' evaluation, an image is resized and never cropped. The logits of each scale are
resized to the decoder's grid of the image (or of the scaled image, if that is larger) and from
there to the image. Then follow softmax, the mean over scales and mirrored images, and the most
likely class.

Strategies share forward passes: single scale is one of the passes of multi-scale, and these are
half of the passes of multi-scale with flip. The low-resolution logits of all passes are kept; only
a chunk of rows of one image is upsampled at a time. So it is with the windows over a large image,
of which those that overlap the chunk are kept.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deeplab.inference.strategy import ForwardPass, Strategy, Window
from deeplab.inference.windows import Span, window_spans
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import Conv, resize
from deeplab.models.sizes import scaled_size
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.progress import ProgressBar

Size = tuple[int, int]
"""Height and width."""

CPU_CHUNK_ELEMENTS = 1 << 18
"""Number of upsampled logits in memory at a time on a CPU: they fit its cache."""

GPU_CHUNK_ELEMENTS = 1 << 26
"""Number of upsampled logits in memory at a time on all other devices."""

MIN_STRIP_ELEMENTS = 1 << 22
"""Number of probabilities that a chunk over all windows of a row may have on any device."""

CPU_BATCH_PIXELS = 1
"""Number of pixels of the windows in a batch, which has at least one; a CPU gains nothing."""

GPU_BATCH_PIXELS = 1 << 21
"""Number of pixels of the windows in a batch on all other devices."""

WINDOW_BAR_DELAY = 3.0
"""Seconds after which the progress bar of an image's windows appears."""


class Tile(NamedTuple):
    """A window of an image, or the whole image, with its logits."""

    rows: Span
    columns: Span
    logits: list[Tensor]
    """``(K, h, w)`` of each forward pass, on the decoder's grid."""


@torch.inference_mode()
def predict_labels(model: nn.Module, images: Tensor) -> Tensor:
    """Return the most likely class of each pixel from one forward pass, as in validation.

    Args:
        model: maps images to logits, which may have a lower resolution.
        images: RGB ``(N, 3, H, W)``, 0 to 255.

    Returns:
        ``(N, H, W)`` uint8. The logits are upsampled and reduced image by image, so those of the
        whole batch are never in memory at full size.
    """
    size = (images.shape[2], images.shape[3])
    logits = model(images)  # (N, K, h, w)
    return torch.stack([_argmax(resize(small[None].float(), size)[0]) for small in logits])


def check_finite(logits: Tensor, source: object) -> None:
    """Raise UserError if there is nan or inf among the logits of the weights ``source``.

    Without this check such pixels would count as the first class.
    """
    if not logits.sum().isfinite():
        raise UserError(
            f"{source}: the network returns nan or inf. Try trainer.precision=32-true; if it "
            "returns them still, get an undamaged copy of the weights."
        )


class Predictor:
    """Runs a trained network with one or several inference strategies.

    Args:
        model: the network. It is copied; the copy's batch norms are folded into the convolutions
            before them where these are known, and its weights are channels_last.
        strategies: the strategies to run; all with the same window or all without one.
        source: file of the weights, for error messages.

    Attributes:
        show_windows: shows a progress bar over the windows of an image.
        batches_windows: runs several small windows at a time on a GPU.

    Raises:
        ValueError: the network cannot run at a strategy's output stride, or has too many classes.
    """

    def __init__(
        self, model: DeepLabV3Plus, strategies: Sequence[Strategy], source: object = "network"
    ) -> None:
        self.model, self.source = fold_batch_norms(model), source
        self.show_windows, self.batches_windows = False, True
        if (classes := model.num_classes) > IGNORE:
            raise ValueError(f"{classes} classes do not fit into label maps of 8 bits")
        self.strategies = tuple(strategies)
        self.window = self.strategies[0].window
        passes = dict.fromkeys(p for strategy in strategies for p in strategy.passes)
        self.passes = sorted(passes, key=lambda p: p.output_stride)
        self.weights = [[_pass_weight(p, strategy) for strategy in strategies] for p in self.passes]
        for forward_pass in self.passes:
            self.model.set_output_stride(forward_pass.output_stride)

    @torch.inference_mode()
    def label_maps(self, images: Tensor, sizes: Sequence[Size]) -> list[list[Tensor]]:
        """Return the label maps of a batch.

        Args:
            images: RGB ``(N, 3, H, W)``, 0 to 255.
            sizes: height and width of each image without its padding.

        Returns:
            For each image and each strategy a label map ``(h, w)``, uint8, on the images' device.
        """
        maps = []
        for chunks, size in zip(self._probability_chunks(images), sizes, strict=True):
            labels = [images.new_empty(size, dtype=torch.uint8) for _ in self.strategies]
            for top, chunk in _crop_padding(chunks, size):
                for label, probabilities in zip(labels, chunk, strict=True):
                    label[top : top + chunk.shape[2]] = _argmax(probabilities)
            maps.append(labels)
        return maps

    @torch.inference_mode()
    def probabilities(self, image: Tensor, size: Size) -> Iterator[tuple[int, Tensor]]:
        """Yield the probabilities of an image in chunks of rows, from top to bottom.

        Args:
            image: RGB ``(1, 3, H, W)``, 0 to 255.
            size: height and width of the image without its padding.

        Yields:
            The first row of each chunk, and the chunk ``(strategies, classes, rows, w)``.
        """
        for chunks in self._probability_chunks(image):
            yield from _crop_padding(chunks, size)

    def _probability_chunks(self, images: Tensor) -> Iterator[Iterator[tuple[int, Tensor]]]:
        """Yield for each image its chunks ``(strategies, classes, rows, W)`` with their top row."""
        height, width = images.shape[2:]
        if self.window and max(height, width) > self.window.size:
            yield from (self._blend_windows(image[None], self.window) for image in images)
        else:
            (rows,), (columns,) = window_spans(height), window_spans(width)
            logits = self._pass_logits(images)
            for i in range(len(images)):
                tile = Tile(rows, columns, [small[i] for small in logits])
                yield self._average([tile], 0, height, width)

    def _blend_windows(self, image: Tensor, window: Window) -> Iterator[tuple[int, Tensor]]:
        """Yield the chunks of one image ``(1, 3, H, W)``, predicted in overlapping windows."""
        height, width = image.shape[2:]
        rows, columns = window_spans(height, window), window_spans(width, window)
        pixels = rows[0].end * columns[0].end
        max_pixels = CPU_BATCH_PIXELS if image.device.type == "cpu" else GPU_BATCH_PIXELS
        batch = max(1, max_pixels // pixels) if self.batches_windows else 1
        tiles: list[Tile] = []
        with ProgressBar(
            f"Windows of {width} x {height} pixels",
            len(rows) * len(columns),
            "window",
            leave=False,
            delay=WINDOW_BAR_DELAY,
            show=self.show_windows,
        ) as bar:
            for row, end in zip(rows, [*(row.start for row in rows[1:]), height], strict=True):
                tiles = [tile for tile in tiles if tile.rows.end > row.start]
                strip = image[:, :, row.start : row.end]
                for i in range(0, len(columns), batch):
                    group = columns[i : i + batch]
                    crops = [strip[..., column.start : column.end] for column in group]
                    logits = self._pass_logits(torch.cat(crops))
                    tiles += [
                        Tile(row, column, [small[j] for small in logits])
                        for j, column in enumerate(group)
                    ]
                    bar.update(len(group))
                yield from self._average(tiles, row.start, end, width)

    def _pass_logits(self, images: Tensor) -> list[Tensor]:
        """Return the logits ``(N, K, h, w)`` of each forward pass, with flips undone.

        They are on the decoder's grid, from which they are upsampled to the image in one step.
        """
        full_size = (images.shape[2], images.shape[3])
        outputs = []
        for forward_pass in self.passes:
            self.model.set_output_stride(forward_pass.output_stride)
            logits = self.model(_scale_and_flip(images, forward_pass)).float()  # (N, K, h, w)
            check_finite(logits, self.source)
            step = self.model.logits_stride / max(1.0, forward_pass.scale)
            grid = (int((full_size[0] - 1) / step) + 1, int((full_size[1] - 1) / step) + 1)
            logits = resize(logits, grid)
            outputs.append((logits.flip(-1) if forward_pass.flip else logits).contiguous())
        return outputs

    def _average(
        self, tiles: Sequence[Tile], top: int, end: int, width: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the probabilities of some rows of an image, averaged over tiles and passes.

        Args:
            tiles: the tiles that cover the rows; each starts at ``top`` or above.
            top: the first row.
            end: the row after the last one.
            width: width of the image.

        Yields:
            The first row of each chunk, and the chunk ``(strategies, K, rows, W)``.
        """
        columns, logits = tiles[0].columns, tiles[0].logits
        classes, device = logits[0].shape[0], logits[0].device
        max_elements = CPU_CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS
        max_rows = min(
            max_elements // (classes * (columns.end - columns.start)),
            max(max_elements, MIN_STRIP_ELEMENTS) // (len(self.strategies) * classes * width),
        )
        step = max(1, max_rows)
        for start in range(top, end, step):
            rows = min(step, end - start)
            chunk = torch.zeros(len(self.strategies), classes, rows, width, device=device)
            for tile in tiles:
                self._add_tile(chunk, tile, start)
            yield start, chunk

    def _add_tile(self, chunk: Tensor, tile: Tile, start: int) -> None:
        """Add the weighted probabilities of a tile to a chunk of the image from row ``start``."""
        (top, bottom, row_weights), (left, right, column_weights) = tile.rows, tile.columns
        rows = min(chunk.shape[2], bottom - start)
        if rows <= 0:
            return
        size, offset = (bottom - top, right - left), start - top
        pixel_weights = torch.outer(row_weights[offset : offset + rows], column_weights).to(chunk)
        for small, weights in zip(tile.logits, self.weights, strict=True):
            probabilities = _upsample_rows(small, size, offset, rows).softmax(dim=0)
            probabilities *= pixel_weights
            for total, weight in zip(chunk[:, :, :rows, left:right], weights, strict=True):
                if weight:
                    total.add_(probabilities, alpha=weight)


def _pass_weight(forward_pass: ForwardPass, strategy: Strategy) -> float:
    """Return the weight of a forward pass in a strategy's mean; 0 if it is not part of it."""
    return 1 / len(strategy.passes) if forward_pass in strategy.passes else 0.0


def _crop_padding(chunks: Iterator[tuple[int, Tensor]], size: Size) -> Iterator[tuple[int, Tensor]]:
    for top, chunk in chunks:
        if top >= size[0]:
            return
        yield top, chunk[..., : size[0] - top, : size[1]]


def _scale_and_flip(images: Tensor, forward_pass: ForwardPass) -> Tensor:
    """Return the input of a forward pass."""
    height, width = (scaled_size(n, forward_pass.scale) for n in images.shape[2:])
    scaled = resize(images if forward_pass.scale == 1 else images.float(), (height, width))
    scaled = scaled.flip(-1) if forward_pass.flip else scaled
    return scaled.contiguous(memory_format=torch.channels_last)


def _upsample_rows(small: Tensor, full_size: Size, top: int, rows: int) -> Tensor:
    """Return some rows of ``small`` resized to ``full_size``, with aligned corners.

    Args:
        small: ``(C, h, w)``.
        full_size: height and width of the resized map.
        top: the first row to return.
        rows: number of rows.

    Returns:
        ``(C, rows, W)``.
    """
    h, step = small.shape[1], (small.shape[1] - 1) / max(1, full_size[0] - 1)
    positions = torch.arange(top, top + rows, dtype=torch.float64, device="cpu") * step
    above = positions.long().clamp(max=h - 1)
    fraction = (positions - above).to(small)[None, :, None]
    above = above.to(small.device)
    below = (above + 1).clamp(max=h - 1)
    interpolated = torch.lerp(small[:, above], small[:, below], fraction)  # (C, rows, w)
    return resize(interpolated[None], (rows, full_size[1]))[0]


def _argmax(scores: Tensor) -> Tensor:
    """Return the index of the largest of ``(K, h, w)``, uint8; 4 times faster than ``argmax``."""
    return scores.max(dim=0).indices.to(torch.uint8)


def fold_batch_norms(model: DeepLabV3Plus) -> DeepLabV3Plus:
    """Return a copy for inference whose batch norms are folded into the convolutions before them.

    Batch norms inside networks of other libraries are not folded: there no block tells which
    convolution and batch norm belong together.
    """
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
