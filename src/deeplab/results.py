"""What a run says: its scores, recorded and printed, and as little else as can be."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab.config import TrainConfig
from deeplab.data.datamodule import SegmentationData
from deeplab.metrics import Scores


def score_report(final: Scores, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Scores by name; a class that occurs nowhere has none."""
    return {
        "mIoU": final.miou,
        "pixel_accuracy": final.pixel_accuracy,
        "class_IoU": dict(zip(class_names, final.class_iou, strict=True)),
    }


def protocol(data: SegmentationData, config: TrainConfig, precision: str) -> dict[str, Any]:
    """What a score was measured under."""
    return {
        "split": config.data.val_split,
        "images": len(data.val_set),
        "split_hash": data.val_set.fingerprint(),
        "output_stride": config.output_stride,
        "precision": precision,
        "scales": [1.0],
        "flip": False,
        "whole_images": True,
        "ignored_label": 255,
    }


def print_scores(final: Scores, class_names: Sequence[str]) -> None:
    """The IoU of each class and their mean, in percent."""
    width = max(len(name) for name in class_names)
    print(f"\n{'class':<{width}}    IoU")
    for name, iou in zip(class_names, final.class_iou, strict=True):
        print(f"{name:<{width}} {percent(iou):>6}")
    print(f"{'mIoU':<{width}} {percent(final.miou):>6}\n")


def print_skipped(skipped: Mapping[str, int]) -> None:
    """The bad files that ``data.on_error=skip`` passed over."""
    if skipped:
        print(f"Skipped {len(skipped)} bad files {sum(skipped.values())} times:")
        for path, times in sorted(skipped.items())[:10]:
            print(f"  {path} ({times})")
        if len(skipped) > 10:
            print(f"  and {len(skipped) - 10} more; python src/prepare.py check=true names all")


def percent(value: float | None) -> str:
    """A part of 1 in percent; a dash where there is none."""
    return "-" if value is None or value != value else f"{100 * value:.2f}"


def quiet() -> None:
    """Leave out what Lightning and PyTorch say that a reader of the run's output has no use for."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists.*",
        ".*dataloader is not resumable.*",  # ours is: see deeplab.data.stream
        ".*treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
