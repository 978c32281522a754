"""The files of one evaluation, and what they are known by."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.config.build_datamodule import padded_to
from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.evaluation.accumulator import ScoreAccumulator
from deeplab.evaluation.cost import strategy_cost
from deeplab.evaluation.evaluation_folder import EvaluationFolder, write_images
from deeplab.evaluation.plots import write_boundary_curve
from deeplab.inference.speed import Speed
from deeplab.inference.strategy import Strategy
from deeplab.tracking.console import score_report
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import read_json
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.utils.errors import UserError
from deeplab.utils.files import replacing, write_json
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import Example, example_sheet

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """One strategy's part of an evaluation."""

    strategy: Strategy
    folder: EvaluationFolder
    stamp: dict[str, Any]
    """What the result is known by: run, weights, protocol and what was asked of it."""

    @property
    def done(self) -> bool:
        """Whether its result is there, measured under the same conditions."""
        before = self._before()
        return all(before.get(key) == value for key, value in self.stamp.items())

    def made_in(self, folder: Path) -> "Task":
        """The same task in another folder, where its files are made."""
        return replace(self, folder=EvaluationFolder(folder / self.folder.path.name))

    def take(self, made: "Task") -> None:
        """Put files that are whole in this task's place. A result under other conditions that lies
        there is renamed; one under the same conditions is replaced."""
        place = self.folder.path
        if place.exists():
            before = self._before()
            aside = place.with_name(f"{place.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            place.rename(aside)
            if before and before.get("protocol") != self.stamp["protocol"]:
                print(f"The result under other conditions that was there is now {aside}")
            else:
                shutil.rmtree(aside)
        made.folder.path.rename(place)

    def _before(self) -> dict[str, Any]:
        """The result that is there; empty if there is none, or none that can be read."""
        try:
            return read_json(self.folder.result) if self.folder.result.is_file() else {}
        except UserError:
            return {}


def paint_examples(task: Task, data: SegmentationData, predictions: Mapping[str, Pixels]) -> None:
    """A sheet with some images, their truth and prediction."""
    items = {item.id: item for item in data.val_set.items}
    examples = [
        Example(image_id, *data.val_set.read(items[image_id]), label)
        for image_id, label in predictions.items()
    ]
    if examples:
        sheet = example_sheet(examples, data.classes.names, data.classes.palette)
        with replacing(task.folder.examples) as draft:
            sheet.save(draft, format="PNG")


def write_result(
    task: Task,
    tally: ScoreAccumulator,
    run: TrainConfig,
    data: SegmentationData,
    execution: Execution,
    speed: Speed | None,
) -> None:
    """The files of one result; ``result.json`` last, so that it stands for the others."""
    classes, size = len(run.data.classes), padded_to(run.data)
    cost = strategy_cost(run, task.strategy, classes=classes, size=size)
    record: dict[str, Any] = {**VERSION_STAMP, **task.stamp, "scored": data.val_labeled}
    record["cost"] = {
        "parameters": cost.trainable,
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "input_size": list(size),
        "measured": speed and speed.record(),
    }
    if data.val_labeled:
        write_images(task.folder, tally.ids, np.stack(tally.confusions))
        record |= score_report(tally.scores, run.data.classes)
        record["boundary"] = tally.boundary_report(run.data.classes)
        write_boundary_curve(task.folder, record)
    record |= {
        "skipped_files": dict(data.skipped),
        "machine": vars(execution),
        **provenance(),
    }
    write_json(task.folder.result, record)
