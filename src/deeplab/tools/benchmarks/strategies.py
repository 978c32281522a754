"""Benchmark of inference strategies: single scale, multi-scale, and multi-scale with flip.

The baseline is a plain loop that runs one strategy after another on one image at a time, upsamples
the logits of all classes to full size and scores with torchmetrics.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from deeplab.evaluation.accumulator import ScoreAccumulator, score_image
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import MULTI_SCALE, Strategy
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.sizes import scaled_size
from deeplab.tools.benchmarks.networks import BACKBONES, CLASSES, build_network
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.utils.constants import IGNORE

SIZE, PADDED = (375, 500), (513, 513)
STRATEGIES = (Strategy(16), Strategy(16, MULTI_SCALE), Strategy(16, MULTI_SCALE, flip=True))


def compare_strategies(*, repeats: int) -> list[Comparison]:
    """Print the time per image and their ratio for several networks.

    This project also scores the pixels around borders, which the plain loop does not.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = "; ".join(strategy.label for strategy in STRATEGIES)
    print(
        f"{SIZE[0]} x {SIZE[1]} image padded to {PADDED[0]}, {CLASSES} classes, decoder, float32, "
        f"{device}\n{names}"
    )
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, *PADDED), dtype=torch.uint8, device=device)
    truth = torch.full((1, *PADDED), IGNORE, dtype=torch.uint8, device=device)
    truth[:, 5 : SIZE[0], 5 : SIZE[1]] = torch.randint(0, CLASSES, ())
    comparisons = []
    for name, backbone in BACKBONES.items():
        model = build_network(backbone()).to(device).eval()
        predictor = Predictor(model, STRATEGIES)
        comparisons += compare(
            f"evaluation, three strategies, {name}",
            {
                "plain loop": partial(_plain_loop, model, image, truth),
                "this project": partial(_predict_and_score, predictor, image, truth),
            },
            repeats=repeats,
        )
    return comparisons


@torch.inference_mode()
def _plain_loop(model: DeepLabV3Plus, image: Tensor, truth: Tensor) -> None:
    for strategy in STRATEGIES:
        metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE).to(image.device)
        total: Tensor | float = 0.0
        for scale in strategy.scales:
            sides = [scaled_size(side, scale) for side in PADDED]
            scaled = F.interpolate(image.float(), size=sides, mode="bilinear", align_corners=True)
            for mirrored in (False, True)[: 1 + strategy.flip]:
                logits = model(scaled.flip(3) if mirrored else scaled)
                logits = F.interpolate(logits, size=PADDED, mode="bilinear", align_corners=True)
                probabilities = logits.softmax(dim=1)
                total = total + (probabilities.flip(3) if mirrored else probabilities)
        assert isinstance(total, Tensor)
        metric.update(total.argmax(dim=1), truth)
        metric.compute()


def _predict_and_score(predictor: Predictor, image: Tensor, truth: Tensor) -> None:
    (labels,) = predictor.label_maps(image, [SIZE])
    label = truth[0, : SIZE[0], : SIZE[1]].cpu().numpy()
    predictions = [prediction.cpu().numpy() for prediction in labels]
    for score in score_image(label, predictions, classes=CLASSES, widths=np.arange(1, 11).tolist()):
        accumulator = ScoreAccumulator(classes=CLASSES, widths=range(1, 11))
        accumulator.add("image", score)
        assert accumulator.scores
