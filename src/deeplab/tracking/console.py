"""Console output of a run: its scores, recorded and printed, without the libraries' messages."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab.metrics.confusion_matrix import Scores
from deeplab.metrics.percent import UNIT, to_percent
from deeplab.metrics.topk import TopKErrors
from deeplab.utils.text_table import Column, TextTable


def score_report(final: Scores, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return the scores by name; a class that occurs nowhere has no score."""
    ious = map(to_percent, final.class_iou)
    return {
        "unit": UNIT,
        "mIoU": to_percent(final.miou),
        "pixel_accuracy": to_percent(final.pixel_accuracy),
        "class_IoU": dict(zip(class_names, ious, strict=True)),
    }


def print_scores(final: Scores, class_names: Sequence[str]) -> None:
    """Print the IoU of each class and their mean, in percent."""
    columns = [Column("class"), Column("IoU, %", number=True, format=format_percent)]
    scores = zip((*class_names, "mIoU"), (*final.class_iou, final.miou), strict=True)
    rows = [(name, to_percent(score)) for name, score in scores]
    print(f"\n{TextTable.from_values(columns, rows).as_text()}\n")


def error_report(errors: TopKErrors) -> dict[str, Any]:
    """Return the classification errors by name."""
    return {
        "unit": UNIT,
        "top1_error": to_percent(errors.top1),
        "top5_error": to_percent(errors.top5),
    }


def print_errors(errors: TopKErrors) -> None:
    """Print the top-1 and top-5 error, in percent."""
    for name, error in (("top-1", errors.top1), ("top-5", errors.top5)):
        print(f"{name} error {format_percent(to_percent(error)):>6} %")
    print()


def format_main_score(result: Mapping[str, Any]) -> str:
    """Return the main score of a ``metrics.json`` as text."""
    if "top1_error" in result:
        return f"top-1 error {format_percent(result['top1_error'])} %"
    return f"mIoU {format_percent(result.get('mIoU'))} %"


def print_comparison(records: Sequence[Mapping[str, Any]]) -> None:
    """Print a table with a column for each result: IoU of each class, then the other scores.

    All scores are in percent.
    """
    scored = [record for record in records if record["scored"]]
    if not scored:
        print("\nThese images have no masks: predictions only, no scores.\n")
        return
    names = list(scored[0]["class_IoU"])
    rows = [(name, *(r["class_IoU"][name] for r in scored)) for name in names]
    rows.append(("mIoU", *(r["mIoU"] for r in scored)))
    rows.append(("pixel accuracy", *(r["pixel_accuracy"] for r in scored)))
    rows.append(("boundary IoU", *(r["boundary"]["boundary_IoU"] for r in scored)))
    rows.append(("boundary F", *(r["boundary"]["boundary_F"] for r in scored)))
    for i, band in enumerate(scored[0]["boundary"]["bands"]):
        title = f"mIoU within {band['width']:g} px of borders"
        rows.append((title, *(r["boundary"]["bands"][i]["mIoU"] for r in scored)))
    strategies = [record["protocol"]["strategy"]["name"] for record in scored]
    columns = [Column(name, number=True, format=format_percent) for name in strategies]
    print(f"\n{TextTable.from_values([Column('score, %'), *columns], rows).as_text()}")
    with_borders = scored[0]["boundary"]["images_with_borders"]
    images = scored[0]["protocol"]["images"]
    if not with_borders:
        print("No mask has borders labeled 255, so there are no bands around them to score.")
    elif with_borders < images:
        print(
            f"{with_borders} of {images} masks have borders labeled 255; the bands are scored on "
            "these only."
        )
    print()


def print_skipped(skipped: Mapping[str, int]) -> None:
    """Print the bad files that ``data.on_error=skip`` left out."""
    if skipped:
        print(f"Skipped {len(skipped)} bad files {sum(skipped.values())} times:")
        for path, times in sorted(skipped.items())[:10]:
            print(f"  {path} ({times})")
        if len(skipped) > 10:
            print(f"  and {len(skipped) - 10} more; python src/prepare.py check=true lists all")


def format_percent(value: float | None) -> str:
    """Return a score in percent as text; a dash if there is none."""
    return "-" if value is None or value != value else f"{value:.2f}"


def silence_library_messages() -> None:
    """Turn off the libraries' messages that do not help a reader of the run's output."""
    for name in ("lightning.pytorch", "lightning.fabric", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists.*",
        ".*dataloader is not resumable.*",  # it is resumable: deeplab.data.samplers
        ".*treespec.*",
        ".*in eval mode at the start.*",  # frozen batch norms, moving average of the weights
        ".*sync_dist=True.*",  # the scores come from one matrix, summed over the devices
    ):
        warnings.filterwarnings("ignore", message=message)
