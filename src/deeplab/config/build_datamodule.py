"""Builder of a segmentation network's LightningDataModule from the checked config."""

from deeplab.config.build_data import class_set
from deeplab.config.schema.data import (
    DataConfig,
)
from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.data.layouts.base import Layout


def padding_color(config: TrainConfig) -> tuple[int, int, int]:
    """Return the color that images are padded with: the backbone's mean pixel in uint8."""
    assert config.backbone.mean is not None  # ``adapt_to_weights`` has filled it in
    red, green, blue = (round(value) for value in config.backbone.mean)
    return red, green, blue


def padded_to(data: DataConfig) -> tuple[int, int]:
    """Return the height and width that whole images are padded to, at least."""
    size = data.eval_size
    return (size, size) if isinstance(size, int) else size


def build_datamodule(
    config: TrainConfig, layout: Layout, *, num_workers: int, val_labeled: bool = True
) -> SegmentationData:
    """Return the DataModule that the config describes."""
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
        hflip_prob=data.hflip_prob,
        augmentations=data.augmentations,
        eval_size=padded_to(data),
        fill=padding_color(config),
        steps=config.stage.max_steps,
        batch_size=config.stage.batch_size,
        eval_batch_size=data.eval_batch_size,
        seed=config.seed,
        num_workers=num_workers,
        on_error=data.on_error,
        val_labeled=val_labeled,
    )
