"""Record of a run (``run.json``): its starts, the code, the data and the initial weights."""

import secrets
from collections.abc import Iterable, Mapping

from pydantic import ConfigDict, Field

from deeplab.tracking.provenance import Machine, Provenance
from deeplab.tracking.run_folder import RESTORE_HINT, RunFolder
from deeplab.tracking.schema_version import RecordFile
from deeplab.utils.reading import exists
from deeplab.utils.settings import Natural


class Session(Provenance):
    """One start of a run."""

    model_config = ConfigDict(extra="allow")

    from_step: Natural = 0
    machine: Machine | None = None


class RunRecord(RecordFile):
    """Content of ``run.json``; keys that it does not have are kept."""

    model_config = ConfigDict(frozen=False, extra="allow", validate_assignment=True)

    wandb_id: str = Field(pattern=r"^[\w-]+$")
    sessions: tuple[Session, ...]
    group: str | None = None
    tags: tuple[str, ...] = ()
    data_fingerprint: str | None = None
    image_side: float | None = None
    """Median of the longer sides of the training images of a segmentation network, in pixels."""
    splits: Mapping[str, str] = {}
    """Where the images of each split come from."""
    init_weights_sha256: str | None = None
    init_source: str | None = None
    """File of the initial weights, or where it was downloaded from."""
    source_files: Mapping[str, Mapping[str, str]] = {}
    """For each code that trained the run, the hash of each of its files."""

    def add_group_and_tags(self, group: str | None, tags: Iterable[str]) -> bool:
        """Add tags and, if one is given, replace the group; return True if it changes."""
        before = (self.group, self.tags)
        self.group, self.tags = group or self.group, tuple(dict.fromkeys([*self.tags, *tags]))
        return before != (self.group, self.tags)

    def contributing_sessions(self, step: int | None = None) -> list[Session]:
        """Return the sessions that the weights after ``step`` (None: the last) come from.

        Steps after the last checkpoint of an interrupted session are lost, and the next session
        trains them again: a session counts if a later one did not start at or before its first
        step.
        """
        starts = [session.from_step for session in self.sessions]
        if step is not None:
            starts.append(step)
        return [
            session
            for i, session in enumerate(self.sessions)
            if all(starts[i] < later for later in starts[i + 1 :])
        ]


def read_record(folder: RunFolder) -> RunRecord:
    """Return the content of ``run.json``, or a new record if there is none.

    Raises:
        UserError: the file is damaged, or of another schema version.
    """
    if not exists(folder.record):
        return RunRecord(wandb_id=secrets.token_hex(4), sessions=())
    return RunRecord.read(folder.record, RESTORE_HINT)
