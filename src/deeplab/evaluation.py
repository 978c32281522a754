"""Scores of a trained network at any output stride, on whole images."""

from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from deeplab.assemble import build_data, build_execution, build_recipe
from deeplab.builder import build_model
from deeplab.config import EvaluateConfig, TrainConfig
from deeplab.datasets import data_layout
from deeplab.errors import UserError
from deeplab.files import write_json
from deeplab.module import SegmentationModule
from deeplab.records import RunFolder, provenance, read_config
from deeplab.results import print_scores, print_skipped, protocol, quiet, score_report
from deeplab.weights import load_weights


def run_evaluation(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate a run, print the scores and keep them in the run's folder; returns the record."""
    folder = RunFolder.find(config.run, key="run")
    weights = folder.weights_file(Path(config.run).expanduser())
    if weights is None:
        raise UserError(f"run={config.run}: this run has neither weights nor a checkpoint yet.")
    run = _as_asked(read_config(folder), config)
    only_this = {"devices": 1, "compile": False}  # sizes vary, and each image counts once
    execution = build_execution(config.trainer.model_copy(update=only_this))
    data = build_data(run, data_layout(run.data), workers=execution.workers)
    module = SegmentationModule(
        build_model(run, num_classes=len(run.data.classes)),
        build_recipe(run.stage),
        run.data.classes,
        channels_last=execution.channels_last,
    )
    load_weights(module.model, weights)
    quiet()
    print(f"Weights: {weights}")
    print(f"Machine: {execution}")
    trainer = Trainer(
        accelerator=execution.accelerator,
        devices=1,
        precision=execution.precision,  # type: ignore[arg-type]
        logger=False,
        callbacks=[TQDMProgressBar()] if config.trainer.progress else [],
        enable_progress_bar=config.trainer.progress,
        enable_model_summary=False,
    )
    trainer.validate(module, data, verbose=False)
    assert module.scores is not None
    record = {
        "run": folder.path.name,
        "weights": str(weights.relative_to(folder.path)),
        **score_report(module.scores, run.data.classes),
        "protocol": protocol(data, run, execution.precision),
        "skipped_files": dict(data.skipped),
        **provenance(),
    }
    target = (
        folder.path
        / "evaluations"
        / f"{run.data.val_split}-{weights.stem}-os{run.output_stride}.json"
    )
    write_json(target, record)
    print_scores(module.scores, run.data.classes)
    print_skipped(data.skipped)
    print(f"  record      {target}")
    return record


def _as_asked(run: TrainConfig, config: EvaluateConfig) -> TrainConfig:
    """The run's config with the output stride, split and place of the images that were named."""
    if config.data.root and not Path(config.data.root).expanduser().is_dir():
        raise UserError(f"data.root={config.data.root}: this folder does not exist.")
    data = run.data.model_copy(
        update={
            "val_split": config.split or run.data.val_split,
            "root": config.data.root or run.data.root,
        }
    )
    output_stride = config.output_stride or run.output_stride
    return run.model_copy(update={"data": data, "output_stride": output_stride})
