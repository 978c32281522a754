"""Builders of the LightningDataModules from the checked config."""

from deeplab.config.schema.model import OwnBackboneSettings
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.data.datamodules import ClassificationData, SegmentationData
from deeplab.data.layouts.base import LabeledLayout, data_layout, open_layout
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.models.normalization import for_channels
from deeplab.utils.errors import UserError


def padding_color(config: TrainConfig) -> tuple[int, ...]:
    """Return the color that images are padded with: the backbone's mean pixel in uint8."""
    mean, channels = config.backbone.mean, config.data.pixel_format.channels
    assert mean is not None  # ``adapt_to_weights`` has filled it in
    return tuple(round(value) for value in for_channels(mean, channels, "backbone.mean"))


def with_in_channels(config: TrainConfig) -> TrainConfig:
    """Return the config with a network of the channels of its images.

    Raises:
        UserError: the backbone is for images of other channels.
    """
    backbone, channels = config.backbone, config.data.pixel_format.channels
    if isinstance(backbone, OwnBackboneSettings):  # its class has the channels that it has
        if len(backbone.mean) != channels:
            raise UserError(
                f"backbone.mean={list(backbone.mean)}: {len(backbone.mean)} values for images of "
                f"{channels} channels. Set one for each channel, and backbone.std too."
            )
        return config
    stated = getattr(backbone, "in_channels", None)
    if stated not in (None, RGB_CHANNELS, channels):
        raise UserError(
            f"backbone.in_channels={stated}: the images are read with {channels} channels. Set "
            f"data.channels={stated}, from which it follows."
        )
    if channels == (stated or RGB_CHANNELS):
        return config
    if stated is None:
        raise UserError(
            f"backbone={backbone.family}: it has no argument in_channels, and the images have "
            f"{channels} channels. Choose another backbone."
        )
    backbone = backbone.model_copy(update={"in_channels": channels})
    return config.model_copy(update={"backbone": backbone})


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
    assert isinstance(layout, LabeledLayout)
    return ClassificationData(config.data, layout, **_stream_options(config, num_workers))


def _stream_options(config: RunConfig, num_workers: int) -> dict[str, int]:
    return {
        "steps": config.stage.max_steps,
        "batch_size": config.stage.batch_size,
        "seed": config.seed,
        "num_workers": num_workers,
    }
