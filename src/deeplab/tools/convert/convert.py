"""TensorFlow variables in, weights and a config of this project out."""

import re
from pathlib import Path

from torch import nn

from deeplab.checkpoints.loading import save_weights
from deeplab.config.build_model import check_model
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ConvertConfig
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.tools.convert.architecture import Recognized, recognize
from deeplab.tools.convert.key_mapping import convert
from deeplab.tools.convert.readers import Source, read_source
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import RunFolder, read_config, settings, write_config
from deeplab.training.compose import compose_segmentation
from deeplab.utils.errors import UserError, writing
from deeplab.utils.files import file_hash, write_json

RECORD = "conversion.json"

PASSED_OVER = re.compile(r"model\.ckpt(-\d+)?|frozen_inference_graph")
"""Names of files that say nothing: their folder's name does."""


def run_conversion(config: ConvertConfig) -> Path:
    """Convert, say what was converted, and how it is used.

    Returns:
        The file of the weights; beside it are ``config.yaml`` and ``conversion.json``.
    """
    source = read_source(config.input, progress=config.enable_progress_bar)
    try:
        what = recognize(source.variables)
        source = source.without(what.left_out)
        train = _composed(config, source, what)
        model = check_model(train, num_classes=what.classes or len(train.data.classes))
        network = model if what.classes else model.backbone
        state = convert(network, source.variables, what.scope)
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    network.load_state_dict(state, assign=True)
    out = _out(config, whole=network is model)
    _check_place(out, train)
    with writing(f"out={config.output}"):
        save_weights(network, out)
        write_config(out.with_name("config.yaml"), train)
        write_json(out.with_name(RECORD), _record(source, out, network))
    _say(source, out, train, network)
    return out


def _composed(config: ConvertConfig, source: Source, what: Recognized) -> TrainConfig:
    """What ``train.py`` would build this network with; what was typed counts more."""
    stride = [f"output_stride={source.output_stride}"] if source.output_stride else []
    train = compose_segmentation([*what.overrides, *stride, "logger=csv", *config.overrides])
    if what.classes and len(train.data.classes) != what.classes:
        raise UserError(
            f"this network has {what.classes} classes, data={train.data.name} has "
            f"{len(train.data.classes)}; name them: data.classes=[...]."
        )
    return train


def _out(config: ConvertConfig, *, whole: bool) -> Path:
    """The file to write: only a whole network makes the folder a run that can be evaluated."""
    if config.output is None:
        name = "weights.safetensors" if whole else "backbone.safetensors"
        return Path("runs") / _name(Path(config.input).expanduser()) / name
    out = Path(config.output).expanduser()
    if out.suffix != ".safetensors":
        raise UserError(f"out={config.output}: the weights' file ends in .safetensors.")
    return out


def _name(named: Path) -> str:
    """What the archive, folder or file is called, without suffixes."""
    path = named.resolve()
    stem = re.sub(r"(\.(tar|tgz|gz|zip|pb|tflite|index))+$|\.data-\S+$", "", path.name)
    return path.parent.name if PASSED_OVER.fullmatch(stem) else stem


def _check_place(out: Path, train: TrainConfig) -> None:
    """The config goes beside the weights: not over that of something else."""
    folder = RunFolder(out.parent)
    if folder.config.exists() and (
        folder.record.exists() or settings(read_config(folder)) != settings(train)
    ):
        raise UserError(
            f"out={out}: {folder.config} is that of another network. Name a folder of its own."
        )


def _record(source: Source, out: Path, network: nn.Module) -> dict[str, object]:
    file = source.path if source.path.is_file() else None
    return {
        "source": str(source.path),
        "source_sha256": file_hash(file) if file else None,
        "variables": len(source.variables),
        "left_out": source.left_out,
        "parameters": sum(p.numel() for p in network.parameters()),
        "weights_sha256": file_hash(out),
        **provenance(),
    }


def _say(source: Source, out: Path, train: TrainConfig, network: nn.Module) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    whole = isinstance(network, DeepLabV3Plus)
    choice = train.name.split("-")[1]  # DATA-BACKBONE-DECODER-osSTRIDE
    print(f"Source:   {source.path}, {len(source.variables)} variables, all used")
    if source.left_out:
        more = f" and {len(source.left_out) - 1} more" if len(source.left_out) > 1 else ""
        print(f"          left out, no part of the network: {source.left_out[0]}{more}")
    what = f"{train.name}, {len(train.data.classes)} classes" if whole else f"backbone={choice}"
    print(f"Network:  {what}, {parameters:,} parameters")
    if whole:
        print(f"          {_rates(train)}")
    print(f"Written:  {out}, {out.with_name('config.yaml')}")
    if whole:
        print(f"Next:     python src/evaluate.py run={out} data.root=...")
        print(f"          python src/predict.py run={out} input=photo.jpg")
    else:
        print(f"Next:     python src/train.py ... backbone={choice} backbone.pretrained={out}")


def _rates(train: TrainConfig) -> str:
    """What variables do not tell, and was taken to be as in the released checkpoints."""
    said = [f"output stride {train.output_stride}"]
    if train.aspp.atrous_rates:
        said.append(
            f"ASPP rates {', '.join(map(str, train.aspp.atrous_rates))} at output stride 16"
        )
    if grid := getattr(train.backbone, "multi_grid", None):
        said.append(f"multi-grid {', '.join(map(str, grid))}")
    return "; ".join(said) + " (unless typed otherwise)"
