"""Benchmark of an exported ONNX file under onnxruntime against PyTorch, from image to label map."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.models.backbones import Backbone, MobileNetV2, Xception
from deeplab.tools.benchmarks.networks import CLASSES, build_network
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.tools.export.exportable import MIN_SIZE, ImageToClasses
from deeplab.tools.export.formats import EXPORTERS, check_packages, trace

SIDE, OUTPUT_STRIDE = 513, 16
NETWORKS: dict[str, Callable[[], Backbone]] = {
    "MobileNetV2": MobileNetV2,
    "Xception-65": partial(Xception, 65),
}


def compare_exports(*, repeats: int) -> list[Comparison]:
    """Print the time per image and their ratio for several networks with random weights."""
    check_packages("onnx")
    print(
        f"{SIDE} x {SIDE} image, {CLASSES} classes, decoder, output stride {OUTPUT_STRIDE}, "
        "float32, cpu"
    )
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    comparisons = []
    for name, backbone in NETWORKS.items():
        predictor = Predictor(build_network(backbone()), [Strategy(OUTPUT_STRIDE)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            EXPORTERS["onnx"].write(trace(_graph(predictor)), path, {})
            runner = EXPORTERS["onnx"].open_file(path)
        images = image.permute(0, 3, 1, 2)
        comparisons += compare(
            f"image to label map, ONNX, {name}",
            {
                "PyTorch": partial(predictor.label_maps, images, [(SIDE, SIDE)]),
                "onnxruntime": partial(runner, image.numpy()),
            },
            repeats=repeats,
        )
    return comparisons


def _graph(predictor: Predictor) -> ImageToClasses:
    return ImageToClasses(predictor.model, padded_to=MIN_SIZE, fill=(0, 0, 0), probabilities=False)
