"""Lightning trainer of a run."""

import sys
from collections.abc import Callable
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from deeplab.config.schema.run import RunConfig
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.progress_bar import RunProgress, RunProgressLines
from deeplab.training.callbacks.save_checkpoints import validation_interval
from deeplab.training.checkpoint_io import AtomicCheckpointIO
from deeplab.training.precision import precision_arguments
from deeplab.training.process_strategy import ProcessStrategy, environment_plugin
from deeplab.training.sync_batch_norm import SyncBatchNormPlugin
from deeplab.utils.hardware import Execution
from deeplab.utils.progress import can_show_bars

PROFILERS: dict[str, Callable[..., Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


def build_trainer(
    config: RunConfig,
    execution: Execution,
    folder: RunFolder,
    loggers: list[Any],
    callbacks: list[Callback],
    *,
    quiet: bool = False,
) -> Trainer:
    """Return a Lightning trainer for one stream of ``stage.max_steps`` batches.

    Args:
        config: config of the run.
        execution: devices, precision and related settings.
        folder: the run folder.
        loggers: loggers of the run.
        callbacks: callbacks of the run.
        quiet: show no progress.
    """
    steps = config.stage.max_steps
    precision, plugins = precision_arguments(execution)
    plugins += [AtomicCheckpointIO(), environment_plugin(config.trainer.num_nodes)]
    is_parallel = execution.devices * config.trainer.num_nodes > 1
    if is_parallel:
        plugins.append(SyncBatchNormPlugin(gpu=execution.accelerator == "cuda"))
    settings = config.trainer
    show_bar = settings.enable_progress_bar and not quiet and can_show_bars(sys.stdout)
    progress = [] if quiet else [RunProgress(steps) if show_bar else RunProgressLines(steps)]
    trainer = Trainer(
        accelerator=execution.accelerator,
        devices=list(execution.indices) or execution.devices,
        num_nodes=settings.num_nodes,
        strategy=_build_strategy(settings.strategy, folder) if is_parallel else "auto",
        plugins=plugins,
        gradient_clip_val=config.stage.gradient_clip_val,
        max_epochs=1,
        max_steps=steps,
        val_check_interval=validation_interval(config),
        use_distributed_sampler=False,
        logger=loggers,
        log_every_n_steps=0,  # LogSteps does it
        callbacks=[*callbacks, *progress],
        enable_checkpointing=False,  # SaveCheckpoints does it
        enable_progress_bar=show_bar,
        default_root_dir=str(folder.path),
        profiler=_build_profiler(settings.profiler, folder),
        **precision,
        **settings.lightning_arguments,
    )
    # Lightning's handler of SIGTERM communicates with the other processes wherever it interrupts
    # this one, and then all of them hang. GracefulStop stops the run.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _build_strategy(name: str, folder: RunFolder) -> ProcessStrategy:
    """Return the strategy of a run on several devices."""
    options: dict[str, Any] = {}
    if name.startswith("ddp_find_unused_parameters"):
        options["find_unused_parameters"] = name.endswith("true")
    return ProcessStrategy(folder.failure, **options)


def _build_profiler(name: str | None, folder: RunFolder) -> Profiler | None:
    """Return the profiler of a name, which writes into the run folder."""
    return PROFILERS[name](dirpath=folder.profile, filename=name) if name else None
