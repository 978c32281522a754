"""Metadata inside an exported file."""

import json

from deeplab import __version__
from deeplab.checkpoints.run_weights import weights_hash
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.data.class_set import class_set
from deeplab.data.pixel_format import PixelFormat
from deeplab.tracking.run_record import read_record

LICENSE = (
    "The code that wrote this file is licensed under Apache-2.0. The weights are subject to the "
    "terms of the images that they were trained on and of the weights that training started from."
)


def describe_input(pixel_format: PixelFormat) -> str:
    """Return name, type, shape and meaning of the input of an exported file."""
    channels = pixel_format.channels
    meaning = {1: "gray,", 3: "RGB,"}.get(channels, "the channels of the training images,")
    if pixel_format.value_range:
        meaning += f" values {pixel_format.value_range} spread over"
    return f"image: uint8 (batch, height, width, {channels}), {meaning} 0 to 255"


def build_metadata(
    trained: TrainedRun, *, output_stride: int, padded_to: tuple[int, int], probabilities: bool
) -> dict[str, str]:
    """Build the metadata of an exported file; lists are encoded as JSON.

    Args:
        trained: the run and its file of weights.
        output_stride: output stride of the graph.
        padded_to: minimum height and width that the graph pads images to.
        probabilities: the graph has the probabilities as an output.
    """
    classes = class_set(trained.config.data)
    sessions = read_record(trained.folder).sessions
    commit = sessions[-1].commit if sessions else None
    outputs = ["classes: uint8 (batch, height, width), indices of the classes below"]
    if probabilities:
        outputs.append("probabilities: float32 (batch, classes, height, width)")
    return {
        "made_by": f"deeplab {__version__}",
        "input": describe_input(trained.config.data.pixel_format),
        "outputs": json.dumps(outputs),
        "classes": json.dumps(classes.names),
        "palette": json.dumps(classes.palette[: len(classes)].tolist()),
        "output_stride": str(output_stride),
        "padded_to": json.dumps(padded_to),
        "run": trained.folder.path.resolve().name,
        "weights_sha256": weights_hash(trained.weights),
        **({"commit": commit} if commit else {}),
        "license": LICENSE,
    }
