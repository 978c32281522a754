"""Builders of the LightningDataModules from the checked config."""

from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.data.datamodules import ClassificationData, SegmentationData
from deeplab.data.layouts.base import data_layout, open_layout
from deeplab.data.layouts.imagenet import LabeledFolder
from deeplab.utils.errors import UserError


def padding_color(config: TrainConfig) -> tuple[int, int, int]:
    """Return the color that images are padded with: the backbone's mean pixel in uint8.

    Raises:
        UserError: the network reads other images than RGB.
    """
    in_channels = getattr(config.backbone, "in_channels", 3)  # a backbone need not have the key
    if in_channels != 3:
        raise UserError(
            f"backbone.in_channels={in_channels}: images are read as RGB. Set "
            "backbone.in_channels=3; a network with other channels is for a training loop of your "
            "own."
        )
    assert config.backbone.mean is not None  # ``adapt_to_weights`` has filled it in
    red, green, blue = (round(value) for value in config.backbone.mean)
    return red, green, blue


def build_segmentation_data(
    config: TrainConfig, *, num_workers: int, val_labeled: bool = True
) -> SegmentationData:
    """Return the DataModule of images with masks that the config describes."""
    return SegmentationData(
        config.data,
        data_layout(config.data),
        fill=padding_color(config),
        val_labeled=val_labeled,
        **_stream_options(config, num_workers),
    )


def build_classification_data(config: ClassifierConfig, *, num_workers: int) -> ClassificationData:
    """Return the DataModule of images with labels that the config describes."""
    layout = open_layout(config.data)
    assert isinstance(layout, LabeledFolder)
    return ClassificationData(config.data, layout, **_stream_options(config, num_workers))


def _stream_options(config: RunConfig, num_workers: int) -> dict[str, int]:
    return {
        "steps": config.stage.max_steps,
        "batch_size": config.stage.batch_size,
        "seed": config.seed,
        "num_workers": num_workers,
    }
