"""Identity of the code that makes a result: hashes of the source files that the result depends on.

Which files those are is decided here and nowhere else: the modules (``*.py``) of the sub-packages
in ``COUNTED``. YAML files do not count, because the resolved settings do; neither do the scripts,
docs and tests. A process keeps the code that it started with, so the files are read once, when
this module is imported.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

from deeplab.tracking.provenance import Provenance, provenance
from deeplab.tracking.result import Result
from deeplab.tracking.run_record import RunRecord, Session
from deeplab.utils.installation import DISTRIBUTION
from deeplab.utils.program import PACKAGE
from deeplab.utils.text import name_some

Kind = Literal["training", "evaluation"]

SHARED = ("checkpoints", "config", "data", "inference", "metrics", "models", "utils")

COUNTED: Mapping[Kind, Sequence[str]] = {
    "training": (*SHARED, "training"),
    "evaluation": (*SHARED, "evaluation"),
}
"""Sub-packages of ``deeplab`` that the result of a training or an evaluation depends on."""

NOT_COUNTED = ("ablations", "api", "preparation", "tools", "tracking")
"""Sub-packages that only start runs, prepare data (which has its fingerprint), record and show."""

MAX_FILES = 5
"""Number of differing files that are named."""


@cache
def source_files(kind: Kind) -> Mapping[str, str]:
    """Return the hash of each source file that a result depends on, by its path in the package."""
    return {path: digest for part in COUNTED[kind] for path, digest in _hashes(part).items()}


@cache
def _hashes(part: str) -> Mapping[str, str]:
    return {
        path.relative_to(PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted((PACKAGE / part).rglob("*.py"))
    }


for _kind in COUNTED:  # now, before minutes of work in which a file may be edited
    source_files(_kind)


@cache
def code_hash(kind: Kind) -> str:
    """Return the hash of the code that a result depends on."""
    text = "".join(f"{path} {digest}\n" for path, digest in source_files(kind).items())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def code_record() -> Provenance:
    """Return the provenance of what is started now, with the hashes of the code."""
    hashes = {"training_code": code_hash("training"), "evaluation_code": code_hash("evaluation")}
    return provenance().model_copy(update=hashes)


def describe_code(record: Provenance, kind: Kind) -> str:
    """Return the hash and the commit of the code in the record of a session or a result."""
    code = record.training_code if kind == "training" else record.evaluation_code
    if not code:
        return "code that was not recorded"
    changed = " with uncommitted changes" if record.uncommitted_changes else ""
    return f"code {code} ({describe_origin(record)}{changed})"


def describe_origin(record: Provenance) -> str:
    """Return the commit of the code in a record, or else its version."""
    if record.commit:
        return f"commit {record.commit[:9]}"
    version = record.versions.get(DISTRIBUTION)
    return f"version {version}" if version else "an unknown commit"


def trained_by_other_code(record: RunRecord) -> bool:
    """Return True if other code than the present has trained a run, or a part of it."""
    codes = {session.training_code for session in record.contributing_sessions()}
    return codes != {code_hash("training")}


def describe_difference(record: RunRecord, sessions: Sequence[Session]) -> str:
    """Return the code of some sessions, the present code and, if known, the files that differ."""
    codes = dict.fromkeys(describe_code(s, "training") for s in sessions or [Session()])
    now = source_files("training")
    files: set[str] = set()
    for session in sessions:
        then = record.source_files.get(session.training_code or "", now)
        files |= {path for path in then.keys() | now.keys() if then.get(path) != now.get(path)}
    text = f"{', then '.join(codes)}; now {describe_code(code_record(), 'training')}"
    return text + (f"; different: {name_some(sorted(files), MAX_FILES)}" if files else "")


def describe_reused(results: Sequence[Result]) -> str:
    """Return a line on evaluations that other code has made; empty if there are none."""
    now = code_hash("evaluation")
    others = [result for result in results if result.evaluation_code != now]
    if not others:
        return ""
    codes = dict.fromkeys(describe_code(result, "evaluation") for result in others)
    return (
        f"other code has made {len(others)} of {len(results)}: {', '.join(codes)}; now "
        f"{describe_code(code_record(), 'evaluation')}; overwrite=true evaluates with it"
    )
