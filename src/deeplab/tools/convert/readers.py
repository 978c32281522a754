"""TensorFlow variables out of what the authors publish: archives, checkpoints, frozen graphs and
TensorFlow Lite models.

TensorFlow reads its own formats, Google's LiteRT the last; both are imported where they are used.
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

ARCHIVES = (".gz", ".tgz", ".tar", ".zip")
INDEX = ".index"
"""The suffix of the file by which a checkpoint is known: ``model.ckpt-30000.index``."""

OF_TRAINING = ("Momentum", "ExponentialMovingAverage", "RMSProp", "RMSProp_1", "Adam", "Adam_1")
"""What training keeps beside a variable, below its name."""

COUNTERS = ("global_step",)

LITE_BIASES = ("Conv2D_bias", "depthwise_bias", "Conv2D_Fold_bias", "depthwise_Fold_bias")
"""How TensorFlow Lite calls the bias of a convolution that a batch norm was folded into."""

Array = NDArray[np.float32]


class Source(NamedTuple):
    """What a file held."""

    path: Path
    """The file, in an archive below it; of a checkpoint, its prefix."""
    variables: dict[str, Array]
    """By their names without ``:0``; convolutions in TensorFlow's layout."""
    output_stride: int | None
    """That a graph was exported at; a checkpoint knows none."""
    left_out: list[str]
    """Variables that only training uses, and others that are not wanted."""

    def without(self, names: list[str]) -> "Source":
        """The same but for some variables."""
        rest = {name: value for name, value in self.variables.items() if name not in names}
        return self._replace(variables=rest, left_out=[*self.left_out, *names])


def read_source(named: str, *, progress: bool) -> Source:
    """What the file, folder, archive or checkpoint prefix ``named`` holds.

    Raises:
        UserError: it is not there, holds nothing that can be read, or a package is missing.
    """
    path = Path(named).expanduser()
    if path.name.endswith(ARCHIVES) and path.is_file():
        with _unpacked(path, progress=progress) as folder:
            found = _find(folder, named)
            read = _read(found)
            return read._replace(path=path / found.relative_to(folder))
    return _read(_find(path, named))


@contextmanager
def _unpacked(archive: Path, *, progress: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deeplab-") as folder:
        unpack(archive, Path(folder), progress=progress)
        yield Path(folder)


def _find(path: Path, named: str) -> Path:
    """A file that can be read, or the prefix of a checkpoint; the newest of a folder's."""
    if path.is_dir():
        inside = [p for p in path.rglob("*") if not p.name.startswith(".")]
        prefixes = [p.with_suffix("") for p in inside if p.suffix == INDEX]
        graphs = [p for p in inside if p.suffix in (".pb", ".tflite")]
        if found := sorted(prefixes, key=_step)[-1:] or sorted(graphs)[:1]:
            return found[0]
        raise UserError(
            f"{named}: there is no checkpoint (*{INDEX}), frozen graph (*.pb) or *.tflite in it."
        )
    if path.suffix in (".pb", ".tflite") and path.is_file():
        return path
    prefix = Path(str(path).removesuffix(INDEX).split(".data-")[0])
    if Path(f"{prefix}{INDEX}").is_file():
        return prefix
    if path.exists():
        raise UserError(
            f"{named}: this is no archive, folder, frozen graph (.pb), .tflite or checkpoint."
        )
    raise UserError(f"{named}: there is no such file, folder or checkpoint prefix.")


def _step(prefix: Path) -> tuple[int, str]:
    """A checkpoint's step, as in ``model.ckpt-30000``."""
    step = prefix.name.rpartition("-")[2]
    return int(step) if step.isdigit() else -1, str(prefix)


def _read(path: Path) -> Source:
    read = {".pb": _frozen_graph, ".tflite": _lite}.get(path.suffix, _checkpoint)
    try:
        with _native_output_dropped():
            return read(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: this cannot be read ({first}).") from None


@contextmanager
def _native_output_dropped() -> Iterator[None]:
    """Without what TensorFlow and LiteRT write about themselves, past Python; errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _checkpoint(prefix: Path) -> Source:
    reader = _package("tensorflow").train.load_checkpoint(str(prefix))
    names = sorted(reader.get_variable_to_shape_map())
    wanted = [name for name in names if not _of_training(name)]
    variables = {name: np.asarray(reader.get_tensor(name)) for name in wanted}
    return Source(prefix, variables, None, [name for name in names if _of_training(name)])


def _of_training(name: str) -> bool:
    return name in COUNTERS or name.rpartition("/")[2] in OF_TRAINING


def _frozen_graph(path: Path) -> Source:
    """A frozen graph's variables are constants that a node called ``NAME/read`` reads."""
    tensorflow = _package("tensorflow")
    graph = tensorflow.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    reading = {node.name.removesuffix("/read") for node in graph.node if node.op == "Identity"}
    variables = {
        node.name: np.asarray(tensorflow.make_ndarray(node.attr["value"].tensor))
        for node in graph.node
        if node.op == "Const" and node.name in reading
    }
    return Source(path, variables, _exported_stride(graph.node), [])


def _exported_stride(nodes: Any) -> int | None:
    """The product of all strides on the way from the image to the encoder's output."""
    stride = 1
    for node in nodes:
        strided = node.op in ("Conv2D", "DepthwiseConv2dNative", "MaxPool")
        if strided and "shortcut" not in node.name:
            stride *= node.attr["strides"].list.i[1]
    return stride if stride in (8, 16, 32) else None


def _lite(path: Path) -> Source:
    """A TensorFlow Lite model of floats; its constants keep the variables' names."""
    interpreter = _package("ai_edge_litert.interpreter").Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    variables: dict[str, Array] = {}
    sides = {}
    for detail in interpreter.get_tensor_details():
        name, last = detail["name"], detail["name"].rpartition("/")[2]
        if last in ("weights", "depthwise_weights"):
            _check_float(detail, path)
            value = interpreter.get_tensor(detail["index"])
            variables[name] = value.transpose(1, 2, 3, 0)  # out or 1, height, width, in
        elif last in LITE_BIASES:
            value = interpreter.get_tensor(detail["index"])
            logits = name.startswith("logits/")
            variables[name.removesuffix(last) + ("biases" if logits else "folded")] = value
        elif len(detail["shape"]) == 4:
            sides[name] = int(detail["shape"][1])
    return Source(path, variables, _lite_stride(interpreter, sides), [])


def _check_float(detail: dict[str, Any], path: Path) -> None:
    if detail["dtype"] != np.float32:
        raise UserError(f"{path}: its weights are {detail['dtype'].__name__}; float32 is wanted.")


def _lite_stride(interpreter: Any, sides: dict[str, int]) -> int | None:
    """The image's side against that of the encoder's output."""
    encoded = sides.get("concat_projection/Relu")
    image = int(interpreter.get_input_details()[0]["shape"][1])
    return round((image - 1) / (encoded - 1)) if encoded else None


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f'this wants another package ({error.name}): pip install ".[convert]".'
        ) from None
