"""TensorFlow variables in, weights and a config of this project out."""

from pathlib import Path

import torch

from deeplab.builder import check_model
from deeplab.compose import compose_train
from deeplab.config import ConvertConfig, TrainConfig
from deeplab.conversion.recognise import recognise
from deeplab.conversion.slim import convert
from deeplab.conversion.sources import Source, read_source
from deeplab.errors import UserError, writing
from deeplab.files import write_json
from deeplab.model import DeepLabV3Plus
from deeplab.records import RunFolder, file_hash, provenance, read_config, settings, write_config
from deeplab.weights import save_weights

RECORD = "conversion.json"


def run_conversion(config: ConvertConfig) -> Path:
    """Convert, say what was converted, and how it is used.

    Returns:
        The file of the weights; beside it are ``config.yaml`` and ``conversion.json``.
    """
    source = read_source(config.input, progress=config.progress)
    try:
        what = recognise(source.variables)
        train = _composed(config, source, what.overrides, classes=what.classes)
        model = check_model(train, num_classes=what.classes)
        state = convert(model, source.variables, what.scope)
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    model.load_state_dict(state, assign=True)
    out = _out(config, source)
    _check_place(out, train)
    with writing(f"out={config.out}"):
        save_weights(model, out)
        write_config(out.with_name("config.yaml"), train)
        write_json(out.with_name(RECORD), _record(source, out, model))
    _say(source, out, train, model)
    return out


def _composed(
    config: ConvertConfig, source: Source, recognised: list[str], *, classes: int
) -> TrainConfig:
    """What ``train.py`` would build this network with; what was typed counts more."""
    stride = [f"output_stride={source.output_stride}"] if source.output_stride else []
    train = compose_train([*recognised, *stride, "logger=csv", *config.train])
    if len(train.data.classes) != classes:
        raise UserError(
            f"this network has {classes} classes, data={train.data.name} has "
            f"{len(train.data.classes)}; name them in train=[data.classes=[...]]."
        )
    return train


def _out(config: ConvertConfig, source: Source) -> Path:
    if config.out is None:
        return Path("runs") / source.path.stem / "weights.safetensors"
    out = Path(config.out).expanduser()
    if out.suffix != ".safetensors":
        raise UserError(f"out={config.out}: the weights' file ends in .safetensors.")
    return out


def _check_place(out: Path, train: TrainConfig) -> None:
    """The config goes beside the weights: not over that of something else."""
    folder = RunFolder(out.parent)
    if folder.config.exists() and (
        folder.record.exists() or settings(read_config(folder)) != settings(train)
    ):
        raise UserError(
            f"out={out}: {folder.config} is that of another network. Name a folder of its own."
        )


def _record(source: Source, out: Path, model: DeepLabV3Plus) -> dict[str, object]:
    file = source.path if source.path.is_file() else None
    return {
        "source": str(source.path),
        "source_sha256": file_hash(file) if file else None,
        "variables": len(source.variables),
        "left_out": source.left_out,
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights_sha256": file_hash(out),
        **provenance(),
    }


def _say(source: Source, out: Path, train: TrainConfig, model: DeepLabV3Plus) -> None:
    parameters = sum(p.numel() for p in model.parameters() if p.dtype is torch.float32)
    print(f"Source:   {source.path}, {len(source.variables)} variables, all used")
    if source.left_out:
        print(f"          left out, of training only: {len(source.left_out)}")
    print(f"Network:  {train.name}, {parameters:,} parameters, {len(train.data.classes)} classes")
    print(f"          {_rates(train)}")
    print(f"Written:  {out}, {out.with_name('config.yaml')}")
    print(f"Next:     python src/evaluate.py run={out} data.root=...")
    print(f"          python src/predict.py run={out} input=photo.jpg")


def _rates(train: TrainConfig) -> str:
    """What variables do not tell, and was taken to be as in the released checkpoints."""
    said = [f"output stride {train.output_stride}"]
    if train.aspp.rates:
        said.append(f"ASPP rates {', '.join(map(str, train.aspp.rates))} at output stride 16")
    if grid := getattr(train.backbone, "multi_grid", None):
        said.append(f"multi-grid {', '.join(map(str, grid))}")
    return "; ".join(said) + " (train=[...] says otherwise)"
