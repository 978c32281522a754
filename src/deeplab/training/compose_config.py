"""Configs of ``deeplab train`` for a list of overrides, outside of a Hydra application."""

from collections.abc import Sequence

from deeplab.checkpoints.initialization import adapt_to_weights
from deeplab.config.compose import composed
from deeplab.config.schema.run import RunConfig, TrainConfig
from deeplab.training.automatic import choose_automatic
from deeplab.training.validate_config import parse_run
from deeplab.utils.errors import UserError


def compose_train(overrides: Sequence[str]) -> RunConfig:
    """Return the config that ``deeplab train OVERRIDES`` would run with.

    Of the files that the config names, only the initial weights are read, and images if values are
    chosen by them (``auto``).

    Raises:
        UserError: Hydra or the schema rejects the overrides.
    """
    (config,) = compose_seeds(overrides, [None])
    return config


def compose_seeds(
    overrides: Sequence[str],
    seeds: Sequence[int | None],
    *,
    download: bool = True,
    trusted: bool = True,
    read_images: bool = True,
) -> list[RunConfig]:
    """Return the config of ``compose_train`` for each seed.

    Args:
        overrides: Hydra overrides.
        seeds: seeds; None is that of the overrides.
        download: download initial weights that are not here yet.
        trusted: the user has typed the overrides; False: they are from a folder of runs, and no
            class that they name is imported, and no image read.
        read_images: choose the values of automatic keys from the images and the machine; False:
            they are the paper's.

    Raises:
        UserError: as in ``compose_train``.
    """
    configs = []
    with composed("train", overrides) as config:
        for seed in seeds:
            if seed is not None:
                config.seed = seed
            parsed = choose_automatic(
                parse_run(config, trusted=trusted), read_images=trusted and read_images
            )
            configs.append(adapt_to_weights(parsed, download=download))
    return configs


def compose_segmentation(overrides: Sequence[str], *, read_images: bool = True) -> TrainConfig:
    """Return the config of ``compose_train`` for a segmentation network.

    Args:
        overrides: Hydra overrides.
        read_images: see ``compose_seeds``.

    Raises:
        UserError: as in ``compose_train``, or the config trains a classifier.
    """
    (config,) = compose_seeds(overrides, [None], read_images=read_images)
    if not isinstance(config, TrainConfig):
        raise UserError(
            f"data={config.data.name}: this data set trains an image classifier, not a "
            "segmentation network. Choose a data set with masks."
        )
    return config
