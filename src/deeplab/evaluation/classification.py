"""Evaluation of an image classifier: errors on a split, and the rank of each image's label."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from deeplab.checkpoints.hub import hub_id
from deeplab.checkpoints.loading import load_model
from deeplab.checkpoints.model_zoo import find_zoo_network
from deeplab.checkpoints.run_weights import find_run_weights
from deeplab.config.build_data import build_classification_data
from deeplab.config.build_model import build_classifier, check_classifier
from deeplab.config.own_nodes import check_trained
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.run import ClassifierConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.classification.dataset import classification_example
from deeplab.data.datamodules import ClassificationData
from deeplab.data.dataset import Batch
from deeplab.evaluation.accumulator import RankAccumulator
from deeplab.evaluation.evaluation_folder import write_ranks
from deeplab.evaluation.jobs import EvaluationJob, cost_record
from deeplab.evaluation.task import Array, EvaluationTask, Predict, PredictedImage, override_data
from deeplab.inference.predictor import check_finite
from deeplab.inference.strategy import Strategy
from deeplab.metrics.topk import TopKErrorMetric, ranks
from deeplab.models.classifier import OUTPUT_STRIDE
from deeplab.models.flops import measure_cost
from deeplab.tracking.console import print_errors
from deeplab.tracking.evaluation_protocol import CLASSIFIER_STRATEGY, crop_protocol
from deeplab.tracking.result import Result, in_percent
from deeplab.tracking.run_folder import RunFolder, read_run
from deeplab.utils.errors import UserError
from deeplab.utils.figures import save_image
from deeplab.utils.visualization import classification_figure


class ClassifierEvaluation(EvaluationTask):
    """Evaluation of a classifier; see ``EvaluationTask``."""

    num_examples = 24
    run: ClassifierConfig
    data: ClassificationData

    def __init__(
        self, folder: RunFolder, weights: Path, run: ClassifierConfig, config: EvaluateConfig
    ) -> None:
        super().__init__(folder, weights, config)
        self.run = run.model_copy(update=override_data(run, config))

    @classmethod
    def find(cls, config: EvaluateConfig) -> Self | None:
        """Return the evaluation of the run that ``run=`` names if it is a classifier, else None.

        Raises:
            UserError: as in ``find_trained_run``, or a key for segmentation is set.
        """
        if hub_id(config.run, "run") or find_zoo_network(config.run, "run"):
            return None  # there are segmentation networks only
        folder = RunFolder.find(config.run, key="run")
        run = read_run(folder)
        if not isinstance(run, ClassifierConfig):
            return None
        trusted = config.trust_remote_code
        check_trained(run, str(folder.config), leaves=ModelConfig.model_fields, trusted=trusted)
        _, weights = find_run_weights(config.run, "run")
        for key in ("output_stride", "window_size", "submission"):
            if getattr(config, key):
                raise UserError(
                    f"{key}: this run is an image classifier, which has no {key}. Leave it out."
                )
        if config.strategies != (CLASSIFIER_STRATEGY,):
            raise UserError(
                f"strategies=[{','.join(config.strategies)}]: this run is an image classifier, "
                f"which predicts on one crop. Set strategies=[{CLASSIFIER_STRATEGY}]."
            )
        return cls(folder, weights, run, config)

    def open_data(self) -> None:
        workers = self.execution.num_workers
        self.data = build_classification_data(self.run, num_workers=workers)

    def jobs(self) -> list[EvaluationJob]:
        """Return the only job: a classifier has one strategy."""
        protocol = crop_protocol(
            self.data,
            crop_size=self.run.data.crop_size,
            crop_pct=self.run.data.crop_pct,
            precision=self.execution.precision,
        )
        return [self.job(Strategy(OUTPUT_STRIDE), CLASSIFIER_STRATEGY, protocol)]

    def predict_function(self, jobs: Sequence[EvaluationJob]) -> Predict:
        build = partial(build_classifier, self.run, num_classes=len(self.data.classes))
        model = load_model(build, self.weights)
        model.eval().to(self.execution.accelerator, self.execution.parameter_dtype)

        def predict(images: Tensor, batch: Batch) -> Sequence[Sequence[Array]]:
            logits: Tensor = model(images).cpu()
            check_finite(logits, self.weights)
            return [[image_logits] for image_logits in logits.float().numpy()]

        return predict

    def truth(self, batch: Batch, index: int) -> Array:
        """Return the labels of an image, as a list that ends in -1."""
        labels: Array = batch["label"][index].numpy()
        return labels

    def accumulator(self) -> RankAccumulator:
        return RankAccumulator()

    def score(self, image: PredictedImage, drafts: Sequence[EvaluationJob]) -> list[int]:
        """Return the rank of the image's label."""
        (logits,), labels = image.outputs, torch.from_numpy(image.truth)
        return [int(ranks(torch.from_numpy(logits)[None], labels[None]))]

    def write(
        self, draft: EvaluationJob, accumulator: RankAccumulator, examples: Mapping[str, Array]
    ) -> None:
        found, errors = np.array(accumulator.ranks), TopKErrorMetric()
        write_ranks(draft.folder, accumulator.ids, found)
        val_set, classes = self.data.val_set, self.data.classes
        indices = {name: i for i, name in enumerate(val_set.ids)}
        figure = classification_figure(
            [
                classification_example(val_set[indices[name]], 0, int(logits.argmax()), classes)
                for name, logits in examples.items()
            ]
        )
        save_image(figure, draft.folder.examples)
        errors.update(torch.from_numpy(found))
        size = (self.run.data.crop_size, self.run.data.crop_size)
        model = check_classifier(self.run, num_classes=len(classes))
        cost = cost_record(measure_cost(model, input_size=size), size)
        self.write_result(draft, cost, scored=True, scores=in_percent(errors.compute()))

    def print_scores(self, results: Sequence[Result]) -> None:
        print()
        print_errors(results[0])
