"""Counts the multiply-adds, the disk space and the time of jobs before they run."""

from collections.abc import Sequence
from typing import NamedTuple

from deeplab.ablations.distinct_jobs import Job, RowEvaluation
from deeplab.ablations.run_index import Run
from deeplab.config.build_model import check_classifier
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.data.layouts.base import open_layout
from deeplab.data.settings import DataSettings, SyntheticSettings
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.strategy import Strategy, parse_strategy
from deeplab.models.flops import Cost, measure_cost
from deeplab.tracking.run_identity import settings_hash
from deeplab.utils.errors import UserError
from deeplab.utils.free_memory import is_out_of_memory

STEP_COST = 3
"""Cost of a training step in forward passes; the backward pass costs two of them."""

LABEL_MAP_BYTES = 8_000
"""Size of a label map of a VOC image as PNG."""

IMAGENET_CLASSES = 1000
"""Published number of classes."""


class Estimate(NamedTuple):
    """Remaining work of one job, its evaluations included."""

    multiply_adds: float
    disk: int
    """Bytes of the files that are still to be written."""
    step_seconds: float | None = None
    """Time of a training step on this machine; None if it was not measured."""
    seconds: float | None = None
    """Time of the whole work, if evaluations are as fast as training by multiply-adds."""


def estimate_job(job: Job, run: Run | None, *, measure_speed: bool = False) -> Estimate:
    """Return the remaining work of a job, whose run may be partly done.

    Forward passes that several strategies share are counted once, because they run once.

    Args:
        job: the job.
        run: its run, if there is one.
        measure_speed: measure training steps on this machine, once for all seeds.
    """
    estimate = _estimate_work(job, run)
    if not measure_speed:
        return estimate
    config = job.config
    try:
        step_seconds = _measure_step(config)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return estimate
    step_cost = STEP_COST * _crop_cost(config).conv * config.stage.batch_size
    seconds = estimate.multiply_adds / step_cost * step_seconds
    return estimate._replace(step_seconds=step_seconds, seconds=seconds)


def _measure_step(config: RunConfig) -> float:
    from deeplab.training.step_time import measure_step  # imports Lightning

    key = settings_hash(config.model_copy(update={"seed": 0}))
    if key not in _step_seconds:
        _step_seconds[key] = measure_step(config, num_classes=_num_classes(config.data))
    return _step_seconds[key]


_step_seconds: dict[str, float] = {}


def _estimate_work(job: Job, run: Run | None) -> Estimate:
    config = job.config
    stage, crop_cost = config.stage, _crop_cost(config)
    remaining_steps = stage.max_steps - (
        0 if run is None else stage.max_steps if run.folder.finished else run.step
    )
    multiply_adds = float(STEP_COST * crop_cost.conv * stage.batch_size * remaining_steps)
    trained = run is not None and run.folder.finished
    disk = 0 if trained else 4 * _weight_copies(config) * crop_cost.with_bn_statistics
    missing = _missing_evaluations(job, run)
    if not isinstance(config, TrainConfig):
        splits = {row_evaluation.split_of(config) for row_evaluation in missing}
        num_images = sum(split_size(config.data, split) for split in splits)
        return Estimate(multiply_adds + num_images * crop_cost.conv, disk)
    evaluations = _splits_and_strategies(config, missing)
    for split, _ in evaluations:
        disk += LABEL_MAP_BYTES * split_size(config.data, split)
    passes = {(split, p) for split, strategy in evaluations for p in strategy.passes}
    image_cost = {
        stride: _cost(config, stride, config.data.padded_size).conv
        for stride in {p.output_stride for _, p in passes}
    }
    for split, forward_pass in passes:
        size = split_size(config.data, split)
        multiply_adds += size * image_cost[forward_pass.output_stride] * forward_pass.scale**2
    return Estimate(multiply_adds, disk)


def _weight_copies(config: RunConfig) -> int:
    """Return how many copies of the weights a training writes.

    One is ``weights.safetensors``; each of two checkpoints has the weights, the optimizer's
    averages of their gradients, and the moving average of the weights if there is one.
    """
    momentum = getattr(config.optimizer, "momentum", None)
    moments = 2 if momentum is None else int(momentum > 0)  # AdamW has two
    return 1 + 2 * (1 + moments + (config.stage.ema_decay is not None))


def _missing_evaluations(job: Job, run: Run | None) -> list[RowEvaluation]:
    """Return the evaluations that rows need and that do not exist."""
    return [
        row_evaluation
        for row_evaluation in job.row_evaluations
        if not (run and run.evaluation(row_evaluation))
    ]


def _splits_and_strategies(
    config: TrainConfig, evaluations: Sequence[RowEvaluation]
) -> set[tuple[str, Strategy]]:
    return {
        (
            row_evaluation.split_of(config),
            parse_strategy(row_evaluation.strategy, output_stride=config.output_stride),
        )
        for row_evaluation in evaluations
    }


def _crop_cost(config: RunConfig) -> Cost:
    """Return the cost of one forward pass in training."""
    size = (config.data.crop_size, config.data.crop_size)
    if isinstance(config, TrainConfig):
        return _cost(config, config.output_stride, size)
    assert isinstance(config, ClassifierConfig)
    classes = _num_classes(config.data)
    key = (config.backbone.model_dump_json(), classes, size)
    if key not in _classifier_costs:
        classifier = check_classifier(config, num_classes=classes)
        _classifier_costs[key] = measure_cost(classifier, input_size=size)
    return _classifier_costs[key]


_classifier_costs: dict[tuple[str, int, tuple[int, int]], Cost] = {}


def _num_classes(data: DataSettings) -> int:
    """Return the number of classes without reading files; it hardly changes the cost."""
    classes = getattr(data, "classes", None)
    return max(2, len(classes)) if classes is not None else IMAGENET_CLASSES


def _cost(config: TrainConfig, output_stride: int, size: tuple[int, int]) -> Cost:
    classes = max(2, len(config.data.classes))
    return strategy_cost(config, Strategy(output_stride), classes=classes, size=size)


def split_size(data: DataSettings, split: str) -> int:
    """Return the number of images in a split: of the files, or the published one without files."""
    if isinstance(data, SyntheticSettings):
        return data.num_train if split == data.train_split else data.num_val
    try:
        return open_layout(data).num_images(split)
    except UserError:
        return data.expected_images.get(split, 0)
