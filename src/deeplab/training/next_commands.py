"""Commands that are likely to follow a training."""

import shlex

from deeplab.config.overrides import typed_override
from deeplab.config.schema.run import ClassifierConfig, RunConfig
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.program import command


def next_commands(config: RunConfig, folder: RunFolder) -> list[tuple[str, str]]:
    """Return commands for a finished run, each with what it is for."""
    run = typed_override("run", folder.path)
    commands = [
        (f"{command('evaluate')} {run}", "scores, also by other strategies: strategies=os8-ms-flip")
    ]
    if not isinstance(config, ClassifierConfig):
        commands += [
            (f"{command('gallery')} {run}", "the worst images, after an evaluation"),
            (f"{command('predict')} {run} input=FILE_OR_FOLDER", "label maps and overlays"),
            (f"{command('export')} {run}", "ONNX for other programs"),
        ]
    if config.logger.name == "tensorboard":
        commands.append(
            (f"tensorboard --logdir {shlex.quote(str(folder.path))}", "curves of all metrics")
        )
    return commands
