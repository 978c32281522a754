"""The doctor's report: for a terminal and as Markdown, and as JSON for other programs."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from deeplab.preparation.doctor import Diagnosis, Finding, SplitReport

SHOWN = 5
"""Files of each kind that the terminal shows."""


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything."""
    names = [*diagnosis.classes.names, "ignored"]
    return {
        "errors": len(diagnosis.of("error")),
        "warnings": len(diagnosis.of("warning")),
        "splits": {
            split: {
                "images": report.images,
                "min_size": list(min(report.sizes)) if report.sizes else None,
                "max_size": list(max(report.sizes)) if report.sizes else None,
                "pixels": dict(zip(names, report.pixels, strict=True)),
                "images_with": dict(zip(names, report.images_with, strict=True)),
            }
            for split, report in diagnosis.splits.items()
        },
        "findings": [finding._asdict() for finding in diagnosis.findings],
    }


def as_markdown(diagnosis: Diagnosis, title: str) -> str:
    """All findings and the class histogram."""
    lines = [f"# {title}", "", verdict(diagnosis), ""]
    for severity in ("error", "warning"):
        for kind, findings in _by_kind(diagnosis, severity):
            lines += [f"## {severity}: {kind} ({len(findings)})", "", findings[0].remedy, ""]
            lines += [f"- `{f.path}`: {f.problem}" for f in findings]
            lines.append("")
    for split, report in diagnosis.splits.items():
        lines += [f"## {split}", "", _images(report), ""]
        lines += ["| class | pixels | images |", "|---|---|---|"]
        lines += [
            f"| {name} | {part} | {images} |" for name, part, images in _rows(diagnosis, report)
        ]
        lines.append("")
    return "\n".join(lines)


def as_text(diagnosis: Diagnosis) -> str:
    """What the terminal shows: a few files of each kind."""
    lines = []
    for split, report in diagnosis.splits.items():
        lines.append(f"\n{split}: {_images(report)}")
    width = max(len(name) for name in (*diagnosis.classes.names, "ignored"))
    header = "".join(f"{split:>24}" for split in diagnosis.splits)
    lines.append(f"\n{'class':<{width}}{header}   (part of pixels, images)")
    columns = [list(_rows(diagnosis, report)) for report in diagnosis.splits.values()]
    for row in zip(*columns, strict=True):
        cells = "".join(f"{part:>15}{images:>9}" for _, part, images in row)
        lines.append(f"{row[0][0]:<{width}}{cells}")
    for severity in ("error", "warning"):
        for kind, findings in _by_kind(diagnosis, severity):
            lines.append(f"\n{severity}: {kind} ({len(findings)})")
            lines += [f"  {f.path}: {f.problem}" for f in findings[:SHOWN]]
            if len(findings) > SHOWN:
                lines.append(f"  and {len(findings) - SHOWN} more")
            lines.append(f"  -> {findings[0].remedy}")
    return "\n".join(lines) + f"\n\n{verdict(diagnosis)}"


def verdict(diagnosis: Diagnosis) -> str:
    """The last line."""
    errors, warnings = len(diagnosis.of("error")), len(diagnosis.of("warning"))
    images = sum(report.images for report in diagnosis.splits.values())
    if not errors and not warnings:
        return f"{images} images: nothing wrong."
    return f"{images} images: {errors} errors, {warnings} warnings."


def _images(report: SplitReport) -> str:
    if not report.sizes:
        return f"{report.images} images, none of which can be decoded"
    heights = sorted(size[0] for size in report.sizes)
    widths = sorted(size[1] for size in report.sizes)
    (height, width), times = report.sizes.most_common(1)[0]
    return (
        f"{report.images} images, heights {heights[0]} to {heights[-1]}, widths {widths[0]} to "
        f"{widths[-1]}, most often {height} x {width} ({times})"
    )


def _rows(diagnosis: Diagnosis, report: SplitReport) -> Iterator[tuple[str, str, str]]:
    """Each class with its part of all pixels and the images that have it."""
    total = sum(report.pixels) or 1
    names = [*diagnosis.classes.names, "ignored"]
    for name, pixels, images in zip(names, report.pixels, report.images_with, strict=True):
        yield name, f"{100 * pixels / total:.2f} %", str(images)


def _by_kind(diagnosis: Diagnosis, severity: Any) -> Iterator[tuple[str, list[Finding]]]:
    for kind, findings in groupby(diagnosis.of(severity), key=lambda f: f.kind):
        yield kind, list(findings)
