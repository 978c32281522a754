"""The evaluations that a gallery shows: found by what a user names, checked against each other."""

import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeplab.evaluation.evaluation_folder import Evaluation, read_evaluation
from deeplab.inference.strategy import parse_strategy
from deeplab.tools.gallery.selection import Counts
from deeplab.tracking.protocol import differences
from deeplab.tracking.run_folder import RunFolder, read_config
from deeplab.utils.errors import UserError

WEIGHTS = "weights.safetensors"
"""Which are taken where only the run is named."""

MAY_DIFFER = ("strategy", "precision", "padded_to", "classes")
"""What two evaluations may be compared in; classes are compared by name."""


@dataclass(frozen=True)
class Arm:
    """One evaluation with the confusion matrices of its images in memory."""

    run: RunFolder
    evaluation: Evaluation
    ids: tuple[str, ...]
    confusion: Counts  # (N, K, K)

    @property
    def protocol(self) -> dict[str, Any]:
        return self.evaluation.protocol

    @property
    def strategy(self) -> str:
        """Its name, as it is typed."""
        return str(self.protocol["strategy"]["name"])

    def prediction(self, number: int, root: str | None = None) -> Path:
        """The label map of an image.

        Args:
            number: of the image.
            root: where the images are now, for the message.

        Raises:
            UserError: it was not kept.
        """
        path = self.evaluation.folder.prediction(self.ids[number])
        if not path.is_file():
            raise UserError(
                f"{path}: this prediction is missing. Run evaluate.py first: {self.command(root)}"
            )
        return path

    def command(self, root: str | None) -> str:
        """What evaluates this anew, with its predictions."""
        weights = str(self.evaluation.result.get("weights", WEIGHTS))
        strategy, window = self.strategy, self.protocol["strategy"]["window"]
        words = [f"run={self.run.path / weights if weights != WEIGHTS else self.run.path}"]
        words.append(f"split={self.protocol['split']}")
        if window:
            words += [f"window={window['size']}", f"overlap={window['overlap']}"]
            strategy = strategy.removesuffix(f"-w{window['size']}")
        words.append(f"strategies={strategy}")
        words += [f"data.root={root}"] if root else []
        return shlex.join(
            ["python", "src/evaluate.py", *words, "predictions=true", "overwrite=true"]
        )


def find_arm(named: str, key: str, strategy: str | None, like: Arm | None = None) -> Arm:
    """The evaluation that a user names by its folder or by its run.

    Args:
        named: an evaluation's folder, or a run of which the newest evaluation is taken.
        key: the key that was set, for messages.
        strategy: of the run's evaluations only those with this strategy.
        like: of the run's evaluations rather one with the split and strategy of this one.

    Raises:
        UserError: there is none, or it has no scores.
    """
    run = RunFolder.find(named, key)
    read_config(run)  # which refuses a classifier's, that leaves no maps to look at
    path = Path(named).expanduser()
    if path.resolve().parent.name == "evaluations":
        return _load(run, read_evaluation(path))
    return _load(run, _choose(run, key, strategy, like))


def _choose(run: RunFolder, key: str, strategy: str | None, like: Arm | None) -> Evaluation:
    found = [read_evaluation(p.parent) for p in run.path.glob("evaluations/*/result.json")]
    if not found:
        raise UserError(
            f"{key}={run.path}: this run has no evaluation yet. Run evaluate.py first: "
            f"python src/evaluate.py run={run.path}"
        )
    if strategy:
        stride = read_config(run).output_stride
        with suppress(ValueError):  # the name of one with windows is taken as it is
            strategy = parse_strategy(strategy, output_stride=stride).name
    fitting = [e for e in found if strategy in (None, _conditions(e)[1])]
    if not fitting:
        there = ", ".join(sorted({_conditions(e)[1] for e in found}))
        raise UserError(
            f"strategy={strategy}: {key}={run.path} has no such evaluation; there are {there}. "
            "evaluate.py strategies=... makes others."
        )
    if like:
        wanted = _conditions(like.evaluation)
        fitting = [e for e in fitting if _conditions(e) == wanted] or fitting
    newest = max(fitting, key=lambda e: e.folder.result.stat().st_mtime_ns)
    if len(fitting) > 1:
        others = ", ".join(sorted(e.folder.path.name for e in fitting if e is not newest))
        print(f"{newest.name} is the newest evaluation; {key}=FOLDER names another one: {others}")
    return newest


def _conditions(evaluation: Evaluation) -> tuple[str, str]:
    """Split and strategy."""
    return str(evaluation.protocol["split"]), str(evaluation.protocol["strategy"]["name"])


def _load(run: RunFolder, evaluation: Evaluation) -> Arm:
    if evaluation.result.get("mIoU") is None:
        raise UserError(
            f"{evaluation.folder.path}: this evaluation has no scores, since its images have no "
            "masks that predictions could be compared with."
        )
    return Arm(run, evaluation, tuple(evaluation.ids), evaluation.confusion)


def aligned(ours: Arm, theirs: Arm) -> Arm:
    """The second evaluation with its images in the order of the first.

    Raises:
        UserError: they are not of the same images and classes, or they are the same one.
    """
    names = f"{ours.evaluation.name} and {theirs.evaluation.name}"
    if ours.evaluation.folder.path.resolve() == theirs.evaluation.folder.path.resolve():
        raise UserError(
            f"run and against are both {ours.evaluation.name}. Name another run, or the folder of "
            "another evaluation below evaluations/."
        )
    found = differences(ours.protocol, theirs.protocol, without=MAY_DIFFER)
    found += _difference("classes", ours.evaluation.class_names, theirs.evaluation.class_names)
    found = found or _difference("images", tuple(sorted(ours.ids)), tuple(sorted(theirs.ids)))
    if found:
        lines = "".join(f"\n       {line}" for line in found)
        raise UserError(f"{names} cannot be compared, since they differ in{lines}")
    place = {image_id: i for i, image_id in enumerate(theirs.ids)}
    order = [place[image_id] for image_id in ours.ids]
    return replace(theirs, ids=ours.ids, confusion=theirs.confusion[order])


def _difference(what: str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[str]:
    """What two lists of names do not share, in a line; none where they are equal."""
    if ours == theirs:
        return []
    only = [
        f"{len(rest)} of the {which} only ({', '.join(rest[:5])}{' ...' if len(rest) > 5 else ''})"
        for which, rest in (
            ("first", [name for name in ours if name not in set(theirs)]),
            ("second", [name for name in theirs if name not in set(ours)]),
        )
        if rest
    ]
    return [f"{what}: {', '.join(only) or 'the same in another order'}"]
