"""Campaign of kills: runs are killed at many moments and must end as if nothing had happened.

    PYTHONPATH=src:tests python -m support.kill_campaign --moments 20 --processes 1 2

A run is started, killed, started again with the same command, killed again ... and finished. Then
its weights and records are compared with those of an undisturbed run, byte by byte, and nothing
may be left over: no temporary file, no lock, no process. Moments are random, or named: the patches
below end the process exactly there. All scripts are forks of this process, which has the libraries
loaded.
"""

import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import deeplab
from support import warm
from support.repository import ROOT

TRAIN = (
    "data.num_train=8",
    "data.num_val=5",
    "data.min_size=48",
    "data.max_size=56",
    "data.crop_size=33",
    "data.eval_size=65",
    "stage.max_steps=24",
    "stage.batch_size=2",
    "stage.lr=0.01",
    "stage.batch_norm=frozen",
    "stage.ema_decay=0.9",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.num_validations=8",
    "trainer.num_checkpoints=12",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "logger=csv",
)

EVALUATE = (
    "strategies=[single-scale,flip]",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
)

CHAIN = 5
"""Kills of one run before it may finish."""

TRIES = 4
"""Runs for one chain of kills, if runs end before their moments."""

START = 0.25
"""Part of the time of an undisturbed script before its first result."""

EXIT_TIME = 15.0
"""Seconds within which the other processes of a killed one must be gone."""

VOLATILE = ("seconds", "started", "commit", "uncommitted_changes", "peak_memory_bytes", "measured")
"""Fields of results that differ between any two runs."""


# ------------------------------------------------------------------------------- named moments


def before(function: Callable[..., Any], die: Callable[[], None]) -> Callable[..., Any]:
    """Return a function that dies before it begins."""

    def patched(*args: Any, **kwargs: Any) -> Any:
        die()
        return function(*args, **kwargs)

    return patched


def after(function: Callable[..., Any], die: Callable[[], None]) -> Callable[..., Any]:
    """Return a function that dies when it has ended."""

    def patched(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        die()
        return result

    return patched


def half_written(function: Callable[..., Any], die: Callable[[], None]) -> Callable[..., Any]:
    """Return an ``atomic_write`` that dies when half of the file is written."""

    @contextmanager
    def patched(path: Path, **kwargs: Any) -> Iterator[Path]:
        with function(path, **kwargs) as draft:
            yield draft
            content = draft.read_bytes()
            os.truncate(draft, len(content) // 2)
            die()
            draft.write_bytes(content)  # SIGTERM does not end it at once

    return patched


CHECKPOINT = "training.checkpoint_io:AtomicCheckpointIO.save_checkpoint"

MOMENTS = {
    "train": {
        "validation": ("training.segmentation:SegmentationModule.validation_step", before, 4),
        "validation row": ("training.loggers:MetricsCSV.log_metrics", after, 4),
        "before a checkpoint": (
            CHECKPOINT,
            before,
            3,
        ),
        "in a checkpoint": ("training.checkpoint_io:atomic_write", half_written, 3),
        "after a checkpoint": (
            CHECKPOINT,
            after,
            3,
        ),
        "figure": ("training.callbacks.example_figure:atomic_write", half_written, 1),
        "weights": ("checkpoints.loading:atomic_write", half_written, 1),
        "before the result": ("tracking.result:Result.write", before, 1),
        "in the result": ("tracking.result:write_json", before, 1),
    },
    "evaluate": {
        "evaluation": ("evaluation.loop:Progress.add", after, 3),
        "first result": ("evaluation.segmentation:SegmentationEvaluation.write", before, 1),
        "second result": ("evaluation.segmentation:SegmentationEvaluation.write", before, 2),
        "between results": ("evaluation.jobs:EvaluationJob.install", after, 1),
    },
}
"""What is patched at each named moment, how, and at which call the process dies."""


def patch(script: str, moment: str, number: signal.Signals) -> None:
    """Let this process get a signal at a named moment."""
    target, how, call = MOMENTS[script][moment]
    calls = itertools.count(1)

    def die() -> None:
        if next(calls) == call:
            os.kill(os.getpid(), number)

    module, _, path = target.partition(":")
    owner: Any = __import__(f"deeplab.{module}", fromlist=["_"])
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, how(getattr(owner, name), die))


# ------------------------------------------------------------------------------------ sessions


@dataclass
class Session:
    """A started script."""

    process: int
    out: Path
    started_at: float = field(default_factory=time.monotonic)

    def wait(self, seconds: float) -> int | None:
        """Return the exit status if the script ends within this time, else None."""
        end = time.monotonic() + seconds
        while True:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= end:
                return None
            time.sleep(0.005)


def start(
    script: str,
    arguments: Sequence[str],
    cwd: Path,
    moment: Callable[[], None],
    *,
    processes: int = 1,
) -> Session:
    """Start a script in a fork of this process; ``moment`` patches it, but no further process."""
    out = cwd / "output.txt"
    out.write_text("")
    process = os.fork()
    if not process:
        os.setsid()
        moment()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warm.run_in_fork(
            [str(ROOT / "src" / f"{script}.py"), *arguments],
            str(cwd),
            {**os.environ, "OMP_NUM_THREADS": "1"},
            [],
            str(out),
            str(out),
            600,
        )
    return Session(process, out)


def members(session: Session) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == session.process and state != "Z":
            found.append(int(folder.name))
    return found


def outliving(session: Session) -> int:
    """Return how many processes outlive the main one for too long, and end them."""
    end = time.monotonic() + EXIT_TIME
    while (alive := members(session)) and time.monotonic() < end:
        time.sleep(0.1)
    for process in alive:
        os.kill(process, signal.SIGKILL)
    return len(alive)


# ---------------------------------------------------------------------------------- comparison


def leftovers(cwd: Path) -> list[str]:
    """Return the files below a folder that a finished script does not leave."""
    names = ("lock", "failure.txt")
    paths = [p for p in cwd.rglob("*") if p.name.startswith(".") or p.name in names]
    return sorted(str(p.relative_to(cwd)) for p in paths)


def contents(folder: Path) -> dict[str, Any]:
    """Return what must be equal in two run folders, by the names of the files."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".json" and path.name != "run.json":
            values = json.loads(path.read_text())
            found[name] = {k: v for k, v in values.items() if k not in VOLATILE}
        elif path.suffix == ".npz":
            with np.load(path) as stored:
                found[name] = {key: stored[key].tobytes() for key in stored}
        elif path.suffix == ".ckpt":
            checkpoint = torch.load(path, weights_only=True)
            weights = {k: v.numpy().tobytes() for k, v in checkpoint["state_dict"].items()}
            found[name] = (checkpoint["global_step"], weights)
        elif path.name == "index.html":
            found[name] = re.sub(r"(?<= steps) in [\d.]+ (s|min)", "", path.read_text())
        elif path.name not in ("run.json", "config.yaml"):
            found[name] = path.read_bytes()
    return found


def differences(cwd: Path, reference: Path) -> list[str]:
    """Return the names of the files of the only run in ``cwd`` that differ from the reference."""
    (folder,), (expected,) = cwd.glob("runs/*"), reference.glob("runs/*")
    one, two = contents(folder), contents(expected)
    return sorted(name for name in one | two if one.get(name) != two.get(name))


# ------------------------------------------------------------------------------------ campaign


@dataclass
class Campaign:
    """Kills of one script by one signal, with a number of processes."""

    script: str
    processes: int
    number: signal.Signals
    kills: int = 0
    finished_before: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    outliving: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status} x {n}" for status, n in sorted(self.statuses.items()))
        title = f"{self.script}, {self.processes} process(es), {self.number.name}"
        return (
            f"{title}: {self.kills} kills (exit status {statuses}), {self.finished_before} runs "
            f"had finished before, {self.outliving} processes outlived theirs, "
            f"{len(self.problems)} problems"
        )


class Bench:
    """Folders and undisturbed runs of a campaign.

    Args:
        folder: the working folder.
        processes: processes of a run.
    """

    def __init__(self, folder: Path, processes: int) -> None:
        self.folder, self.processes = folder, processes
        self.numbers = itertools.count()
        self.data = f"data.root={folder}/shapes"
        self.reference = folder / "reference"
        self.seconds = {script: self._undisturbed(script) for script in ("train", "evaluate")}

    def arguments(self, script: str, cwd: Path) -> list[str]:
        """Return the arguments of a script."""
        if script == "evaluate":
            (run,) = cwd.glob("runs/*")
            return [f"run={run.relative_to(cwd)}", *EVALUATE]
        workers = f"trainer.num_workers={int(self.processes == 1)}"
        return [*TRAIN, self.data, f"trainer.devices={self.processes}", workers]

    def _undisturbed(self, script: str) -> float:
        cwd = self.folder / "reference" if script == "train" else self.folder / "evaluated"
        if script == "train":
            cwd.mkdir(parents=True)
        else:
            shutil.copytree(self.reference, cwd)
        session = self._start(script, cwd, lambda: None)
        assert session.wait(300) == 0, session.out.read_text()
        return time.monotonic() - session.started_at

    def expected(self, script: str) -> Path:
        """Return the working folder of the undisturbed script."""
        return self.reference if script == "train" else self.folder / "evaluated"

    def chain(self, campaign: Campaign, moments: Sequence[str | float]) -> None:
        """Kill a run at each of these moments, let it finish, and compare.

        If it ends before a moment, the moment is tried again with another run.

        Args:
            campaign: receives the results.
            moments: names, or parts of the time that the session would take.
        """
        left = list(moments)
        for _ in range(TRIES):
            self._kill(campaign, left)
            if not left:
                return

    def _kill(self, campaign: Campaign, moments: list[str | float]) -> None:
        """Kill a run at moments, which are removed from the list, until it ends; then compare."""
        cwd = self.folder / f"{campaign.script}{next(self.numbers)}"
        if campaign.script == "train":
            cwd.mkdir()
        else:
            shutil.copytree(self.reference, cwd)
        history, status = [], 1
        while moments and status:
            text, status = self._kill_once(campaign, cwd, moments[0])
            history.append(f"{text}: {status}")
            if status:
                campaign.kills += 1
                campaign.statuses[status] += 1
                del moments[0]
        campaign.finished_before += not status
        session = self._session(campaign, cwd, None)
        if session.wait(300) != 0:
            campaign.problems.append(f"{cwd.name}: {session.out.read_text()[-2000:]}")
            return
        different = differences(cwd, self.expected(campaign.script))
        remaining = leftovers(cwd)
        if different or remaining:
            campaign.problems.append(f"{cwd.name} ({'; '.join(history)}): {different} {remaining}")
        else:
            shutil.rmtree(cwd)

    def _kill_once(self, campaign: Campaign, cwd: Path, moment: str | float) -> tuple[str, int]:
        """Return the moment as text and the exit status; 0 if the run ended before it."""
        if not isinstance(moment, str):
            moment = moment * self._remaining_seconds(campaign.script, cwd)
        text = moment if isinstance(moment, str) else f"{moment:.2f} s"
        session = self._session(campaign, cwd, moment)
        status = session.wait(120 if isinstance(moment, str) else moment)
        if status is None and not isinstance(moment, str):
            os.kill(session.process, campaign.number)
            status = session.wait(120)
        if status is None:
            campaign.problems.append(f"{cwd.name}: hangs after {moment}")
            os.killpg(session.process, signal.SIGKILL)
            status = session.wait(10)
        if status == 0 and not isinstance(moment, str):
            self.seconds[campaign.script] *= 0.7  # this machine was busier before
        self._check_session(campaign, session, status, text)
        if count := outliving(session):
            campaign.outliving += count
            campaign.problems.append(f"{cwd.name}: {count} processes after {text}")
        return text, status or 0

    def _remaining_seconds(self, script: str, cwd: Path) -> float:
        """Return about how long a session takes that goes on with what is there."""
        lines = [path.read_text().count("\n") for path in cwd.glob("runs/*/metrics.csv")]
        (expected,) = self.reference.glob("runs/*/metrics.csv")
        done = sum(lines) / expected.read_text().count("\n") if script == "train" else 0.0
        return self.seconds[script] * (1 - (1 - START) * min(1.0, done))

    def _session(self, campaign: Campaign, cwd: Path, moment: str | float | None) -> Session:
        prepare: Callable[[], None] = lambda: None  # noqa: E731
        if isinstance(moment, str):
            prepare = partial(patch, campaign.script, moment, campaign.number)
        return self._start(campaign.script, cwd, prepare)

    def _start(self, script: str, cwd: Path, prepare: Callable[[], None]) -> Session:
        processes = self.processes if script == "train" else 1
        return start(script, self.arguments(script, cwd), cwd, prepare, processes=processes)

    def _check_session(
        self, campaign: Campaign, session: Session, status: int | None, moment: str
    ) -> None:
        """Check the status of a killed session, and what it says."""
        text = session.out.read_text()
        started = text or status != -campaign.number  # otherwise it was killed before it began
        if campaign.number == signal.SIGTERM and status not in (0, 130) and started:
            campaign.problems.append(f"status {status} after {moment}: {text[-1000:]}")
        if campaign.number == signal.SIGTERM and status == 130 and "same command" not in text:
            campaign.problems.append(f"no word of the same command after {moment}: {text[-500:]}")
        if "Traceback" in text:
            campaign.problems.append(f"traceback after {moment}: {text[-3000:]}")


def run_campaign(
    folder: Path,
    *,
    processes: int,
    moments: int,
    scripts: Sequence[str] = ("train", "evaluate"),
    named: Sequence[str] | None = None,
    signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM),
    report: Callable[[str], None] = print,
) -> list[Campaign]:
    """Kill runs and evaluations by each of some signals.

    Args:
        folder: an empty folder.
        processes: processes of a run; evaluations have one.
        moments: random moments for each script and each signal.
        scripts: ``train``, ``evaluate`` or both.
        named: the named moments; None: all.
        signals: the signals.
        report: receives the summary of each script and signal.
    """
    bench, randomness = Bench(folder, processes), random.Random(processes)
    campaigns = []
    for script, number in itertools.product(scripts, signals):
        if script == "evaluate" and processes > 1:
            continue
        campaign = Campaign(script, processes, number)
        names = [name for name in MOMENTS[script] if named is None or name in named]
        times = [randomness.random() for _ in range(moments)]
        all_moments = [*names[: CHAIN - 1], *times, *names[CHAIN - 1 :]]
        for i in range(0, len(all_moments), CHAIN):
            bench.chain(campaign, all_moments[i : i + CHAIN])
        report(str(campaign))
        for problem in campaign.problems:
            report(f"    {problem}")
        campaigns.append(campaign)
    return campaigns


def main() -> None:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20, help="random moments")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--named", nargs="*", help="named moments; all if left out")
    parser.add_argument("--scripts", nargs="+", default=["train", "evaluate"])
    parser.add_argument("--signals", nargs="+", default=["SIGKILL", "SIGTERM"])
    parser.add_argument("--folder", type=Path, help="keeps what has failed; must be empty")
    arguments = parser.parse_args()
    assert Path(deeplab.__file__).is_relative_to(ROOT)
    # no TemporaryDirectory, which each fork would remove at its end
    folder, failed = arguments.folder or Path(tempfile.mkdtemp()), False
    for processes in arguments.processes:
        campaigns = run_campaign(
            folder / f"processes{processes}",
            processes=processes,
            moments=arguments.moments,
            scripts=arguments.scripts,
            named=arguments.named,
            signals=[signal.Signals[name] for name in arguments.signals],
            report=partial(print, flush=True),
        )
        failed |= any(campaign.problems or not campaign.kills for campaign in campaigns)
    if not arguments.folder:
        shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
