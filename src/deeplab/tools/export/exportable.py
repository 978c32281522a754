"""Network in its exported form: one graph from an image to its label map.

It does what ``deeplab.inference.predictor`` does for a single scale, as one graph of tensors with
dynamic batch, height and width: images smaller than the evaluation size are padded, the logits are
resized to the decoder's grid and from there to the image, with aligned corners.
"""

import torch
from torch import Tensor, nn

from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import resize
from deeplab.models.sizes import map_size

INPUT = "image"
OUTPUTS = ("classes", "probabilities")

MIN_SIZE = (33, 33)
"""Minimum height and width after padding.

The feature maps of every output stride are then larger than one pixel and differ in size, which a
graph with dynamic sizes relies on.
"""


class ImageToClasses(nn.Module):
    """Network with its preprocessing and postprocessing.

    Args:
        model: the network at the desired output stride, with folded batch norms.
        padded_to: minimum height and width after padding; ``MIN_SIZE`` or more.
        fill: value of each channel of the padding, 0 to 255.
        probabilities: add the probabilities of all classes as a second output.
    """

    def __init__(
        self,
        model: DeepLabV3Plus,
        *,
        padded_to: tuple[int, int],
        fill: tuple[int, ...],
        probabilities: bool,
    ) -> None:
        super().__init__()
        self.model, self.padded_to, self.probabilities = model, padded_to, probabilities
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float32).view(1, -1, 1, 1))
        self.fill: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predict the label maps of a batch of images.

        Args:
            image: images, uint8 ``(N, H, W, C)``; RGB if C is 3.

        Returns:
            The most likely classes, uint8 ``(N, H, W)``, followed by the probabilities, float32
            ``(N, K, H, W)``, if ``probabilities`` is set.
        """
        rows, columns = torch.arange(image.shape[1]), torch.arange(image.shape[2])
        padded = self._pad(image.permute(0, 3, 1, 2).float().contiguous())  # (N, C, H', W')
        full = (padded.shape[2], padded.shape[3])
        step = self.model.logits_stride
        logits = self.model(padded)  # (N, K, H'/4, W'/4)
        logits = resize(logits, (map_size(full[0], step), map_size(full[1], step)))
        logits = resize(logits, full)  # (N, K, H', W')
        outputs = [logits.argmax(dim=1).to(torch.uint8)]
        if self.probabilities:
            outputs.append(logits.softmax(dim=1))
        return tuple(x.index_select(-2, rows).index_select(-1, columns) for x in outputs)

    def _pad(self, image: Tensor) -> Tensor:
        """Pad at the bottom and at the right with ``fill``.

        The padding operation fills with zeros, so the color is subtracted before it and added
        after it. All values are whole numbers, so nothing is rounded.
        """
        height, width = image.shape[2], image.shape[3]
        bottom = torch.sym_max(self.padded_to[0], height) - height  # type: ignore[no-untyped-call]
        right = torch.sym_max(self.padded_to[1], width) - width  # type: ignore[no-untyped-call]
        return nn.functional.pad(image - self.fill, (0, right, 0, bottom)) + self.fill
