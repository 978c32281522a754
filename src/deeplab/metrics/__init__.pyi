from .boundary import BoundaryScore, score_boundary
from .confusion_matrix import ConfusionMatrix, Scores, scores
from .definitions import METRICS, Metric, format_percent, to_percent
from .iou import class_iou, correct_and_union, intersection_over_union, mean_over_classes
from .topk import TopKErrorMetric, TopKErrors, ranks

__all__ = [
    "METRICS",
    "BoundaryScore",
    "ConfusionMatrix",
    "Metric",
    "Scores",
    "TopKErrorMetric",
    "TopKErrors",
    "class_iou",
    "correct_and_union",
    "format_percent",
    "intersection_over_union",
    "mean_over_classes",
    "ranks",
    "score_boundary",
    "scores",
    "to_percent",
]
