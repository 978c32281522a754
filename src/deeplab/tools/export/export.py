"""A trained network as a file, compared with PyTorch before it takes its name."""

from pathlib import Path
from typing import Any

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run
from deeplab.config.build_datamodule import padded_to, padding_color
from deeplab.config.schema.scripts import ExportConfig
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.tools.export.exportable import LEAST, ImageToClasses
from deeplab.tools.export.formats import (
    SUFFIXES,
    Format,
    Run,
    check_packages,
    open_file,
    trace,
    write,
)
from deeplab.tools.export.hub import check_account, upload
from deeplab.tools.export.hub_files import write_repository
from deeplab.tools.export.metadata import about
from deeplab.tools.export.parity_check import Pixels, compare
from deeplab.tools.export.sample_images import sample_images
from deeplab.tracking.console import quiet
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import read_json
from deeplab.utils.errors import UserError, writing
from deeplab.utils.files import file_hash, replacing, write_json
from deeplab.utils.hardware import choose_execution

RECORD = "export.json"
"""What is in a folder of exports; a folder with it may be written to again."""

USE = {
    "onnx": """\
  session = onnxruntime.InferenceSession("{path}")
  image = numpy.asarray(PIL.Image.open("photo.jpg").convert("RGB"))[None]
  classes = session.run(["classes"], {{"image": image}})[0][0]""",
    "torch_export": """\
  network = torch.export.load("{path}").module()
  image = torch.from_numpy(numpy.array(PIL.Image.open("photo.jpg").convert("RGB")))[None]
  classes = network(image)[0][0]""",
    "safetensors": """\
  python src/evaluate.py run={path}
  python src/predict.py run={path} input=photo.jpg
  python src/train.py init_from={path} ...""",
}
"""How a file is used, to be copied."""


def run_export(config: ExportConfig) -> list[Path]:
    """Write what is asked for, say what and where, and upload it if asked.

    Returns:
        The files.
    """
    quiet()
    if config.format != "safetensors":
        check_packages(config.format)
    trained = find_trained_run(config.run)
    if config.push_to_hub:
        check_account(config.push_to_hub)
    folder = Path(config.output).expanduser() if config.output else trained.folder.path / "export"
    _check_folder(folder)
    print(f"Weights:    {trained.weights}")
    files = []
    with writing(f"output={folder}"):
        if config.format != "safetensors":
            files.append(_write_graph(config, config.format, trained, folder))
        if config.push_to_hub or config.format == "safetensors":
            files += write_repository(trained, folder, files, config)
            _record(folder, folder / "weights.safetensors", {"run": _run_name(trained)})
    for path in files[config.format != "safetensors" :]:
        print(f"Written:    {path}")
    print(f"How to use it:\n{USE[config.format].format(path=files[0])}")
    if config.push_to_hub:
        print(f"Uploading to {config.push_to_hub} ...", flush=True)
        message = f"Weights of {_run_name(trained)}"
        address = upload(config.push_to_hub, files, message=message, private=config.private)
        print(f"Uploaded:   {address}")
    return files


def _check_folder(folder: Path) -> None:
    """Raise UserError if files there could be somebody's."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UserError(
            f"output={folder}: there are other files in this folder, and files of their names "
            "would be replaced. Name a new one."
        )


def _write_graph(config: ExportConfig, format: Format, trained: TrainedRun, folder: Path) -> Path:
    """Trace, write, compare; the file has its name only if the comparison ends well."""
    run = trained.config
    stride = config.output_stride or run.output_stride
    execution = choose_execution(accelerator="cpu", precision="32-true")
    predictor = trained.predictor([Strategy(stride)], execution, key="output_stride")
    size = padded_to(run.data) if config.padding else LEAST
    padding = EvalTransform(size=size, fill=padding_color(run))
    asked: dict[str, Any] = {"padded_to": size, "probabilities": config.probabilities}
    graph = ImageToClasses(predictor.model, fill=padding.fill, **asked)
    said = about(trained, output_stride=stride, **asked)
    samples = config.num_check_images and sample_images(
        run.data, padded_to(run.data), config.num_check_images, config.data.root
    )
    print(f"Tracing the network at output stride {stride} ...", flush=True)
    program = trace(graph)
    path = folder / f"{_name(trained, stride)}{SUFFIXES[format]}"
    with replacing(path) as draft:
        write(program, format, draft, said)
        compared = samples and _compared(open_file(format, draft), predictor, padding, *samples)
    _record(folder, path, {**said, "compared": compared or None})
    print(f"Written:    {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def _compared(
    run: Run, predictor: Predictor, padding: EvalTransform, images: list[Pixels], source: str
) -> dict[str, Any]:
    """Compare, and say so."""
    print(f"Comparing on {source} ...", flush=True)
    agreement = compare(run, predictor, padding, images, source)
    print(f"Compared:   {agreement}")
    return agreement.record()


def _run_name(trained: TrainedRun) -> str:
    return trained.folder.path.resolve().name


def _name(trained: TrainedRun, output_stride: int) -> str:
    """The run's, with what is not as training left it."""
    name = _run_name(trained)
    if trained.weights.stem != trained.folder.weights.stem:
        name += f"-{trained.weights.stem}"
    return name if output_stride == trained.config.output_stride else f"{name}-os{output_stride}"


def _record(folder: Path, path: Path, said: dict[str, Any]) -> None:
    """Add a file to the folder's record: what it is, what was compared, what made it."""
    record = folder / RECORD
    before = read_json(record) if record.is_file() else {}
    write_json(
        record, {**before, path.name: {**said, "sha256": file_hash(path), "made": provenance()}}
    )
