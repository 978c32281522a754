"""The metrics: their names, what they are for, and which direction is better.

This list is what training logs, evaluations record, and comparisons, reports, galleries, W&B and
model cards show. A metric of the confusion matrix is an entry in ``SEGMENTATION`` and its function
in ``deeplab.metrics.confusion_matrix.FUNCTIONS``.

All are fractions where they are computed, and percent (``UNIT``) where they are recorded or shown.
"""

from typing import Literal, NamedTuple

UNIT = "percent"
"""Name of the unit in records."""

Bands = Literal["void", "label borders"]
"""Where boundary bands are measured from: ignored pixels, or borders between two classes."""


TRAIN_LOSS, LEARNING_RATE, VALIDATION, CLASS_IOU = "train/loss", "train/lr", "val/", "val/IoU/"
"""Names in the logs of a training: of its columns, and starts of those of its validations."""


class Metric(NamedTuple):
    """A score of a network."""

    key: str
    """Name in records, logs and config files."""
    label: str
    """Name in tables and figures."""
    higher_is_better: bool = True

    @property
    def logged_as(self) -> str:
        """Name of the validation's score in the logs of a training."""
        return f"{VALIDATION}{self.key}"


SEGMENTATION = (
    Metric("mIoU", "mIoU"),
    Metric("pixel_accuracy", "pixel accuracy"),
)
"""Metrics of a confusion matrix; the first is the main one."""

BOUNDARY = (
    Metric("boundary_IoU", "boundary IoU"),
    Metric("boundary_F", "boundary F"),
)
"""Metrics near the borders of objects, which evaluations measure besides."""

TOP_K = {"top1_error": 1, "top5_error": 5}
"""Number of classes, those of the highest logits, among which each metric expects the label."""

CLASSIFICATION = tuple(
    Metric(key, f"top-{k} error", higher_is_better=False) for key, k in TOP_K.items()
)
"""Metrics of image classifiers; the first is the main one."""

METRICS = {metric.key: metric for metric in (*SEGMENTATION, *BOUNDARY, *CLASSIFICATION)}
"""All metrics by key."""


def objective_metric(objective: str | None, *, is_classifier: bool) -> Metric:
    """Return the metric that a search over settings optimizes.

    Args:
        objective: name under which training logs it, such as ``val/mIoU``; None: the main one.
        is_classifier: whether an image classifier is trained.

    Raises:
        ValueError: training does not measure it.
    """
    measured = CLASSIFICATION if is_classifier else SEGMENTATION
    if objective is None:
        return measured[0]
    for metric in measured:
        if objective == metric.logged_as:
            return metric
    names = ", ".join(metric.logged_as for metric in measured)
    raise ValueError(f"objective={objective}: training does not measure it. Choose from {names}")


def to_percent(fraction: float) -> float:
    """Return a fraction of 1 in percent, the unit of the paper's tables; nan stays nan."""
    return 100 * fraction


def format_percent(value: float | None) -> str:
    """Return a score in percent as text; a dash if there is none."""
    return "-" if value is None or value != value else f"{value:.2f}"
