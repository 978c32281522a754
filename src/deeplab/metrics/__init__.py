"""Scores of label maps and of class rankings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "boundary": ["BoundaryScore", "score_boundary"],
        "confusion_matrix": ["ConfusionMatrix", "Scores", "scores"],
        "definitions": ["METRICS", "Metric", "format_percent", "to_percent"],
        "iou": ["class_iou", "correct_and_union", "intersection_over_union", "mean_over_classes"],
        "topk": ["TopKErrorMetric", "TopKErrors", "ranks"],
    },
)
