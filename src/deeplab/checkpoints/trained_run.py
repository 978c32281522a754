"""A trained run, found by its name and ready to look at images."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab.checkpoints.hub import RUN_FILES, HubId, hub_id, fetch_run_weights
from deeplab.checkpoints.loading import load_weights
from deeplab.config.build_model import build_model
from deeplab.config.execution import build_execution
from deeplab.config.schema.logger import LoggerConfig
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.trainer import TrainerConfig
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy, Window, parse_strategy
from deeplab.tracking.run_folder import RunFolder, read_config
from deeplab.utils.errors import UserError, report_write_errors
from deeplab.utils.files import atomic_write
from deeplab.utils.hardware import Execution

DEFAULT_RUNS_DIR = "runs"
"""The folder of run folders, as ``train.py`` has it unless told otherwise."""


@dataclass(frozen=True)
class TrainedRun:
    """A run that has weights."""

    folder: RunFolder
    config: TrainConfig
    weights: Path

    def predictor(
        self, strategies: Sequence[Strategy], execution: Execution, *, key: str
    ) -> Predictor:
        """The network on its device under these strategies, which ``key`` has named.

        Raises:
            UserError: the weights do not fit, or a strategy does not.
        """
        model = build_model(self.config, num_classes=len(self.config.data.classes))
        load_weights(model, self.weights)
        try:
            return Predictor(model.to(execution.accelerator), strategies)
        except ValueError as error:
            raise UserError(f"{key}: {error}.") from None

    def strategies(
        self, names: Sequence[str], *, window: int | None, overlap: float, key: str
    ) -> list[Strategy]:
        """The strategies of these names, each once; at the run's output stride unless they say.

        Raises:
            UserError: a name cannot be read; ``key`` is the key that was set.
        """
        cut = Window(window, overlap) if window else None
        stride = self.config.output_stride
        try:
            found = [parse_strategy(name, output_stride=stride, window=cut) for name in names]
        except ValueError as error:
            raise UserError(f"{key}: {error}.") from None
        return list(dict.fromkeys(found))


def find_trained_run(named: str, *, progress: bool = True) -> TrainedRun:
    """The run that ``run=`` names by its folder, by a checkpoint in it, or on the Hugging Face hub;
    one of the hub gets a folder of its own below ``runs``.

    Raises:
        UserError: there is no such run, or it has no weights yet.
    """
    if where := hub_id(named):
        return _hub_run(where, named, progress)
    folder = RunFolder.find(named, key="run")
    weights = folder.weights_file(Path(named).expanduser())
    if weights is None:
        raise UserError(f"run={named}: this run has neither weights nor a checkpoint yet.")
    return TrainedRun(folder, read_config(folder), weights)


def _hub_run(where: HubId, named: str, progress: bool) -> TrainedRun:
    """A run of the hub, copied to where what is made of it is kept too; it is of one commit, so
    a folder of its name is it. Its logger is not this user's."""
    asked = f"run={named}"
    found = fetch_run_weights(where, asked=asked, download=True, progress=progress)
    cached = found.path.parent
    name = f"{where.repository.replace('/', '--')}-{cached.name[:8]}"
    folder = RunFolder(Path(DEFAULT_RUNS_DIR, name).resolve())
    with report_write_errors(asked):
        for file in RUN_FILES:
            if not (folder.path / file).is_file():
                with atomic_write(folder.path / file) as draft:
                    shutil.copyfile(cached / file, draft)
    print(f"Fetched: {found.source}, now {folder.path}")
    config = read_config(folder).model_copy(update={"logger": LoggerConfig(name="csv")})
    return TrainedRun(folder, config, folder.weights)


def inference_execution(trainer: TrainerConfig) -> Execution:
    """One device, since each image counts once, and no compilation, since sizes vary."""
    return build_execution(trainer.model_copy(update={"devices": 1, "compile": False}))
