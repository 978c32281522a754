"""One training run from a checked config to its result, as a list of steps."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from deeplab.assemble import build_data, build_execution, padded_to
from deeplab.builder import build_model, keywords
from deeplab.catalogue import IMAGENET, published
from deeplab.config import TrainConfig, plain
from deeplab.cores import cores
from deeplab.dashboard import labelled
from deeplab.data.datamodule import SegmentationData
from deeplab.data.dataset import check_split, spread
from deeplab.data.problems import in_two_splits
from deeplab.datasets import data_fingerprint, data_layout
from deeplab.errors import UserError
from deeplab.files import write_json, write_text
from deeplab.hardware import Execution
from deeplab.inference.strategy import Strategy
from deeplab.preparation.cache import use_cache
from deeplab.protocol import protocol
from deeplab.records import (
    TRAIN_AGAIN,
    RunFolder,
    file_hash,
    locked,
    provenance,
    read_json,
    read_record,
    run_hash,
    write_config,
)
from deeplab.results import percent, print_scores, print_skipped, quiet, score_report
from deeplab.starting import find_start, start_record
from deeplab.training.callbacks import ExamplePictures, StopBetweenSteps, StopWhenLost
from deeplab.training.loggers import build_loggers, finish, publish_examples, publish_result
from deeplab.training.module import Recipe, SegmentationModule
from deeplab.training.trainer import build_trainer
from deeplab.weights import load_backbone, save_weights, start_from

EXAMPLES = 6
"""Validation images that are painted."""


def run_experiment(config: TrainConfig) -> RunFolder:
    """Train, or continue, or find it done; returns the run's folder."""
    execution = build_execution(config.trainer)
    _check_devices(config, execution)
    layout = data_layout(config.data)
    data = build_data(config, layout, workers=execution.workers)
    for dataset in (data.train_set, data.val_set):
        check_split(dataset)
    _warn_of_overlap(data)
    fingerprint = data_fingerprint(config.data, layout)
    identity = run_hash(config, fingerprint, start_record(config)["start_weights"])
    folder = RunFolder(Path(config.runs) / f"{config.name}-{identity}")
    _check_resumed(config, folder)
    main_process = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if folder.finished and not config.restart:
        if main_process:
            _say_finished(folder)
        return folder
    if main_process and config.restart:
        _set_aside(folder)
    with locked(folder) if main_process else nullcontext(), _failure_kept(folder):
        _start(config, execution, data, folder, fingerprint)
    return folder


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
    config: TrainConfig,
    execution: Execution,
    data: SegmentationData,
    folder: RunFolder,
    fingerprint: str,
) -> None:
    """Write down what starts here, then train."""
    first_step, logger = _first_step(folder), config.logger
    record = labelled(read_record(folder), logger.group, logger.tags)
    record |= {"data": fingerprint, **start_record(config)}
    record["starts"].append({"from_step": first_step, **provenance(), "machine": vars(execution)})
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        write_config(folder.config, config)
        write_json(folder.record, record)
        print(f"Run folder: {folder.path}" + (f" (from step {first_step})" if first_step else ""))
        print(f"Machine:    {execution}")
    if config.data.cache:
        for dataset in (data.train_set, data.val_set):
            use_cache(dataset, config.data.cache, workers=cores(), progress=config.trainer.progress)
    _train(config, execution, data, folder, record=record, first_step=first_step)


def _warn_of_overlap(data: SegmentationData) -> None:
    """The doctor calls it an error; here a person may want it, as in training on trainval."""
    shared = sorted(set(data.train_set.ids) & set(data.val_set.ids))
    if shared and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        problem, _ = in_two_splits(data.train_split, data.val_split)
        more = f", and {len(shared) - 1} more" if len(shared) > 1 else ""
        print(f"Warning: {shared[0]}{more}: {problem}.")


def _check_devices(config: TrainConfig, execution: Execution) -> None:
    if config.stage.batch_size % execution.devices:
        raise UserError(
            f"stage.batch_size={config.stage.batch_size}: it counts the images of all devices and "
            f"is to be a multiple of trainer.devices ({execution.devices})."
        )


def _check_resumed(config: TrainConfig, folder: RunFolder) -> None:
    """A run that was named is continued, or nothing is."""
    if config.resume and folder.path.resolve() != Path(config.resume).resolve():
        raise UserError(
            f"resume={config.resume}: with its settings and these images the run would be "
            f"{folder.path}. Has the folder been renamed, or have the split lists changed?"
        )


def _train(
    config: TrainConfig,
    execution: Execution,
    data: SegmentationData,
    folder: RunFolder,
    *,
    record: dict[str, Any],
    first_step: int,
) -> None:
    quiet()
    seed_everything(config.seed, verbose=False)
    module = _build_module(config, execution, data.classes.palette)
    if not first_step:
        _load_start(module, config)
    class_names = config.data.classes
    loggers = build_loggers(
        config.logger,
        folder,
        class_names=class_names,
        resolved=plain(config),
        record=record,
        first_step=first_step,
    )
    pictures = ExamplePictures(
        spread(data.val_set.ids, EXAMPLES),
        class_names,
        data.classes.palette,
        folder.picture,
        publish=[partial(publish_examples, loggers, class_names)],
    )
    if execution.accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()  # a job of a sweep has one before it
    timer, stop = Timer(), StopBetweenSteps(folder.last)
    lost = StopWhenLost(config.trainer.log_every, _if_lost(config, execution))
    trainer = build_trainer(config, execution, folder, loggers, [timer, lost, pictures, stop])
    try:
        with stop.listening():
            trainer.fit(module, data, ckpt_path=str(folder.last) if first_step else None)
        trainer.save_checkpoint(folder.last)
        if module.scored_step != config.stage.steps:  # the result is that of the last step
            trainer.validate(module, data, verbose=False)
        assert module.scores is not None
        if trainer.is_global_zero:
            _write_result(config, data, folder, module, timer.time_elapsed("train"))
            publish_result(loggers, read_json(folder.result))
            print_scores(module.scores, class_names)
            print_skipped(data.skipped)
            _say_where(folder)
    finally:
        finish(loggers)


def _if_lost(config: TrainConfig, execution: Execution) -> str:
    """What to try when the loss is not finite."""
    tries = [f"a smaller stage.lr (now {config.stage.lr:g})"]
    if config.stage.slow_start == "constant":
        tries.append("a warm-up (stage.slow_start=linear stage.slow_start_steps=...)")
    if config.stage.gradient_clip is None:
        tries.append("stage.gradient_clip=1.0")
    if execution.precision != "32-true":
        tries.append(f"trainer.precision=32-true (now {execution.precision}; with restart=true)")
    return f"Try {', or '.join(tries)}."


def _load_start(module: SegmentationModule, config: TrainConfig) -> None:
    """Give the new network its first weights, and say where they are from."""
    start, network = find_start(config), module.model
    if start is None:
        said = [f"random weights{_better(config)}"]
    else:
        if start.key == "init_from":
            fit = start_from(network, start.path, strict=config.init_strict)
        else:
            fit = load_backbone(network.backbone, start.path)
        what = "loaded" if start.key == "init_from" else "the backbone"
        about = f", {start.about}" if start.about else ""
        said = [start.source, f"SHA-256 {file_hash(start.path)}{about}", f"{what}: {fit}"]
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print("Start:      " + "\n            ".join(said))


def _better(config: TrainConfig) -> str:
    """What the paper's trainings start from, where it can be had for this backbone."""
    with suppress(UserError):
        published(config.backbone)
        return f" (the paper's start from ImageNet's: backbone.pretrained={IMAGENET})"
    return ""


def _build_module(
    config: TrainConfig, execution: Execution, palette: NDArray[np.uint8]
) -> SegmentationModule:
    return SegmentationModule(
        build_model(config, num_classes=len(config.data.classes)),
        Recipe(**keywords(config.stage, without=("batch_size",))),
        config.data.classes,
        palette=palette[: len(config.data.classes)].tolist(),
        seed=config.seed,
        channels_last=execution.channels_last,
        compiled=execution.compiled,
        fused_optimiser=execution.fused_optimiser,
    )


def _write_result(
    config: TrainConfig,
    data: SegmentationData,
    folder: RunFolder,
    module: SegmentationModule,
    seconds: float,
) -> None:
    """Weights first, then ``metrics.json``: a run with a result has all its files."""
    final = module.scores
    assert final is not None
    classes = {"names": list(module.class_names), "palette": module.palette}
    save_weights(module.result, folder.weights, {"classes": json.dumps(classes)})
    write_json(
        folder.result,
        {
            "run": folder.path.name,
            **score_report(final, config.data.classes),
            "protocol": protocol(
                split=data.val_split,
                images=len(data.val_set),
                content=data.val_set.content(),
                classes=config.data.classes,
                padded_to=padded_to(config.data),
                strategy=Strategy(config.output_stride),
                precision=str(module.trainer.precision),
            ),
            "weights": "moving average" if config.stage.ema_decay else "last step",
            "weights_sha256": file_hash(folder.weights),
            "skipped_files": dict(data.skipped),
            "steps": config.stage.steps,
            "seconds": round(seconds, 1),  # validations included, over all starts
            "peak_memory": _peak_memory(module),
        },
    )


def _peak_memory(module: SegmentationModule) -> int | None:
    """Bytes that PyTorch has allocated on the main process's GPU, at most, since the last start."""
    return torch.cuda.max_memory_allocated() if module.device.type == "cuda" else None


def _first_step(folder: RunFolder) -> int:
    """The step of the last checkpoint; 0 without one."""
    if not folder.last.is_file():
        return 0
    try:
        return int(torch.load(folder.last, mmap=True, weights_only=True)["global_step"])
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{folder.last}: this cannot be read ({error}); {TRAIN_AGAIN}.") from None


def _set_aside(folder: RunFolder) -> None:
    if folder.path.exists():
        with locked(folder):  # not under a process that trains in it
            print(f"The run there was is now {folder.set_aside()}")


def _say_finished(folder: RunFolder) -> None:
    miou = read_json(folder.result).get("mIoU")
    print(f"This run is finished: mIoU {percent(miou)}. Nothing to do.")
    _say_where(folder)
    print("  restart=true trains it again; another seed=... makes another run.")


def _say_where(folder: RunFolder) -> None:
    print(f"  picture     {folder.picture}")
    print(f"  metrics     {folder.result}, {folder.metrics_csv.name}")
    print(f"  weights     {folder.weights}")
    print(f"  checkpoint  {folder.last}")
    offline = folder.path / "wandb" / "offline-run-*"
    if any(folder.path.glob("wandb/offline-run-*")):
        print(f"  W&B         offline; upload it with: wandb sync {offline}")
