"""Where the results of a report come from."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from deeplab.ablations.jobs import ANOTHER, RANDOM, Training
from deeplab.ablations.report.notes import distinct
from deeplab.ablations.report.results import TableResult

PACKAGES = ("torch", "lightning", "numpy", "opencv-python-headless")
"""Versions that a reader is told; all are in ``result.json``."""


def provenance(tables: Sequence[TableResult]) -> list[str]:
    """When and of what code the results are."""
    results = [e.result for table in tables for row in table.rows for e in row.evaluations]
    stamped = [result for result in results if result.get("started")]
    if not stamped:
        return [] if results else ["Nothing of it has been run yet."]
    dates = sorted({str(result["started"])[:10] for result in stamped})
    commits = distinct(str(result.get("commit") or "unknown")[:9] for result in stamped)
    when = f"on {dates[0]}" if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}"
    changed = any(result.get("uncommitted_changes") for result in stamped)
    code = f"commit {commits[0]}" if len(commits) == 1 else f"{len(commits)} commits"
    lines = [
        f"Evaluated {when} with code of {code}{', with uncommitted changes' if changed else ''}; "
        f"{_versions(stamped)}."
    ]
    if len(commits) > 1:
        lines.append(
            f"The results come from several commits ({', '.join(commits)}): rows may differ by "
            "more than their settings."
        )
    return lines


def _versions(results: Sequence[dict[str, Any]]) -> str:
    found = [("Python", distinct(str(r["python"]) for r in results if r.get("python")))]
    for name in PACKAGES:
        known = distinct(str(v) for r in results if (v := (r.get("versions") or {}).get(name)))
        found.append((name, known))
    said = [f"{name} {' and '.join(versions)}" for name, versions in found if versions]
    return ", ".join(said) or "versions unknown"


def starts(found: Sequence[Training]) -> list[str]:
    """What trainings started from, as the paper's started from networks trained on ImageNet. Of
    classifiers, which are those networks, it is not said."""
    known = (t for t in found if not t.missing and t.config.stage.task == "segmentation")
    counts = Counter(training.origin for training in known)
    random = counts.pop(RANDOM, 0)
    named = [f"{n} from {origin}" for origin, n in counts.items() if origin != ANOTHER]
    lines = []
    if random:
        which = f"{random} of {counts.total() + random} trainings started from random weights"
        if random == counts.total() + random - counts[ANOTHER]:
            which = "All trainings here started from random weights"
            which += " or from a training that did" if counts[ANOTHER] else ""
        lines.append(f"{which}; the paper's started from networks trained on ImageNet.")
    if named:
        rest = f", {counts[ANOTHER]} from another training of these" if counts[ANOTHER] else ""
        lines.append(f"Trainings start so: {', '.join(named)}{rest}.")
    return lines
