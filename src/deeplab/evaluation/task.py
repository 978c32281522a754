"""What an evaluation needs to know of a trained network, of either task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import Tensor

from deeplab.checkpoints.run_weights import weights_hash
from deeplab.config.execution import inference_execution
from deeplab.config.own_nodes import network_versions
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.run import RunConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.datamodules import StreamData
from deeplab.data.layouts.base import move_data
from deeplab.evaluation.accumulator import Accumulator
from deeplab.evaluation.evaluation_folder import EvaluationFolder, evaluation_name
from deeplab.evaluation.jobs import EvaluationJob
from deeplab.inference.strategy import Strategy
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.provenance import Machine
from deeplab.tracking.result import Cost, Identity, Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.tracking.source_code import code_record
from deeplab.utils.paths import absolute_path

Array = NDArray[Any]

Predict = Callable[[Tensor, Any], Sequence[Sequence[Array]]]
"""Function from the images of a batch, on the device, to the outputs of each image for each job."""


class PredictedImage(NamedTuple):
    """Outputs of the network for an image of the split."""

    id: str
    skipped: tuple[str, ...]
    """Files that could not be read; if there are any, the image has no truth and outputs."""
    truth: Array
    outputs: Sequence[Array]
    """Label map ``(H, W)`` or logits ``(K,)`` for each job."""


class EvaluationTask(ABC):
    """Evaluation of one network of segmentation or classification.

    Args:
        folder: the run folder.
        weights: file of the weights.
        config: config of the evaluation.
    """

    run: RunConfig
    """Config of the run, with the data to evaluate on."""
    num_examples: int
    """Number of images in the example figure."""
    data: StreamData[Any]
    """Images of the split, after ``open_data``."""

    def __init__(self, folder: RunFolder, weights: Path, config: EvaluateConfig) -> None:
        self.folder, self.weights, self.config = folder, weights, config
        self.execution = inference_execution(config.trainer, one_device=False)
        self.code = code_record()

    @abstractmethod
    def open_data(self) -> None:
        """Find the images."""

    @abstractmethod
    def jobs(self) -> list[EvaluationJob]:
        """Return a job for each inference strategy."""

    @abstractmethod
    def predict_function(self, jobs: Sequence[EvaluationJob]) -> Predict:
        """Return the function that runs the network on a batch."""

    @abstractmethod
    def truth(self, batch: Any, index: int) -> Array:
        """Return the labels of an image of a batch."""

    @abstractmethod
    def accumulator(self) -> Accumulator:
        """Return the empty accumulator of a job."""

    @abstractmethod
    def score(self, image: PredictedImage, drafts: Sequence[EvaluationJob]) -> Sequence[Any]:
        """Return the score of an image for each job, and save its outputs if they are asked for."""

    @abstractmethod
    def write(self, draft: EvaluationJob, accumulator: Any, examples: Mapping[str, Array]) -> None:
        """Write the files of one result; ``result.json`` last, so that it implies the others."""

    @abstractmethod
    def print_scores(self, results: Sequence[Result]) -> None:
        """Print the scores of all jobs."""

    def job(
        self, strategy: Strategy, name: str, protocol: Protocol, **options: Any
    ) -> EvaluationJob:
        """Return the job of a strategy; ``options`` are further fields of its identity."""
        root, folder = self.config.data.root, self.folder.path
        identity = Identity(
            run=folder.name,
            weights=str(self.weights.resolve().relative_to(folder.resolve())),
            weights_sha256=self._weights_hash,
            protocol=protocol,
            own_code=network_versions(self.run, ModelConfig.model_fields),
            **options,
        )
        path = self.folder.evaluations / evaluation_name(self.data.val_split, self.weights, name)
        return EvaluationJob(
            strategy,
            EvaluationFolder(path),
            identity,
            absolute_path(root) if root else None,
        )

    @cached_property
    def _weights_hash(self) -> str:
        return weights_hash(self.weights)

    def write_result(self, draft: EvaluationJob, cost: Cost, **scores: Any) -> None:
        """Write ``result.json``."""
        Result(
            **vars(draft.identity),
            **scores,
            cost=cost,
            skipped_files=dict(self.data.skipped),
            machine=Machine(**vars(self.execution)),
            data_root=draft.data_root,
            **vars(self.code),
        ).write(draft.folder.result)


def override_data(run: RunConfig, config: EvaluateConfig) -> dict[str, Any]:
    """Return the changes of a run's config for the data of the evaluation."""
    changes = {
        "val_split": config.split or run.data.val_split,
        "on_error": config.data.on_error or run.data.on_error,
        "augmentations": (),  # of training only
    }
    return {"data": move_data(run.data, config.data.root).model_copy(update=changes)}
