"""What an evaluation leaves in a run's folder, one folder for each weights, split and strategy.

evaluations/NAME/result.json     scores, protocol, provenance; written last
evaluations/NAME/images.npz      the confusion matrix of each image; of classifiers the label's rank
evaluations/NAME/predictions/    label maps, as palette PNGs of the images' sizes
evaluations/NAME/voc_SPLIT.tgz   or cityscapes_SPLIT.zip: the predictions for a test server
evaluations/NAME/examples.png    some images beside truth and prediction
evaluations/NAME/boundary.csv    scores in bands around object borders, and their curve boundary.png

Neither torch nor the network is needed to read them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab.tracking.schema_version import check_schema_version
from deeplab.utils.errors import UserError, writing
from deeplab.utils.file_lock import locked
from deeplab.utils.files import replacing


def evaluation_name(split: str, weights: Path, strategy: str) -> str:
    """The name of an evaluation's folder."""
    return f"{split}-{weights.stem}-{strategy}".replace("/", "_")


@dataclass(frozen=True)
class EvaluationFolder:
    """The paths of one evaluation."""

    path: Path

    @property
    def result(self) -> Path:
        """Its scores; an evaluation with them is whole."""
        return self.path / "result.json"

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
    def examples(self) -> Path:
        """A sheet with some of the images, truths and predictions."""
        return self.path / "examples.png"

    def archive(self, kind: str, split: str) -> Path:
        """The predictions as a test server takes them."""
        suffix = {"voc": ".tgz", "cityscapes": ".zip"}[kind]
        return self.path / f"{kind}_{split}{suffix}"

    def prediction(self, image_id: str) -> Path:
        """The label map of an image."""
        return self.path / "predictions" / f"{image_id}.png"


@dataclass(frozen=True)
class Evaluation:
    """The scores of one network on one split under one strategy."""

    folder: EvaluationFolder
    result: dict[str, Any]

    @property
    def name(self) -> str:
        """Its run and itself, as a person tells it from others."""
        return f"{self.result['run']}/{self.folder.path.name}"

    @property
    def protocol(self) -> dict[str, Any]:
        """What it was measured under; see ``deeplab.tracking.protocol``."""
        return dict(self.result["protocol"])

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.result["protocol"]["classes"])

    @property
    def counted(self) -> str:
        """What there is of each image."""
        return "rank" if "top1_error" in self.result else "confusion"

    @cached_property
    def _images(self) -> dict[str, Any]:
        try:
            with np.load(self.folder.images) as stored:
                return {key: stored[key] for key in ("ids", self.counted)}
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.folder.images}: this cannot be read ({error}); evaluate.py writes it anew."
            ) from None

    @property
    def ids(self) -> list[str]:
        """The images, in the split's order."""
        return [str(i) for i in self._images["ids"]]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Pixels of each image by truth (row) and prediction (column): ``(N, K, K)``."""
        return np.asarray(self._images["confusion"], np.int64)

    @property
    def ranks(self) -> NDArray[np.int64]:
        """Of a classifier: the place of each image's label, 0 the first, -1 for one without."""
        return np.asarray(self._images["rank"], np.int64)


def read_evaluation(path: str | Path) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        UserError: there is none, or its result is damaged.
    """
    folder = EvaluationFolder(Path(path).expanduser())
    if not folder.result.is_file():
        raise UserError(f"{path}: no evaluation (no result.json); evaluate.py makes one.")
    try:
        result = dict(json.loads(folder.result.read_text()))
        check_schema_version(result, folder.result)
        return Evaluation(folder, {**result, "protocol": dict(result["protocol"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder.result}: this cannot be read ({error}).") from None


def write_images(
    folder: EvaluationFolder, ids: list[str], confusion: NDArray[np.integer[Any]]
) -> None:
    """Keep the confusion matrices ``(N, K, K)`` of the images."""
    with replacing(folder.images) as draft, draft.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), confusion=confusion.astype(np.int32))


def write_ranks(folder: EvaluationFolder, ids: list[str], ranks: NDArray[np.integer[Any]]) -> None:
    """Keep the places ``(N,)`` of the images' labels."""
    with replacing(folder.images) as draft, draft.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), rank=ranks.astype(np.int32))


@contextmanager
def evaluating(evaluations: Path, asked: str) -> Iterator[None]:
    """Keep the evaluations of a run to this process, once others have come to their end.

    Raises:
        UserError: nothing can be written there; ``asked`` has named the run.
    """
    with writing(asked):
        evaluations.mkdir(exist_ok=True)
        waiting = f"{evaluations}: waiting for the end of another evaluation ..."
        with locked(evaluations / ".lock", waiting, wait=True):
            yield
