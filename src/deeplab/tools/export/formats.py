"""Writing and running exported files: ONNX models and ``torch.export`` programs."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from deeplab.config.schema.scripts import GraphFormat
from deeplab.tools.export.exportable import INPUT, OUTPUTS, ImageToClasses
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.reading import describe

AXES = ("batch", "height", "width")
"""Names of the dynamic axes."""

OPSET = 18
"""ONNX opset: the one that PyTorch's exporter writes and that onnxruntime reads since 1.14."""

STACK_TRACE = "stack_trace"
"""Name of the metadata of a node that holds lines and paths of the source code."""

METADATA = "metadata.json"
"""Name of the metadata file inside a ``torch.export`` program."""

Outputs = list[NDArray[Any]]
Runner = Callable[[NDArray[np.uint8]], Outputs]
"""Function from images ``(N, H, W, C)`` to the outputs of an exported file.

The outputs are the classes ``(N, H, W)`` and, if the file has them, the probabilities.
"""


def check_packages(format: GraphFormat) -> None:
    """Raise UserError if a package that the format needs is not installed."""
    if format == "onnx":
        require_extra(
            "export",
            *("onnx", "onnxscript", "onnxruntime"),
            setting="format=onnx",
            alternative="choose format=torch_export",
        )


def trace(network: ImageToClasses) -> ExportedProgram:
    """Trace a network into a graph with dynamic batch, height and width.

    Raises:
        UserError: PyTorch cannot trace the network with dynamic sizes.
    """
    side = 2 * max(network.padded_to) + 31
    image = torch.zeros(2, side, side + 10, network.model.in_channels, dtype=torch.uint8)
    shapes = {INPUT: {axis: Dim(name) for axis, name in enumerate(AXES)}}
    try:
        with torch.no_grad():
            program = torch.export.export(
                network,
                (image,),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # tracing fails with many types of errors
        raise UserError(
            f"format: PyTorch {torch.__version__} cannot trace this network with dynamic sizes "
            f"({type(error).__name__}: {describe(error)}). format=safetensors does not trace."
        ) from error
    for graph in program.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, GraphModule) else ():
            node.meta.pop(STACK_TRACE, None)
    return _remove_assertions(program)


def _remove_assertions(program: ExportedProgram) -> ExportedProgram:
    """Remove the assumptions about sizes that tracing made, which every run would check.

    One example is which of two maps has the longer rows in memory: it does not hold for small
    images, and nothing depends on it. (PyTorch's own ONNX exporter removes these checks too.)
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _write_onnx(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every node
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    outputs = OUTPUTS[: len(program.graph_signature.user_outputs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about deprecated calls in the exporter itself
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    axes = zip(
        exported.model.graph.inputs[0].shape, AXES, strict=False
    )  # the last axis, of the colors, has a fixed size
    exported.rename_axes({str(traced): name for traced, name in axes})
    exported.model.metadata_props.update(metadata)
    for node in exported.model.graph.all_nodes():
        for key in [key for key in node.metadata_props if key.endswith(STACK_TRACE)]:
            del node.metadata_props[key]
    exported.save(path, external_data=False)


def _open_onnx(path: Path) -> Runner:
    import onnxruntime  # imported here because it is an optional dependency

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: list(session.run(None, {INPUT: images}))


def _write_program(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    buffer = io.BytesIO()  # a full disk would abort the process inside of torch
    with warnings.catch_warnings():  # about weights that are parts of one tensor
        warnings.filterwarnings("ignore", message="No complete tensor found")
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(dict(metadata))})
    path.write_bytes(buffer.getbuffer())


def _open_program(path: Path) -> Runner:
    with path.open("rb") as file:
        network = torch.export.load(file).module()

    @torch.no_grad()
    def run(images: NDArray[np.uint8]) -> Outputs:
        return [output.numpy() for output in network(torch.from_numpy(images))]

    return run


class Exporter(NamedTuple):
    """Files of one format."""

    suffix: str
    write: Callable[[ExportedProgram, Path, Mapping[str, str]], None]
    """Writes a graph to a file, with metadata inside."""
    open_file: Callable[[Path], Runner]
    """Loads such a file, ready to run on images."""
    usage: str
    """Code to copy that uses it, with ``path`` and ``image`` to fill in."""


EXPORTERS: dict[GraphFormat, Exporter] = {
    "onnx": Exporter(
        ".onnx",
        _write_onnx,
        _open_onnx,
        """\
  session = onnxruntime.InferenceSession("{path}")
  image = {image}[None]
  classes = session.run(["classes"], {{"image": image}})[0][0]""",
    ),
    "torch_export": Exporter(
        ".pt2",
        _write_program,
        _open_program,
        """\
  network = torch.export.load("{path}").module()
  image = torch.from_numpy({image})[None]
  classes = network(image)[0][0]""",
    ),
}
"""Exporters by format."""
