"""The loggers of a run: ``metrics.csv`` always, and W&B or TensorBoard beside it."""

import csv
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeplab.config.schema.logger import LoggerConfig
from deeplab.tracking.run_folder import RunFolder
from deeplab.tracking.wandb_run import if_it_answers, open_run, training_scores
from deeplab.utils.visualization import Example


def build_loggers(
    config: LoggerConfig,
    folder: RunFolder,
    *,
    columns: Sequence[str],
    resolved: dict[str, Any],
    record: Mapping[str, Any],
    first_step: int,
) -> list[Logger]:
    """The CSV logger, then the chosen one.

    Args:
        config: the choice.
        folder: where files go.
        columns: of ``metrics.csv``.
        resolved: the whole config, for the dashboard.
        record: the run's ``run.json``.
        first_step: the step that the run continues from, or 0.
    """
    loggers: list[Logger] = [MetricsCSV(folder.metrics_csv, columns, first_step=first_step)]
    if config.name == "tensorboard":
        loggers.append(TensorBoardLogger(folder.path, name="", version="tensorboard"))
    if config.name == "wandb":
        loggers.append(_wandb_logger(config, folder, resolved, record))
    return loggers


def _wandb_logger(
    config: LoggerConfig, folder: RunFolder, resolved: dict[str, Any], record: Mapping[str, Any]
) -> WandbLogger:
    """One that logs by the training's steps; it has a run in the main process only."""
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return WandbLogger(save_dir=str(folder.path))
    run = open_run(config, folder, record, config=resolved)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=str(folder.path), experiment=run)


def publish_examples(
    loggers: Sequence[Logger],
    class_names: Sequence[str],
    examples: Sequence[Example],
    sheet: Path,
    step: int,
) -> None:
    """Validation pictures to W&B: with truth and prediction as masks to switch on and off, in
    colors of its own, and the painted sheet in those of the data set."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            labels = {**dict(enumerate(class_names)), 255: "ignored"}
            images = {
                f"examples/{e.image_id}": wandb.Image(
                    e.image,
                    masks={
                        "prediction": {"mask_data": e.prediction, "class_labels": labels},
                        "truth": {"mask_data": e.truth, "class_labels": labels},
                    },
                )
                for e in examples
            }
            painted = {"sheet": wandb.Image(str(sheet))}
            logger.experiment.log({**images, **painted, "trainer/global_step": step})


def publish_sheet(loggers: Sequence[Logger], sheet: Path, step: int) -> None:
    """The painted validation pictures to W&B."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            picture = wandb.Image(str(sheet))
            logger.experiment.log({"sheet": picture, "trainer/global_step": step})


def publish_result(loggers: Sequence[Logger], result: Mapping[str, Any]) -> None:
    """The final scores, as ``metrics.json`` has them, to W&B."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with if_it_answers():
                logger.experiment.log(training_scores(result))


def finish(loggers: Sequence[Logger]) -> None:
    """Close the W&B run, so that the next job of a sweep has one of its own."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


class MetricsCSV(Logger):
    """Writes ``path`` with the columns ``step`` and ``columns``; other metrics are left out.

    Args:
        path: the file; rows that it has already stay, up to the step that a run continues from.
        columns: names of the metrics.
        first_step: rows from this step on are dropped: the run will write them again.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, first_step: int = 0) -> None:
        super().__init__()
        self.path, self.columns = path, ["step", *columns]
        self.first_step = first_step
        self._open = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Nothing: the run folder has the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if not self._open:
            self._start()
        row = {name: metrics[name] for name in self.columns if name in metrics}
        if row:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow({"step": (step or 0) + 1, **row})

    def _start(self) -> None:
        """Write the header and the rows that stay."""
        rows = []
        if self.first_step and self.path.exists():
            with self.path.open(newline="", errors="replace") as file:
                readable = (r for r in csv.DictReader(file) if (r.get("step") or "").isdigit())
                rows = [r for r in readable if int(r["step"]) <= self.first_step]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        self._open = True
