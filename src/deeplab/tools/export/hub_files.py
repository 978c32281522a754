"""Files of a repository of weights, here or on the hub: weights, config and model card."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from deeplab.checkpoints.loading import load_weights, save_weights
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_model import build_model
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ExportConfig
from deeplab.data.class_set import class_set
from deeplab.tools.export.model_card import model_card
from deeplab.tracking.run_folder import RunFolder, write_config
from deeplab.utils.files import atomic_write, write_text

PLACEHOLDER_ID = "USER/NAME"
"""Repository id in the model card if ``push_to_hub`` names none."""


def write_repository(
    trained: TrainedRun, folder: Path, graphs: Sequence[Path], config: ExportConfig
) -> list[Path]:
    """Write weights, config and model card.

    Args:
        trained: the run and its file of weights.
        folder: the folder to write to.
        graphs: exported files that belong to the repository too.
        config: the settings of the export.

    Returns:
        The files.
    """
    target = RunFolder(folder)
    readme = folder / "README.md"
    run = trained.config
    model = build_model(run, num_classes=len(run.data.classes))
    load_weights(model, trained.weights)
    if trained.weights.suffix == ".safetensors":  # copy the bytes, so that the hash stays the same
        with atomic_write(target.weights) as draft:
            shutil.copyfile(trained.weights, draft)
    else:
        classes = class_set(run.data)
        names = {"names": classes.names, "palette": classes.palette[: len(classes)].tolist()}
        save_weights(model, target.weights, {"classes": json.dumps(names)})
    write_config(target.config, without_local_paths(run))
    card = model_card(
        trained,
        parameters=sum(tensor.numel() for tensor in model.parameters()),
        hub_id=config.push_to_hub or PLACEHOLDER_ID,
        graph=graphs[0] if graphs else None,
        license=config.license,
    )
    write_text(readme, str(card))
    return [target.weights, target.config, readme]


def without_local_paths(run: TrainConfig) -> TrainConfig:
    """Return the config without the paths and accounts of the machine that wrote it.

    Absolute paths are reduced to their last part.
    """
    data = run.data.model_copy(update={"root": _last_part(run.data.root), "cache_dir": None})
    backbone = run.backbone.model_copy(update={"pretrained": _last_part(run.backbone.pretrained)})
    update: dict[str, Any] = {"data": data, "backbone": backbone, "runs_dir": "runs"}
    update |= {"init_from": _last_part(run.init_from)}
    update |= {"logger": run.logger.model_copy(update={"entity": None})}
    return run.model_copy(update=update)


def _last_part(path: str | None) -> Any:
    """Return the last part of an absolute path; a relative path is returned unchanged."""
    absolute = path is not None and (PurePath(path).is_absolute() or path.startswith("~"))
    return PurePath(path).name if path and absolute else path
