"""Trainings, evaluations and data modules from Python, with the settings of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab.api.models import load
from deeplab.config.compose import composed
from deeplab.config.overrides import quote_value
from deeplab.config.schema.run import TrainConfig
from deeplab.utils.errors import UserError, argument_names

if TYPE_CHECKING:
    from deeplab.config.schema.run import RunConfig
    from deeplab.data.datamodules import SegmentationData
    from deeplab.models.deeplabv3plus import DeepLabV3Plus
    from deeplab.tools.predict.trained_model import TrainedModel
    from deeplab.tracking.result import Result


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: the run folder, with weights, records and ``evaluations/``.
    """

    folder: Path

    @property
    def result(self) -> "Result":
        """Scores of the last validation in percent, as ``run.result.miou``, with their protocol."""
        from deeplab.tracking.result import Result
        from deeplab.tracking.run_folder import OVERWRITE_HINT, RunFolder

        return Result.read(RunFolder(self.folder).result, f"{OVERWRITE_HINT}.")

    @property
    def config(self) -> "RunConfig":
        """All settings of the run."""
        from deeplab.tracking.run_folder import RunFolder, read_run

        return read_run(RunFolder(self.folder))

    def load(self, *, device: str = "auto", precision: str = "auto") -> "TrainedModel":
        """Return the trained network; see ``deeplab.load``."""
        return load(self.folder, device=device, precision=precision)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.result.format_main_score()})"


@argument_names({"data.root": "root"})
def train(
    data: str | None = None,
    *,
    root: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """Train a network as ``deeplab train`` does, with its output, and return the run.

    PyTorch's random numbers start from ``seed=...``, and messages of Lightning below warnings are
    turned off, in this process from then on.

    A finished run of the same settings is returned as it is; an interrupted one goes on. Ctrl-C, or
    the stop button of a notebook, stops after the current step with a checkpoint, and raises
    KeyboardInterrupt: the same call goes on.

    >>> run = train("folder", root="/path/to/mine", overrides=["stage.max_steps=2000", "seed=1"])
    >>> run.result.miou

    Args:
        data: a name of ``conf/data``, such as ``folder`` or ``voc``; None: drawn scenes, or that of
            the overrides.
        root: folder of the images: ``data.root``.
        overrides: further settings, each as on the command line: ``docs/keys.md`` lists them. With
            ``trainer.devices=2`` the training runs in processes of its own.

    Raises:
        UserError: a setting, the data or the machine is wrong.
        KeyboardInterrupt: it was stopped.
    """
    from deeplab.config.execution import choose_execution
    from deeplab.evaluation.after_training import check_evaluations, evaluate_after_training
    from deeplab.training.launch import run_in_subprocess
    from deeplab.training.train import check_machine, run_experiment
    from deeplab.training.validate_config import check_train

    settings = [*_override("data", data), *_override("data.root", root), *_listed(overrides)]
    with composed("train", settings) as config:
        checked = check_train(config)
    trainer = checked.trainer
    if choose_execution(trainer).devices > 1 or trainer.num_nodes > 1:
        return Run(run_in_subprocess(settings, Path.cwd()).folder)
    check_machine(checked)
    check_evaluations(checked)
    folder = run_experiment(checked)
    evaluate_after_training(checked, folder)
    return Run(folder.path.absolute())


def evaluate(
    run: Run | str | PathLike[str],
    *,
    strategies: str | Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> list["Result"]:
    """Evaluate a trained network as ``deeplab evaluate`` does, with its output.

    >>> single, best = evaluate(run, strategies=["os16", "os8-ms-flip"])
    >>> best.miou, best.class_IoU, best.boundary

    Args:
        run: a run, or what ``run=`` names: a run folder, a file of weights in one, or
            ``hf://user/name``.
        strategies: inference strategies, evaluated in one pass; none: single scale at the output
            stride of the training.
        overrides: further settings, each as on the command line, such as ``split=test``.

    Returns:
        The result of each strategy, in their order, as ``evaluations/NAME/result.json`` holds it.

    Raises:
        UserError: a setting, the run or the data is wrong.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    from deeplab.config.parsing import parse
    from deeplab.config.schema.scripts import EvaluateConfig
    from deeplab.evaluation.evaluate import run_evaluation

    names = [strategies] if isinstance(strategies, str) else list(strategies)
    listed = f"strategies=[{','.join(map(quote_value, names))}]"
    settings = _override("run", run.folder if isinstance(run, Run) else run)
    with composed("evaluate", [*settings, *([listed] if names else []), *_listed(overrides)]) as c:
        checked = parse(EvaluateConfig, c)
    return run_evaluation(checked)


@argument_names({"data.root": "root", "stage.batch_size": "batch_size"})
def create_datamodule(
    data: str = "shapes",
    *,
    root: str | PathLike[str] | None = None,
    batch_size: int = 16,
    num_workers: int = 0,
    seed: int = 0,
    model: "DeepLabV3Plus | None" = None,
    overrides: Sequence[str] = (),
) -> "SegmentationData":
    """Return a LightningDataModule of images with masks, for a ``lightning.Trainer`` of your own.

    An epoch is one pass over the training images. Batches hold ``image``, uint8 ``(N, C, H, W)``,
    and ``label``, uint8 ``(N, H, W)`` with 255 for ignored pixels: crops in training, whole images
    in validation, test and prediction, each once on any number of devices. ``.classes.names`` are
    the names of the classes.

    Args:
        data: a name of ``conf/data``, such as ``folder`` or ``voc``; by default drawn scenes.
        root: folder of the images: ``data.root``.
        batch_size: images per batch, on all devices together.
        num_workers: loading processes per device.
        seed: seed of order and augmentation.
        model: network whose mean color pads the images; None: gray.
        overrides: further settings, each as on the command line, such as ``data.crop_size=257`` or
            ``data.val_split=test``.

    Raises:
        UserError: a setting or the data is wrong.
    """
    from deeplab.config.build_data import build_segmentation_data
    from deeplab.training.validate_config import check_train

    settings = [f"data={quote_value(data)}", *_override("data.root", root), f"seed={seed}"]
    settings.append("backbone.pretrained=null")  # there is no network
    with composed("train", [*settings, f"stage.batch_size={batch_size}", *_listed(overrides)]) as c:
        checked = check_train(c)
    if not isinstance(checked, TrainConfig):
        raise UserError(f"data={data}: this data set has image labels and no masks.")
    if model is not None:
        channels = checked.data.pixel_format.channels
        if channels != model.in_channels:
            raise UserError(
                f"model: it is for images of {model.in_channels} channels, and these have "
                f"{channels}. Create it with in_channels={channels}."
            )
        backbone = checked.backbone.model_copy(update={"mean": model.backbone.mean})
        checked = checked.model_copy(update={"backbone": backbone})
    module = build_segmentation_data(checked, num_workers=num_workers)
    module.steps = None
    return module


def _override(key: str, value: object) -> list[str]:
    return [] if value is None else [f"{key}={quote_value(value)}"]


def _listed(overrides: Sequence[str]) -> list[str]:
    """Return overrides as a list; a single string would be one of characters."""
    if isinstance(overrides, str) or not all(isinstance(text, str) for text in overrides):
        raise UserError(
            f"overrides={overrides!r}: expected a list of strings, as in overrides=['seed=1']."
        )
    return list(overrides)
