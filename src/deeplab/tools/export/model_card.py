"""A model card: what a network is, what it was trained on and how well it does, out of the run's
record. It claims nothing that was not measured with the very weights that it stands beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.build_data import data_layout
from deeplab.config.schema.run import TrainConfig
from deeplab.data.layouts.base import fingerprint, split_items
from deeplab.tracking.console import percent
from deeplab.tracking.protocol import differences
from deeplab.tracking.run_folder import read_json, read_record
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash

DATASETS = {"voc": "pascal-voc-2012", "coco": "coco-2017", "cityscapes": "cityscapes"}
"""Published data sets by the names of their layouts."""

Result = Mapping[str, Any]


def model_card(
    trained: TrainedRun, *, parameters: int, hub_id: str, graph: Path | None, license: str | None
) -> str:
    """The Markdown of a repository's README.md.

    Args:
        trained: the run and the file of weights.
        parameters: the network's trainable ones.
        hub_id: where the repository is or could be, ``USER/NAME``.
        graph: an ONNX file or program that lies in it too.
        license: of the weights.
    """
    found = results(trained)
    name = trained.folder.path.resolve().name
    head = yaml.safe_dump(_front_matter(trained, found, name, license), sort_keys=False)
    parts = [
        f"---\n{head}---\n\n# {name}",
        _network(trained.config, parameters),
        _use(hub_id, graph),
        _scores(found),
        _training(trained),
    ]
    return "\n\n".join(parts) + "\n"


def results(trained: TrainedRun) -> Sequence[Result]:
    """What was measured with these weights: evaluations, and the end of the training unless one of
    them is the same."""
    weights = file_hash(trained.weights)
    paths = sorted(trained.folder.evaluations.glob("*/result.json"))
    records = [read_json(path) for path in paths]
    found = [r for r in records if r.get("scored") and r.get("weights_sha256") == weights]
    if trained.folder.finished:
        end = read_json(trained.folder.result)
        if end.get("weights_sha256") == weights and not any(
            not differences(r["protocol"], end["protocol"]) for r in found
        ):
            found.insert(0, end)
    return found


def _front_matter(
    trained: TrainedRun, found: Sequence[Result], name: str, license: str | None
) -> dict[str, Any]:
    """What the hub indexes."""
    data = trained.config.data
    known = DATASETS.get(data.name)
    backbone = trained.config.backbone.family
    head: dict[str, Any] = {"license": license} if license else {}
    head |= {
        "library_name": "deeplab",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "deeplabv3plus", backbone, "pytorch"],
        "datasets": [known] if known else [],
        "metrics": ["mean_iou"],
    }
    if found:
        head["model-index"] = [{"name": name, "results": [_indexed(r, data.name) for r in found]}]
    return {key: value for key, value in head.items() if value}


def _indexed(result: Result, data: str) -> dict[str, Any]:
    """A result as the hub's index has them."""
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


NOT_SAID = {
    "family",
    "pretrained",
    "mean",
    "std",
    "weight_init",
    "bn_eps",
    "bn_momentum",
    "weight_decay",
}
"""Keys of a backbone that are no part of its architecture, or of no interest to a reader."""


def _network(run: TrainConfig, parameters: int) -> str:
    backbone = ", ".join(f"{key} {value}" for key, value in run.backbone if key not in NOT_SAID)
    aspp, decoder = run.aspp, run.decoder
    rates = ", ".join(map(str, aspp.atrous_rates)) or "no"
    convs = ", ".join(f"{kernel}x{kernel} {channels}" for kernel, channels in decoder.convs)
    refined = (
        f"{', '.join(decoder.low_level)} cut to {decoder.low_level_channels} channels, then "
        f"{convs or 'no convolution'}{', separable' if decoder.separable else ''}"
        if decoder.low_level
        else "naive (DeepLabv3)"
    )
    classes = run.data.classes
    return (
        "DeepLabv3+ ([Chen et al. 2018](https://arxiv.org/abs/1802.02611)): "
        f"{parameters:,} parameters, {len(classes)} classes.\n\n"
        f"- backbone: {run.backbone.family} ({backbone})\n"
        f"- ASPP: {rates} as rates at output stride 16, {aspp.channels} channels"
        f"{', image pooling' if aspp.image_pooling else ''}"
        f"{', separable' if aspp.separable else ''}\n"
        f"- decoder: {refined}\n"
        f"- output stride of training: {run.output_stride}\n"
        f"- classes: {', '.join(classes)}"
    )


def _use(hub_id: str, graph: Path | None) -> str:
    commands = (
        f"python src/predict.py run={hub_id} input=photo.jpg\n"
        f"python src/evaluate.py run={hub_id} data.root=/path/to/images\n"
        f"python src/train.py init_from={hub_id} ..."
    )
    text = f"## Use\n\n```\n{commands}\n```"
    if graph is None:
        return text
    return text + (
        f"\n\n`{graph.name}` runs without this project. Input `image`: uint8 (batch, height, "
        "width, 3), RGB; output `classes`: uint8 (batch, height, width); any size. Its metadata "
        "has names and colors of the classes."
    )


def _scores(found: Sequence[Result]) -> str:
    """The results, then the IoU of each class, a column each."""
    if not found:
        return "## Results\n\nNothing has been measured with these weights."
    rows = ["| | images | mIoU | pixel accuracy |", "|---|---|---|---|"]
    labels = [f"{r['protocol']['split']}, {r['protocol']['strategy']['label']}" for r in found]
    for label, result in zip(labels, found, strict=True):
        cells = (percent(result["mIoU"]), percent(result["pixel_accuracy"]))
        rows.append(f"| {label} | {result['protocol']['images']} | {' | '.join(cells)} |")
    first = found[0]["protocol"]
    rules = (
        f"In percent; {first['void']}. Images are padded to {first['padded_to'][0]} x "
        f"{first['padded_to'][1]} at least and never resized, precision {first['precision']}; "
        f"hash of the images and masks: {first['content']}."
    )
    names = [f"{r['protocol']['split']}, {r['protocol']['strategy']['name']}" for r in found]
    classes = [f"| IoU | {' | '.join(names)} |", f"|---|{'---|' * len(found)}"]
    for name in found[0]["class_IoU"]:
        values = (percent(result["class_IoU"].get(name)) for result in found)
        classes.append(f"| {name} | {' | '.join(values)} |")
    return "\n\n".join(("## Results", "\n".join(rows), rules, "\n".join(classes)))


def _training(trained: TrainedRun) -> str:
    """Data, recipe, start and versions, as far as the run's record has them."""
    run = trained.config
    record = read_record(trained.folder)
    stage, data = run.stage, run.data
    started = run.init_from or run.backbone.pretrained
    lines = [
        f"- data: {data.name}, split {data.train_split}{_counted(run, record)}",
        f"- {stage.max_steps:,} steps of {stage.batch_size} crops of {data.crop_size} x "
        f"{data.crop_size} pixels, seed {run.seed}",
        f"- recipe: {', '.join(f'{key} {value}' for key, value in stage if value is not None)}",
        f"- started from {Path(started).name if started else 'random weights'}"
        + (f", SHA-256 {record['start_weights']}" if record.get("init_weights_sha256") else ""),
    ]
    if record["sessions"]:
        last = record["sessions"][-1]
        versions = (f"{k} {v}" for k, v in last.get("versions", {}).items() if v)
        changed = " with uncommitted changes" if last.get("uncommitted_changes") else ""
        lines.append(f"- commit {last.get('commit')}{changed}; {', '.join(versions)}")
    lines.append(f"- weights: SHA-256 {file_hash(trained.weights)}")
    return "## Training\n\n" + "\n".join(lines) + "\n\n`config.yaml` has every key."


def _counted(run: TrainConfig, record: Mapping[str, Any]) -> str:
    """The number of training images, where they still are those of the record, and their hash."""
    if not record.get("data_fingerprint"):
        return ""
    known = record["data_fingerprint"].partition("-")[0]
    said = f", fingerprint {known}"
    if not Path(run.data.root).expanduser().is_dir():
        return said
    try:
        items = split_items(data_layout(run.data), run.data.train_split)
    except UserError:
        return said
    return f", {len(items):,} images{said}" if fingerprint(items) == known else said
