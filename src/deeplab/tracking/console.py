"""Console output of a run: its scores, recorded and printed, without the libraries' messages."""

import logging
import warnings
from collections.abc import Mapping, Sequence

from deeplab.metrics.definitions import format_percent
from deeplab.tracking.result import BoundaryResult, Result
from deeplab.utils.program import command
from deeplab.utils.text import pluralize
from deeplab.utils.text_table import Column, TextTable


def print_scores(result: Result) -> None:
    """Print the IoU of each class and the main score, in percent."""
    columns = [Column("class"), Column("IoU, %", number=True, format=format_percent)]
    main = result.main_metric
    rows = [*result.class_IoU.items(), (main.label, result.value(main.key))]
    print(f"\n{TextTable.from_values(columns, rows).as_text()}\n")


def print_errors(result: Result) -> None:
    """Print the scores of a classifier, in percent."""
    for metric in result.metrics:
        print(f"{metric.label} {format_percent(result.value(metric.key)):>6} %")
    print()


def print_comparison(results: Sequence[Result]) -> None:
    """Print a table with a column for each result: IoU of each class, then the other scores.

    All scores are in percent.
    """
    scored = [result for result in results if result.scored]
    if not scored:
        print("\nThese images have no masks: predictions only, no scores.\n")
        return
    rows = [(name, *(r.class_IoU.get(name) for r in scored)) for name in scored[0].class_IoU]
    rows += [(m.label, *(r.value(m.key) for r in scored)) for m in scored[0].metrics]
    boundaries = [result.boundary or BoundaryResult() for result in scored]
    main = scored[0].main_metric
    for width in (band.width for band in boundaries[0].bands):
        bands = [next((b for b in r.bands if b.width == width), None) for r in boundaries]
        title = f"{main.label} within {width:g} px of borders"
        rows.append((title, *(b.scores.get(main.key) if b else None for b in bands)))
    names = [result.protocol.strategy.name for result in scored]
    columns = [Column(name, number=True, format=format_percent) for name in names]
    print(f"\n{TextTable.from_values([Column('score, %'), *columns], rows).as_text()}")
    with_borders, protocol = boundaries[0].images_with_borders, scored[0].protocol
    borders = "labeled 255" if protocol.bands != "label borders" else "between classes"
    if not with_borders:
        print(f"No mask has borders {borders}, so there are no bands around them to score.")
    elif with_borders < protocol.images or protocol.bands == "label borders":
        print(
            f"{with_borders} of {protocol.images} masks have borders {borders}; the bands are "
            "measured from these."
        )
    print()


def print_skipped(skipped: Mapping[str, int]) -> None:
    """Print the bad files that ``data.on_error=skip`` left out."""
    if skipped:
        total = pluralize(sum(skipped.values()), "time")
        print(f"Skipped {pluralize(len(skipped), 'bad file')}, {total}:")
        for path, times in sorted(skipped.items())[:10]:
            print(f"  {path} ({times})")
        if len(skipped) > 10:
            print(f"  and {len(skipped) - 10} more; {command('prepare')} check=true lists all")


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
