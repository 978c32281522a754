"""The runs that there are, and which of them is which training.

Neither torch nor the images are needed: a run is found by its recorded config and by the hash of
the weights that it started from, whoever has launched it.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from deeplab.ablations.trainings import Training, Use
from deeplab.config import TrainConfig
from deeplab.errors import UserError
from deeplab.evaluation.folder import Evaluation, EvaluationFolder, evaluation_name, read_evaluation
from deeplab.inference.strategy import parse_strategy
from deeplab.lock import held
from deeplab.records import (
    RunFolder,
    file_hash,
    read_config,
    read_json,
    read_record,
    settings_hash,
    start_weights,
)

State = Literal["finished", "running", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: RunFolder
    config: TrainConfig

    @cached_property
    def settings(self) -> str:
        """``deeplab.records.settings_hash`` of its config."""
        return settings_hash(self.config)

    @cached_property
    def record(self) -> dict[str, Any]:
        return read_record(self.folder)

    @cached_property
    def result(self) -> dict[str, Any]:
        """Its ``metrics.json``; empty before it is finished."""
        return read_json(self.folder.result) if self.folder.finished else {}

    @property
    def state(self) -> State:
        if self.folder.finished:
            return "finished"
        if held(self.folder.lock):
            return "running"
        return "failed" if self.folder.failure.is_file() else "interrupted"

    @property
    def failure(self) -> str:
        """The traceback that ended it."""
        return self.folder.failure.read_text() if self.folder.failure.is_file() else ""

    @property
    def step(self) -> int:
        """The last step that was logged."""
        if not self.folder.metrics_csv.is_file():
            return 0
        with self.folder.metrics_csv.open(newline="") as file:
            return max((int(row["step"]) for row in csv.DictReader(file)), default=0)

    def evaluation(self, use: Use) -> Evaluation | None:
        """What a row wants of it, if it is there and of the run's present weights."""
        strategy = parse_strategy(use.strategy, output_stride=self.config.output_stride)
        split = use.split or self.config.data.val_split
        name = evaluation_name(split, self.folder.weights, strategy.name)
        folder = EvaluationFolder(self.folder.evaluations / name)
        if not folder.result.is_file():
            return None
        found = read_evaluation(folder.path)
        same = found.result.get("weights_sha256") == self.result.get("weights_sha256")
        return found if same else None


def known_runs(root: str | Path) -> list[Run]:
    """The runs of a folder, the latest first; folders that cannot be read are left out."""
    found = []
    for path in sorted(Path(root).expanduser().glob("*/config.yaml"), key=_changed, reverse=True):
        folder = RunFolder(path.parent)
        try:
            found.append(Run(folder, read_config(folder)))
        except UserError:
            continue
    return found


def finder(runs: Sequence[Run]) -> Callable[[Training], Run | None]:
    """Which run a training is: a finished one if there are several, else the latest."""
    hashes: dict[str, str] = {}

    def start(training: Training) -> str | None:
        """The hash of the weights that it starts from; empty if these are not there yet."""
        if training.start:
            before = find(training.start)
            return str(before.result.get("weights_sha256", "")) if before else ""
        path = training.supply or start_weights(training.config)
        if path is None:
            return None
        if str(path) not in hashes:
            hashes[str(path)] = file_hash(Path(path).expanduser())
        return hashes[str(path)]

    def find(training: Training) -> Run | None:
        if training.missing:
            return None
        asked, begun = settings_hash(training.config), start(training)
        fitting = [
            run
            for run in runs
            if run.settings == asked and run.record.get("start_weights") == begun
        ]
        return next((run for run in fitting if run.folder.finished), next(iter(fitting), None))

    return find


def _changed(path: Path) -> float:
    return path.stat().st_mtime
