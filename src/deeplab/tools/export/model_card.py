"""Model card: architecture, training and scores of a network, from the run's record.

It reports only scores that were measured with the weights that it accompanies.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from deeplab.checkpoints.run_weights import weights_hash
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.schema.model import AsppSettings, DecoderSettings
from deeplab.config.schema.run import TrainConfig
from deeplab.evaluation.evaluation_folder import run_evaluations
from deeplab.metrics.definitions import SEGMENTATION, format_percent
from deeplab.tools.export.metadata import describe_input
from deeplab.tools.export.sample_images import open_images
from deeplab.tracking.evaluation_protocol import differences
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import OVERWRITE_HINT
from deeplab.tracking.run_record import RunRecord, Session, read_record
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.templates import render_template
from deeplab.utils.text import printable
from deeplab.utils.text_table import Column, TextTable

DATASETS = {
    "voc": ("pascal-voc-2012", "PASCAL VOC 2012"),
    "coco": ("coco-2017", "COCO 2017"),
    "cityscapes": ("cityscapes", "Cityscapes"),
}
"""Ids and titles of data sets on the hub by the name of their layout."""


def model_card(
    trained: TrainedRun,
    run: TrainConfig,
    *,
    parameters: int,
    hub_id: str,
    graph: Path | None,
    license: str | None,
) -> ModelCard:
    """Return a repository's README.md.

    Args:
        trained: the run and its file of weights.
        run: the run's config with the images of this machine.
        parameters: number of trainable parameters.
        hub_id: id of the repository on the hub, ``USER/NAME``.
        graph: an ONNX file or ``torch.export`` program in the repository.
        license: license of the weights.
    """
    results = measured_results(trained)
    name = trained.folder.path.resolve().name
    text = render_template(
        "deeplab.tools.export",
        "model_card.md",
        metadata=_metadata(trained.config, results, name, license).to_yaml(),
        name=name,
        parameters=parameters,
        hub_id=hub_id,
        graph=graph.name if graph else "",
        input=describe_input(run.data.pixel_format),
        run=trained.config,
        **_architecture(trained.config),
        **_scores(results),
        **_training(trained, run),
    )
    return ModelCard(text)  # reads the metadata back


def measured_results(trained: TrainedRun) -> Sequence[Result]:
    """Return the results that were measured with these weights.

    These are the evaluations of the run, preceded by the validation at the end of training unless
    an evaluation has the same protocol.
    """
    weights = weights_hash(trained.weights)
    evaluations = [evaluation.result for evaluation in run_evaluations(trained.folder)]
    results = [r for r in evaluations if r.scored and r.is_of_weights(weights)]
    if trained.folder.finished:
        final = Result.read(trained.folder.result, f"{OVERWRITE_HINT}.")
        if final.is_of_weights(weights) and not any(
            not differences(r.protocol, final.protocol) for r in results
        ):
            results.insert(0, final)
    return results


def _metadata(
    run: TrainConfig, results: Sequence[Result], name: str, license: str | None
) -> ModelCardData:
    """Return the metadata that the hub indexes."""
    dataset, title = DATASETS.get(run.data.name, (None, run.data.name))
    scores = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=dataset or run.data.name,
            dataset_name=title,
            dataset_split=printable(result.protocol.split),
            metric_type="mean_iou",
            metric_name=f"mIoU in percent ({printable(result.protocol.strategy.label)})",
            metric_value=round(result.miou, 4),
        )
        for result in results
        if result.miou is not None
    ]
    return ModelCardData(
        license=license,
        library_name="deeplab",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "deeplabv3plus", run.backbone.family, "pytorch"],
        datasets=[dataset] if dataset else None,
        metrics=["mean_iou"],
        model_name=name if scores else None,
        eval_results=scores or None,
    )


HIDDEN_KEYS = {
    "family",
    "pretrained",
    "mean",
    "std",
    "weight_init",
    "bn_eps",
    "bn_momentum",
    "weight_decay",
}
"""Keys of a backbone that the card leaves out: not architecture, or of no interest to readers."""


def _architecture(run: TrainConfig) -> dict[str, str]:
    return {
        "backbone": ", ".join(f"{key} {v}" for key, v in run.backbone if key not in HIDDEN_KEYS),
        "aspp": _describe_own(run.aspp)
        if isinstance(run.aspp, OwnCode)
        else _describe_aspp(run.aspp),
        "decoder": _describe_own(run.decoder)
        if isinstance(run.decoder, OwnCode)
        else _describe_decoder(run.decoder),
    }


def _describe_own(node: OwnCode) -> str:
    arguments = ", ".join(f"{key} {value}" for key, value in node.arguments.items())
    return f"{node.target} ({arguments})" if arguments else node.target


def _describe_aspp(aspp: AsppSettings) -> str:
    rates = ", ".join(map(str, aspp.atrous_rates or ()))
    atrous = f"atrous rates {rates} at output stride 16" if rates else "no atrous branches"
    options = {"image pooling": aspp.image_pooling, "separable": aspp.separable}
    return ", ".join([atrous, f"{aspp.channels} channels", *(k for k, v in options.items() if v)])


def _describe_decoder(decoder: DecoderSettings) -> str:
    if not decoder.low_level:
        return "none, bilinear upsampling as in DeepLabv3"
    convs = ", ".join(f"{kernel}x{kernel} {channels}" for kernel, channels in decoder.convs)
    channels = decoder.low_level_channels
    reduced = f"reduced to {channels} channels" if channels else "as they are"
    return (
        f"low-level features {', '.join(decoder.low_level)} {reduced}, then "
        f"{convs or 'no'} convolutions{', separable' if decoder.separable else ''}"
    )


def _scores(results: Sequence[Result]) -> dict[str, Any]:
    """Return a table of the results and one of the class IoUs, with a column per result."""
    if not results:
        return {"scores": None}
    protocols = [result.protocol for result in results]
    columns = [
        Column("Split, inference strategy"),
        Column("Images", number=True),
        *(Column(m.label, number=True, format=format_percent) for m in SEGMENTATION),
        Column("Precision"),
        Column("Padded to"),
        Column("Hash"),
    ]
    rows = [
        (
            f"{p.split}, {p.strategy.label}",
            p.images,
            *(result.value(metric.key) for metric in SEGMENTATION),
            p.precision,
            " x ".join(map(str, p.padded_to or ())),
            p.content,
        )
        for p, result in zip(protocols, results, strict=True)
    ]
    names = [f"{p.split}, {p.strategy.name}" for p in protocols]
    class_columns = [Column(name, number=True) for name in names]
    class_rows = [
        (name, *(format_percent(result.class_IoU.get(name)) for result in results))
        for name in results[0].class_IoU
    ]
    return {
        "ignored_label": protocols[0].ignored_label,
        "scores": TextTable.from_values(columns, rows),
        "class_scores": TextTable.from_values([Column("IoU"), *class_columns], class_rows),
    }


def _training(trained: TrainedRun, run: TrainConfig) -> dict[str, Any]:
    """Return data, recipe, initial weights and versions, as far as the run recorded them."""
    record = read_record(trained.folder)
    source = run.init_from or run.backbone.pretrained
    session = record.sessions[-1] if record.sessions else Session()
    versions = [f"{name} {version}" for name, version in session.versions.items() if version]
    return {
        "training_images": _training_images(run, record),
        "recipe": ", ".join(f"{key} {value}" for key, value in run.stage if value is not None),
        "init_weights": Path(source).name if source and record.init_weights_sha256 else "random",
        "init_sha256": record.init_weights_sha256,
        "session": session,
        "versions": ", ".join(versions),
        "sha256": weights_hash(trained.weights),
    }


def _training_images(run: TrainConfig, record: RunRecord) -> str:
    """Return the recorded fingerprint of the training images, and their number if unchanged."""
    if not record.data_fingerprint:
        return ""
    recorded = record.data_fingerprint.partition("-")[0]
    text = f", fingerprint {recorded}"
    split = run.data.train_split
    try:
        layout = open_images(run).layout
        unchanged = layout.fingerprint(split) == recorded
    except UserError:
        return text
    return f", {layout.num_images(split):,} images{text}" if unchanged else text
