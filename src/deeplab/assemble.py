"""From the checked config to what a run needs besides the network: images and machine."""

from deeplab.config import TrainConfig, TrainerConfig
from deeplab.config.data import DataConfig
from deeplab.data.datamodule import SegmentationData
from deeplab.data.layout import Layout
from deeplab.datasets import class_set
from deeplab.hardware import Execution, choose_execution


def padding_colour(config: TrainConfig) -> tuple[int, int, int]:
    """The backbone's mean pixel in uint8: what images are padded with."""
    assert config.backbone.mean is not None  # ``starting.adapted`` has filled it in
    red, green, blue = (round(value) for value in config.backbone.mean)
    return red, green, blue


def padded_to(data: DataConfig) -> tuple[int, int]:
    """Height and width that whole images have at least."""
    size = data.eval_size
    return (size, size) if isinstance(size, int) else size


def build_data(
    config: TrainConfig, layout: Layout, *, workers: int, val_labelled: bool = True
) -> SegmentationData:
    """The DataModule that the config describes."""
    data = config.data
    return SegmentationData(
        layout,
        classes=class_set(data),
        train_split=data.train_split,
        val_split=data.val_split,
        crop_size=data.crop_size,
        scale_min=data.scales.min,
        scale_max=data.scales.max,
        scale_step=data.scales.step,
        flip=data.flip,
        augmentations=data.augmentations,
        eval_size=padded_to(data),
        fill=padding_colour(config),
        steps=config.stage.steps,
        batch_size=config.stage.batch_size,
        eval_batch_size=data.eval_batch_size,
        seed=config.seed,
        workers=workers,
        on_error=data.on_error,
        val_labelled=val_labelled,
    )


def build_execution(trainer: TrainerConfig) -> Execution:
    """What the trainer's ``auto`` stands for here."""
    return choose_execution(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        precision=trainer.precision,
        memory_format=trainer.memory_format,
        compile=trainer.compile,
        num_workers=trainer.num_workers,
    )
