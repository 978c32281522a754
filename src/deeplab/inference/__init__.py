"""Inference strategies, and the predictors that run them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "predictor": ["Predictor", "fold_batch_norms", "predict_labels"],
        "segmenter": ["Segmenter"],
        "speed": ["Speed", "measure_speed"],
        "strategy": ["Strategy", "Window", "parse_strategy"],
        "windows": ["Span", "window_spans"],
    },
)
