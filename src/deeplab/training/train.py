"""One training run from a checked config to its result, as a list of steps."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only

from deeplab.checkpoints.initialization import find_init_source, init_record
from deeplab.checkpoints.loading import initialize_from, load_backbone, save_weights
from deeplab.checkpoints.pretrained import IMAGENET, published
from deeplab.config.execution import build_execution
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.config.schema.types import plain
from deeplab.tracking.console import print_skipped, quiet, short
from deeplab.tracking.provenance import provenance
from deeplab.tracking.run_folder import (
    OVERWRITE_HINT,
    RunFolder,
    locked,
    read_json,
    read_record,
    run_hash,
    write_config,
)
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.tracking.wandb_run import labeled
from deeplab.training.callbacks import StopBetweenSteps, TerminateOnNonFinite
from deeplab.training.classification import ClassificationTask
from deeplab.training.loggers import build_loggers, finish, publish_result
from deeplab.training.module import TrainingModule
from deeplab.training.segmentation import SegmentationTask
from deeplab.training.task import Task
from deeplab.training.trainer import build_trainer
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash, write_json, write_text
from deeplab.utils.hardware import Execution


def run_experiment(config: RunConfig) -> RunFolder:
    """Train, or continue, or find it done; returns the run's folder."""
    execution = build_execution(config.trainer)
    _check_devices(config, execution)
    task = _task(config, execution)
    fingerprint = task.fingerprint()
    begun = init_record(config)
    identity = run_hash(config, fingerprint, begun["init_weights_sha256"])
    folder = RunFolder(Path(config.runs_dir) / f"{config.name}-{identity}")
    _check_resumed(config, folder)
    main_process = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if folder.finished and not config.overwrite:
        if main_process:
            _say_finished(folder)
        return folder
    if main_process and config.overwrite:
        _set_aside(folder)
    with locked(folder) if main_process else nullcontext(), _failure_kept(folder):
        _start(config, execution, task, folder, {"data_fingerprint": fingerprint, **begun})
    return folder


def _task(config: RunConfig, execution: Execution) -> Task:
    if isinstance(config, ClassifierConfig):
        return ClassificationTask(config, execution)
    assert isinstance(config, TrainConfig)
    return SegmentationTask(config, execution)


@contextmanager
def _failure_kept(folder: RunFolder) -> Iterator[None]:
    """Write down the error that ends a run, until the run is started again.

    Any of its processes may be the one that fails, and then ends the others with it. What it says
    when the main process has failed is a consequence.
    """
    main_process = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if main_process:
        folder.failure.unlink(missing_ok=True)
    try:
        yield
    except Exception:
        if main_process or not folder.failure.exists():
            with suppress(OSError):  # a full disk is one of the errors; it is not to be hidden
                write_text(folder.failure, traceback.format_exc())
        raise


def _start(
    config: RunConfig,
    execution: Execution,
    task: Task,
    folder: RunFolder,
    begun: Mapping[str, Any],
) -> None:
    """Write down what starts here, with what the run was begun from, then train."""
    first_step, logger = _first_step(folder), config.logger
    record = labeled(read_record(folder), logger.group, logger.tags)
    record |= begun
    record["sessions"].append({"from_step": first_step, **provenance(), "machine": vars(execution)})
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        write_config(folder.config, config)
        write_json(folder.record, record)
        print(f"Run folder: {folder.path}" + (f" (from step {first_step})" if first_step else ""))
        print(f"Machine:    {execution}")
    task.use_cache()
    _train(config, execution, task, folder, record=record, first_step=first_step)


def _check_devices(config: RunConfig, execution: Execution) -> None:
    if config.stage.batch_size % execution.devices:
        raise UserError(
            f"stage.batch_size={config.stage.batch_size}: it counts the images of all devices and "
            f"is to be a multiple of trainer.devices ({execution.devices})."
        )


def _check_resumed(config: RunConfig, folder: RunFolder) -> None:
    """A run that was named is continued, or nothing is."""
    if config.resume and folder.path.resolve() != Path(config.resume).resolve():
        raise UserError(
            f"resume={config.resume}: with its settings and these images the run would be "
            f"{folder.path}. Has the folder been renamed, or have the split lists changed?"
        )


def _train(
    config: RunConfig,
    execution: Execution,
    task: Task,
    folder: RunFolder,
    *,
    record: dict[str, Any],
    first_step: int,
) -> None:
    quiet()
    seed_everything(config.seed, verbose=False)
    module = task.build_module()
    if not first_step:
        _load_start(module, config, record["init_weights_sha256"])
    loggers = build_loggers(
        config.logger,
        folder,
        columns=task.metrics,
        resolved=plain(config),
        record=record,
        first_step=first_step,
    )
    if execution.accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()  # a job of a sweep has one before it
    timer, stop = Timer(), StopBetweenSteps(folder.last)
    lost = TerminateOnNonFinite(config.trainer.log_every_n_steps, _if_lost(config, execution))
    callbacks = [timer, lost, task.pictures(folder, loggers), stop]
    trainer = build_trainer(config, execution, folder, loggers, callbacks, task.monitor)
    try:
        with stop.listening():
            trainer.fit(module, task.data, ckpt_path=str(folder.last) if first_step else None)
        trainer.save_checkpoint(folder.last)
        if module.scored_step != config.stage.max_steps:  # the result is that of the last step
            trainer.validate(module, task.data, verbose=False)
        if trainer.is_global_zero:
            _write_result(config, task, folder, module, timer.time_elapsed("train"))
            publish_result(loggers, read_json(folder.result))
            task.say(module)
            print_skipped(task.data.skipped)
            _say_where(folder)
    finally:
        finish(loggers)


def _if_lost(config: RunConfig, execution: Execution) -> str:
    """What to try when the loss is not finite."""
    tries = [f"a smaller stage.lr (now {config.stage.lr:g})"]
    if config.stage.warmup_mode == "constant":
        tries.append("a warm-up (stage.warmup_mode=linear stage.warmup_steps=...)")
    if config.stage.gradient_clip_val is None:
        tries.append("stage.gradient_clip_val=1.0")
    if execution.precision != "32-true":
        tries.append(f"trainer.precision=32-true (now {execution.precision}; with overwrite=true)")
    return f"Try {', or '.join(tries)}."


def _load_start(module: TrainingModule, config: RunConfig, sha256: str | None) -> None:
    """Give the new network its first weights, and say where they are from."""
    start, network = find_init_source(config), cast(Any, module.model)
    if start is None:
        said = [f"random weights{_better(config)}"]
    else:
        if isinstance(config, TrainConfig) and start.key == "init_from":
            fit = initialize_from(network, start.path, strict=config.init_strict)
        else:
            fit = load_backbone(network.backbone, start.path)
        what = "loaded" if start.key == "init_from" else "the backbone"
        about = f", {start.about}" if start.about else ""
        said = [start.source, f"SHA-256 {sha256}{about}", f"{what}: {fit}"]
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print("Start:      " + "\n            ".join(said))


def _better(config: RunConfig) -> str:
    """What the paper's trainings start from, where it can be had for this backbone."""
    if isinstance(config, ClassifierConfig):
        return ""
    with suppress(UserError):
        published(config.backbone)
        return f" (the paper's start from ImageNet's: backbone.pretrained={IMAGENET})"
    return ""


def _write_result(
    config: RunConfig, task: Task, folder: RunFolder, module: TrainingModule, seconds: float
) -> None:
    """Weights first, then ``metrics.json``: a run with a result has all its files."""
    save_weights(module.result, folder.weights, task.metadata(module))
    write_json(
        folder.result,
        {
            **VERSION_STAMP,
            "run": folder.path.name,
            **task.result(module),
            "weights": "moving average" if config.stage.ema_decay else "last step",
            "weights_sha256": file_hash(folder.weights),
            "skipped_files": dict(task.data.skipped),
            "steps": config.stage.max_steps,
            "seconds": round(seconds, 1),  # validations included, over all starts
            "peak_memory_bytes": _peak_memory(module),
        },
    )


def _peak_memory(module: TrainingModule) -> int | None:
    """Bytes that PyTorch has allocated on the main process's GPU, at most, since the last start."""
    return torch.cuda.max_memory_allocated() if module.device.type == "cuda" else None


def _first_step(folder: RunFolder) -> int:
    """The step of the last checkpoint; 0 without one."""
    if not folder.last.is_file():
        return 0
    try:
        return int(torch.load(folder.last, mmap=True, weights_only=True)["global_step"])
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"{folder.last}: this cannot be read ({error}); {OVERWRITE_HINT}."
        ) from None


def _set_aside(folder: RunFolder) -> None:
    if folder.path.exists():
        with locked(folder):  # not under a process that trains in it
            print(f"The run there was is now {folder.set_aside()}")


def _say_finished(folder: RunFolder) -> None:
    print(f"This run is finished: {short(read_json(folder.result))}. Nothing to do.")
    _say_where(folder)
    print("  overwrite=true trains it again; another seed=... makes another run.")


def _say_where(folder: RunFolder) -> None:
    print(f"  picture     {folder.picture}")
    print(f"  metrics     {folder.result}, {folder.metrics_csv.name}")
    print(f"  weights     {folder.weights}")
    print(f"  checkpoint  {folder.last}")
    offline = folder.path / "wandb" / "offline-run-*"
    if any(folder.path.glob("wandb/offline-run-*")):
        print(f"  W&B         offline; upload it with: wandb sync {offline}")
