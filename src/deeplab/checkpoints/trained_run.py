"""Trained runs: finds a run's weights by name and prepares them for inference."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from deeplab.checkpoints.hub import RUN_FILES, HubId, fetch_run_weights, hub_id
from deeplab.checkpoints.loading import load_model, read_tensors
from deeplab.checkpoints.model_zoo import (
    FILES,
    ZooNetwork,
    fetch_zoo_network,
    find_zoo_network,
)
from deeplab.checkpoints.run_weights import find_run_weights
from deeplab.config.build_data import padding_color
from deeplab.config.build_model import build_model
from deeplab.config.overrides import typed_override
from deeplab.config.own_nodes import check_trained
from deeplab.config.parsing import validate
from deeplab.config.schema.logger import LoggerSettings
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.run import TrainConfig
from deeplab.data.class_set import ClassSet, class_set
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.settings import ClassSettings
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.inference.segmenter import Segmenter
from deeplab.inference.strategy import Strategy, Window, parse_strategy
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.tracking.run_folder import RunFolder, read_config
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write, file_hash
from deeplab.utils.hardware import Execution
from deeplab.utils.paths import short_path
from deeplab.utils.program import command
from deeplab.utils.settings import to_dict
from deeplab.utils.write_errors import report_write_errors

DEFAULT_RUNS_DIR = "runs"
"""Default of ``runs_dir`` in ``deeplab train``."""


class TrainedNetwork(ABC):
    """A network with weights, and what its images are like."""

    @abstractmethod
    def load_model(self) -> DeepLabV3Plus:
        """Return the network with its weights."""

    @property
    @abstractmethod
    def source(self) -> object:
        """Where the weights are from, for messages."""

    @property
    @abstractmethod
    def classes(self) -> ClassSet:
        """Names and colors of the classes."""

    @property
    @abstractmethod
    def pixel_format(self) -> PixelFormat:
        """Channels of the images, and what their values mean."""

    @property
    @abstractmethod
    def padding(self) -> EvalTransform:
        """Padding of small images, as in the validation."""

    @property
    @abstractmethod
    def output_stride(self) -> int:
        """Output stride of strategies that name none."""

    def predictor(
        self,
        strategies: Sequence[Strategy],
        execution: Execution,
        *,
        key: str,
        model: DeepLabV3Plus | None = None,
    ) -> Predictor:
        """Return a predictor with a copy of the network on its device.

        Args:
            strategies: the inference strategies.
            execution: the device.
            key: the key that set the strategies.
            model: the network; None: ``load_model()``.

        Raises:
            UserError: the weights or a strategy do not fit the network.
        """
        try:
            predictor = Predictor(model or self.load_model(), strategies, self.source)
        except ValueError as error:
            raise UserError(f"{key}: {error}.") from None
        predictor.model.to(execution.accelerator, execution.parameter_dtype)
        return predictor

    def segmenter(
        self, predictor: Predictor, execution: Execution, *, auto_overlap: float | None = None
    ) -> Segmenter:
        """Return what predicts images of any size, padded as in the validation.

        Args:
            predictor: the network with a single strategy.
            execution: its device.
            auto_overlap: overlap of the windows that are chosen for images that are too large for
                the free memory; None: none are chosen.
        """
        return Segmenter(
            predictor, execution, self.padding, len(self.classes), auto_overlap=auto_overlap
        )

    def strategies(
        self, names: Sequence[str], *, window: int | None, overlap: float, key: str
    ) -> list[Strategy]:
        """Return the strategies of these names, without duplicates.

        A name without an output stride gets the network's.

        Raises:
            UserError: a name cannot be parsed; ``key`` is the key that was set.
        """
        sliding_window = Window(window, overlap) if window else None
        try:
            strategies = [
                parse_strategy(name, output_stride=self.output_stride, window=sliding_window)
                for name in names
            ]
        except ValueError as error:
            raise UserError(f"{key}: {error}.") from None
        return list(dict.fromkeys(strategies))


@dataclass(frozen=True)
class TrainedRun(TrainedNetwork):
    """Run that has weights."""

    folder: RunFolder
    config: TrainConfig
    weights: Path

    def load_model(self) -> DeepLabV3Plus:
        """Return the network with its weights, in eval mode.

        Raises:
            UserError: the weights do not fit the network.
        """
        classes = self.config.data.classes
        build = partial(build_model, self.config, num_classes=len(classes))
        return load_model(build, self.weights).eval()

    def describe_weights(self) -> list[str]:
        """See ``describe_weights``."""
        return describe_weights(self.folder, self.weights, self.config.stage.max_steps)

    @property
    def source(self) -> Path:
        return self.weights

    @property
    def classes(self) -> ClassSet:
        return class_set(self.config.data)

    @property
    def pixel_format(self) -> PixelFormat:
        return self.config.data.pixel_format

    @property
    def padding(self) -> EvalTransform:
        return EvalTransform(size=self.config.data.padded_size, fill=padding_color(self.config))

    @property
    def output_stride(self) -> int:
        return self.config.output_stride


@dataclass(frozen=True)
class OwnNetwork(TrainedNetwork):
    """Network in memory, which no run has trained.

    Args:
        model: the network.
        settings: names and colors of its classes.
        padded_size: height and width that images are padded to at least.
    """

    model: DeepLabV3Plus
    settings: ClassSettings
    padded_size: tuple[int, int]

    def load_model(self) -> DeepLabV3Plus:
        """Return the network itself."""
        return self.model

    @property
    def source(self) -> str:
        return "network"

    @property
    def classes(self) -> ClassSet:
        return class_set(self.settings)

    @property
    def pixel_format(self) -> PixelFormat:
        return PixelFormat(self.model.in_channels)

    @property
    def padding(self) -> EvalTransform:
        mean = self.model.normalize.constants["mean"]
        return EvalTransform(size=self.padded_size, fill=tuple(map(round, mean)))

    @property
    def output_stride(self) -> int:
        return self.model.output_stride


def find_trained_run(
    name: str, *, progress: bool = True, copy: bool = True, trust_remote_code: bool = False
) -> TrainedRun:
    """Return the run that ``run=`` names: a folder, a file in it, on the hub, or the authors'.

    Args:
        name: value of ``run``.
        progress: show a bar of a download.
        copy: copy a run of the Hugging Face hub to a folder below ``runs``, for results; False: its
            folder is in the hub's cache, where nothing must be written.
        trust_remote_code: import the classes that the run's config names.

    Raises:
        UserError: there is no such run, it has no weights yet, or its network is a class that may
            not be imported.
    """
    if hub := hub_id(name, "run"):
        trained = _hub_run(hub, name, progress, copy)
    elif network := find_zoo_network(name, "run"):
        trained = _zoo_run(network, progress, copy)
    else:
        folder, weights = find_run_weights(name, "run")
        trained = TrainedRun(folder, read_config(folder), weights)
    source = str(trained.folder.config)
    check_trained(
        trained.config, source, leaves=ModelConfig.model_fields, trusted=trust_remote_code
    )
    return trained


def _hub_run(hub: HubId, name: str, progress: bool, copy: bool) -> TrainedRun:
    """Return a run of the hub from a copy of its files, next to which results are written.

    The folder's name has the commit. Paths and logger of the machine that trained it are replaced,
    because they are not this user's.
    """
    setting = f"run={name}"
    local = fetch_run_weights(hub, setting=setting, download=True, progress=progress)
    cache_folder = local.path.parent
    if not copy:
        folder = RunFolder(cache_folder)
        return TrainedRun(folder, without_local_paths(read_config(folder)), folder.weights)
    folder_name = f"{hub.repository.replace('/', '--')}-{cache_folder.name[:8]}"
    folder = _copy_files(cache_folder, RUN_FILES, folder_name, setting)
    print(f"Downloaded: {local.source} to {folder.path}")
    return TrainedRun(folder, without_local_paths(read_config(folder)), folder.weights)


def _zoo_run(network: ZooNetwork, progress: bool, copy: bool) -> TrainedRun:
    """Return one of the authors' networks; a copy of its files, next to which results go."""
    setting = f"run={network.name}"
    cache_folder = fetch_zoo_network(network, setting=setting, progress=progress).parent
    folder = RunFolder(cache_folder)
    if copy:
        folder = _copy_files(cache_folder, FILES, network.name, setting)
    return TrainedRun(folder, without_local_paths(read_config(folder)), folder.weights)


def _copy_files(source: Path, files: Sequence[str], name: str, setting: str) -> RunFolder:
    """Return a folder below ``runs`` with the files of another, which may have changed since."""
    folder = RunFolder(Path(DEFAULT_RUNS_DIR, name).resolve())
    with report_write_errors(setting):
        for file in files:
            copy = folder.path / file
            if not copy.is_file() or file_hash(copy) != file_hash(source / file):
                with atomic_write(copy) as draft:
                    shutil.copyfile(source / file, draft)
    return folder


def without_local_paths(run: TrainConfig) -> TrainConfig:
    """Return the config without the paths and accounts of the machine that wrote it.

    Of a path that is absolute or leads upwards its last part stays.
    """
    values = to_dict(run)
    values |= {"runs_dir": DEFAULT_RUNS_DIR, "logger": to_dict(LoggerSettings(name="csv"))}
    values["data"] |= {"cache_dir": None}
    return validate(TrainConfig, {key: _without_local_paths(v, key) for key, v in values.items()})


def _without_local_paths(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _without_local_paths(v, k) for k, v in value.items()}
    if isinstance(value, list) and key != "classes":
        return [_without_local_paths(v, key) for v in value]
    if isinstance(value, str) and (value.startswith(("/", "~")) or ".." in PurePath(value).parts):
        return PurePath(value.rstrip("./")).name or "data"
    return value


def describe_weights(folder: RunFolder, weights: Path, max_steps: int) -> list[str]:
    """Return the path of a run's weights; of a run that is not finished, also their step.

    Raises:
        UserError: the checkpoint is damaged.
    """
    if folder.finished or weights.suffix != ".ckpt":
        return [str(short_path(weights))]
    step = read_tensors(weights).get("global_step", "?")
    resume = f"{command('train')} {typed_override('resume', short_path(folder.path))}"
    return [
        str(short_path(weights)),
        f"step {step} of {max_steps}: this run is not finished; {resume} goes on",
    ]
