"""A trained run, found by its name and ready to look at images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab.assemble import build_execution
from deeplab.builder import build_model
from deeplab.config import TrainConfig, TrainerConfig
from deeplab.errors import UserError
from deeplab.hardware import Execution
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy, Window, parse_strategy
from deeplab.records import RunFolder, read_config
from deeplab.weights import load_weights


@dataclass(frozen=True)
class Trained:
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


def find_trained(named: str) -> Trained:
    """The run that ``run=`` names by its folder or by a checkpoint in it.

    Raises:
        UserError: there is no such run, or it has no weights yet.
    """
    folder = RunFolder.find(named, key="run")
    weights = folder.weights_file(Path(named).expanduser())
    if weights is None:
        raise UserError(f"run={named}: this run has neither weights nor a checkpoint yet.")
    return Trained(folder, read_config(folder), weights)


def inference_execution(trainer: TrainerConfig) -> Execution:
    """One device, since each image counts once, and no compilation, since sizes vary."""
    return build_execution(trainer.model_copy(update={"devices": 1, "compile": False}))
