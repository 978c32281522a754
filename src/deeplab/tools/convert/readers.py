"""Readers of TensorFlow variables from the files that the authors publish.

These are archives, checkpoints, frozen graphs and TensorFlow Lite models. TensorFlow reads its own
formats, Google's LiteRT reads the last; both are imported where they are used.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.utils.archives import unpack
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.reading import describe
from deeplab.utils.settings import OUTPUT_STRIDES

ARCHIVES = (".gz", ".tgz", ".tar", ".zip")
INDEX = ".index"
"""Suffix of the file that identifies a checkpoint: ``model.ckpt-30000.index``."""

TRAINING_SLOTS = ("Momentum", "ExponentialMovingAverage", "RMSProp", "RMSProp_1", "Adam", "Adam_1")
"""Last parts of the names under which training stores state of a variable."""

STEP_COUNTERS = ("global_step",)

FAKE_QUANTIZATION = "_quant/FakeQuantWithMinMaxVars"
"""End of the names in TensorFlow Lite of the weights of networks that were trained for integers."""

LITE_BIASES = ("Conv2D_bias", "depthwise_bias", "Conv2D_Fold_bias", "depthwise_Fold_bias")
"""Names in TensorFlow Lite of the bias of a convolution with a folded batch norm."""

Array = NDArray[np.float32]


class Source(NamedTuple):
    """Content of a file."""

    path: Path
    """Path of the file, below the archive if it is in one; of a checkpoint, its prefix."""
    variables: dict[str, Array]
    """Variables by name, without ``:0``; convolutions are in TensorFlow's layout."""
    output_stride: int | None
    """Output stride at which a graph was exported; None for checkpoints, which store none."""
    left_out: list[str]
    """Names of the variables that are not converted, such as those that only training uses."""
    quantized: str | None = None
    """Type of the integers that the weights were computed from."""

    def leave_out(self, names: list[str]) -> "Source":
        """Return a copy without some variables."""
        rest = {name: value for name, value in self.variables.items() if name not in names}
        return self._replace(variables=rest, left_out=[*self.left_out, *names])


def read_source(name: str, *, progress: bool) -> Source:
    """Read the variables of a file, folder, archive or checkpoint prefix.

    Raises:
        UserError: it does not exist, holds nothing that can be read, or a package is missing.
    """
    path = Path(name).expanduser()
    if path.name.endswith(ARCHIVES) and path.is_file():
        with _unpacked(path, progress=progress) as folder:
            file = _find_file(folder, name)
            source = _read(file)
            return source._replace(path=path / file.relative_to(folder))
    return _read(_find_file(path, name))


@contextmanager
def _unpacked(archive: Path, *, progress: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deeplab-") as folder:
        unpack(archive, Path(folder), progress=progress)
        yield Path(folder)


def _find_file(path: Path, name: str) -> Path:
    """Return a readable file or the prefix of a checkpoint; in a folder, the newest checkpoint."""
    if path.is_dir():
        files = [p for p in path.rglob("*") if not p.name.startswith(".")]
        prefixes = [p.with_suffix("") for p in files if p.suffix == INDEX]
        graphs = [p for p in files if p.suffix in (".pb", ".tflite")]
        if candidates := sorted(prefixes, key=_step)[-1:] or sorted(graphs)[:1]:
            return candidates[0]
        raise UserError(
            f"input={name}: no checkpoint (*{INDEX}), frozen graph (*.pb) or *.tflite in it."
        )
    if path.suffix in (".pb", ".tflite") and path.is_file():
        return path
    prefix = Path(str(path).removesuffix(INDEX).split(".data-")[0])
    if Path(f"{prefix}{INDEX}").is_file():
        return prefix
    if path.exists():
        raise UserError(
            f"input={name}: not an archive, folder, frozen graph (.pb), .tflite or checkpoint."
        )
    raise UserError(f"input={name}: no such file, folder or checkpoint prefix.")


def _step(prefix: Path) -> tuple[int, str]:
    """Return the step in a checkpoint's name, such as ``model.ckpt-30000``, and the name."""
    step = prefix.name.rpartition("-")[2]
    return int(step) if step.isdigit() else -1, str(prefix)


def _read(path: Path) -> Source:
    read = {".pb": _frozen_graph, ".tflite": _lite}.get(path.suffix, _checkpoint)
    try:
        with _native_output_suppressed():
            return read(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path}: cannot be read ({describe(error)}).") from None


@contextmanager
def _native_output_suppressed() -> Iterator[None]:
    """Discard what TensorFlow's and LiteRT's native code logs; errors are still raised."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _checkpoint(prefix: Path) -> Source:
    reader = _import_package("tensorflow", prefix).train.load_checkpoint(str(prefix))
    names = sorted(reader.get_variable_to_shape_map())
    training_only = [name for name in names if _is_training_state(name)]
    kept = [name for name in names if not _is_training_state(name)]
    variables = {name: np.asarray(reader.get_tensor(name)) for name in kept}
    return Source(prefix, variables, None, training_only)


def _is_training_state(name: str) -> bool:
    return name in STEP_COUNTERS or name.rpartition("/")[2] in TRAINING_SLOTS


def _frozen_graph(path: Path) -> Source:
    """Read a frozen graph; its variables are constants that a node named ``NAME/read`` reads."""
    tensorflow = _import_package("tensorflow", path)
    graph = tensorflow.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    read_names = {node.name.removesuffix("/read") for node in graph.node if node.op == "Identity"}
    variables = {
        node.name: np.asarray(tensorflow.make_ndarray(node.attr["value"].tensor))
        for node in graph.node
        if node.op == "Const" and node.name in read_names
    }
    return Source(path, variables, _exported_stride(graph.node), [])


def _exported_stride(nodes: Any) -> int | None:
    """Return the product of all strides between the image and the encoder's output."""
    stride = 1
    for node in nodes:
        strided = node.op in ("Conv2D", "DepthwiseConv2dNative", "MaxPool")
        if strided and "shortcut" not in node.name:
            stride *= node.attr["strides"].list.i[1]
    return stride if stride in OUTPUT_STRIDES else None


def _lite(path: Path) -> Source:
    """Read a TensorFlow Lite model; its constants keep the variables' names.

    Integers of a quantized one become the numbers that they stand for.
    """
    lite = _import_package("ai_edge_litert.interpreter", path)
    interpreter = lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    variables: dict[str, Array] = {}
    heights = {}
    types = set()
    for detail in interpreter.get_tensor_details():
        name = detail["name"].removesuffix(FAKE_QUANTIZATION)
        scope, _, last = name.rpartition("/")
        if name != detail["name"] and scope.endswith("depthwise"):
            last = "depthwise_weights"
        if last in ("weights", "depthwise_weights"):
            value = _dequantized(interpreter, detail, path)
            variables[f"{scope}/{last}"] = value.transpose(1, 2, 3, 0)  # out or 1, h, w, in
            types.add(detail["dtype"].__name__)
        elif last in LITE_BIASES:
            logits = name.startswith("logits/")
            variables[f"{scope}/{'biases' if logits else 'folded'}"] = _dequantized(
                interpreter, detail, path
            )
        elif len(detail["shape"]) == 4:
            heights[name] = int(detail["shape"][1])
    quantized = ", ".join(sorted(types - {"float32"})) or None
    return Source(path, variables, _lite_stride(interpreter, heights), [], quantized)


def _dequantized(interpreter: Any, detail: dict[str, Any], path: Path) -> Array:
    """Return a constant in float32: of integers, ``(value - zero point) * scale`` by channel."""
    value = np.asarray(interpreter.get_tensor(detail["index"]))
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    quantization = detail["quantization_parameters"]
    scales, zeros = quantization["scales"], quantization["zero_points"]
    if not len(scales):
        raise UserError(f"{path}: {detail['name']} is {value.dtype} without a scale.")
    shape = [1] * value.ndim
    shape[quantization["quantized_dimension"] if len(scales) > 1 else 0] = -1
    centered = value.astype(np.float64) - zeros.reshape(shape)
    return (centered * scales.reshape(shape)).astype(np.float32)


def _lite_stride(interpreter: Any, heights: dict[str, int]) -> int | None:
    """Return the ratio of the image's height to that of the encoder's output."""
    encoded = heights.get("concat_projection/Relu")
    image = int(interpreter.get_input_details()[0]["shape"][1])
    return round((image - 1) / (encoded - 1)) if encoded else None


def _import_package(name: str, path: Path) -> Any:
    require_extra("convert", name.partition(".")[0], setting=f"input={path}")
    return importlib.import_module(name)
