"""Settings of each config file: those of its group, or of its script."""

from collections.abc import Mapping
from typing import Any

from deeplab.config.schema import scripts
from deeplab.config.schema.logger import LoggerSettings
from deeplab.config.schema.loss import LOSSES
from deeplab.config.schema.lr_scheduler import LR_SCHEDULERS
from deeplab.config.schema.model import (
    AsppSettings,
    BackboneSettings,
    DecoderSettings,
    OwnBackboneSettings,
    backbone_settings,
)
from deeplab.config.schema.optimizer import OPTIMIZERS
from deeplab.config.schema.run import SweepConfig, TrainConfig
from deeplab.config.schema.stage import ClassifierRecipe, Recipe
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.layouts.base import layout_names, settings_class
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.settings import DataSettings
from deeplab.models.backbones.families import backbone_names
from deeplab.utils.constants import TARGET
from deeplab.utils.settings import Choices, Settings

SCRIPTS: dict[str, tuple[type[Settings], ...]] = {
    "train": (TrainConfig, SweepConfig),
    "tune": (scripts.TuneSettings, TrainConfig),
    "evaluate": (scripts.EvaluateConfig,),
    "predict": (scripts.PredictConfig,),
    "demo": (scripts.DemoConfig,),
    "compare": (scripts.CompareConfig,),
    "gallery": (scripts.GalleryConfig,),
    "export": (scripts.ExportConfig,),
    "convert": (scripts.ConvertConfig,),
    "cost": (scripts.CostConfig,),
    "prepare": (scripts.PrepareConfig,),
}
"""Settings of each script's config file."""

GROUPS: dict[str, type[Settings]] = {
    "aspp": AsppSettings,
    "decoder": DecoderSettings,
    "trainer": TrainerSettings,
    "logger": LoggerSettings,
}
"""Settings of the groups whose choices have the same keys."""

CHOICES: dict[str, Choices] = {
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "lr_scheduler": LR_SCHEDULERS,
}
"""Settings of the groups whose choices have keys of their own, which ``name`` selects."""


OWN: dict[str, tuple[type[Settings], ...]] = {
    "backbone": (OwnBackboneSettings,),
    "data": (OwnDataSettings,),
}
"""Settings of the groups whose choices have keys besides the arguments of a class of one's own."""


def schema_of(path: str, values: Mapping[str, Any]) -> tuple[type[Settings], ...]:
    """Return the settings that a file of ``conf/`` is for.

    There are none for tables and presets. A data set or a backbone that does not exist has the keys
    of all; the check of the values reports it.

    Args:
        path: path of the file below ``conf/``, such as ``stage/voc``.
        values: content of the file.
    """
    group, _, name = path.removesuffix(".yaml").rpartition("/")
    if TARGET in set(values.keys()):
        return OWN.get(group, ())
    match group:
        case "":
            return SCRIPTS.get(name, ())
        case "stage":
            return (ClassifierRecipe if values.get("task") == "classification" else Recipe,)
        case "backbone":
            known = values.get("family") in backbone_names()
            return (backbone_settings(values["family"]) if known else BackboneSettings,)
        case "data":
            known = values.get("name") in layout_names()
            return (settings_class(values["name"]) if known else DataSettings,)
        case "loss" | "optimizer" | "lr_scheduler":
            schema = CHOICES[group].get(str(values.get("name")))
            return (schema,) if schema else ()
        case _:
            return (GROUPS[group],) if group in GROUPS else ()
