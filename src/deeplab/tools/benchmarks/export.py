"""An exported ONNX file under onnxruntime against PyTorch, from the image to its class map."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.models.backbones import Backbone, MobileNetV2, Xception
from deeplab.tools.benchmarks.timing import CLASSES, network, print_sides
from deeplab.tools.export.exportable import LEAST, ImageToClasses
from deeplab.tools.export.formats import check_packages, open_file, trace, write

SIDE, OUTPUT_STRIDE = 513, 16
NETWORKS: dict[str, Callable[[], Backbone]] = {
    "MobileNetV2": MobileNetV2,
    "Xception-65": partial(Xception, 65),
}


def compare_exports(*, repeats: int) -> None:
    """Print seconds an image of both for several networks of random weights, and their ratio."""
    check_packages("onnx")
    print(
        f"{SIDE} x {SIDE} image, {CLASSES} classes, decoder, output stride {OUTPUT_STRIDE}, "
        f"float32, cpu, {torch.get_num_threads()} threads, median of {repeats}"
    )
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    for name, backbone in NETWORKS.items():
        predictor = Predictor(network(backbone()), [Strategy(OUTPUT_STRIDE)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            write(trace(_graph(predictor)), "onnx", path, {})
            run = open_file("onnx", path)
        sides: dict[str, Callable[[], object]] = {
            "PyTorch": partial(predictor.label_maps, image.permute(0, 3, 1, 2), [(SIDE, SIDE)]),
            "onnxruntime": partial(run, image.numpy()),
        }
        print_sides(name, sides, repeats=repeats)


def _graph(predictor: Predictor) -> ImageToClasses:
    return ImageToClasses(predictor.model, padded_to=LEAST, fill=(0, 0, 0), probabilities=False)
