"""The page of a run: its curves, examples, scores and settings, and what to do with it."""

import json

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import format_percent
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.next_commands import next_commands
from deeplab.utils.files import write_text
from deeplab.utils.settings import flatten, to_dict
from deeplab.utils.templates import render_template
from deeplab.utils.text import format_duration


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
