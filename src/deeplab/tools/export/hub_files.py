"""Files of a repository of weights, here or on the hub: weights, config and model card."""

import json
import shutil
from pathlib import Path

from deeplab.checkpoints.loading import save_weights
from deeplab.checkpoints.trained_run import TrainedRun, without_local_paths
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import ExportConfig
from deeplab.data.class_set import class_set
from deeplab.tools.export.model_card import model_card
from deeplab.tracking.run_folder import RunFolder, write_config
from deeplab.utils.files import atomic_write, write_text

PLACEHOLDER_ID = "USER/NAME"
"""Repository id in the model card if ``push_to_hub`` names none."""


def write_repository(
    trained: TrainedRun, run: TrainConfig, folder: Path, graph: Path | None, config: ExportConfig
) -> list[Path]:
    """Write weights, config and model card.

    Args:
        trained: the run and its file of weights.
        run: the run's config with the images of this machine.
        folder: the folder to write to.
        graph: an exported file that belongs to the repository too.
        config: the settings of the export.

    Returns:
        The files, the weights first.
    """
    target = RunFolder(folder)
    readme = folder / "README.md"
    model = trained.load_model()
    card = model_card(  # first, since a damaged record ends it
        trained,
        run,
        parameters=sum(tensor.numel() for tensor in model.parameters()),
        hub_id=config.push_to_hub or PLACEHOLDER_ID,
        graph=graph,
        license=config.license,
    )
    if trained.weights.suffix == ".safetensors":  # copy the bytes, so that the hash stays the same
        with atomic_write(target.weights) as draft:
            shutil.copyfile(trained.weights, draft)
    else:
        classes = class_set(run.data)
        names = {"names": classes.names, "palette": classes.palette[: len(classes)].tolist()}
        save_weights(model, target.weights, {"classes": json.dumps(names)})
    write_config(target.config, without_local_paths(trained.config))
    write_text(readme, str(card))
    return [target.weights, target.config, readme]
