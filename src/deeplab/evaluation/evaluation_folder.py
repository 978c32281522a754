"""Evaluation folders: one folder in a run folder for each split, weights file and strategy.

evaluations/NAME/result.json     scores, protocol, provenance; written last
evaluations/NAME/images.npz      confusion matrix of each image, without its zeros; for
                                 classifiers, rank of the label
evaluations/NAME/predictions/    label maps, as palette PNGs of the images' sizes
evaluations/NAME/voc_SPLIT.tgz   or cityscapes_SPLIT.zip: the predictions for a test server
evaluations/NAME/examples.png    some images with truth and prediction
evaluations/NAME/boundary.csv    scores in bands around object borders; their plot is boundary.png

Reading them needs neither torch nor the network.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.metrics.image_confusions import ImageConfusions, check_cells
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.files import atomic_write, remove_leftovers
from deeplab.utils.links import check_links
from deeplab.utils.paths import relative_path
from deeplab.utils.program import command
from deeplab.utils.reading import exists, read_npz, report_damage
from deeplab.utils.write_errors import report_write_errors

CONFUSION_ARRAYS = ("sizes", "cells", "counts")
"""Arrays of ``ImageConfusions`` in ``images.npz``."""

RESULT_FILE = "result.json"
"""File of an evaluation with its scores; a folder that holds it is a complete evaluation."""

EVALUATE_AGAIN = "Evaluate again with overwrite=true to replace it."


def evaluation_name(split: str, weights: Path, strategy: str) -> str:
    """Return the name of an evaluation folder."""
    return f"{split}-{weights.stem}-{strategy}".replace("/", "_")


@dataclass(frozen=True)
class EvaluationFolder:
    """Paths of one evaluation."""

    path: Path

    @property
    def result(self) -> Path:
        return self.path / RESULT_FILE

    @property
    def images(self) -> Path:
        return self.path / "images.npz"

    @property
    def boundary_csv(self) -> Path:
        return self.path / "boundary.csv"

    @property
    def boundary_png(self) -> Path:
        return self.path / "boundary.png"

    @property
    def gallery(self) -> Path:
        """Folder of the gallery of its images."""
        return self.path / "gallery"

    @property
    def examples(self) -> Path:
        """Figure of some images with truth and prediction."""
        return self.path / "examples.png"

    def archive(self, kind: str, split: str) -> Path:
        """Return the path of the archive for a test server."""
        suffix = {"voc": ".tgz", "cityscapes": ".zip"}[kind]
        return self.path / f"{kind}_{split}{suffix}".replace("/", "_")

    def prediction(self, image_id: str) -> Path:
        """Return the path of the label map of an image.

        Raises:
            UserError: the id leads out of the folder.
        """
        try:
            name = relative_path(image_id)
        except ValueError as error:
            raise UserError(f"image {image_id!r}: its id {error}. Change it in the list.") from None
        return self.path / "predictions" / f"{name}.png"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one network on one split under one strategy."""

    folder: EvaluationFolder
    result: Result

    @property
    def name(self) -> str:
        """Name of the run and of the evaluation folder."""
        return f"{self.result.run}/{self.folder.path.name}"

    @property
    def protocol(self) -> Protocol:
        """Conditions of the evaluation."""
        return self.result.protocol

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.result.protocol.classes

    @cached_property
    def _images(self) -> dict[str, Any]:
        classes, path = len(self.class_names), self.folder.images
        arrays: dict[str, tuple[str, Sequence[int | str]]] = {"ids": ("U", ("N",))}
        if self.result.is_classifier:
            arrays["rank"] = ("i", ("N",))
        else:
            lengths = {"sizes": "N", "cells": "M", "counts": "M"}
            arrays |= {name: ("i", (lengths[name],)) for name in CONFUSION_ARRAYS}
        stored = read_npz(path, arrays, EVALUATE_AGAIN)
        with report_damage(path, EVALUATE_AGAIN):
            ids = [str(i) for i in stored["ids"]]
            if ids != [relative_path(i) for i in ids] or len(set(ids)) < len(ids):
                raise ValueError("its ids are not the relative paths of different images")
            lowest = -int(self.result.is_classifier)
            for name in arrays:
                if name != "ids" and stored[name].min(initial=0) < lowest:
                    raise ValueError(f"{name}: it has negative numbers")
            if "cells" in stored:
                check_cells(stored["sizes"], stored["cells"], classes)
        return stored

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the split's order."""
        return [str(i) for i in self._images["ids"]]

    @cached_property
    def confusions(self) -> ImageConfusions:
        """Pixel counts of each image by truth (row) and prediction (column)."""
        stored, classes = self._images, len(self.class_names)
        return ImageConfusions(
            classes, *(np.asarray(stored[name], np.int64) for name in CONFUSION_ARRAYS)
        )

    @property
    def ranks(self) -> NDArray[np.int64]:
        """Rank of each image's label, for classifiers: 0 is best, -1 is an unlabeled image."""
        return np.asarray(self._images["rank"], np.int64)


def read_evaluation(path: str | Path) -> Evaluation:
    """Read the evaluation in a folder.

    Raises:
        UserError: the folder holds no evaluation, or its result is damaged.
    """
    folder = EvaluationFolder(Path(path).expanduser())
    if not exists(folder.result):
        raise UserError(
            f"{path}: no evaluation ({RESULT_FILE}) in it. Run {command('evaluate')} first."
        )
    return Evaluation(folder, Result.read(folder.result, EVALUATE_AGAIN))


def run_evaluations(folder: RunFolder) -> list[Evaluation]:
    """Return the complete evaluations of a run, by the names of their folders.

    Raises:
        UserError: a result is damaged.
    """
    return [read_evaluation(p.parent) for p in sorted(folder.evaluations.glob(f"*/{RESULT_FILE}"))]


def write_images(folder: EvaluationFolder, ids: list[str], confusions: ImageConfusions) -> None:
    """Write the confusion matrices of the images."""
    arrays = {name: getattr(confusions, name).astype(np.int32) for name in CONFUSION_ARRAYS}
    with atomic_write(folder.images) as draft, draft.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), **arrays)


def write_ranks(folder: EvaluationFolder, ids: list[str], ranks: NDArray[np.integer[Any]]) -> None:
    """Write the ranks ``(N,)`` of the images' labels."""
    with atomic_write(folder.images) as draft, draft.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), rank=ranks.astype(np.int32))


@contextmanager
def lock_evaluations(evaluations: Path, setting: str) -> Iterator[None]:
    """Lock the evaluations of a run for this process, after other processes have finished.

    Args:
        evaluations: the folder of the run's evaluations.
        setting: ``key=value`` that named the run, for error messages.

    Raises:
        UserError: the folder is not writable, or the run folder has links that lead out of it.
    """
    with report_write_errors(setting):
        check_links(evaluations.parent)
        evaluations.mkdir(exist_ok=True)
        waiting = f"{evaluations}: waiting until another evaluation has finished ..."
        with locked(evaluations / ".lock", waiting, wait=True):
            for path in (evaluations, *evaluations.iterdir()):
                remove_leftovers(path)
            yield
