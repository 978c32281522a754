"""The Lightning trainer of a run."""

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from deeplab.config import TrainConfig
from deeplab.hardware import Execution
from deeplab.records import RunFolder
from deeplab.training.callbacks import RunProgress


def build_trainer(
    config: TrainConfig,
    execution: Execution,
    folder: RunFolder,
    loggers: list[Any],
    callbacks: list[Callback],
) -> Trainer:
    """A Lightning trainer for one stream of ``stage.steps`` batches."""
    steps = config.stage.steps
    best = ModelCheckpoint(
        folder.checkpoints,
        filename="best",
        monitor="val/mIoU",
        mode="max",
        save_on_train_epoch_end=False,  # behind every validation, however often there is one
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder.checkpoints,
        filename="last",
        every_n_train_steps=max(1, steps // config.trainer.checkpoints),
        enable_version_counter=False,
    )
    progress = [RunProgress(steps)] if config.trainer.progress else []
    return Trainer(
        accelerator=execution.accelerator,
        devices=execution.devices,
        strategy="ddp" if execution.devices > 1 else "auto",
        precision=execution.precision,  # type: ignore[arg-type]
        # Departure: the authors' code has no statistics in common. With 16 images over several
        # devices each would have too few. PyTorch has it for GPUs only.
        sync_batchnorm=execution.devices > 1 and execution.accelerator == "cuda",
        gradient_clip_val=config.stage.gradient_clip,
        max_epochs=1,
        max_steps=steps,
        val_check_interval=max(1, steps // max(1, config.trainer.validations)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=loggers,
        log_every_n_steps=min(steps, config.trainer.log_every),
        callbacks=[*callbacks, best, last, *progress],
        enable_progress_bar=config.trainer.progress,
        enable_model_summary=False,
        default_root_dir=str(folder.path),
    )
