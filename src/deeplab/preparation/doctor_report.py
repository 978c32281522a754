"""The doctor's report: as text for the terminal, as Markdown, and as JSON for other programs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from deeplab.preparation.doctor import DatasetReport, Finding, SplitReport
from deeplab.utils.text import name_some, pluralize
from deeplab.utils.text_table import Column, TextTable, number_column

MAX_FILES_SHOWN = 5
"""Number of files of each kind that the terminal shows."""


def as_json(report: DatasetReport) -> dict[str, Any]:
    """Return the whole report as JSON values."""
    names = [*report.classes.names, "ignored"]
    return {
        "errors": len(report.with_severity("error")),
        "warnings": len(report.with_severity("warning")),
        "splits": {
            split: {
                "images": split_report.images,
                "min_size": _sides(split_report, min) if split_report.sizes else None,
                "max_size": _sides(split_report, max) if split_report.sizes else None,
                "pixels": dict(zip(names, split_report.pixels, strict=True)),
                "images_with": dict(zip(names, split_report.images_with, strict=True)),
            }
            for split, split_report in report.splits.items()
        },
        "findings": [finding._asdict() for finding in report.findings],
    }


def as_markdown(report: DatasetReport, title: str) -> str:
    """Return all findings and the class histogram as Markdown."""
    lines = [f"# {title}", "", summary_line(report), ""]
    for severity in ("error", "warning"):
        for kind, findings in _by_kind(report, severity):
            lines += [f"## {severity}: {kind} ({len(findings)})", "", findings[0].remedy, ""]
            lines += [f"- `{f.path}`: {f.problem}" for f in findings]
            lines.append("")
    for split, split_report in report.splits.items():
        count = pluralize(split_report.images, "image")
        lines += [f"## {split}", "", f"{count}, {_image_sizes(split_report)}", ""]
        lines += [_class_table(report, {"": split_report}).as_markdown(), ""]
    return "\n".join(lines)


def as_text(report: DatasetReport) -> str:
    """Return the report for the terminal, with a few files of each kind."""
    lines = []
    for split, split_report in report.splits.items():
        lines.append(f"\n{split}: {_image_sizes(split_report)}")
    lines.append(f"\n{_class_table(report, report.splits).as_text()}")
    for severity in ("error", "warning"):
        for kind, findings in _by_kind(report, severity):
            lines.append(f"\n{severity}: {kind} ({len(findings)})")
            files = [f"{f.path}: {f.problem}" for f in findings]
            lines.append("  " + name_some(files, MAX_FILES_SHOWN, separator="\n  "))
            lines.append(f"  -> {findings[0].remedy}")
    return "\n".join(lines) + f"\n\n{summary_line(report)}"


def summary_line(report: DatasetReport) -> str:
    """Return the number of images, errors and warnings as a sentence."""
    errors = len(report.with_severity("error"))
    warnings = len(report.with_severity("warning"))
    images = sum(split_report.images for split_report in report.splits.values())
    if not errors and not warnings:
        return f"{pluralize(images, 'image')}: nothing wrong."
    return (
        f"{pluralize(images, 'image')}: {pluralize(errors, 'error')}, "
        f"{pluralize(warnings, 'warning')}."
    )


def _image_sizes(report: SplitReport) -> str:
    if not report.sizes:
        return "no image can be decoded"
    (min_height, min_width), (max_height, max_width) = _sides(report, min), _sides(report, max)
    (height, width), count = report.sizes.most_common(1)[0]
    most_often = f", most often {width} x {height} ({count})" if count > 1 else ""
    return f"widths {min_width} to {max_width}, heights {min_height} to {max_height}{most_often}"


def _sides(report: SplitReport, extreme: Callable[[Iterable[int]], int]) -> list[int]:
    """Return the smallest or the largest height and width, which two images may have."""
    return [extreme(sides) for sides in zip(*report.sizes, strict=True)]


def _class_table(report: DatasetReport, splits: Mapping[str, SplitReport]) -> TextTable:
    """Return each class with its share of all pixels and its images in each split, by title."""
    columns = [Column("class")]
    cells: list[Sequence[Any]] = [(*report.classes.names, "ignored")]
    for title, split_report in splits.items():
        total = sum(split_report.pixels) or 1
        columns += [
            number_column("pixels, %", ".2f", group=title),
            number_column("images", ",.0f", group=title),
        ]
        cells += [
            [100 * pixels / total for pixels in split_report.pixels],
            split_report.images_with,
        ]
    return TextTable.from_values(columns, zip(*cells, strict=True))


def _by_kind(report: DatasetReport, severity: Any) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the findings of each kind that have one remedy."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.with_severity(severity):
        groups.setdefault((finding.kind, finding.remedy), []).append(finding)
    for (kind, _), findings in groups.items():
        yield kind, findings
