"""IoU of each class: which classes a row wins or loses against its reference."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeplab.ablations.report.row_results import RowResult, TableResult
from deeplab.ablations.report.significance import class_differences, evaluations_of
from deeplab.ablations.report.statistics import ClassDifferences, FloatArray, Sampler
from deeplab.utils.text_table import Column, TextTable


class ClassScores(NamedTuple):
    """IoU of each class in a row, as fractions; nan for a class that does not occur."""

    row: RowResult
    iou: FloatArray
    """Mean over the runs of the row: ``(K,)``."""
    differences: ClassDifferences | None
    """Differences from the reference row; None without one."""


def class_scores(table: TableResult, condition: int, sampler: Sampler) -> list[ClassScores]:
    """Return the scores of the rows that have an evaluation, with the counts of its images."""
    found = []
    for row in table.rows:
        evaluations = evaluations_of(table.scored_under(row, condition))
        if evaluations and all(e.folder.images.is_file() for e in evaluations):
            iou = sampler.sample_classes(evaluations).scores.mean(0)
            differences = class_differences(table, row, condition, sampler)
            found.append(ClassScores(row, iou, differences))
    return found


def class_table(scores: Sequence[ClassScores], classes: Sequence[str]) -> TextTable:
    """Return a table for a CSV file, in percent and points: a line for each row and class."""
    columns = [
        Column("row"),
        Column("class"),
        Column("IoU"),
        Column("reference"),
        Column("difference"),
        Column("low"),
        Column("high"),
    ]
    lines = []
    for row, iou, differences in scores:
        compared = np.full((3, len(iou)), np.nan) if differences is None else np.stack(differences)
        reference = None if differences is None else row.reference
        for name, value, ends in zip(classes, iou, compared.T, strict=True):
            numbers = [None if np.isnan(x) else 100 * float(x) for x in (value, *ends)]
            lines.append((row.number, name, numbers[0], reference, *numbers[1:]))
    return TextTable.from_values(columns, lines)
