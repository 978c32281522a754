from . import data, inference, metrics, models, training
from .api.models import create_model, list_models, load
from .api.runs import Run, create_datamodule, evaluate, train
from .data.bad_files import BadFileError
from .tools.predict.trained_model import Prediction, TrainedModel
from .training.segmentation import SegmentationModule
from .utils.errors import UserError

__all__ = [
    "BadFileError",
    "Prediction",
    "Run",
    "SegmentationModule",
    "TrainedModel",
    "UserError",
    "create_datamodule",
    "create_model",
    "data",
    "evaluate",
    "inference",
    "list_models",
    "load",
    "metrics",
    "models",
    "train",
    "training",
]

__version__: str
