"""Values of ``auto``: settings that are chosen from the images and the machine.

They depend on nothing else, so that the same command finds its run again. What is chosen is
recorded in the run's config like a value that was typed, and ``automatic`` there lists the keys.

* ``data.crop_size``: the longer side of most images, up to 257 pixels on a CPU and the paper's 513
  on a GPU.
* ``data.scales.max``: 2 as in the paper, but at the largest scale a crop shows at least half of the
  longer side of most images, or what it shows at scale 1.
* ``data.eval_size``: the longest side, up to the paper's 513.
* ``stage.batch_size``: the paper's 16 on a GPU, 8 on a CPU.
* ``stage.max_steps``: 60 times over the images, within 400 to 1,200 steps on a CPU, which are
  minutes, and up to the paper's 30,000 on a GPU.
* ``stage.warmup_steps``: a twentieth of the steps, as in ``stage=modern``.
* ``aspp.atrous_rates``: the paper's, smaller where a crop is too small to train them.
* ``backbone.pretrained``: ImageNet weights for images of one's own (``data=folder``, ``data=own``)
  where they are published, unless ``init_from`` names others; else random weights.
* ``loss.class_weights``: 1 / sqrt of each class's share of the labeled training pixels, scaled to a
  mean of 1 over all pixels.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from deeplab.checkpoints.pretrained import IMAGENET_WEIGHTS, find_published_weights
from deeplab.config.parsing import PLACEHOLDERS, validate
from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.items import Item
from deeplab.data.layouts.base import check_data, data_layout, name_key, split_items
from deeplab.data.settings import SegmentationSettings
from deeplab.utils.errors import UserError
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.settings import find_holder, to_dict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_SAMPLE = 100
"""Number of images whose sizes or label maps are read."""

MAX_LABEL_MAPS = 1000
"""Number of label maps whose pixels are counted for weights of the classes."""

CROP = {"cpu": 257, "gpu": 513}
BATCH = {"cpu": 8, "gpu": 16}
MIN_STEPS, MAX_STEPS = 400, {"cpu": 1200, "gpu": 30_000}

PASSES = 60
"""Number of times that the training sees each image, within the bounds of the steps."""

WARMUP_PART = 20
"""Steps of a training for each step of its warm-up."""

MAX_EVAL_SIZE, MAX_SCALE = 513, 2.0


@cache  # the rows of a table have the same images
def _count_pixels(schema: type[SegmentationSettings], keys: str) -> "NDArray[np.int64]":
    from deeplab.data.class_set import class_set  # these import torch
    from deeplab.data.datamodules import open_segmentation_split
    from deeplab.data.transforms import EvalTransform

    settings = check_data(schema.model_validate_json(keys))
    dataset = open_segmentation_split(
        data_layout(settings),
        settings.train_split,
        classes=class_set(settings),
        transform=EvalTransform(size=(1, 1), fill=(0, 0, 0)),
        on_error="stop" if settings.on_error == "stop" else "next",
        pixel_format=settings.pixel_format,
    )
    counts: NDArray[np.int64] = dataset.count_pixels(MAX_LABEL_MAPS).sum(axis=0)
    return counts


class Images:
    """The training images of a config, as far as the choices depend on them."""

    def __init__(self, settings: SegmentationSettings) -> None:
        self.settings = settings

    @cached_property
    def count(self) -> int:
        """Number of images."""
        return len(self._items)

    @cached_property
    def sides(self) -> list[int]:
        """Longer side of some of the images."""
        return [max(size) for size in image_sizes(self._items, self._layout.image_size)]

    @cached_property
    def pixels(self) -> "NDArray[np.int64]":
        """Number of pixels of each class in some of the label maps, ``(K,)``."""
        return _count_pixels(type(self.settings), self.settings.model_dump_json())

    @cached_property
    def _layout(self) -> Any:
        return data_layout(self.settings)

    @cached_property
    def _items(self) -> Any:
        layout, split = self._layout, self.settings.train_split
        with name_key("train_split", split):
            return split_items(layout, split)


def _crop_size(config: TrainConfig, images: Images) -> int:
    return min(CROP[machine_kind(config)], _padded(statistics.median(images.sides)))


def _max_scale(config: TrainConfig, images: Images) -> float:
    shown = config.data.crop_size / statistics.median(images.sides)
    return round(min(MAX_SCALE, max(1.0, config.data.scales.min, 2 * shown)), 2)


def image_side(settings: SegmentationSettings) -> float:
    """Return the median of the longer sides of some training images."""
    return statistics.median(Images(settings).sides)


def usual_side(config: TrainConfig) -> float | None:
    """Return what the chosen values tell of ``image_side``, for weights without a run's record.

    None: they were typed, or the images are more than twice as long as a crop.
    """
    if not {"data.crop_size", "data.scales.max"} <= {*config.automatic}:
        return None
    crop, largest = config.data.crop_size, config.data.scales.max
    if largest <= max(1.0, config.data.scales.min):
        return None
    return 2 * crop / largest if largest < MAX_SCALE else float(crop)


def _eval_size(config: TrainConfig, images: Images) -> int:
    return min(MAX_EVAL_SIZE, _padded(max(images.sides)))


def _batch_size(config: TrainConfig, images: Images) -> int:
    return BATCH[machine_kind(config)]


def _max_steps(config: TrainConfig, images: Images) -> int:
    steps = round(images.count * PASSES / config.stage.batch_size, -2)
    return int(max(MIN_STEPS, min(steps, MAX_STEPS[machine_kind(config)])))


def _warmup_steps(config: TrainConfig, images: Images) -> int:
    return config.stage.max_steps // WARMUP_PART


def _atrous_rates(config: TrainConfig, images: Images) -> list[int]:
    from deeplab.training.atrous_rate_fit import fitting_rates  # imports torch

    return fitting_rates(
        PLACEHOLDERS["aspp.atrous_rates"],
        crop_size=config.data.crop_size,
        output_stride=config.output_stride,
    )


def _pretrained(config: TrainConfig, images: Images) -> str | None:
    if config.init_from is None and config.data.of_ones_own:
        with suppress(UserError):
            find_published_weights(config.backbone)
            return IMAGENET_WEIGHTS
    return None


def _class_weights(config: TrainConfig, images: Images) -> list[float]:
    from deeplab.data.rare_classes import balanced_weights

    return balanced_weights(images.pixels)


PRETRAINED = "backbone.pretrained"
"""The key whose value depends on no image and no machine."""

RULES: Mapping[str, Callable[[TrainConfig, Images], Any]] = {
    "data.crop_size": _crop_size,
    "data.scales.max": _max_scale,
    "data.eval_size": _eval_size,
    "stage.batch_size": _batch_size,
    "stage.max_steps": _max_steps,
    "stage.warmup_steps": _warmup_steps,
    "aspp.atrous_rates": _atrous_rates,
    PRETRAINED: _pretrained,
    "loss.class_weights": _class_weights,
}
"""Function that chooses the value of each key; it may use the values of the keys before."""


def choose_automatic(config: RunConfig, *, read_images: bool = True) -> RunConfig:
    """Return the config with the values that are chosen for its automatic keys.

    Args:
        config: config with any values for these keys.
        read_images: False: choose only what depends on no image and no machine.

    Raises:
        UserError: the images that the values are chosen from cannot be found.
    """
    keys = [key for key in RULES if key in config.automatic]
    if not isinstance(config, TrainConfig):
        if numbers := [key for key in keys if key != PRETRAINED]:
            raise UserError(f"{numbers[0]}=auto: an image classifier needs a number. Set one.")
        return config
    images = Images(config.data)
    for key in (key for key in keys if read_images or key == PRETRAINED):
        values = to_dict(config)
        holder, name = find_holder(values, key)
        holder[name] = RULES[key](config, images)
        config = validate(TrainConfig, values)
    return config


def image_sizes(
    items: Sequence[Item], image_size: Callable[[Item], tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the sizes of some images; those that cannot be read are reported elsewhere."""
    sizes = []
    for item in sample_evenly(items, MAX_SAMPLE):
        with suppress(BadFileError):
            sizes.append(image_size(item))
    return sizes or [(MAX_EVAL_SIZE, MAX_EVAL_SIZE)]


def _padded(side: float) -> int:
    """Return the smallest size of whole pixels at stride 16, plus 1, that holds a side."""
    return 16 * max(2, -(-(round(side) - 1) // 16)) + 1


def machine_kind(config: RunConfig) -> str:
    """Return ``cpu`` or ``gpu``, whose images and steps differ in size and number."""
    from deeplab.utils.hardware import resolve_accelerator  # imports torch

    return "cpu" if resolve_accelerator(config.trainer.accelerator) == "cpu" else "gpu"
