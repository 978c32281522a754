"""The page of a run: its curves, examples, scores and settings, and what to do with it."""

import json
import shlex

from deeplab.config.overrides import typed_override
from deeplab.config.schema.run import ClassifierConfig, RunConfig
from deeplab.metrics.definitions import format_percent
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.files import write_text
from deeplab.utils.program import command
from deeplab.utils.settings import flatten, to_dict
from deeplab.utils.templates import render_template
from deeplab.utils.text import format_duration


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


def write_run_page(
    config: RunConfig, folder: RunFolder, *, step: int, result: Result | None = None
) -> None:
    """Write ``index.html``, which shows the run's figures and opens from the disk.

    Args:
        config: config of the run.
        folder: the run folder.
        step: number of steps so far.
        result: result of the finished training; None: it is in progress.
    """
    state = f"in training, step {step:,} of {config.stage.max_steps:,}"
    scores: list[tuple[str, float | None]] = []
    if result:
        duration = f" in {format_duration(result.seconds)}" if result.seconds else ""
        state = f"{result.format_main_score()} after {step:,} steps{duration}"
        scores = sorted(result.class_IoU.items(), key=lambda item: -(item[1] or 0))
    figures = [
        (folder.curves, "Loss and scores"),
        (folder.validation_figure, "Some validation images"),
        (folder.confusion_figure, "Which classes are taken for which"),
        (folder.worst_figure, "The worst images of the last validation"),
    ]
    files = [folder.metrics_csv, folder.config, *([folder.result] if result else [])]
    page = render_template(
        "deeplab.training",
        "run_page.html",
        title=folder.path.name,
        state=state,
        figures=[(path.name, title) for path, title in figures if path.exists()],
        scores=[(name, score or 0.0, format_percent(score)) for name, score in scores],
        commands=next_commands(config, folder) if result else [],
        settings=[
            (key, value if isinstance(value, str) else json.dumps(value))  # as they are typed
            for key, value in flatten(to_dict(config)).items()
        ],
        files=[path.name for path in files],
    )
    write_text(folder.page, page)
