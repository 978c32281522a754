"""The files of one evaluation, and what they are known by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.assemble import padded_to
from deeplab.config import TrainConfig
from deeplab.cost.command import strategy_cost
from deeplab.cost.speed import Speed
from deeplab.data.datamodule import SegmentationData
from deeplab.evaluation.curves import write_boundary_curve
from deeplab.evaluation.folder import EvaluationFolder, write_images
from deeplab.evaluation.scoring import Tally
from deeplab.files import replacing, write_json
from deeplab.hardware import Execution
from deeplab.inference.strategy import Strategy
from deeplab.pictures import Example, example_sheet
from deeplab.records import provenance, read_json
from deeplab.results import score_report

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
        if not self.folder.result.is_file():
            return False
        before = read_json(self.folder.result)
        return all(before.get(key) == value for key, value in self.stamp.items())


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
    tally: Tally,
    run: TrainConfig,
    data: SegmentationData,
    execution: Execution,
    speed: Speed | None,
) -> None:
    """The files of one result; ``result.json`` last, so that it stands for the others."""
    classes, size = len(run.data.classes), padded_to(run.data)
    cost = strategy_cost(run, task.strategy, classes=classes, size=size)
    record: dict[str, Any] = {**task.stamp, "scored": data.val_labelled}
    record["cost"] = {
        "parameters": cost.trainable,
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "input_size": list(size),
        "measured": speed and speed.record(),
    }
    if data.val_labelled:
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
