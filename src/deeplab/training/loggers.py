"""Loggers of a run: ``metrics.csv`` always, plus W&B or TensorBoard if selected."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from deeplab.config.schema.logger import LoggerSettings
from deeplab.metrics.definitions import TRAIN_LOSS
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RESTORE_HINT, RunFolder
from deeplab.tracking.run_record import RunRecord
from deeplab.tracking.wandb_run import open_run, tolerate_wandb_errors, training_scores
from deeplab.utils.constants import IGNORE
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import is_first_process
from deeplab.utils.reading import exists, read_csv, report_damage
from deeplab.utils.visualization import ClassificationExample, Example, as_rgb
from deeplab.utils.write_errors import write_error


def build_loggers(
    config: LoggerSettings,
    folder: RunFolder,
    *,
    columns: Sequence[str],
    resolved: dict[str, Any],
    record: RunRecord,
    first_step: int,
) -> list[Logger]:
    """Return the CSV logger and the selected logger, if it is another one.

    Args:
        config: settings of the selected logger.
        folder: the run folder, which receives the files.
        columns: metrics in ``metrics.csv``.
        resolved: the whole config, for the W&B dashboard.
        record: the run's record.
        first_step: the step that the run continues from, or 0.
    """
    loggers: list[Logger] = [MetricsCSV(folder.metrics_csv, columns, first_step=first_step)]
    if config.name == "tensorboard":
        loggers.append(
            TensorBoardLogger(
                folder.path,
                name="",
                version="tensorboard",
                purge_step=first_step or None,  # logged again from there on
            )
        )
    if config.name == "wandb":
        loggers.append(_wandb_logger(config, folder, resolved, record))
    return loggers


def _wandb_logger(
    config: LoggerSettings, folder: RunFolder, resolved: dict[str, Any], record: RunRecord
) -> WandbLogger:
    """Return a logger that logs by training step; only the main process has a W&B run."""
    if not is_first_process():
        return WandbLogger(save_dir=str(folder.path))
    run = open_run(config, folder, record, config=resolved)
    if run.id != record.wandb_id:  # of an agent
        record.wandb_id = run.id
        record.write(folder.record)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=str(folder.path), experiment=run)


def log_examples(
    loggers: Sequence[Logger],
    class_names: Sequence[str],
    examples: Sequence[Example | ClassificationExample],
    path: Path,
    step: int,
) -> None:
    """Log the figure of the validation images, and to W&B the images themselves.

    Truth and prediction of segmentation are masks that can be switched on and off, in W&B's
    colors; the figure has the data set's colors. A classifier's images are only in the figure.
    """
    log_figure(loggers, "validation", path, step)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            labels = {**dict(enumerate(class_names)), IGNORE: "ignored"}
            images = {
                f"examples/{e.image_id}": wandb.Image(
                    as_rgb(e.image),
                    masks={
                        "prediction": {"mask_data": e.prediction, "class_labels": labels},
                        "truth": {"mask_data": e.truth, "class_labels": labels},
                    },
                )
                for e in examples
                if isinstance(e, Example)
            }
            logger.experiment.log({**images, "trainer/global_step": step})


def log_figure(loggers: Sequence[Logger], name: str, path: Path, step: int) -> None:
    """Log a figure to W&B and TensorBoard."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Image(str(path)), "trainer/global_step": step})
        elif isinstance(logger, TensorBoardLogger):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            logger.experiment.add_image(name, pixels, step, dataformats="HWC")


def log_result(loggers: Sequence[Logger], result: Result) -> None:
    """Log the final scores of ``metrics.json`` to W&B."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with tolerate_wandb_errors():
                logger.experiment.log(training_scores(result))


def finish_wandb(loggers: Sequence[Logger], *, failed: bool) -> None:
    """Close the W&B run, so that the next job of a sweep starts a new one.

    Args:
        loggers: loggers of the run.
        failed: whether an error has ended it, which W&B itself finds out after the process only.
    """
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=int(failed))


NO_METRICS = ("epoch", "step")
"""What Lightning logs besides metrics; rows have their step."""


class MetricsCSV(Logger):
    """Writes metrics by ``step`` to a CSV file.

    Args:
        path: the file; existing rows are kept up to ``first_step``.
        columns: names of the metrics that come first; others, as callbacks log them, get columns
            after these.
        first_step: the step that the run continues from, whose checkpoint is from before the
            validation that may follow it. Later rows, and the validation's, are dropped, because
            the run writes them again.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, first_step: int = 0) -> None:
        super().__init__()
        self.path, self.columns = path, ["step", *columns]
        self.first_step = first_step
        self._started = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Do nothing: the run folder has the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {name: value for name, value in metrics.items() if name not in NO_METRICS}
        if not row:
            return
        if not self._started:
            self._start()
        if new := [name for name in row if name not in self.columns]:
            self.columns += new
            self._write(read_csv(self.path, RESTORE_HINT))
        with self._append() as file:
            csv.DictWriter(file, self.columns).writerow({"step": (step or 0) + 1, **row})

    @rank_zero_only
    def save(self) -> None:
        """Wait until the rows are on the disk."""
        if self._started:
            with self._append() as file:
                os.fsync(file.fileno())

    @contextmanager
    def _append(self) -> Iterator[TextIO]:
        try:
            with self.path.open("r+", newline="") as file:  # "a" would replace a file that is gone
                file.seek(0, os.SEEK_END)
                yield file
        except OSError as error:
            raise write_error(error, self.path.parent) from None

    def _start(self) -> None:
        """Write the header and the rows to keep."""
        rows = []
        if self.first_step and exists(self.path):
            rows = read_csv(self.path, RESTORE_HINT)
            self.columns = list(
                dict.fromkeys([*self.columns, *(name for row in rows[:1] for name in row)])
            )
        self._write([row for row in rows if self._is_kept(row)])
        self._started = True

    def _write(self, rows: Iterable[Mapping[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        with atomic_write(self.path) as draft:
            draft.write_text(text.getvalue(), newline="")

    def _is_kept(self, row: Mapping[str, str]) -> bool:
        with report_damage(self.path, RESTORE_HINT):
            step, loss = int(row["step"]), row[TRAIN_LOSS]  # a validation has none
        return step < self.first_step or (step == self.first_step and bool(loss))
