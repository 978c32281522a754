"""Schema of ``conf/logger``."""

from typing import Literal

from deeplab.config.schema.types import Schema, Text


class LoggerConfig(Schema):
    """Logger of the metrics, in addition to ``metrics.csv``."""

    name: Literal["csv", "wandb", "tensorboard"]
    project: Text | None = None
    entity: Text | None = None
    group: Text | None = None
    tags: tuple[Text, ...] = ()
    mode: Literal["auto", "online", "offline"] = "auto"
