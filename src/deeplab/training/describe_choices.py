"""Description of the training images of a run and of the values that were chosen for them."""

import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeplab.config.implied_overrides import GPU_BACKBONES
from deeplab.config.schema.run import TrainConfig
from deeplab.training.automatic import MAX_SAMPLE, PRETRAINED, image_sizes, machine_kind
from deeplab.utils.constants import IGNORE
from deeplab.utils.settings import find_holder, to_dict
from deeplab.utils.text import line_width, name_some, pluralize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab.data.datamodules import SegmentationData
    from deeplab.data.dataset import SegmentationDataset

RARE = 1.0
"""Percent of the pixels below which a class is rare."""

SIMILAR = 1.2
"""Ratio up to which lengths are described by one number."""

MAX_LINE, INDENT = 108, 12
"""Characters of a line of chosen values, and those before them."""


def describe_choices(config: TrainConfig, data: "SegmentationData") -> list[str]:
    """Return lines about the images of a training, and the values that were chosen for them.

    Where only the initial weights were chosen, which have a line of their own, there is none but
    the one about the backbone of a GPU.

    Args:
        config: config of the training, with its classes.
        data: its images, of which some are read.
    """
    backbone_lines = []
    if config.data.of_ones_own and machine_kind(config) == "gpu":
        light, larger = next(iter(GPU_BACKBONES.items()))
        backbone_lines = [f"backbone={larger} is the default on a GPU, {light} on a CPU"]
    if {*config.automatic} <= {PRETRAINED}:
        return backbone_lines
    values = to_dict(config)
    chosen = []
    for key in config.automatic:
        holder, name = find_holder(values, key)
        text = "null" if holder[name] is None else str(holder[name]).replace(" ", "")
        chosen.append(f"{key}={text}")
    width = line_width(MAX_LINE) - INDENT
    lines = textwrap.wrap(" ".join(chosen), width, break_long_words=False, break_on_hyphens=False)
    if "loss.class_weights" in config.automatic:
        lines.append("weight of a class: 1 / sqrt(its share of the pixels), 1 on average")
    return [*_describe_images(config, data), *lines, *backbone_lines]


def _describe_images(config: TrainConfig, data: "SegmentationData") -> list[str]:
    """Return the usual sizes of an image, the rarest class, and classes of few images."""
    dataset, classes = data.train_set, config.data.classes
    sides = zip(*image_sizes(dataset.items, dataset.image_size), strict=True)
    height, width = (_usual(lengths) for lengths in sides)
    counts = _sample_pixels(dataset)
    count, pixels = len(counts), counts.sum(axis=0)
    images_with = (counts > 0).sum(axis=0).tolist()
    shares = 100 * pixels / max(1, pixels.sum())
    rarest = int(shares.argmin())
    weighted = getattr(config.loss, "class_weights", None) or config.data.rare_class_temperature
    advice = []
    if not pixels[rarest] and count == len(dataset):
        advice = ["no training image has it, so the network cannot learn it"]
    elif shares[rarest] < RARE and not weighted:
        keys = ["loss.class_weights=auto"] * hasattr(config.loss, "class_weights")
        advice = [
            f"for so rare a class: {', or '.join([*keys, 'data.rare_class_temperature=0.01'])}"
        ]
    return [
        f"{pluralize(len(dataset), 'image')} of about {width} x {height} pixels, {len(classes)} "
        "classes",
        f"rarest class: {classes[rarest]}, in {images_with[rarest]} of "
        f"{pluralize(count, 'image')}, {shares[rarest]:.2g} % of the pixels",
        *advice,
        *_describe_scarce(classes, data, counts),
    ]


def _describe_scarce(
    classes: Sequence[str], data: "SegmentationData", counts: "NDArray[np.int64]"
) -> list[str]:
    """Return lines about classes of few images; none where not all label maps are read.

    Args:
        classes: names of the classes.
        data: the images of training and validation.
        counts: pixels of each class in the label maps of training that are read, ``(N, K)``.
    """
    from deeplab.data.rare_classes import SCARCE_ADVICE, scarce_classes

    validation = _sample_pixels(data.val_set)
    if len(counts) < len(data.train_set) or len(validation) < len(data.val_set):
        return []
    found = scarce_classes(
        classes,
        *((pixels > 0).sum(axis=0).tolist() for pixels in (counts, validation)),
        num_training=len(counts),
        num_validation=len(validation),
    )
    lines = name_some([f"{name}: {text}" for name, text in found.items()], separator="\n")
    return [*lines.splitlines(), f"-> {SCARCE_ADVICE}"] if found else []


def _sample_pixels(dataset: "SegmentationDataset") -> "NDArray[np.int64]":
    """Return the number of pixels of each class in some of the label maps, ``(N, K)``."""
    import numpy as np

    num_classes = len(dataset.classes.names)
    labels = dataset.sample_labels(MAX_SAMPLE)
    counts = [np.bincount(label.ravel(), minlength=IGNORE + 1)[:num_classes] for label in labels]
    return np.array(counts, np.int64).reshape(-1, num_classes)


def _usual(lengths: Sequence[int]) -> str:
    """Return the median of lengths; the middle half of them if they differ widely."""
    low, middle, high = (round(q) for q in statistics.quantiles([*lengths, *lengths], n=4))
    return str(middle) if high <= SIMILAR * low else f"{low} to {high}"
