"""Evaluation jobs and the files of their results."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.evaluation.accumulator import ScoreAccumulator
from deeplab.evaluation.evaluation_folder import EvaluationFolder, write_images
from deeplab.evaluation.plots import write_boundary_curve
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.speed import Speed
from deeplab.inference.strategy import Strategy
from deeplab.tracking.console import score_report
from deeplab.tracking.run_folder import read_json
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.tracking.source_code import code_record
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write, write_json
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import Example, segmentation_figure

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class EvaluationJob:
    """Evaluation of one run under one strategy."""

    strategy: Strategy
    folder: EvaluationFolder
    identity: dict[str, Any]
    """Fields that identify the result: run, weights, protocol and options of the evaluation."""

    @property
    def done(self) -> bool:
        """True if a result under the same conditions exists."""
        result = self._existing_result()
        return all(result.get(key) == value for key, value in self.identity.items())

    def in_folder(self, folder: Path) -> "EvaluationJob":
        """Return this job with a temporary folder, for files that are not complete yet."""
        return replace(self, folder=EvaluationFolder(folder / self.folder.path.name))

    def install(self, finished: "EvaluationJob") -> None:
        """Move the complete files of ``finished`` to this job's folder.

        An existing result under other conditions is renamed; one under the same conditions is
        replaced.
        """
        path = self.folder.path
        if path.exists():
            existing = self._existing_result()
            backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            path.rename(backup)
            if existing and existing.get("protocol") != self.identity["protocol"]:
                print(f"Moved the existing result, which has other conditions, to {backup}")
            else:
                shutil.rmtree(backup)
        finished.folder.path.rename(path)

    def _existing_result(self) -> dict[str, Any]:
        """Return the existing result; empty if there is none or it cannot be read."""
        try:
            return read_json(self.folder.result) if self.folder.result.is_file() else {}
        except UserError:
            return {}


def write_example_figure(
    job: EvaluationJob, data: SegmentationData, predictions: Mapping[str, Pixels]
) -> None:
    """Write the figure of some images with truth and prediction."""
    items = {item.id: item for item in data.val_set.items}
    examples = [
        Example(image_id, *data.val_set.read(items[image_id]), label)
        for image_id, label in predictions.items()
    ]
    if examples:
        figure = segmentation_figure(examples, data.classes.names, data.classes.palette)
        with atomic_write(job.folder.examples) as draft:
            figure.save(draft, format="PNG")


def write_result(
    job: EvaluationJob,
    accumulator: ScoreAccumulator,
    run: TrainConfig,
    data: SegmentationData,
    execution: Execution,
    speed: Speed | None,
) -> None:
    """Write the files of one result; ``result.json`` last, so that it implies the others."""
    classes, size = len(run.data.classes), run.data.padded_size
    cost = strategy_cost(run, job.strategy, classes=classes, size=size)
    record: dict[str, Any] = {**VERSION_STAMP, **job.identity, "scored": data.val_labeled}
    record["cost"] = {
        "parameters": cost.trainable,
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "input_size": list(size),
        "measured": speed and speed.record(),
    }
    if data.val_labeled:
        write_images(job.folder, accumulator.ids, np.stack(accumulator.confusions))
        record |= score_report(accumulator.scores, run.data.classes)
        record["boundary"] = accumulator.boundary_report(run.data.classes)
        write_boundary_curve(job.folder, record)
    record |= {
        "skipped_files": dict(data.skipped),
        "machine": vars(execution),
        **code_record(),
    }
    write_json(job.folder.result, record)
