"""The pages of a report, as HTML that opens from disk and has no script, and as Markdown."""

from collections.abc import Sequence

from deeplab.ablations.report.sheet import (
    Header,
    Sheet,
    cell_spans,
    heading_groups,
    merge_legends,
)
from deeplab.utils.templates import render_template


def format_page(name: str, sheets: Sequence[Sheet], header: Header) -> str:
    """Return all tables in a template of this package, ``report.html`` or ``report.md``."""
    return render_template(
        "deeplab.ablations.report",
        name,
        title=header.title,
        header=header,
        legend=merge_legends(sheets),
        sheets=sheets,
        cell_spans=cell_spans,
        heading_groups=heading_groups,
    )
