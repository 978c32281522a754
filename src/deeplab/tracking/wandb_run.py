"""Weights & Biases run of a run folder, which training, evaluation and sweeps open.

A run folder is one W&B run, however often it is opened: its id is in ``run.json``. Offline, every
opening writes a part of its own, and ``wandb sync`` joins the parts in their order; only the
summary comes from the latest part, which is why every part that is added has the whole summary.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from deeplab.config.schema.logger import LoggerSettings
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder
from deeplab.tracking.run_record import RunRecord
from deeplab.utils.errors import UserError

if TYPE_CHECKING:
    import wandb

OFFLINE_RUNS = "offline-run-*"
"""Pattern of the parts of a run in its folder ``wandb``, whose names sort by their time."""

Mode = Literal["online", "offline"]


def wandb_mode(mode: str) -> Mode:
    """Return ``online`` or ``offline``; auto is online for a user who is logged in.

    ``WANDB_MODE`` in the environment replaces ``auto``.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
    return cast(Mode, mode)


def check_wandb(mode: str) -> None:
    """Check that there is a key for a run that is to be online.

    Raises:
        UserError: there is none.
    """
    asked = os.environ.get("WANDB_MODE") if mode == "auto" else mode
    if asked == "online" and not _has_key():
        raise UserError(
            f"logger.mode={mode}: W&B has no key on this machine. Run wandb login first, or set "
            "logger.mode=offline and send the run later with wandb sync."
        )


def _logged_in() -> bool:
    return _has_key() and not _settings()._offline


def _settings() -> Any:
    _silence_wandb()
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().settings


def _has_key() -> bool:
    """Return True if W&B finds a key for its server: in the environment, netrc or its settings."""
    _silence_wandb()
    import wandb
    from wandb.sdk.lib.wbauth import authenticate_session

    try:
        key = authenticate_session(
            host=_settings().base_url, source="train.py", prompt=False, update_session=False
        )
    except wandb.Error:  # of a damaged key, which W&B reports when it starts
        return True
    return key is not None


def _silence_wandb() -> None:
    """Keep W&B, which is not imported yet, from printing and from sending error reports.

    The run prints where its results are. The reports connect to W&B's server for offline runs too.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def open_run(
    logger: LoggerSettings, folder: RunFolder, record: RunRecord, **more: Any
) -> "wandb.Run":
    """Start or resume the W&B run of a run folder.

    A training that an agent of W&B has started gets the id that the agent has chosen, see
    ``leave_agent``.

    Args:
        logger: logger config that the run was trained with.
        folder: folder of the run.
        record: its record, with id, group and tags.
        more: further arguments of ``wandb.init``.

    Raises:
        UserError: W&B cannot be reached, or refuses this user.
    """
    mode = wandb_mode(logger.mode)
    _silence_wandb()
    import wandb

    try:
        return wandb.init(
            project=logger.project,
            entity=logger.entity,
            name=folder.path.name,
            group=record.group,
            tags=list(record.tags),
            id=record.wandb_id,
            dir=str(folder.path),
            mode=mode,
            resume="allow",  # otherwise existing data are replaced, offline too
            job_type="train",
            settings=wandb.Settings(silent=True, console="off"),
            **more,
        )
    except wandb.Error as error:
        raise UserError(
            f"W&B: {error} Set logger.mode=offline to log on this machine and send it later with "
            "wandb sync."
        ) from None


def leave_agent(wandb_id: str | None = None) -> None:
    """Forget the agent of W&B that has started this process, unless it is that of this run.

    With an agent W&B uses the agent's id instead of the one that is asked for.
    """
    if os.environ.get("WANDB_RUN_ID") != wandb_id:
        for variable in ("WANDB_RUN_ID", "WANDB_SWEEP_ID"):
            os.environ.pop(variable, None)


@contextmanager
def tolerate_wandb_errors() -> Iterator[None]:
    """Print errors of W&B instead of raising them, for results that are on the disk already."""
    import wandb

    try:
        yield
    except (UserError, wandb.Error) as error:
        print(f"W&B: not everything was sent ({error})", file=sys.stderr)


def evaluation_key(name: str) -> str:
    """Return the prefix of the W&B keys of an evaluation."""
    return f"evaluation/{name}"


def training_scores(result: Result) -> dict[str, Any]:
    """Return the scores of a ``metrics.json`` as W&B values, with the IoU of each class as a table.

    The other values are numbers for the summary.
    """
    if result.is_classifier:
        return dict(result.scores)
    classes = [{"class": name, "IoU": iou} for name, iou in result.class_IoU.items()]
    return {**result.scores, "val/per_class": wandb_table(classes)}


def wandb_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a ``wandb.Table`` with the keys of the first row as columns."""
    import wandb

    columns: list[str | int] = list(rows[0]) if rows else []
    return wandb.Table(columns=columns, data=[list(row.values()) for row in rows])
