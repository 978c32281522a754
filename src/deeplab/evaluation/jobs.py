"""Evaluation jobs and the files of their results."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab.evaluation.evaluation_folder import EVALUATE_AGAIN, EvaluationFolder
from deeplab.inference.speed import Speed
from deeplab.inference.strategy import Strategy
from deeplab.models import flops
from deeplab.tracking.result import (
    Cost,
    Identity,
    MeasuredSpeed,
    MultiplyAdds,
    Result,
)
from deeplab.tracking.source_code import code_hash
from deeplab.utils.errors import UserError
from deeplab.utils.files import aside_path, remove_leftovers


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
        return result is not None and result.identity == self.identity

    def in_folder(self, folder: Path) -> "EvaluationJob":
        """Return this job with a temporary folder, for files that are not complete yet."""
        return replace(self, folder=EvaluationFolder(folder / self.folder.path.name))

    def install(self, finished: "EvaluationJob") -> None:
        """Move the complete files of ``finished`` to this job's folder.

        An existing result under other conditions, or of other code of the user's own, is renamed;
        any other is moved to the folder of ``finished``, which the caller removes.
        """
        path = self.folder.path
        if path.exists():
            existing = self._existing_result()
            if existing and (difference := self._difference(existing)):
                backup = aside_path(path, ".")
                path.rename(backup)
                print(f"Moved the existing result, which has other {difference}, to {backup}")
            else:
                replaced = finished.folder.path.with_name(f"{path.name}.replaced")
                shutil.rmtree(replaced, ignore_errors=True)
                path.rename(replaced)
        finished.folder.path.rename(path)

    def _difference(self, existing: Result) -> str:
        """Return what makes an existing result another one; empty if this job may replace it."""
        if existing.protocol != self.identity.protocol:
            return "conditions"
        own_code = existing.identity.own_code != self.identity.own_code
        return "code of the network's own classes" if own_code else ""

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


def cost_record(cost: flops.Cost, size: tuple[int, int], speed: Speed | None = None) -> Cost:
    """Return the cost of a network on images of this height and width."""
    return Cost(
        parameters=cost.trainable,
        multiply_adds=MultiplyAdds(conv=cost.conv, paper=cost.paper),
        input_size=size,
        measured=MeasuredSpeed(**speed._asdict()) if speed else None,
    )
