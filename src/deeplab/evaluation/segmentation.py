"""Evaluation of a segmentation network under several inference strategies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from torch import Tensor

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run
from deeplab.config.build_data import build_segmentation_data
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.data.class_set import write_mask
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationBatch, check_ids
from deeplab.data.items import item_ids
from deeplab.data.layouts.base import data_layout, split_items
from deeplab.evaluation.accumulator import ImageScore, ScoreAccumulator, score_image
from deeplab.evaluation.evaluation_folder import write_images
from deeplab.evaluation.jobs import EvaluationJob, cost_record
from deeplab.evaluation.plots import write_boundary_curve
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.evaluation.submission import check_submission, write_submission
from deeplab.evaluation.task import Array, EvaluationTask, Predict, PredictedImage, override_data
from deeplab.inference.speed import Speed, measure_speed
from deeplab.inference.strategy import Strategy
from deeplab.metrics.boundary import find_bands
from deeplab.tracking.console import print_comparison
from deeplab.tracking.evaluation_protocol import segmentation_protocol
from deeplab.tracking.result import Result, in_percent
from deeplab.utils.figures import save_image
from deeplab.utils.visualization import Example, segmentation_figure


class SegmentationEvaluation(EvaluationTask):
    """Evaluation of a segmentation network; see ``EvaluationTask``."""

    num_examples = 6
    run: TrainConfig
    data: SegmentationData

    def __init__(self, trained: TrainedRun, config: EvaluateConfig) -> None:
        super().__init__(trained.folder, trained.weights, config)
        stride = config.output_stride or trained.config.output_stride
        changes = {**override_data(trained.config, config), "output_stride": stride}
        self.run = trained.config.model_copy(update=changes)
        self.trained = replace(trained, config=self.run)
        self.strategies = self.trained.strategies(
            config.strategies, window=config.window_size, overlap=config.overlap, key="strategies"
        )

    @classmethod
    def find(cls, config: EvaluateConfig) -> Self:
        """Return the evaluation of the run that ``run=`` names.

        Raises:
            UserError: as in ``find_trained_run``, or the network cannot run a strategy.
        """
        progress = config.trainer.enable_progress_bar
        trained = find_trained_run(
            config.run, progress=progress, trust_remote_code=config.trust_remote_code
        )
        return cls(trained, config)

    def open_data(self) -> None:
        run, workers = self.run, self.execution.num_workers
        layout = data_layout(run.data)
        items = split_items(layout, run.data.val_split)
        check_ids(run.data.val_split, list(item_ids(items)))
        labeled = layout.is_labeled(items)
        self.data = build_segmentation_data(run, num_workers=workers, val_labeled=labeled)
        self.data.check_eval_batches()
        if self.config.submission:
            check_submission(self.config.submission, self.data.classes)

    def jobs(self) -> list[EvaluationJob]:
        config, images = self.config, self.data.val_set
        bands = find_bands(images.sample_labels()) if self.data.val_labeled else None
        content = images.content_hash()
        return [
            self.job(
                strategy,
                strategy.name,
                segmentation_protocol(
                    self.data,
                    strategy,
                    content=content,
                    padded_to=self.run.data.padded_size,
                    precision=self.execution.precision,
                    bands=bands,
                ),
                band_widths=config.trimap_widths,
                save_predictions=config.save_predictions,
                measured=config.measure_speed,
            )
            for strategy in self.strategies
        ]

    def predict_function(self, jobs: Sequence[EvaluationJob]) -> Predict:
        strategies = [job.strategy for job in jobs]
        predictor = self.trained.predictor(strategies, self.execution, key="strategies")

        def predict(images: Tensor, batch: SegmentationBatch) -> Sequence[Sequence[Array]]:
            maps = predictor.label_maps(images, batch["size"])
            return [[label.cpu().numpy() for label in labels] for labels in maps]

        return predict

    def truth(self, batch: SegmentationBatch, index: int) -> Array:
        """Return the label map of an image without padding."""
        height, width = batch["size"][index]
        truth: Array = batch["label"][index, :height, :width].numpy()
        return truth

    def accumulator(self) -> ScoreAccumulator:
        return ScoreAccumulator(
            classes=len(self.run.data.classes), widths=self.config.trimap_widths
        )

    def score(self, image: PredictedImage, drafts: Sequence[EvaluationJob]) -> list[ImageScore]:
        if self.config.save_predictions:
            for draft, label in zip(drafts, image.outputs, strict=True):
                path = draft.folder.prediction(image.id)
                write_mask(path, label, self.data.classes.palette, flush=False)
        return score_image(
            image.truth,
            image.outputs,
            classes=len(self.run.data.classes),
            widths=self.config.trimap_widths,
            bands=drafts[0].identity.protocol.bands or "void",
        )

    def write(
        self, draft: EvaluationJob, accumulator: ScoreAccumulator, examples: Mapping[str, Array]
    ) -> None:
        self._write_examples(draft, examples)
        size, names = self.run.data.padded_size, self.run.data.classes
        scores: dict[str, Any] = {}
        if self.data.val_labeled:
            write_images(draft.folder, accumulator.ids, accumulator.confusions)
            final = accumulator.scores
            scores["scores"] = in_percent(final.values)
            scores["class_IoU"] = in_percent(dict(zip(names, final.class_iou, strict=True)))
            scores["boundary"] = boundary = accumulator.boundary_result(names)
            title = f"{draft.identity.run}, {draft.strategy.label}"
            write_boundary_curve(draft.folder, title, boundary.bands)
        cost = strategy_cost(self.run, draft.strategy, classes=len(names), size=size)
        speed = self._speed(draft.strategy) if self.config.measure_speed else None
        cost_of_image = cost_record(cost, size, speed)
        self.write_result(draft, cost_of_image, scored=self.data.val_labeled, **scores)

    def _write_examples(self, draft: EvaluationJob, predictions: Mapping[str, Array]) -> None:
        """Write the figure of some images with truth and prediction."""
        items = {item.id: item for item in self.data.val_set.items}
        examples = [
            Example(image_id, *self.data.val_set.read(items[image_id]), label)
            for image_id, label in predictions.items()
        ]
        if examples:
            classes = self.data.classes
            figure = segmentation_figure(examples, classes.names, classes.palette)
            save_image(figure, draft.folder.examples)

    def _speed(self, strategy: Strategy) -> Speed:
        """Measure the speed on this machine at the size that images are padded to."""
        return measure_speed(
            self.trained.predictor([strategy], self.execution, key="strategies"),
            input_size=self.run.data.padded_size,
            device=self.execution.accelerator,
            dtype=self.execution.autocast_dtype,
        )

    def print_scores(self, results: Sequence[Result]) -> None:
        print_comparison(results)

    def pack(self, job: EvaluationJob) -> None:
        """Write the archive for a test server, if one is asked for.

        Skipped bad files have no prediction, which is an error here.
        """
        if self.config.submission:
            archive = write_submission(
                self.config.submission,
                job.folder,
                self.data.val_set.items,
                self.data.classes,
                split=self.data.val_split,
                progress=self.config.trainer.enable_progress_bar,
            )
            print(f"  submission  {archive} ({len(self.data.val_set)} images, checked)")
