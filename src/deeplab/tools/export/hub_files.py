"""Files of a repository of weights, here or on the hub: weights, config and model card."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeplab.checkpoints.loading import load_model, save_weights
from deeplab.checkpoints.trained_run import TrainedRun, without_local_paths
from deeplab.config.build_model import build_model
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
    model = load_model(
        partial(build_model, run, num_classes=len(run.data.classes)), trained.weights
    )
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
