"""One training run, step by step, from a checked config to its result."""

import atexit
import math
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Timer

from deeplab.checkpoints.initialization import find_init_source, init_record
from deeplab.checkpoints.loading import save_weights
from deeplab.checkpoints.matching import initialize_from, load_backbone
from deeplab.checkpoints.pretrained import IMAGENET_WEIGHTS, find_published_weights
from deeplab.config.execution import choose_execution
from deeplab.config.hydra_app import in_sweep, is_later_job
from deeplab.config.own_nodes import describe_own_code
from deeplab.config.schema.run import ClassifierConfig, RunConfig, TrainConfig
from deeplab.metrics.definitions import objective_metric
from deeplab.tracking.console import print_skipped, silence_library_messages
from deeplab.tracking.provenance import Machine
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import OVERWRITE_HINT, RunFolder, lock_run_folder, write_config
from deeplab.tracking.run_identity import run_hash
from deeplab.tracking.run_record import RunRecord, Session, read_record
from deeplab.tracking.source_code import (
    code_hash,
    code_record,
    describe_difference,
    source_files,
    trained_by_other_code,
)
from deeplab.tracking.wandb_run import OFFLINE_RUNS
from deeplab.training.automatic import image_side
from deeplab.training.callbacks.early_stop import EarlyStop
from deeplab.training.callbacks.graceful_stop import GracefulStop
from deeplab.training.callbacks.log_steps import LogSteps
from deeplab.training.callbacks.non_finite_loss import TerminateOnNonFinite
from deeplab.training.callbacks.run_page import RunPage
from deeplab.training.callbacks.save_checkpoints import SaveCheckpoints
from deeplab.training.checkpoint_io import (
    check_checkpoint,
    read_step,
    report_resume_errors,
)
from deeplab.training.classification import ClassificationTask
from deeplab.training.curves import better_validation, plot_curves
from deeplab.training.loggers import build_loggers, finish_wandb, log_result
from deeplab.training.module import TrainingModule
from deeplab.training.next_commands import next_commands
from deeplab.training.own_code import build_callbacks
from deeplab.training.process_strategy import report_failed_process
from deeplab.training.processes import join_processes
from deeplab.training.run_page import write_run_page
from deeplab.training.segmentation import SegmentationTask
from deeplab.training.step_time import measure_step
from deeplab.training.task import Task
from deeplab.training.trainer import build_trainer
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.files import check_writable, file_hash, write_text
from deeplab.utils.free_memory import is_out_of_memory
from deeplab.utils.hardware import Execution, threads_are_set
from deeplab.utils.interrupts import children_end_with_this_process, is_child
from deeplab.utils.parallel import is_first_process
from deeplab.utils.settings import to_dict
from deeplab.utils.text import format_duration, print_folded

_named_code: set[str] = set()
"""Lines on classes of the user's own that this process has printed, in any job of a sweep."""


def check_machine(config: RunConfig) -> Execution:
    """Check the devices and the folder of the runs, before any image is drawn or read.

    Raises:
        UserError: this machine lacks the devices, or the folder cannot be written.
    """
    execution = choose_execution(config.trainer)
    join_processes(execution.devices, config.trainer.num_nodes)
    _check_devices(config, execution)
    check_writable(Path(config.runs_dir), f"runs_dir={config.runs_dir}")
    if isinstance(config, TrainConfig) and config.data.cache_dir:
        check_writable(Path(config.data.cache_dir), f"data.cache_dir={config.data.cache_dir}")
    return execution


def run_experiment(config: RunConfig) -> RunFolder:
    """Train a run, resume it, or report that it is finished; return the run folder."""
    execution = check_machine(config)
    task = build_task(config, execution)
    fingerprint = task.fingerprint()
    init_sha256, init_source = init_record(config)
    identity = run_hash(config, fingerprint, init_sha256)
    folder = RunFolder.of_run(config.runs_dir, config.name, identity)
    _check_resume(config, folder, fingerprint)
    main_process = is_first_process()
    if config.trainer.fast_dev_run and main_process:
        _remove_at_exit(folder)
    if folder.finished and not config.overwrite:
        if main_process:
            _print_finished(config, folder)
        return folder
    if main_process and config.overwrite:
        _set_aside(folder)
    with lock_run_folder(folder) if main_process else nullcontext():
        if main_process and folder.finished:  # by another process since the first look
            _print_finished(config, folder)
            return folder
        _check_code(config, folder)
        with _record_failure(folder):
            record = read_record(folder)
            record.data_fingerprint, record.splits = fingerprint, task.split_origins()
            record.init_weights_sha256, record.init_source = init_sha256, init_source
            _start_session(config, execution, task, folder, record)
    return folder


def _remove_at_exit(folder: RunFolder) -> None:
    """Remove a run that is a test, also one that a killed process has left."""

    def remove() -> None:
        shutil.rmtree(folder.path, ignore_errors=True)
        with suppress(OSError):  # another test
            folder.path.parent.rmdir()

    remove()
    atexit.register(remove)


def build_task(config: RunConfig, execution: Execution) -> Task:
    """Return the task of a run, with its data."""
    if isinstance(config, ClassifierConfig):
        return ClassificationTask(config, execution)
    assert isinstance(config, TrainConfig)
    return SegmentationTask(config, execution)


@contextmanager
def _record_failure(folder: RunFolder) -> Iterator[None]:
    """Write the error that ends a run to a file, which the next session of the run removes.

    Any process of a run may fail and end the others. Errors of other processes are only recorded
    if the main process has not recorded one, since they may be consequences of it; the main process
    prints what they record.
    """
    main_process = is_first_process()
    if main_process:
        folder.failure.unlink(missing_ok=True)
    try:
        yield
    except Exception:
        if main_process or not folder.failure.exists():
            with suppress(OSError, UserError):  # keep the original error
                write_text(folder.failure, traceback.format_exc())
        if is_child():
            sys.exit(1)
        raise


def _start_session(
    config: RunConfig, execution: Execution, task: Task, folder: RunFolder, record: RunRecord
) -> None:
    """Add this session to the run's record, then train."""
    first_step = _first_step(config, folder)
    if first_step and config.trainer.num_threads == "auto" and not threads_are_set():
        execution = _keep_threads(execution, record)
    record.add_group_and_tags(config.logger.group, config.logger.tags)
    session = Session(
        from_step=first_step, machine=Machine(**vars(execution)), **vars(code_record())
    )
    record.sessions = (*record.sessions, session)
    files = {code_hash("training"): source_files("training")}
    record.source_files = {**record.source_files, **files}
    if is_first_process():
        if isinstance(config, TrainConfig):
            record.image_side = image_side(config.data)
        write_config(folder.config, config)
        record.write(folder.record)
        print(f"Run folder: {folder.path}" + (f" (from step {first_step})" if first_step else ""))
    if is_first_process() and not is_later_job():
        print_folded(f"Machine:    {execution}")
        print_folded("Data:       " + "\n            ".join(task.describe_data()))
        if choices := task.describe_choices():
            choices += _estimate(config, execution, first_step)
            print_folded("Chosen:     " + "\n            ".join(choices))
        if config.trainer.accumulate_grad_batches > 1:
            print_folded(f"Batches:    {_describe_parts(config, execution)}")
        if execution.compiled:
            print("Compiling:  the first steps compile the network; they may take some minutes.")
    own = [line for line in describe_own_code(config) if line not in _named_code]
    if own and is_first_process():
        _named_code.update(own)
        print_folded("Own code:   " + "\n            ".join(own))
    with execution.threads():
        task.use_cache()
        _train(config, execution, task, folder, record=record, first_step=first_step)


def _first_step(config: RunConfig, folder: RunFolder) -> int:
    """Return the step of the checkpoint that a run goes on from, or 0.

    With ``overwrite`` another process may still be about to move the old one away.
    """
    return 0 if config.overwrite else read_step(folder.last, config.stage.max_steps)


def _keep_threads(execution: Execution, record: RunRecord) -> Execution:
    """Return the settings with as many threads as in the run's last session, whose rounding it has.

    Records of earlier versions do not have them.
    """
    machine = record.sessions[-1].machine if record.sessions else None
    before = getattr(machine, "num_threads", None)
    return replace(execution, num_threads=min(before, cpu_count())) if before else execution


def _estimate(config: RunConfig, execution: Execution, first_step: int) -> list[str]:
    """Return how long the rest of a training takes whose number of steps was chosen.

    A few steps with the images of one device are measured, unless they do not fit into memory.
    """
    is_test = bool(config.trainer.fast_dev_run)
    if "stage.max_steps" not in config.automatic or execution.compiled or is_test:
        return []
    assert isinstance(config, TrainConfig)
    images = config.stage.batch_size // (execution.devices * config.trainer.num_nodes)
    stage = config.stage.model_copy(update={"batch_size": images})
    config, steps = config.model_copy(update={"stage": stage}), config.stage.max_steps - first_step
    try:
        seconds = measure_step(config, num_classes=len(config.data.classes), warm_up=1, measured=2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return []
    return [f"about {format_duration(seconds * steps)} on this machine, and the validations"]


def _describe_parts(config: RunConfig, execution: Execution) -> str:
    """Return what gradient accumulation does, and to batch norms."""
    parts, images = config.trainer.accumulate_grad_batches, config.stage.batch_size
    devices = execution.devices * config.trainer.num_nodes
    text = f"{images} images a step in {parts} parts, {images // parts // devices} at a time"
    text += " on each device" * (devices > 1)
    if config.stage.batch_norm == "train":
        text += (
            f"; batch norms see {images // parts} images instead of {images}, which changes the "
            "result (stage.batch_norm=frozen leaves them as they are)"
        )
    return text


def _check_devices(config: RunConfig, execution: Execution) -> None:
    trainer = config.trainer
    factors = {
        "trainer.num_nodes": trainer.num_nodes,
        "trainer.devices": execution.devices,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
    }
    if config.stage.batch_size % math.prod(factors.values()):
        named = " x ".join(f"{key} ({value})" for key, value in factors.items() if value > 1)
        raise UserError(
            f"stage.batch_size={config.stage.batch_size}: not a multiple of {named}. It is the "
            "number of images in a step, on all devices together; choose a multiple."
        )


def _check_resume(config: RunConfig, folder: RunFolder, fingerprint: str) -> None:
    """Check that the run to train is the one that ``resume`` names."""
    if config.resume is None or folder.path.resolve() == Path(config.resume).resolve():
        return
    recorded = read_record(RunFolder(config.resume)).data_fingerprint
    changed = "its images, masks or split lists have changed since"
    if recorded == fingerprint:
        changed = "its config.yaml or run.json was edited, or the folder renamed"
    raise UserError(
        f"resume={config.resume}: {changed}: settings and images are now those of the run "
        f"{folder.path}. Undo the change, or start a new run without resume."
    )


def _check_code(config: RunConfig, folder: RunFolder) -> None:
    """Check that the code that has trained an interrupted run is the present code."""
    step = _first_step(config, folder)
    if not step or config.resume_with_other_code:
        return
    record = read_record(folder)
    last = record.contributing_sessions(step)[-1:]
    if not last or last[0].training_code != code_hash("training"):
        anew = "set overwrite=true to train anew"
        if config.resume:
            anew = "train anew by the run's first command with overwrite=true"
        raise UserError(
            f"resume_with_other_code=false: the code has changed since this run was interrupted at "
            f"step {step} ({folder.path}): {describe_difference(record, last)}. Go back to that "
            f"code, {anew}, or set resume_with_other_code=true to continue with the present code."
        )


def _train(
    config: RunConfig,
    execution: Execution,
    task: Task,
    folder: RunFolder,
    *,
    record: RunRecord,
    first_step: int,
) -> None:
    silence_library_messages()
    seed_everything(config.seed, verbose=False)
    module = task.build_module()
    module.to(execution.parameter_dtype)  # Lightning reads a checkpoint before it converts
    if first_step:
        check_checkpoint(folder.last, module)
    else:
        initialize_weights(module, config, record.init_weights_sha256)
    loggers = build_loggers(
        config.logger,
        folder,
        columns=task.metrics,
        resolved=to_dict(config),
        record=record,
        first_step=first_step,
    )
    if execution.accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()  # of earlier jobs of a sweep in this process
    log_every_n_steps = min(config.stage.max_steps, config.trainer.log_every_n_steps)
    checkpoints = SaveCheckpoints(folder, task.main_metric, config)
    stop, timer = GracefulStop(checkpoints.save_last, config.trainer.max_duration), Timer()
    patience = config.stage.early_stopping
    early_stop = [] if patience is None else [EarlyStop(task.main_metric, patience)]
    callbacks = [
        timer,
        *build_callbacks(config.callbacks),
        TerminateOnNonFinite(log_every_n_steps, _non_finite_advice(config, execution)),
        LogSteps(log_every_n_steps),
        checkpoints,
        *early_stop,  # before the figures, which tell by it which validation is the last one
        *task.figure_callbacks(folder, loggers),
        RunPage(config, folder, task.main_metric, task.class_colors),
        stop,
    ]
    trainer = build_trainer(config, execution, folder, loggers, callbacks)
    try:
        resuming = report_resume_errors(folder.last, timer) if first_step else nullcontext()
        with (
            report_failed_process(trainer),
            stop.handling_signals(),
            children_end_with_this_process(),
            resuming,
        ):
            trainer.fit(module, task.data, ckpt_path=str(folder.last) if first_step else None)
        checkpoints.save_last(trainer)
        if module.scored_step != trainer.global_step:  # the result must be of the last step
            trainer.validate(module, task.data, verbose=False)
        skipped = task.data.count_skipped()
        if trainer.is_global_zero:
            seconds = timer.time_elapsed("train")
            _write_result(config, task, folder, module, skipped, trainer.global_step, seconds)
            result = Result.read(folder.result, f"{OVERWRITE_HINT}.")
            log_result(loggers, result)
            if in_sweep():
                print(f"Result:     {result.format_main_score()}")
            else:
                task.report(result)
            if not config.trainer.fast_dev_run:
                task.check_result(module)
            print_skipped(skipped)
            if config.trainer.fast_dev_run:
                print("trainer.fast_dev_run: training and validation work; nothing is kept.")
            elif not in_sweep():
                _print_paths(config, folder)
    except SystemExit:  # Lightning's answer to KeyboardInterrupt
        raise KeyboardInterrupt from None
    finally:
        finish_wandb(loggers, failed=sys.exc_info()[0] is not None)


def _non_finite_advice(config: RunConfig, execution: Execution) -> str:
    """Return settings to try when the loss is not finite."""
    advice = [f"a smaller stage.lr (now {config.stage.lr:g})"]
    if config.stage.warmup_mode == "constant":
        advice.append("a warm-up (stage.warmup_mode=linear stage.warmup_steps=...)")
    if config.stage.gradient_clip_val is None:
        advice.append("stage.gradient_clip_val=1.0")
    if execution.precision != "32-true":
        advice.append(f"trainer.precision=32-true (now {execution.precision}; with overwrite=true)")
    return f"Try {', or '.join(advice)}."


def initialize_weights(module: TrainingModule, config: RunConfig, sha256: str | None) -> None:
    """Load the initial weights of a new network and print their source."""
    init, network = find_init_source(config), cast(Any, module.model)
    if init is None:
        lines = [f"random weights{_pretraining_hint(config)}"]
    else:
        if isinstance(config, TrainConfig) and init.key == "init_from":
            load_report = initialize_from(
                network, init.path, classes=module.class_names, strict=config.init_strict
            )
        else:
            load_report = load_backbone(network.backbone, init.path)
        part = "loaded" if init.key == "init_from" else "the backbone"
        description = f", {init.description}" if init.description else ""
        lines = [init.source, f"SHA-256 {sha256}{description}", f"{part}: {load_report}"]
    if is_first_process() and not is_later_job():
        print_folded("Weights:    " + "\n            ".join(lines))


def _pretraining_hint(config: RunConfig) -> str:
    """Return a hint to the paper's ImageNet weights if they exist for this backbone."""
    if isinstance(config, ClassifierConfig):
        return ""
    with suppress(UserError):
        find_published_weights(config.backbone)
        return f" (the paper starts from ImageNet weights: backbone.pretrained={IMAGENET_WEIGHTS})"
    return ""


def _write_result(
    config: RunConfig,
    task: Task,
    folder: RunFolder,
    module: TrainingModule,
    skipped: dict[str, int],
    steps: int,
    seconds: float,
) -> None:
    """Write ``metrics.json`` last, so that a run with a result has all its files."""
    save_weights(module.eval_model, folder.weights, task.metadata(module))
    plot_curves(folder, task.main_metric, task.class_colors)
    result = Result(
        run=folder.path.name,
        **task.result(module),
        weights="moving average" if config.stage.ema_decay else "last step",
        weights_sha256=file_hash(folder.weights),
        skipped_files=skipped,
        steps=steps,
        seconds=round(seconds, 1),
        peak_memory_bytes=_peak_memory(),
    )
    write_run_page(config, folder, step=steps, result=result)
    result.write(folder.result)


def _peak_memory() -> int | None:
    """Return the peak bytes allocated by PyTorch on the main process's GPU in this session.

    The module does not tell the device: Lightning has moved it to the CPU by now.
    """
    return torch.cuda.max_memory_allocated() or None


def _set_aside(folder: RunFolder) -> None:
    if folder.path.exists():
        with lock_run_folder(folder):  # fails while another process trains in the folder
            print(f"Moved the existing run to {folder.set_aside()}")


def _print_finished(config: RunConfig, folder: RunFolder) -> None:
    result = Result.read(folder.result, f"{OVERWRITE_HINT}.")
    if in_sweep():
        print(f"Run folder: {folder.path}\nResult:     {result.format_main_score()} (finished)")
        return
    print(f"This run is finished: {result.format_main_score()}. Nothing to do.")
    record = read_record(folder)
    other_code = trained_by_other_code(record)
    if other_code:
        difference = describe_difference(record, record.contributing_sessions())
        print(f"Other code has made it: {difference}.")
    _print_paths(config, folder)
    again = "again with the present code" if other_code else "again"
    print(f"  overwrite=true trains it {again}; a different seed=... makes another run.")


def _print_paths(config: RunConfig, folder: RunFolder) -> None:
    print(f"  page        {folder.page}\nIn the same folder:")
    print(f"  figures     {folder.curves.name}, {folder.validation_figure.name}")
    print(f"  metrics     {folder.result.name}, {folder.metrics_csv.name}")
    print(f"  weights     {folder.weights.name}")
    print(f"  checkpoint  {folder.last.relative_to(folder.path)}")
    metric = objective_metric(None, is_classifier=isinstance(config, ClassifierConfig))
    if earlier := better_validation(folder, metric):
        step, score = earlier
        best = folder.best.relative_to(folder.path)
        print(f"              {best}: of step {step}, where {metric.label} was {score:.2f}")
    if folder.profile.exists():
        print(f"  profile     {folder.profile.name}")
    wandb = folder.path / "wandb"
    if any(wandb.glob(OFFLINE_RUNS)):
        print(f"  W&B         offline; upload it with: wandb sync {wandb}/{OFFLINE_RUNS}")
    print("Next:\n  " + "\n  ".join(text for text, _ in next_commands(config, folder)))
