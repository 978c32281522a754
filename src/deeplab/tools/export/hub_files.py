"""What a repository of weights holds, here and on the hub: weights, config and model card."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from deeplab.checkpoints.loading import load_weights, save_weights
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_data import class_set
from deeplab.config.build_model import build_model
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ExportConfig
from deeplab.tools.export.model_card import model_card
from deeplab.tracking.run_folder import RunFolder, write_config
from deeplab.utils.files import replacing, write_text

NOBODY = "USER/NAME"
"""Stands for a repository that nobody has named."""


def write_repository(
    trained: TrainedRun, folder: Path, graphs: Sequence[Path], config: ExportConfig
) -> list[Path]:
    """Write weights, config and card; ``graphs`` are files that lie in the repository too."""
    place = RunFolder(folder)
    card = folder / "README.md"
    run = trained.config
    model = build_model(run, num_classes=len(run.data.classes))
    load_weights(model, trained.weights)
    if trained.weights.suffix == ".safetensors":  # the same bytes, so that their hash is the same
        with replacing(place.weights) as draft:
            shutil.copyfile(trained.weights, draft)
    else:
        classes = class_set(run.data)
        said = {"names": classes.names, "palette": classes.palette[: len(classes)].tolist()}
        save_weights(model, place.weights, {"classes": json.dumps(said)})
    write_config(place.config, without_places(run))
    text = model_card(
        trained,
        parameters=sum(tensor.numel() for tensor in model.parameters()),
        hub_id=config.push_to_hub or NOBODY,
        graph=graphs[0] if graphs else None,
        license=config.license,
    )
    write_text(card, text)
    return [place.weights, place.config, card]


def without_places(run: TrainConfig) -> TrainConfig:
    """The config without what only its writer's disk and accounts have: of absolute paths the last
    part is left."""
    data = run.data.model_copy(update={"root": _short(run.data.root), "cache_dir": None})
    backbone = run.backbone.model_copy(update={"pretrained": _short(run.backbone.pretrained)})
    update: dict[str, Any] = {"data": data, "backbone": backbone, "runs_dir": "runs"}
    update |= {"init_from": _short(run.init_from)}
    update |= {"logger": run.logger.model_copy(update={"entity": None})}
    return run.model_copy(update=update)


def _short(path: str | None) -> Any:
    """A relative path as it is."""
    outside = path is not None and (PurePath(path).is_absolute() or path.startswith("~"))
    return PurePath(path).name if path and outside else path
