"""Conversion of TensorFlow variables to weights and a config of this project."""

import re
from pathlib import Path

from torch import nn

from deeplab.checkpoints.loading import save_weights
from deeplab.checkpoints.model_zoo import CONVERSION_RECORD
from deeplab.config.build_model import check_model
from deeplab.config.overrides import typed_override
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ConvertConfig
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.tools.convert.architecture import Architecture, detect_architecture
from deeplab.tools.convert.readers import Source, read_source
from deeplab.tools.convert.tensorflow_names import convert
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import RunFolder, read_config, write_config
from deeplab.tracking.run_identity import result_settings
from deeplab.training.compose_config import compose_segmentation
from deeplab.utils.constants import CONFIG_FILE, WEIGHTS_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.files import check_writable, file_hash, write_json
from deeplab.utils.program import command
from deeplab.utils.text import name_some
from deeplab.utils.write_errors import report_write_errors

OVERRIDES = ("backbone.pretrained=null", "stage=voc", "logger=csv")
"""Overrides of every converted network; these weights have the authors' normalization."""

GENERIC_NAMES = re.compile(r"model\.ckpt(-\d+)?|frozen_inference_graph")
"""File names that many networks share; the name of their folder is used instead."""


def run_conversion(config: ConvertConfig) -> Path:
    """Convert a network, and print what was converted and how to use it.

    Returns:
        The file of the weights; ``config.yaml`` and ``conversion.json`` are in the same folder.
    """
    if config.output:
        check_writable(_output_file(config.output).parent, f"output={config.output}")
    source = read_source(config.input, progress=config.enable_progress_bar)
    try:
        architecture = detect_architecture(source.variables)
        source = source.leave_out(architecture.classifier_variables)
        train = _compose_config(config, source, architecture)
        num_classes = architecture.num_classes
        model = check_model(train, num_classes=num_classes or len(train.data.classes))
        network = model if num_classes else model.backbone
        state = convert(network, source.variables, architecture.scope)
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    network.load_state_dict(state, assign=True)
    weights = _weights_path(config, complete=network is model)
    _check_folder(weights, train)
    with report_write_errors(f"output={config.output}"):
        save_weights(network, weights)
        write_config(weights.with_name(CONFIG_FILE), train)
        write_json(weights.with_name(CONVERSION_RECORD), _record(source, weights, network))
    typed = [*architecture.overrides, *config.overrides]
    backbone = next(o for o in reversed(typed) if o.startswith("backbone="))
    _print_summary(source, weights, train, network, backbone)
    return weights


def _compose_config(
    config: ConvertConfig, source: Source, architecture: Architecture
) -> TrainConfig:
    """Return the config with which ``deeplab train`` builds the network.

    The user's overrides come last and take precedence.
    """
    stride = [f"output_stride={source.output_stride}"] if source.output_stride else []
    overrides = [*architecture.overrides, *stride, *OVERRIDES, *config.overrides]
    train = compose_segmentation(overrides, read_images=False)
    train = train.model_copy(update={"automatic": ()})
    num_classes = architecture.num_classes
    if num_classes and len(train.data.classes) != num_classes:
        raise UserError(
            f"this network has {num_classes} classes, but data={train.data.name} has "
            f"{len(train.data.classes)}. Name its classes: data.classes=[...]."
        )
    return train


def _weights_path(config: ConvertConfig, *, complete: bool) -> Path:
    """Return the file to write.

    Only a complete network gets the name that makes its folder a run that can be evaluated.
    """
    if config.output is None:
        name = WEIGHTS_FILE if complete else "backbone.safetensors"
        return Path("runs") / _run_name(Path(config.input).expanduser()) / name
    return _output_file(config.output)


def _output_file(output: str) -> Path:
    path = Path(output).expanduser()
    if path.suffix != ".safetensors":
        raise UserError(f"output={output}: not a .safetensors file. Choose a name that ends in it.")
    return path


def _run_name(source: Path) -> str:
    """Return the name of the archive, folder or file, without suffixes."""
    path = source.resolve()
    stem = re.sub(r"(\.(tar|tgz|gz|zip|pb|tflite|index))+$|\.data-\S+$", "", path.name)
    return path.parent.name if GENERIC_NAMES.fullmatch(stem) else stem


def _check_folder(weights: Path, train: TrainConfig) -> None:
    """Raise UserError if the config would overwrite the config of another network."""
    folder = RunFolder(weights.parent)
    if folder.config.exists() and (
        folder.record.exists() or result_settings(read_config(folder)) != result_settings(train)
    ):
        raise UserError(
            f"output={weights}: {folder.config} is of another network, or of this one with other "
            "settings. Choose another folder."
        )


def _record(source: Source, weights: Path, network: nn.Module) -> dict[str, object]:
    file = source.path if source.path.is_file() else None
    return {
        "source": str(source.path),
        "source_sha256": file_hash(file) if file else None,
        "variables": len(source.variables),
        "quantized": source.quantized,
        "left_out": source.left_out,
        "parameters": sum(p.numel() for p in network.parameters()),
        "weights_sha256": file_hash(weights),
        **provenance().model_dump(exclude_unset=True),
    }


def _print_summary(
    source: Source, weights: Path, train: TrainConfig, network: nn.Module, backbone: str
) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    complete = isinstance(network, DeepLabV3Plus)
    print(f"Source:   {source.path}, {len(source.variables)} variables, all used")
    if source.left_out:
        print(f"Left out: {name_some(source.left_out, 1)}, not part of the network")
    if source.quantized:
        print(
            f"Weights:  {source.quantized} made float32 by their scales; feature maps are float32"
        )
    name = f"{train.name}, {len(train.data.classes)} classes" if complete else backbone
    print(f"Network:  {name}, {parameters:,} parameters")
    if complete:
        print(f"          {_assumptions(train)}")
    print(f"Written:  {weights}, {weights.with_name(CONFIG_FILE)}")
    if complete:
        run = typed_override("run", weights)
        print(f"Next:     {command('evaluate')} {run} data.root=...")
        print(f"          {command('predict')} {run} input=photo.jpg")
    else:
        pretrained = typed_override("backbone.pretrained", weights)
        print(f"Next:     {command('train')} ... {backbone} {pretrained}")


def _assumptions(train: TrainConfig) -> str:
    """Describe the settings that variables do not store, by default those of the released ones."""
    parts = [f"output stride {train.output_stride}"]
    if rates := getattr(train.aspp, "atrous_rates", None):
        parts.append(f"atrous rates {', '.join(map(str, rates))} at output stride 16")
    if grid := getattr(train.backbone, "multi_grid", None):
        parts.append(f"multi-grid {', '.join(map(str, grid))}")
    return "; ".join(parts) + " (not stored in variables; set them if yours differ)"
