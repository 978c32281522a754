"""Run folders: their files, configs and locks.

config.yaml           resolved config
run.json              command, commit, versions, machine
metrics.csv           losses and scores by step
metrics.json          result; exists once the run is finished
weights.safetensors   weights that metrics.json scores: those of the last step, or with
                      stage.ema_decay their moving average
validation.png        validation images next to mask and prediction
confusion.png         confusion matrix of the last validation
worst.png             those of the last validation with the lowest IoU
curves.png            loss and scores over the steps
index.html            page with these figures, the scores, the settings and what to type next
checkpoints/          last.ckpt to resume from, best.ckpt by validation mIoU
evaluations/          results of ``deeplab evaluate``
profile/              report of trainer.profiler
failure.txt           error that ended the run; removed when it starts again
lock                  held by the process that trains, with its name in it
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from deeplab.config.defaults import default_values
from deeplab.config.overrides import typed_override
from deeplab.config.schema.run import COMMAND_KEYS, RunConfig, TrainConfig, run_schema
from deeplab.tracking.schema_version import (
    VERSION_STAMP,
    read_versioned,
)
from deeplab.utils.constants import CONFIG_FILE, PAGE_FILE, WEIGHTS_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import OWNER_PLACEHOLDER
from deeplab.utils.file_lock import locked as file_lock
from deeplab.utils.files import aside_path, remove_leftovers, write_text
from deeplab.utils.links import check_links
from deeplab.utils.program import command
from deeplab.utils.reading import exists
from deeplab.utils.settings import to_dict

OVERWRITE_HINT = "overwrite=true moves the run aside and trains it again"

RESTORE_HINT = f"Restore the file from a copy; {OVERWRITE_HINT}."
"""What to do if a record is damaged."""


class RunFolder:
    """Paths of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config = self.path / CONFIG_FILE
        self.record = self.path / "run.json"
        self.metrics_csv = self.path / "metrics.csv"
        self.result = self.path / "metrics.json"
        self.weights = self.path / WEIGHTS_FILE
        self.validation_figure = self.path / "validation.png"
        self.worst_figure = self.path / "worst.png"
        self.confusion_figure = self.path / "confusion.png"
        self.curves = self.path / "curves.png"
        self.page = self.path / PAGE_FILE
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.evaluations = self.path / "evaluations"
        self.profile = self.path / "profile"
        self.failure = self.path / "failure.txt"
        self.lock = self.path / "lock"

    @property
    def finished(self) -> bool:
        """True once the run has its result, the last file that it writes."""
        return exists(self.result)

    @classmethod
    def find(cls, path: str | Path, key: str) -> "RunFolder":
        """Return the run that contains ``path``, its folder or a file in it.

        Raises:
            UserError: there is no such run; ``key`` is the key that was set to the path.
        """
        start = Path(path).expanduser().resolve()
        for folder in (start, start.parent, start.parent.parent):
            if exists(start) and exists(folder / CONFIG_FILE):
                return cls(folder)
        here = "" if Path(path).expanduser().is_absolute() else f" in {Path.cwd()}"
        problem = f"not a run folder (it has no {CONFIG_FILE})"
        problem = problem if exists(start) else f"does not exist{here}"
        hub = "" if key == "resume" else f"; a run on the Hugging Face hub is {key}=hf://USER/NAME"
        raise UserError(
            f"{key}={path}: {problem}. Set {key} to a folder below runs/ or to a file in one{hub}."
        )

    @classmethod
    def of_run(cls, runs_dir: str | Path, name: str, identity: str) -> "RunFolder":
        """Return the folder ``NAME-IDENTITY``, or one of the same run with another name.

        A name may show other settings than the identity depends on, as in a sweep.
        """
        root = Path(runs_dir).expanduser()
        named = root / f"{name}-{identity}"
        if exists(named):
            return cls(named)
        same = sorted(p.parent for p in root.glob(f"*-{identity}/{CONFIG_FILE}"))
        return cls(same[0] if same else named)

    def set_aside(self) -> Path:
        """Rename the folder so that its name is free, without its lock; return the new path."""
        target = aside_path(self.path)
        self.path.rename(target)
        RunFolder(target).lock.unlink(missing_ok=True)
        return target


def write_config(path: Path, config: RunConfig) -> None:
    """Write the resolved config as YAML."""
    defaults = default_values(RunConfig)
    values = VERSION_STAMP | to_dict(config) | {key: defaults[key] for key in COMMAND_KEYS}
    write_text(path, yaml.safe_dump(values, sort_keys=False))


def read_config(folder: RunFolder) -> TrainConfig:
    """Return the config of a segmentation network's run.

    Raises:
        UserError: as ``read_run`` does, or the run is a classifier.
    """
    config = read_run(folder)
    if not isinstance(config, TrainConfig):
        raise UserError(
            f"{folder.path}: this run is an image classifier. Measure it with "
            f"{command('evaluate')} run=..., "
            "or train a segmentation network that starts from it with "
            f"{typed_override('backbone.pretrained', folder.weights)}"
        )
    return config


def read_run(folder: RunFolder) -> RunConfig:
    """Return the config of a run of any kind.

    Raises:
        UserError: the file is damaged, or was written by a version with other keys.
    """
    return read_versioned(folder.config, _recorded_config, RESTORE_HINT)


def _recorded_config(values: dict[str, Any]) -> RunConfig:
    config = run_schema(values.get("data") or {})(**values)
    if isinstance(config, TrainConfig) and not config.data.classes:
        raise ValueError("data.classes is empty, but a run has classes")
    return config


@contextmanager
def lock_run_folder(folder: RunFolder) -> Iterator[None]:
    """Keep other processes out of a run folder; the lock ends with the process in any case.

    Temporary files of killed processes are removed.

    Raises:
        UserError: the folder cannot be created, or has links that lead out of it.
        LockedError: another process has it, on this or another machine.
    """
    busy = f"{folder.path}: this run is in progress in {OWNER_PLACEHOLDER}."
    with ExitStack() as stack:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            check_links(folder.path)
            stack.enter_context(file_lock(folder.lock, busy, wait=False))
        except OSError as error:
            raise UserError(
                f"runs_dir={folder.path.parent}: cannot create a run folder there "
                f"({error.strerror}). Set runs_dir to a folder that you can write to."
            ) from None
        for path in (folder.path, folder.checkpoints):
            remove_leftovers(path, exclusive=True)
        yield
