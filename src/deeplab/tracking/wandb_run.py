"""A run on Weights & Biases, opened alike by the training and by whoever has more to say of it.

A run is one run there too, however often it is opened: by its id in ``run.json``. Offline every
opening leaves a part of its own, and ``wandb sync`` puts the parts together in their order; only
the summary is that of the latest part, which is why a part that is added says all of it.
"""

import netrc
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlparse

from deeplab.config.schema.logger import LoggerConfig
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.errors import UserError

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline"]


def wandb_mode(mode: str) -> Mode:
    """``online`` or ``offline``: auto is online for a user who is logged in.

    ``WANDB_MODE`` in the environment counts more than ``auto``.
    """
    if mode == "auto":
        logged_in = os.environ.get("WANDB_API_KEY") or _in_netrc()
        mode = os.environ.get("WANDB_MODE") or ("online" if logged_in else "offline")
    return cast(Mode, mode)


def _in_netrc() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def add_group_and_tags(record: Mapping[str, Any], group: str | None, tags: Iterable[str]) -> dict[str, Any]:
    """The record of a run with a group, which replaces the one that it had, and with more tags."""
    known = dict.fromkeys([*record.get("tags", []), *tags])
    return {**record, "group": group or record.get("group"), "tags": list(known)}


def open_run(
    logger: LoggerConfig, folder: RunFolder, record: Mapping[str, Any], **more: Any
) -> "wandb.Run":
    """Begin, or go on with, a run's own W&B run.

    Args:
        logger: what the run was trained with.
        folder: of the run.
        record: its ``run.json``, with labels.
        more: for ``wandb.init``.

    Raises:
        UserError: W&B cannot be reached, or does not let this user in.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # the run says itself where its results are
    import wandb

    try:
        return wandb.init(
            project=logger.project,
            entity=logger.entity,
            name=folder.path.name,
            group=record.get("group"),
            tags=list(record.get("tags", [])),
            id=record["wandb_id"],
            dir=str(folder.path),
            mode=wandb_mode(logger.mode),
            resume="allow",  # without it, also offline, what is there is replaced
            job_type="train",
            settings=wandb.Settings(silent=True, console="off"),
            **more,
        )
    except wandb.Error as error:
        raise UserError(
            f"W&B: {error} WANDB_MODE=offline keeps it here, to be sent later by wandb sync."
        ) from None


@contextmanager
def tolerate_wandb_errors() -> Iterator[None]:
    """What is sent beside a result that lies on the disk: if W&B fails, the result does not."""
    import wandb

    try:
        yield
    except (UserError, wandb.Error) as error:
        print(f"W&B has not taken all of it: {error}", file=sys.stderr)


def evaluation_key(name: str) -> str:
    """What the values of an evaluation begin with."""
    return f"evaluation/{name}"


def training_scores(result: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics.json`` says: summary values, and the IoU of each class as a table."""
    if "class_IoU" not in result:  # a classifier's
        return {key: result[key] for key in ("top1_error", "top5_error")}
    classes = [{"class": name, "IoU": iou} for name, iou in result["class_IoU"].items()]
    return {
        "mIoU": result["mIoU"],
        "pixel_accuracy": result["pixel_accuracy"],
        "val/per_class": wandb_table(classes),
    }


def wandb_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A ``wandb.Table`` with the keys of the first row as columns."""
    import wandb

    columns: list[str | int] = list(rows[0]) if rows else []
    return wandb.Table(columns=columns, data=[list(row.values()) for row in rows])
