"""What trainings take: hours of a device and room on the disk, before they are run.

Multiply-adds are counted; how many a second a device does is measured in a few training steps of
each backbone. An estimate: reading images and writing files are not in it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from deeplab.ablations.jobs import Training, Use
from deeplab.ablations.run_index import Run
from deeplab.config.build_classification_data import image_folder
from deeplab.config.build_data import data_layout
from deeplab.config.build_datamodule import padded_to
from deeplab.config.build_model import build_classifier, build_model, check_classifier
from deeplab.config.execution import build_execution
from deeplab.config.schema.classification_data import (
    ClassificationDataConfig,
    ImageNetConfig,
    ShapeClassesConfig,
)
from deeplab.config.schema.data import DataConfig, PublishedConfig, ShapesConfig
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.data.layouts.base import split_items
from deeplab.evaluation.cost import strategy_cost
from deeplab.inference.strategy import Strategy, parse_strategy
from deeplab.models.flops import Cost, measure_cost
from deeplab.training.losses import ClassificationLoss, SegmentationLoss
from deeplab.utils.errors import UserError
from deeplab.utils.hardware import Execution

PASSES = 3
"""A training step costs a forward pass and a backward one, which is twice that."""

CHECKPOINTS = 5
"""Copies of the weights that a run keeps: ``weights.safetensors``, and two checkpoints with the
optimizer's momentum."""

PREDICTION = 8_000
"""Bytes of a label map of VOC's size as PNG."""

IMAGENET = {"train": 1_281_167, "val": 50_000}
IMAGENET_CLASSES = 1000
"""As published."""

CPU_BATCH, SECONDS = 2, 3.0
"""Of the probe: images a step, and how long it is measured at least."""


class Budget(NamedTuple):
    """What is left to do of one training, its evaluations included."""

    multiply_adds: float
    disk: int
    """Bytes of all that it leaves."""


def budget(training: Training, run: Run | None) -> Budget:
    """Counted for one training, of which a run may have done a part. As in fact, what several
    strategies have in common is looked at once."""
    config = training.config
    stage, step = config.stage, _of_a_crop(config)
    left = stage.max_steps - (
        0 if run is None else stage.max_steps if run.folder.finished else run.step
    )
    counted = float(PASSES * step.conv * stage.batch_size * left)
    disk = 4 * CHECKPOINTS * step.with_bn_statistics
    if not isinstance(config, TrainConfig):
        wanted = {use.split or config.data.val_split for use in _todo(training, run)}
        return Budget(counted + sum(split_size(config.data, s) for s in wanted) * step.conv, disk)
    for split, _ in _evaluations(config, training.uses):
        disk += PREDICTION * split_size(config.data, split)
    looks = _evaluations(config, _todo(training, run))
    passes = {(split, p) for split, strategy in looks for p in strategy.passes}
    once = {
        stride: _cost(config, stride, padded_to(config.data)).conv
        for stride in {p.output_stride for _, p in passes}
    }
    for split, forward_pass in passes:
        size = split_size(config.data, split)
        counted += size * once[forward_pass.output_stride] * forward_pass.scale**2
    return Budget(counted, disk)


def _todo(training: Training, run: Run | None) -> list[Use]:
    """What rows want and is not there."""
    return [use for use in training.uses if not (run and run.evaluation(use))]


def _evaluations(config: TrainConfig, uses: Sequence[Use]) -> set[tuple[str, Strategy]]:
    """Those that rows want, by split and strategy."""
    return {
        (
            use.split or config.data.val_split,
            parse_strategy(use.strategy, output_stride=config.output_stride),
        )
        for use in uses
    }


def _of_a_crop(config: RunConfig) -> Cost:
    """Of one forward pass in training."""
    size = (config.data.crop_size, config.data.crop_size)
    if isinstance(config, TrainConfig):
        return _cost(config, config.output_stride, size)
    assert isinstance(config, ClassifierConfig)
    model = check_classifier(config, num_classes=_classes(config.data))
    return measure_cost(model, input_size=size)


def _classes(data: ClassificationDataConfig) -> int:
    """Without looking: these are few of a network's weights."""
    return len(data.classes) if isinstance(data, ShapeClassesConfig) else IMAGENET_CLASSES


def _cost(config: TrainConfig, output_stride: int, size: tuple[int, int]) -> Cost:
    return strategy_cost(
        config, Strategy(output_stride), classes=max(2, len(config.data.classes)), size=size
    )


def split_size(data: DataConfig | ClassificationDataConfig, split: str) -> int:
    """The images of a split: of the files, or as published where these are not here yet."""
    if isinstance(data, ShapesConfig | ShapeClassesConfig):
        return data.num_train if split == data.train_split else data.num_val
    try:
        if isinstance(data, ImageNetConfig):
            return len(image_folder(data).images(split))
        return len(split_items(data_layout(data), split))
    except UserError:
        if isinstance(data, ImageNetConfig):
            return IMAGENET.get(split, 0)
        return data.expected_images.get(split, 0) if isinstance(data, PublishedConfig) else 0


def measured_rates(trainings: Mapping[str, RunConfig]) -> dict[str, float]:
    """Multiply-adds a second of one device in training, measured for each of some configs."""
    return {key: _rate(config) for key, config in trainings.items()}


def _rate(config: RunConfig) -> float:
    execution = build_execution(config.trainer.model_copy(update={"devices": 1}))
    batch = config.stage.batch_size if execution.accelerator == "cuda" else CPU_BATCH
    step = _Step(config, execution, batch)
    step()  # memory is fetched, and algorithms are chosen
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        step()
        steps += 1
    seconds = (time.perf_counter() - begun) / steps
    return PASSES * _of_a_crop(config).conv * batch / seconds


def _network(config: RunConfig) -> tuple[nn.Module, nn.Module]:
    """With its loss."""
    if isinstance(config, TrainConfig):
        classes = max(2, len(config.data.classes))
        return build_model(config, num_classes=classes), SegmentationLoss()
    assert isinstance(config, ClassifierConfig)
    network = build_classifier(config, num_classes=_classes(config.data))
    return network, ClassificationLoss("softmax")


class _Step:
    """A training step on random images, but for the optimizer's part."""

    def __init__(self, config: RunConfig, execution: Execution, batch: int) -> None:
        self.device, self.dtype = execution.accelerator, execution.autocast_dtype
        layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        size = (config.data.crop_size, config.data.crop_size)
        model, self.loss = _network(config)
        self.model = model.train().to(self.device, memory_format=layout)  # type: ignore[call-overload]
        shape = (batch, *size) if isinstance(config, TrainConfig) else (batch, 1)
        self.images = torch.randint(
            0, 256, (batch, 3, *size), dtype=torch.uint8, device=self.device
        )
        self.labels = torch.randint(0, 2, shape, device=self.device)

    def __call__(self) -> None:
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            loss = self.loss(self.model(self.images), self.labels)
        loss.backward()
        self.model.zero_grad()
        if self.device == "cuda":
            torch.cuda.synchronize()
