"""Statements on the origin of a report's results: dates, code, versions and initial weights."""

from collections import Counter
from collections.abc import Sequence

from deeplab.ablations.distinct_jobs import ANOTHER_RUN, RANDOM_WEIGHTS, Job
from deeplab.ablations.report.row_results import TableResult
from deeplab.ablations.report.table_notes import distinct
from deeplab.tracking.result import Result
from deeplab.tracking.source_code import describe_origin

PACKAGES = ("torch", "lightning", "numpy", "opencv-python-headless")
"""Packages whose versions the report states; ``result.json`` has all."""


def describe_provenance(tables: Sequence[TableResult]) -> list[str]:
    """Return lines on the dates of the results and the code that produced them."""
    results = [e.result for table in tables for row in table.rows for e in row.evaluations]
    dated = [result for result in results if result.started]
    if not dated:
        return [] if results else ["No run of these tables has results yet."]
    dates = sorted({str(result.started)[:10] for result in dated})
    codes = distinct(map(describe_origin, dated))
    when = f"on {dates[0]}" if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}"
    changed = any(result.uncommitted_changes for result in dated)
    code = codes[0] if len(codes) == 1 else f"{len(codes)} commits or versions"
    lines = [
        f"Evaluated {when} with code of {code}{', with uncommitted changes' if changed else ''}; "
        f"{_versions(dated)}."
    ]
    if len(codes) > 1:
        lines.append(
            f"The results come from several states of the code ({', '.join(codes)}): rows may "
            "differ by more than their settings."
        )
    return lines


def _versions(results: Sequence[Result]) -> str:
    versions = {"Python": distinct(r.python for r in results if r.python)}
    for name in PACKAGES:
        versions[name] = distinct(version for r in results if (version := r.versions.get(name)))
    texts = [f"{name} {' and '.join(found)}" for name, found in versions.items() if found]
    return ", ".join(texts) or "versions unknown"


def describe_initial_weights(jobs: Sequence[Job], *, of_paper: bool) -> list[str]:
    """Return lines on the initial weights of the jobs.

    Classifiers are left out, since pretraining on ImageNet is what they do.

    Args:
        jobs: the jobs.
        of_paper: compare them with the paper's, which come from ImageNet.
    """
    segmentation = (
        job
        for job in jobs
        if not job.missing_weights_in_chain and job.config.stage.task == "segmentation"
    )
    counts = Counter(job.origin for job in segmentation)
    random = counts.pop(RANDOM_WEIGHTS, 0)
    origins = [f"{n} from {origin}" for origin, n in counts.items() if origin != ANOTHER_RUN]
    lines = []
    if random:
        total = counts.total() + random
        which = f"{random} of {total} runs started from random weights"
        if random == total - counts[ANOTHER_RUN]:
            which = "All runs here started from random weights"
            which += " or from a run that did" if counts[ANOTHER_RUN] else ""
        paper = "; the paper's started from networks trained on ImageNet" if of_paper else ""
        lines.append(f"{which}{paper}.")
    if origins:
        rest = f", {counts[ANOTHER_RUN]} from another of these runs" if counts[ANOTHER_RUN] else ""
        lines.append(f"Initial weights of the runs: {', '.join(origins)}{rest}.")
    return lines
