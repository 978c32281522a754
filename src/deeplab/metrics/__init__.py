"""Scores of label maps and of class rankings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "boundary": ["BoundaryScore", "score_boundary"],
        "confusion_matrix": ["ConfusionMatrix", "Scores", "scores"],
        "percent": ["to_percent"],
        "topk": ["TopKErrorMetric", "TopKErrors", "ranks"],
    },
)
