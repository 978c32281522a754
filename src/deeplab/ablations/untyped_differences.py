"""Settings that differ between the variants of a sweep, although nobody typed them.

A choice of a group may bring settings of other groups, such as a backbone its weight decay.
"""

from collections.abc import Sequence

from deeplab.ablations.distinct_jobs import Job
from deeplab.ablations.tables import row_numbers
from deeplab.tracking.run_identity import flat_result_settings
from deeplab.utils.constants import TARGET
from deeplab.utils.text import name_some

OF_INPUT = ("backbone.mean", "backbone.std")
"""Keys of a backbone's choice that are named too: they are no architecture."""

MAX_KEYS = 6
"""Number of settings of a row that are named."""


def untyped_differences(table: str, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Return a line for each group of rows in which of these settings they differ from the first.

    Rows of table files have none: their overrides are all written there.

    Args:
        table: name of the table.
        jobs: jobs of all tables.
    """
    rows: dict[int, tuple[Job, tuple[str, ...]]] = {}
    for job in jobs:
        for evaluation in job.row_evaluations:
            if evaluation.table == table and evaluation.variant:
                rows.setdefault(evaluation.row, (job, evaluation.variant))
    if len(rows) < 2 or 1 not in rows:
        return ()
    first = flat_result_settings(rows[1][0].config)
    numbers: dict[str, list[int]] = {}
    for number, (job, variant) in sorted(rows.items()):
        typed = [_tree(override) for override in variant]
        settings = flat_result_settings(job.config)
        changes = [
            f"{key} is {settings.get(key, 'unset')} (row 1: {first.get(key, 'unset')})"
            for key in dict.fromkeys([*first, *settings])
            if first.get(key) != settings.get(key) and not _is_typed(key, typed)
        ]
        if changes:
            numbers.setdefault(name_some(changes, MAX_KEYS), []).append(number)
    return tuple(
        f"{row_numbers(found)}, beside what was typed: {changes}."
        for changes, found in numbers.items()
    )


def _tree(override: str) -> str:
    """Return the key of an override, or the group of which it chooses a class."""
    return override.lstrip("+~").partition("=")[0].removesuffix(f".{TARGET}")


def _is_typed(key: str, typed: Sequence[str]) -> bool:
    """Return True for a typed key, and for one of a group of which a choice was typed."""
    if key in OF_INPUT:
        return key in typed
    return key == "seed" or any(f"{key}.".startswith(f"{tree}.") for tree in typed)
