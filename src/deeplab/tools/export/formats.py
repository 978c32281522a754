"""One traced graph as an ONNX file or as a program of ``torch.export``, and running such files."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import Dim, ExportedProgram

from deeplab.tools.export.exportable import INPUT, OUTPUTS, ImageToClasses
from deeplab.utils.errors import UserError

Format = Literal["onnx", "torch_export"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch_export": ".pt2"}

AXES = ("batch", "height", "width")
"""The names of the open ones."""

OPSET = 18
"""Of ONNX: what PyTorch's exporter writes, and onnxruntime reads since 1.14."""

METADATA = "metadata.json"
"""The name of what is said of a network inside of a program's file."""

Outputs = list[NDArray[Any]]
Run = Callable[[NDArray[np.uint8]], Outputs]
"""Images ``(N, H, W, 3)`` to classes ``(N, H, W)`` and, where the file has them, probabilities."""


def check_packages(format: Format) -> None:
    """Raise UserError where what a format needs is not installed."""
    needed = ("onnx", "onnxscript", "onnxruntime") if format == "onnx" else ()
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"format={format}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not "
            'installed; pip install ".[export]", or choose format=torch_export.'
        )


def trace(network: ImageToClasses) -> ExportedProgram:
    """The graph of a network, with an open batch, height and width.

    Raises:
        UserError: PyTorch cannot trace it so.
    """
    side = 2 * max(network.padded_to) + 31
    image = torch.zeros(2, side, side + 10, 3, dtype=torch.uint8)
    shapes = {INPUT: {axis: Dim(name) for axis, name in enumerate(AXES)}}
    try:
        with torch.no_grad():
            program = torch.export.export(
                network,
                (image,),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # of many kinds
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"format: PyTorch {torch.__version__} cannot trace this network with open sizes "
            f"({type(error).__name__}: {first})."
        ) from error
    return _without_assertions(program)


def _without_assertions(program: ExportedProgram) -> ExportedProgram:
    """Let go of what tracing has assumed of sizes, and would have checked at every run.

    Such as which of two maps has the longer rows in memory: it does not hold for small images, and
    nothing depends on it. (PyTorch's own way to ONNX lets go of it too.)
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def write(program: ExportedProgram, format: Format, path: Path, about: Mapping[str, str]) -> None:
    """The file of a graph, with words about it inside."""
    {"onnx": _write_onnx, "torch_export": _write_program}[format](program, path, about)


def open_file(format: Format, path: Path) -> Run:
    """A file that ``write`` has written, ready to look at images."""
    return {"onnx": _open_onnx, "torch_export": _open_program}[format](path)


def _write_onnx(program: ExportedProgram, path: Path, about: Mapping[str, str]) -> None:
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell every node they touch
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    outputs = OUTPUTS[: len(program.graph_signature.user_outputs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on its own deprecations
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    axes = zip(exported.model.graph.inputs[0].shape, AXES, strict=False)  # the last is a number
    exported.rename_axes({str(traced): name for traced, name in axes})
    exported.model.metadata_props.update(about)
    exported.save(path, external_data=False)


def _open_onnx(path: Path) -> Run:
    import onnxruntime  # here, since it is an extra

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: list(session.run(None, {INPUT: images}))


def _write_program(program: ExportedProgram, path: Path, about: Mapping[str, str]) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={METADATA: json.dumps(dict(about))})


def _open_program(path: Path) -> Run:
    with path.open("rb") as file:
        network = torch.export.load(file).module()

    @torch.no_grad()
    def run(images: NDArray[np.uint8]) -> Outputs:
        return [found.numpy() for found in network(torch.from_numpy(images))]

    return run
