"""Export of a trained network to a file, which is compared with PyTorch before it is kept."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run
from deeplab.config.build_data import padding_color
from deeplab.config.execution import inference_execution
from deeplab.config.overrides import typed_override
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ExportConfig, GraphFormat
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.datamodules import SegmentationData
from deeplab.data.layouts.base import move_data
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.data.split_error import SplitError
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.tools.export.exportable import MIN_SIZE, ImageToClasses
from deeplab.tools.export.formats import EXPORTERS, Runner, check_packages, trace
from deeplab.tools.export.hub_files import write_repository
from deeplab.tools.export.hub_upload import check_account, upload
from deeplab.tools.export.metadata import build_metadata
from deeplab.tools.export.parity_check import compare
from deeplab.tools.export.quantization import (
    PRECISION_SUFFIXES,
    measure_difference,
    reduce_precision,
)
from deeplab.tools.export.sample_images import Samples, open_images, sample_images
from deeplab.tracking.console import silence_library_messages
from deeplab.tracking.provenance import provenance
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.files import atomic_write, check_writable, file_hash, write_json
from deeplab.utils.links import check_links
from deeplab.utils.paths import short_path
from deeplab.utils.program import as_typed
from deeplab.utils.reading import exists, read_values
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.write_errors import report_write_errors

RECORD = "export.json"
"""Name of the record in a folder of exports; a folder that holds it may be written to again."""

WEIGHTS_USAGE = """\
  deeplab evaluate {run}
  deeplab predict {run} input=photo.jpg
  deeplab train {init_from} ..."""
"""Commands to copy that use exported weights."""

RGB_IMAGE = 'numpy.array(PIL.ImageOps.exif_transpose(PIL.Image.open("photo.jpg")).convert("RGB"))'


def run_export(config: ExportConfig) -> list[Path]:
    """Write the requested files, print where they are, and upload them if requested.

    Returns:
        The files.
    """
    silence_library_messages()
    if config.format != "safetensors":
        check_packages(config.format)
    trained = find_trained_run(config.run, trust_remote_code=config.trust_remote_code)
    if config.push_to_hub:
        check_account(config.push_to_hub)
    folder = Path(config.output).expanduser() if config.output else trained.folder.path / "export"
    if not config.output:
        check_links(trained.folder.path)
    check_writable(folder, f"output={folder}")  # removes what a killed process has left there
    _check_folder(folder)
    data = move_data(trained.config.data, config.data.root)
    run = trained.config.model_copy(update={"data": data})
    print(f"Weights:    {short_path(trained.weights)}")
    files = []
    graph = None
    with report_write_errors(f"output={folder}"):
        if config.format != "safetensors":
            graph = _write_graph(config, config.format, trained, run, folder)
            files.append(graph)
        if config.push_to_hub or config.format == "safetensors":
            weights, *others = write_repository(trained, run, folder, graph, config)
            _add_to_record(folder, weights, {"run": _run_name(trained)})
            for path in (weights, *others):
                print(f"Written:    {short_path(path)}")
                files.append(path)
    channels = trained.config.data.pixel_format.channels
    image = RGB_IMAGE if channels == RGB_CHANNELS else f"pixels_of_{channels}_channels"
    usage = WEIGHTS_USAGE if config.format == "safetensors" else EXPORTERS[config.format].usage
    path = short_path(files[0])
    arguments = {key: typed_override(key, path) for key in ("run", "init_from")}
    print(f"How to use it:\n{as_typed(usage).format(path=path, image=image, **arguments)}")
    if config.push_to_hub:
        print(f"Uploading to {config.push_to_hub} ...", flush=True)
        message = f"Weights of {_run_name(trained)}"
        url = upload(config.push_to_hub, files, message=message, private=config.private)
        print(f"Uploaded:   {url}")
    return files


def _check_folder(folder: Path) -> None:
    """Raise UserError if the folder holds files that did not come from an export."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UserError(
            f"output={folder}: this folder holds other files, and those with the names of the "
            "exported files would be overwritten. Choose a new folder."
        )


def _write_graph(
    config: ExportConfig, format: GraphFormat, trained: TrainedRun, run: TrainConfig, folder: Path
) -> Path:
    """Trace the network, write it and compare it; keep the file only if the comparison passes.

    ``run`` is the run's config with the images of this machine.
    """
    stride = config.output_stride or run.output_stride
    execution = inference_execution(TrainerSettings(accelerator="cpu"))
    predictor = trained.predictor([Strategy(stride)], execution, key="output_stride")
    size = run.data.padded_size if config.padding else MIN_SIZE
    padding = EvalTransform(size=size, fill=padding_color(run))
    options: dict[str, Any] = {"padded_to": size, "probabilities": config.probabilities}
    network = ImageToClasses(predictor.model, fill=padding.fill, **options)
    metadata = build_metadata(trained, output_stride=stride, **options)
    samples = None
    if count := config.num_check_images:
        required = config.data.root is not None
        samples = sample_images(run, run.data.padded_size, count, required=required)
    data = None if config.precision == "float32" else _labeled_images(config, run)
    print(f"Tracing the network at output stride {stride} ...", flush=True)
    program, exporter = trace(network), EXPORTERS[format]
    stem = _file_stem(trained, stride)
    path = folder / f"{stem}{PRECISION_SUFFIXES[config.precision]}{exporter.suffix}"
    entry: dict[str, Any] = {**metadata}
    with atomic_write(path) as draft:
        exporter.write(program, draft, metadata)
        entry["compared"] = samples and _compare(
            exporter.open_file(draft), predictor, padding, samples
        )
        if data:
            entry |= _reduce(config, draft, metadata, data)
    _add_to_record(folder, path, entry)
    print(f"Written:    {short_path(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def _labeled_images(config: ExportConfig, run: TrainConfig) -> SegmentationData:
    """Return the run's images and masks, which calibrate and score a smaller file.

    Raises:
        UserError: they are not where the run or ``data.root`` says, or have no masks.
    """
    try:
        images = open_images(run)
        if not images.layout.is_labeled(images.val_set.items):
            raise SplitError(run.data.val_split, "its images have no masks. Choose float32.")
        return images
    except UserError as error:
        raise UserError(
            f"precision={config.precision}: needs images of the run with their masks, to set the "
            f"ranges and to say what it costs. {error}"
        ) from None


def _reduce(
    config: ExportConfig, file: Path, metadata: dict[str, str], data: SegmentationData
) -> dict[str, Any]:
    """Replace a float32 file by a smaller one and print what it changes; return the record."""
    assert config.precision != "float32"
    images = []
    if config.precision == "int8":
        train_set = data.open_split(data.train_split, training=False, on_error="stop")
        items = sample_evenly(train_set.items, config.num_calibration_images)
        images = [train_set.read(item)[0] for item in items]
    with TemporaryDirectory() as folder:
        source = Path(folder) / "float32.onnx"
        shutil.copyfile(file, source)
        reduce_precision(source, file, config.precision, metadata, images)
        difference = measure_difference(
            source,
            file,
            data.val_set,
            config.num_score_images,
            num_classes=len(data.classes.names),
        )
    print(f"Scored:     {config.precision} on {difference.images} images of {data.val_split}")
    print(difference)
    return {"precision": config.precision, "scored": difference.record()}


def _compare(
    runner: Runner, predictor: Predictor, padding: EvalTransform, samples: Samples
) -> dict[str, Any]:
    """Compare the file with PyTorch and print the result."""
    origin = ", ".join(filter(None, (samples.source, samples.reason)))
    print(f"Comparing on {origin} ...", flush=True)
    agreement = compare(runner, predictor, padding, samples.images, samples.source)
    print(f"Compared:   {agreement}")
    return agreement.record()


def _run_name(trained: TrainedRun) -> str:
    return trained.folder.path.resolve().name


def _file_stem(trained: TrainedRun, output_stride: int) -> str:
    """Return the run's name, with the checkpoint and the output stride if not the run's final."""
    name = _run_name(trained)
    if trained.weights.stem != trained.folder.weights.stem:
        name += f"-{trained.weights.stem}"
    return name if output_stride == trained.config.output_stride else f"{name}-os{output_stride}"


def _add_to_record(folder: Path, path: Path, entry: dict[str, Any]) -> None:
    """Add a file to the folder's record: its metadata, the comparison, its hash and versions."""
    record, waiting = folder / RECORD, f"{folder}: waiting for another export ..."
    made = provenance().model_dump(exclude_unset=True, exclude={"command", "platform"})
    with locked(folder / ".lock", waiting, wait=True):
        entries = read_values(record, "Delete it to write a new one.") if exists(record) else {}
        entries[path.name] = {**entry, "sha256": file_hash(path), "made": made}
        write_json(record, entries)
