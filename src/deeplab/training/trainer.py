"""Lightning trainer of a run."""

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from deeplab.config.schema.run import RunConfig
from deeplab.metrics.definitions import Metric
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.progress_bar import RunProgress
from deeplab.training.sync_batch_norm import SyncBatchNormPlugin
from deeplab.utils.hardware import Execution


def build_trainer(
    config: RunConfig,
    execution: Execution,
    folder: RunFolder,
    loggers: list[Any],
    callbacks: list[Callback],
    metric: Metric,
) -> Trainer:
    """Return a Lightning trainer for one stream of ``stage.max_steps`` batches."""
    steps = config.stage.max_steps
    best = ModelCheckpoint(
        folder.checkpoints,
        filename="best",
        monitor=f"val/{metric.key}",
        mode="max" if metric.higher_is_better else "min",
        save_on_train_epoch_end=False,  # after every validation instead
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder.checkpoints,
        filename="last",
        every_n_train_steps=max(1, steps // config.trainer.num_checkpoints),
        enable_version_counter=False,
    )
    gpu = execution.accelerator == "cuda"
    progress = [RunProgress(steps)] if config.trainer.enable_progress_bar else []
    return Trainer(
        accelerator=execution.accelerator,
        devices=execution.devices,
        strategy="ddp" if execution.devices > 1 else "auto",
        precision=execution.precision,  # type: ignore[arg-type]
        plugins=[SyncBatchNormPlugin(gpu=gpu)] if execution.devices > 1 else None,
        gradient_clip_val=config.stage.gradient_clip_val,
        max_epochs=1,
        max_steps=steps,
        val_check_interval=max(1, steps // max(1, config.trainer.num_validations)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=loggers,
        log_every_n_steps=min(steps, config.trainer.log_every_n_steps),
        callbacks=[*callbacks, best, last, *progress],
        enable_progress_bar=config.trainer.enable_progress_bar,
        enable_model_summary=False,
        default_root_dir=str(folder.path),
    )
