"""Model card: architecture, training and scores of a network, from the run's record.

It reports only scores that were measured with the weights that it accompanies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_data import data_layout
from deeplab.config.schema.run import TrainConfig
from deeplab.data.layouts.base import fingerprint, split_items
from deeplab.tracking.console import format_percent
from deeplab.tracking.evaluation_protocol import differences
from deeplab.tracking.run_folder import read_json, read_record
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash

DATASETS = {"voc": "pascal-voc-2012", "coco": "coco-2017", "cityscapes": "cityscapes"}
"""Data sets on the hub by the name of their layout."""

Result = Mapping[str, Any]


def model_card(
    trained: TrainedRun, *, parameters: int, hub_id: str, graph: Path | None, license: str | None
) -> str:
    """Return the Markdown of a repository's README.md.

    Args:
        trained: the run and its file of weights.
        parameters: number of trainable parameters.
        hub_id: id of the repository on the hub, ``USER/NAME``.
        graph: an ONNX file or ``torch.export`` program in the repository.
        license: license of the weights.
    """
    results = measured_results(trained)
    name = trained.folder.path.resolve().name
    front_matter = _front_matter(trained, results, name, license)
    head = yaml.safe_dump(front_matter, sort_keys=False)
    parts = [
        f"---\n{head}---\n\n# {name}",
        _architecture(trained.config, parameters),
        _usage(hub_id, graph),
        _scores(results),
        _training(trained),
    ]
    return "\n\n".join(parts) + "\n"


def measured_results(trained: TrainedRun) -> Sequence[Result]:
    """Return the results that were measured with these weights.

    These are the evaluations of the run, preceded by the validation at the end of training unless
    an evaluation has the same protocol.
    """
    weights = file_hash(trained.weights)
    paths = sorted(trained.folder.evaluations.glob("*/result.json"))
    records = [read_json(path) for path in paths]
    results = [r for r in records if r.get("scored") and r.get("weights_sha256") == weights]
    if trained.folder.finished:
        final = read_json(trained.folder.result)
        if final.get("weights_sha256") == weights and not any(
            not differences(r["protocol"], final["protocol"]) for r in results
        ):
            results.insert(0, final)
    return results


def _front_matter(
    trained: TrainedRun, results: Sequence[Result], name: str, license: str | None
) -> dict[str, Any]:
    """Return the metadata that the hub indexes."""
    data = trained.config.data
    dataset = DATASETS.get(data.name)
    backbone = trained.config.backbone.family
    head: dict[str, Any] = {"license": license} if license else {}
    head |= {
        "library_name": "deeplab",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "deeplabv3plus", backbone, "pytorch"],
        "datasets": [dataset] if dataset else [],
        "metrics": ["mean_iou"],
    }
    if results:
        entries = [_index_entry(result, data.name) for result in results]
        head["model-index"] = [{"name": name, "results": entries}]
    return {key: value for key, value in head.items() if value}


def _index_entry(result: Result, data: str) -> dict[str, Any]:
    """Return a result in the format of the hub's index."""
    protocol = result["protocol"]
    return {
        "task": {"type": "image-segmentation"},
        "dataset": {"type": data, "name": DATASETS.get(data, data), "split": protocol["split"]},
        "metrics": [
            {
                "type": "mean_iou",
                "value": round(result["mIoU"], 4),
                "name": f"mIoU ({protocol['strategy']['label']})",
            }
        ],
    }


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


def _architecture(run: TrainConfig, parameters: int) -> str:
    backbone = ", ".join(f"{key} {value}" for key, value in run.backbone if key not in HIDDEN_KEYS)
    aspp, decoder = run.aspp, run.decoder
    rates = ", ".join(map(str, aspp.atrous_rates))
    atrous = f"atrous rates {rates} at output stride 16" if rates else "no atrous branches"
    convs = ", ".join(f"{kernel}x{kernel} {channels}" for kernel, channels in decoder.convs)
    decoding = (
        f"low-level features {', '.join(decoder.low_level)} reduced to "
        f"{decoder.low_level_channels} channels, then {convs or 'no'} convolutions"
        f"{', separable' if decoder.separable else ''}"
        if decoder.low_level
        else "none, bilinear upsampling as in DeepLabv3"
    )
    classes = run.data.classes
    return (
        "A DeepLabv3+ network ([Chen et al. 2018](https://arxiv.org/abs/1802.02611)) for semantic "
        f"segmentation, with {parameters:,} parameters and {len(classes)} classes.\n\n"
        f"- Backbone: {run.backbone.family} ({backbone})\n"
        f"- ASPP: {atrous}, {aspp.channels} channels"
        f"{', image pooling' if aspp.image_pooling else ''}"
        f"{', separable' if aspp.separable else ''}\n"
        f"- Decoder: {decoding}\n"
        f"- Output stride in training: {run.output_stride}\n"
        f"- Classes: {', '.join(classes)}"
    )


def _usage(hub_id: str, graph: Path | None) -> str:
    commands = (
        f"python src/predict.py run={hub_id} input=photo.jpg\n"
        f"python src/evaluate.py run={hub_id} data.root=/path/to/images\n"
        f"python src/train.py init_from={hub_id} ..."
    )
    text = f"## Usage\n\n```\n{commands}\n```"
    if graph is None:
        return text
    return text + (
        f"\n\n`{graph.name}` runs without this project. Its input `image` is a batch of RGB images "
        "of any size, uint8 (batch, height, width, 3). Its output `classes` holds a class index "
        "for every pixel, uint8 (batch, height, width). The names and colors of the classes are in "
        "the file's metadata."
    )


def _scores(results: Sequence[Result]) -> str:
    """Return a table of the results and one of the class IoUs, with a column per result."""
    if not results:
        return "## Results\n\nThese weights have not been evaluated."
    rows = ["| Split, inference strategy | Images | mIoU | Pixel accuracy |", "|---|---|---|---|"]
    labels = [f"{r['protocol']['split']}, {r['protocol']['strategy']['label']}" for r in results]
    for label, result in zip(labels, results, strict=True):
        cells = (format_percent(result["mIoU"]), format_percent(result["pixel_accuracy"]))
        rows.append(f"| {label} | {result['protocol']['images']} | {' | '.join(cells)} |")
    first = results[0]["protocol"]
    rules = (
        f"Scores are in percent; {first['ignored_label']}. Images are padded to at least "
        f"{first['padded_to'][0]} x {first['padded_to'][1]} pixels and never resized. Precision: "
        f"{first['precision']}. Hash of the images and masks: {first['content']}."
    )
    names = [f"{r['protocol']['split']}, {r['protocol']['strategy']['name']}" for r in results]
    classes = [f"| IoU | {' | '.join(names)} |", f"|---|{'---|' * len(results)}"]
    for name in results[0]["class_IoU"]:
        values = (format_percent(result["class_IoU"].get(name)) for result in results)
        classes.append(f"| {name} | {' | '.join(values)} |")
    return "\n\n".join(("## Results", "\n".join(rows), rules, "\n".join(classes)))


def _training(trained: TrainedRun) -> str:
    """Return data, recipe, initial weights and versions, as far as the run recorded them."""
    run = trained.config
    record = read_record(trained.folder)
    stage, data = run.stage, run.data
    source = run.init_from or run.backbone.pretrained
    sha256 = record.get("init_weights_sha256")
    lines = [
        f"- Data: {data.name}, split {data.train_split}{_training_images(run, record)}",
        f"- Schedule: {stage.max_steps:,} steps with batches of {stage.batch_size} crops of "
        f"{data.crop_size} x {data.crop_size} pixels, seed {run.seed}",
        f"- Recipe: {', '.join(f'{key} {value}' for key, value in stage if value is not None)}",
        f"- Initial weights: {Path(source).name if source else 'random'}"
        + (f", SHA-256 {sha256}" if sha256 else ""),
    ]
    if record["sessions"]:
        last = record["sessions"][-1]
        versions = (f"{k} {v}" for k, v in last.get("versions", {}).items() if v)
        changed = " with uncommitted changes" if last.get("uncommitted_changes") else ""
        lines.append(f"- Code: commit {last.get('commit')}{changed}; {', '.join(versions)}")
    lines.append(f"- Final weights: SHA-256 {file_hash(trained.weights)}")
    return "## Training\n\n" + "\n".join(lines) + "\n\n`config.yaml` holds the full configuration."


def _training_images(run: TrainConfig, record: Mapping[str, Any]) -> str:
    """Return the recorded fingerprint of the training images, and their number if unchanged."""
    if not record.get("data_fingerprint"):
        return ""
    recorded = record["data_fingerprint"].partition("-")[0]
    text = f", fingerprint {recorded}"
    if not Path(run.data.root).expanduser().is_dir():
        return text
    try:
        items = split_items(data_layout(run.data), run.data.train_split)
    except UserError:
        return text
    return f", {len(items):,} images{text}" if fingerprint(items) == recorded else text
