from .predictor import Predictor, fold_batch_norms, predict_labels
from .segmenter import Segmenter
from .speed import Speed, measure_speed
from .strategy import Strategy, Window, parse_strategy
from .windows import Span, window_spans

__all__ = [
    "Predictor",
    "Segmenter",
    "Span",
    "Speed",
    "Strategy",
    "Window",
    "fold_batch_norms",
    "measure_speed",
    "parse_strategy",
    "predict_labels",
    "window_spans",
]
