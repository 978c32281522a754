"""Evaluation jobs and the files of their results."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.evaluation.accumulator import ScoreAccumulator
from deeplab.evaluation.evaluation_folder import EVALUATE_AGAIN, EvaluationFolder, write_images
from deeplab.evaluation.plots import write_boundary_curve
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.speed import Speed
from deeplab.inference.strategy import Strategy
from deeplab.models import flops
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.result import (
    Cost,
    MeasuredSpeed,
    MultiplyAdds,
    Result,
    in_percent,
    write_result,
)
from deeplab.tracking.source_code import code_hash, code_record
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write, remove_leftovers
from deeplab.utils.hardware import Execution
from deeplab.utils.visualization import Example, segmentation_figure

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Identity:
    """Fields that identify the result of an evaluation."""

    run: str
    weights: str
    """File in the run folder."""
    weights_sha256: str
    protocol: Protocol
    band_widths: tuple[float, ...] = ()
    save_predictions: bool = False
    measured: bool = False
    """True if the speed is measured too."""

    @classmethod
    def of(cls, result: Result) -> Self:
        """Return the identity of a result."""
        return cls(**{field.name: getattr(result, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class EvaluationJob:
    """Evaluation of one run under one strategy."""

    strategy: Strategy
    folder: EvaluationFolder
    identity: Identity
    data_root: str | None = None
    """Folder of the images, if it is another one than the run's."""

    @property
    def done(self) -> bool:
        """True if a result under the same conditions exists."""
        result = self._existing_result()
        return result is not None and Identity.of(result) == self.identity

    def in_folder(self, folder: Path) -> "EvaluationJob":
        """Return this job with a temporary folder, for files that are not complete yet."""
        return replace(self, folder=EvaluationFolder(folder / self.folder.path.name))

    def install(self, finished: "EvaluationJob") -> None:
        """Move the complete files of ``finished`` to this job's folder.

        An existing result under other conditions is renamed; one under the same conditions is
        moved to the folder of ``finished``, which the caller removes.
        """
        path = self.folder.path
        if path.exists():
            existing = self._existing_result()
            if existing and existing.protocol != self.identity.protocol:
                backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
                path.rename(backup)
                print(f"Moved the existing result, which has other conditions, to {backup}")
            else:
                replaced = finished.folder.path.with_name(f"{path.name}.replaced")
                shutil.rmtree(replaced, ignore_errors=True)
                path.rename(replaced)
        finished.folder.path.rename(path)

    def _existing_result(self) -> Result | None:
        """Return the existing result; None if there is none or it cannot be read."""
        try:
            return Result.read(self.folder.result, EVALUATE_AGAIN)
        except UserError:
            return None


UNFINISHED = ".unfinished-"
"""Begin of the names of folders with unfinished evaluations."""

MAX_AGE = 7 * 24 * 3600.0
"""Seconds after which an unfinished evaluation that nobody has resumed is removed."""


@contextmanager
def working_folder(evaluations: Path, jobs: Sequence[EvaluationJob]) -> Iterator[Path]:
    """Yield the folder that holds results until they are complete; remove it after the block.

    The same jobs and the same code get the same folder, so that an interrupted evaluation resumes.
    Folders that no command will resume, of other code or a week old, are removed too. The
    evaluations must be locked.
    """
    code = f"{UNFINISHED}{code_hash('evaluation')[:8]}-"
    digest = hashlib.sha256(repr([job.identity for job in jobs]).encode()).hexdigest()[:16]
    folder = evaluations / f"{code}{digest}"
    for path in evaluations.glob(f"{UNFINISHED}*"):
        is_old = time.time() - path.stat().st_mtime > MAX_AGE
        if path != folder and (is_old or not path.name.startswith(code)):
            shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    for parent, _, _ in os.walk(folder):
        remove_leftovers(Path(parent), exclusive=True)
    yield folder
    shutil.rmtree(folder)


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


def write_evaluation(
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
    scores: dict[str, Any] = {}
    if data.val_labeled:
        write_images(job.folder, accumulator.ids, np.stack(accumulator.confusions))
        final, names = accumulator.scores, run.data.classes
        scores["scores"] = in_percent(final.values)
        scores["class_IoU"] = in_percent(dict(zip(names, final.class_iou, strict=True)))
        scores["boundary"] = boundary = accumulator.boundary_result(names)
        title = f"{job.identity.run}, {job.strategy.label}"
        write_boundary_curve(job.folder, title, boundary.bands)
    write_result(
        job.folder.result,
        **vars(job.identity),
        scored=data.val_labeled,
        **scores,
        cost=cost_record(cost, size, speed),
        skipped_files=dict(data.skipped),
        machine=vars(execution),
        data_root=job.data_root,
        **code_record(),
    )


def cost_record(cost: flops.Cost, size: tuple[int, int], speed: Speed | None = None) -> Cost:
    """Return the cost of a network on images of this height and width."""
    return Cost(
        parameters=cost.trainable,
        multiply_adds=MultiplyAdds(conv=cost.conv, paper=cost.paper),
        input_size=size,
        measured=MeasuredSpeed(**speed.record()) if speed else None,
    )
