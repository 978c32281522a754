"""Keys of ``conf/logger``."""

from typing import Literal

from deeplab.utils.settings import Settings, Text


class LoggerSettings(Settings):
    """Logger of the metrics, in addition to ``metrics.csv``."""

    name: Literal["csv", "wandb", "tensorboard"] = "csv"
    """Logger: ``wandb`` for Weights & Biases, ``csv`` for ``metrics.csv`` alone."""
    project: Text | None = None
    """Project on W&B."""
    entity: Text | None = None
    """User or team on W&B; null: the default one."""
    group: Text | None = None
    """Group of the run on W&B's dashboard."""
    tags: tuple[Text, ...] = ()
    """Tags of the run on W&B."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """Connection to W&B; auto: online if you are logged in."""
