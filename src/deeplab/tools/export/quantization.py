"""Smaller ONNX files: float16 weights, or 8-bit integers; and what they change."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from deeplab.data.class_set import Pixels
from deeplab.data.dataset import SegmentationDataset
from deeplab.metrics.confusion_matrix import ConfusionMatrix, scores
from deeplab.tools.export.exportable import INPUT
from deeplab.tools.export.formats import EXPORTERS
from deeplab.utils.progress import show_progress
from deeplab.utils.sampling import sample_evenly

Precision = Literal["float16", "int8"]

PRECISION_SUFFIXES = {"float32": "", "float16": "-float16", "int8": "-int8"}
"""End of the name of a file, before ``.onnx``."""


def reduce_precision(
    source: Path,
    target: Path,
    precision: Precision,
    metadata: Mapping[str, str],
    calibration: Sequence[Pixels],
) -> None:
    """Write a smaller version of a float32 ONNX file.

    Args:
        source: the float32 file.
        target: the file to write.
        precision: its precision. float16: weights and all that is computed, but inputs and outputs.
            int8: weights with a scale for each channel; feature maps with ranges that are measured
            on images.
        metadata: metadata of the file.
        calibration: images ``(H, W, 3)`` for the ranges of int8.
    """
    import onnx

    with _quiet():
        if precision == "int8":
            _write_int8(source, target, calibration)
            model = onnx.load(target)
        else:
            from onnxruntime.transformers.float16 import convert_float_to_float16

            model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.helper.set_model_props(model, {**metadata, "precision": precision})
    onnx.save(model, target)


def _write_int8(source: Path, target: Path, images: Sequence[Pixels]) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """Gives one image after another."""

        def __init__(self) -> None:
            self.images = show_progress(images, "Calibrating", len(images), "img")

        def get_next(self) -> dict[str, Pixels] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image[None]}

    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        per_channel=True,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the converters log: advice that does not hold for dynamic sizes."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@dataclass
class Difference:
    """Scores of a smaller file beside those of the float32 file."""

    images: int
    same: float
    """Fraction of the pixels with the same class."""
    miou: tuple[float, float]
    """Mean IoU of the float32 file and of the smaller one, in percent."""
    seconds: tuple[float, float]
    """Median time of an image under onnxruntime on this machine's CPU."""
    megabytes: tuple[float, float]

    def __str__(self) -> str:
        rows = {
            "mIoU, %": [f"{value:.2f}" for value in self.miou],
            "s / image": [f"{value:.3f}" for value in self.seconds],
            "MB": [f"{value:.1f}" for value in self.megabytes],
        }
        lines = [f"{'':<12}{'float32':>9}{'this file':>11}"]
        lines += [f"{name:<12}{one:>9}{other:>11}" for name, (one, other) in rows.items()]
        lines.append(f"{100 * self.same:.2f} % of the pixels have the same class")
        return "\n".join(f"            {line}" for line in lines)

    def record(self) -> dict[str, Any]:
        """Return what the record of the export keeps."""
        keys = ("float32", "this_file")
        pairs = {"mIoU": self.miou, "seconds": self.seconds, "megabytes": self.megabytes}
        named = {name: dict(zip(keys, values, strict=True)) for name, values in pairs.items()}
        return {"images": self.images, "same_class": self.same, **named}


def measure_difference(
    source: Path, target: Path, dataset: SegmentationDataset, max_images: int, *, num_classes: int
) -> Difference:
    """Score a float32 file and a smaller one on labeled images.

    Args:
        source: the float32 file.
        target: the smaller file.
        dataset: the images and their label maps.
        max_images: number of images at most, evenly spaced.
        num_classes: number of classes.
    """
    runners = [EXPORTERS["onnx"].open_file(path) for path in (source, target)]
    matrices = [ConfusionMatrix(num_classes) for _ in runners]
    seconds: list[list[float]] = [[], []]
    pixels = same = 0
    items = sample_evenly(dataset.items, max_images)
    for item in show_progress(items, "Comparing", len(items), "img"):
        image, truth = dataset.read(item)
        labels = []
        for runner, matrix, times in zip(runners, matrices, seconds, strict=True):
            start = time.perf_counter()
            label = runner(image[None])[0][0]
            times.append(time.perf_counter() - start)
            labels.append(label)
            matrix.update(torch.from_numpy(label), torch.from_numpy(np.array(truth)))
        pixels += truth.size
        same += int((labels[0] == labels[1]).sum())
    ious = [100 * scores(matrix.compute()).miou for matrix in matrices]
    medians = [float(np.median(times)) for times in seconds]
    sizes = [path.stat().st_size / 1e6 for path in (source, target)]
    return Difference(
        images=len(items),
        same=same / pixels,
        miou=(ious[0], ious[1]),
        seconds=(medians[0], medians[1]),
        megabytes=(sizes[0], sizes[1]),
    )
