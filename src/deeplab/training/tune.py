"""Search for a learning rate, and for the number of images that fit into memory.

The losses at rising learning rates come from Lightning's ``Tuner``. Its suggestion is not used: it
takes the slope of the loss over the rate itself, not over its logarithm as the usual range test
(Smith 2017, arXiv 1506.01186), and so prefers the smallest rates. Nor is its search for a batch
size: it doubles the batch until memory runs out, which on a CPU ends the process, and it would
suggest another recipe. Here the recipe's batch stays, and the suggestion is in how many parts it
fits.
"""

import gc
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from lightning import seed_everything
from lightning.pytorch.tuner.tuning import Tuner

from deeplab.checkpoints.initialization import init_record
from deeplab.config.schema.run import RunConfig
from deeplab.config.schema.scripts import TuneSettings
from deeplab.tracking.console import silence_library_messages
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.step_time import measure_step
from deeplab.training.train import build_task, check_machine, initialize_weights
from deeplab.training.trainer import build_trainer
from deeplab.utils.errors import UserError
from deeplab.utils.figures import save_plot
from deeplab.utils.files import check_writable
from deeplab.utils.free_memory import free_memory, is_out_of_memory, peak_memory
from deeplab.utils.hardware import Execution
from deeplab.utils.program import command, typed_arguments
from deeplab.utils.text import format_size
from deeplab.utils.text_table import Column, TextTable

LARGEST_SHARE = 0.9
"""Share of the memory that a suggestion may use."""


def run_tuning(config: RunConfig, settings: TuneSettings) -> None:
    """Search, print the suggestion and the next command, and draw the figure.

    Raises:
        UserError: the settings do not fit, or there is nothing to suggest.
    """
    if config.trainer.devices != 1 or config.trainer.num_nodes != 1:
        raise UserError("trainer.devices: deeplab tune uses one device. Leave it out.")
    path = Path(settings.figure).expanduser()
    settings = settings.model_copy(update={"figure": str(path)})
    check_writable(path.absolute().parent, f"figure={path}")
    silence_library_messages()
    with TemporaryDirectory() as folder:
        config = config.model_copy(update={"runs_dir": folder})
        execution = check_machine(config)
        print(f"Machine:    {execution}", flush=True)
        find = _find_learning_rate if settings.find == "lr" else _find_batch_size
        with execution.threads():
            find(config, settings, execution, RunFolder(folder))
    print(f"  figure      {path}")


def _find_learning_rate(
    config: RunConfig, settings: TuneSettings, execution: Execution, folder: RunFolder
) -> None:
    # a stream that is long enough, in which no validation is due
    recipe_rate = config.stage.lr
    stage = config.stage.model_copy(update={"max_steps": 10 * settings.num_steps})
    trainer_settings = config.trainer.model_copy(update={"num_validations": 1})
    config = config.model_copy(update={"stage": stage, "trainer": trainer_settings})
    task = build_task(config, execution)
    seed_everything(config.seed, verbose=False)
    module = task.build_module()
    initialize_weights(module, config, init_record(config)[0])
    trainer = build_trainer(config, execution, folder, [], [], quiet=True)
    with _interruptible():
        finder = Tuner(trainer).lr_find(
            module,
            datamodule=task.data,
            min_lr=settings.min_lr,
            max_lr=settings.max_lr,
            num_training=settings.num_steps,
            update_attr=False,
        )
    rates = finder.results["lr"] if finder else []
    losses = _unbiased(finder.results["loss"]) if finder else []
    steepest = _find_steepest(rates, losses)
    if not finder or steepest is None:
        raise UserError(
            f"num_steps={settings.num_steps}: the loss did not fall long enough to suggest a "
            "learning rate. Set a smaller min_lr, or a larger num_steps."
        )
    suggestion = f"{rates[steepest]:.2g}"
    finder.results["loss"] = losses
    figure: Any = finder.plot()
    figure.axes[0].plot(rates[steepest], losses[steepest], marker="o", markersize=10, color="red")
    save_plot(figure, Path(settings.figure), dpi=120)
    print(
        f"\nSuggested learning rate: {suggestion}, at which the loss falls fastest over the "
        f"logarithm of the rate ({len(rates)} steps from {settings.min_lr:g} to "
        f"{settings.max_lr:g}, the same for all parameters).\n"
        f"  recipe      stage.lr={recipe_rate:g}\n"
        f"  train       {_train_command(f'stage.lr={suggestion}', 'stage.lr')}"
    )


def _find_steepest(rates: Sequence[float], losses: Sequence[float]) -> int | None:
    """Return the index at which the loss falls fastest over the logarithm of the rate.

    The first tenth, averages of few steps, and what follows the lowest loss do not count. A slope
    is taken over a tenth of the steps, since single batches differ by more than one step changes.
    The index is None if the loss is not finite long enough, or does not fall.
    """
    known = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    half = max(1, known // 20)
    lowest = min(range(known), key=lambda i: losses[i], default=0)
    candidates = range(2 * half, min(lowest + 1, known - half))
    slopes = {
        i: (losses[i + half] - losses[i - half]) / math.log(rates[i + half] / rates[i - half])
        for i in candidates
    }
    steepest = min(slopes, key=lambda i: slopes[i], default=None)
    return steepest if steepest is not None and slopes[steepest] < 0 else None


def _unbiased(losses: Sequence[float], beta: float = 0.98) -> list[float]:
    """Return the averages of the loss by step without the bias of Lightning's.

    It divides the n-th average by ``1 - beta ** (n + 1)`` instead of ``1 - beta ** n``, so that the
    first is half of the loss.
    """
    return [loss * (1 - beta ** (n + 1)) / (1 - beta**n) for n, loss in enumerate(losses, start=1)]


class _Trial(NamedTuple):
    """Training steps with some images at a time."""

    images: int
    memory: int | None
    """Peak of the memory in bytes; None if it was not enough."""
    seconds: float = 0.0
    """Time of the forward and backward pass of an image."""


def _find_batch_size(
    config: RunConfig, settings: TuneSettings, execution: Execution, folder: RunFolder
) -> None:
    total = _usable_memory(execution.accelerator)
    batch_size, trials = config.stage.batch_size, list[_Trial]()
    num_classes = len(build_task(config, execution).build_module().class_names)
    for images in _candidates(batch_size):
        if (expected := _extrapolate(trials, images)) > LARGEST_SHARE * total:
            print(
                f"Not tried:  {images} images at a time, which would take about "
                f"{format_size(expected)} of {format_size(total)}"
            )
            break
        trials.append(_try(config, images, num_classes, execution.accelerator))
        if trials[-1].memory is None:
            break
    fitting = [trial for trial in trials if trial.memory and trial.memory < LARGEST_SHARE * total]
    columns = [
        Column("images at a time", number=True),
        Column("peak memory", number=True),
        Column("s per image", number=True),
    ]
    rows = [
        (t.images, format_size(t.memory), f"{t.seconds:.3g}") if t.memory else (t.images, "-", "-")
        for t in trials
    ]
    print(f"\n{TextTable.from_values(columns, rows).as_text()}\n")
    best = max((t.images for t in fitting if batch_size % t.images == 0), default=0)
    if not best:
        raise UserError(
            f"data.crop_size={config.data.crop_size}: not even one image fits into "
            f"{format_size(total)}. Set a smaller one, or trainer.gradient_checkpointing=true."
        )
    _plot_trials(Path(settings.figure), trials, total)
    largest, key = max(t.images for t in fitting), "trainer.accumulate_grad_batches"
    parts = batch_size // best
    print(
        f"Suggestion: {best} of the {batch_size} images of a step at a time"
        + (f", {key}={parts}." if parts > 1 else f": they all fit (up to {largest} were tried).")
    )
    print(f"  train       {_train_command(f'{key}={parts}' if parts > 1 else '', key)}")


def _candidates(batch_size: int) -> list[int]:
    """Return the numbers to try: all that divide the batch, and its double."""
    return [*(n for n in range(1, batch_size + 1) if batch_size % n == 0), 2 * batch_size]


def _extrapolate(trials: list[_Trial], images: int) -> float:
    """Return the memory that more images would take by the last two trials; 0 without them."""
    if len(trials) < 2:
        return 0
    (n, first, _), (m, second, _) = trials[-2:]
    assert first is not None
    assert second is not None
    return second + (second - first) / (m - n) * (images - m)


def _try(config: RunConfig, images: int, num_classes: int, device: str) -> _Trial:
    """Train three steps with some images."""
    stage = config.stage.model_copy(update={"batch_size": images})
    trainer_settings = config.trainer.model_copy(
        update={"accumulate_grad_batches": 1, "compile": False}
    )
    trial = config.model_copy(update={"stage": stage, "trainer": trainer_settings})
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with _interruptible():
            seconds = measure_step(trial, num_classes=num_classes, warm_up=2, measured=1)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _Trial(images, None)
    finally:
        gc.collect()
    return _Trial(images, peak_memory(device), seconds / images)


def _usable_memory(device: str) -> int:
    """Return the bytes that this process uses and those that are free for it."""
    free = free_memory(device)
    if free is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return peak_memory(device) + free


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except SystemExit:  # Lightning's answer to KeyboardInterrupt
        raise KeyboardInterrupt from None


def _train_command(new: str, replaced: str) -> str:
    """Return the command that trains with what was typed and the suggestion."""
    dropped = {replaced, *TuneSettings.model_fields}
    kept = [w for w in typed_arguments() if w.lstrip("+").partition("=")[0] not in dropped]
    return f"{command('train')} {shlex.join(filter(None, [*kept, new]))}"


def _plot_trials(path: Path, trials: Sequence[_Trial], total: int) -> None:
    """Draw the memory over the number of images at a time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.add_subplot()
    points = [(trial.images, trial.memory / 2**30) for trial in trials if trial.memory]
    axes.plot(*zip(*points, strict=True), marker="o")
    axes.axhline(total / 2**30, color="gray", linestyle="--")
    axes.annotate("all that is free", (points[0][0], total / 2**30), va="bottom")
    axes.set_xlabel("images at a time")
    axes.set_ylabel("peak memory, GiB")
    axes.set_ylim(bottom=0)
    save_plot(figure, path, dpi=120)
