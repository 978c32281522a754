"""What an exported file says of itself."""

import json

from deeplab import __version__
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_data import class_set
from deeplab.tracking.run_folder import read_record
from deeplab.utils.files import file_hash

LICENSE = (
    "The code that made this file is under Apache-2.0. The weights are under the terms of the "
    "images that they were trained on and of the weights that training started from."
)


def about(
    trained: TrainedRun, *, output_stride: int, padded_to: tuple[int, int], probabilities: bool
) -> dict[str, str]:
    """Words by key; lists are JSON.

    Args:
        trained: the run and the file of weights.
        output_stride: that of the graph.
        padded_to: height and width that it pads images to at least.
        probabilities: whether it has them as an output.
    """
    classes = class_set(trained.config.data)
    starts = read_record(trained.folder)["sessions"]
    outputs = ["classes: uint8 (batch, height, width), indices of the classes below"]
    if probabilities:
        outputs.append("probabilities: float32 (batch, classes, height, width)")
    return {
        "made_by": f"deeplab {__version__}",
        "input": "image: uint8 (batch, height, width, 3), RGB, 0 to 255",
        "outputs": json.dumps(outputs),
        "classes": json.dumps(classes.names),
        "palette": json.dumps(classes.palette[: len(classes)].tolist()),
        "output_stride": str(output_stride),
        "padded_to": json.dumps(padded_to),
        "run": trained.folder.path.resolve().name,
        "weights_sha256": file_hash(trained.weights),
        "commit": str(starts[-1].get("commit")) if starts else "unknown",
        "license": LICENSE,
    }
