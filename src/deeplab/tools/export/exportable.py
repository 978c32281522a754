"""The network as others run it: from an image as readers give it to its class map.

What ``deeplab.inference.predictor`` does for one scale, as one graph of tensors whose batch, height
and width are open: images smaller than those that the network is evaluated on are padded, the
logits go to the decoder's grid and from there to the image, corners aligned.
"""

import torch
from torch import Tensor, nn

from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import resize

INPUT = "image"
OUTPUTS = ("classes", "probabilities")

LEAST = (33, 33)
"""Height and width that images always have: the maps of every output stride are then larger than a
pixel and differ in size, which a graph of open sizes rests on."""


class ImageToClasses(nn.Module):
    """A network with all that stands before and behind it.

    Args:
        model: the network at the output stride that is wanted, its batch norms folded.
        padded_to: height and width that images have at least; ``LEAST`` or more.
        fill: RGB color of padding, 0 to 255.
        probabilities: whether those of all classes are a second output.
    """

    def __init__(
        self,
        model: DeepLabV3Plus,
        *,
        padded_to: tuple[int, int],
        fill: tuple[int, int, int],
        probabilities: bool,
    ) -> None:
        super().__init__()
        self.model, self.padded_to, self.probabilities = model, padded_to, probabilities
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float32).view(1, 3, 1, 1))
        self.fill: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """RGB images, uint8 ``(N, H, W, 3)``, to the most likely classes, uint8 ``(N, H, W)``, and
        the probabilities, float32 ``(N, K, H, W)``, if they are asked for."""
        rows, columns = torch.arange(image.shape[1]), torch.arange(image.shape[2])
        padded = self._padded(image.permute(0, 3, 1, 2).float().contiguous())  # (N, 3, H', W')
        full = (padded.shape[2], padded.shape[3])
        step = self.model.logits_stride
        logits = self.model(padded)  # (N, K, H'/4, W'/4)
        logits = resize(logits, ((full[0] - 1) // step + 1, (full[1] - 1) // step + 1))
        logits = resize(logits, full)  # (N, K, H', W')
        found = [logits.argmax(dim=1).to(torch.uint8)]
        if self.probabilities:
            found.append(logits.softmax(dim=1))
        return tuple(x.index_select(-2, rows).index_select(-1, columns) for x in found)

    def _padded(self, image: Tensor) -> Tensor:
        """At the bottom and at the right, with ``fill``. Zeros are what can be padded with, so the
        color is taken away and added again; whole numbers, so nothing is rounded."""
        height, width = image.shape[2], image.shape[3]
        below = torch.sym_max(self.padded_to[0], height) - height  # type: ignore[no-untyped-call]
        right = torch.sym_max(self.padded_to[1], width) - width  # type: ignore[no-untyped-call]
        return nn.functional.pad(image - self.fill, (0, right, 0, below)) + self.fill
