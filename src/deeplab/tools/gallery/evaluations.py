"""Evaluations that a gallery shows: found by folder or run, and checked against each other."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab.config.overrides import typed_override
from deeplab.evaluation.evaluation_folder import Evaluation, read_evaluation, run_evaluations
from deeplab.inference.strategy import parse_strategy
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.tracking.evaluation_protocol import Protocol, differences
from deeplab.tracking.run_folder import RunFolder, read_config
from deeplab.utils.constants import WEIGHTS_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.program import command
from deeplab.utils.text import name_some

MAY_DIFFER = ("strategy", "precision", "padded_to", "classes")
"""Protocol keys that two compared evaluations need not share; classes are compared by name."""


@dataclass(frozen=True)
class LoadedEvaluation:
    """One evaluation with the confusion matrices of its images in memory."""

    run: RunFolder
    stored: Evaluation
    ids: tuple[str, ...]
    confusions: ImageConfusions

    @property
    def protocol(self) -> Protocol:
        """Conditions of the evaluation; see ``deeplab.tracking.evaluation_protocol``."""
        return self.stored.protocol

    @property
    def strategy(self) -> str:
        """Name of the inference strategy, as typed on the command line."""
        return self.protocol.strategy.name

    def prediction(self, index: int, data_root: str | None = None) -> Path:
        """Return the path of an image's label map.

        Args:
            index: index of the image.
            data_root: folder that holds the images now, for the error message.

        Raises:
            UserError: the label map was not saved.
        """
        path = self.stored.folder.prediction(self.ids[index])
        if not path.is_file():
            raise UserError(
                f"{path}: no such prediction. Evaluate first: {self.evaluate_command(data_root)}"
            )
        return path

    def evaluate_command(self, data_root: str | None) -> str:
        """Return the command that repeats this evaluation and saves its predictions."""
        weights = self.stored.result.weights or WEIGHTS_FILE
        strategy, window = self.strategy, self.protocol.strategy.window
        path = self.run.path / weights if weights != WEIGHTS_FILE else self.run.path
        words = [typed_override("run", path), typed_override("split", self.protocol.split)]
        if window:
            words += [f"window_size={window.size}", f"overlap={window.overlap}"]
            strategy = strategy.removesuffix(f"-w{window.size}")
        words.append(f"strategies={strategy}")
        words += [typed_override("data.root", data_root)] if data_root else []
        words += ["save_predictions=true", "overwrite=true"]
        return f"{command('evaluate')} {' '.join(words)}"


def find_evaluation(
    value: str, key: str, strategy: str | None, like: LoadedEvaluation | None = None
) -> LoadedEvaluation:
    """Find and load an evaluation by its folder or by its run.

    Args:
        value: the folder of an evaluation, or a run, whose newest evaluation is taken.
        key: config key that was set to ``value``, for messages.
        strategy: take only an evaluation of the run with this strategy.
        like: prefer an evaluation of the run with the split and strategy of this one.

    Raises:
        UserError: there is no such evaluation, or it has no scores.
    """
    run = RunFolder.find(value, key)
    read_config(run)  # refuses the run of a classifier, which has no label maps to show
    if is_evaluation(value):
        return _load(run, read_evaluation(value))
    return _load(run, _choose_evaluation(run, key, strategy, like))


def is_evaluation(path: str) -> bool:
    """Return True for the folder of an evaluation, False for that of a run."""
    return Path(path).expanduser().resolve().parent.name == "evaluations"


def _choose_evaluation(
    run: RunFolder, key: str, strategy: str | None, like: LoadedEvaluation | None
) -> Evaluation:
    evaluations = run_evaluations(run)
    if not evaluations:
        raise UserError(
            f"{key}={run.path}: this run has no evaluation yet. Evaluate it first: "
            f"{command('evaluate')} {typed_override('run', run.path)}"
        )
    evaluations = [e for e in evaluations if e.result.has_score] or evaluations
    if strategy:
        stride = read_config(run).output_stride
        with suppress(ValueError):  # the name of a strategy with windows is taken literally
            strategy = parse_strategy(strategy, output_stride=stride).name
    candidates = [e for e in evaluations if strategy in (None, _split_and_strategy(e)[1])]
    if not candidates:
        available = ", ".join(sorted({_split_and_strategy(e)[1] for e in evaluations}))
        raise UserError(
            f"strategy={strategy}: {key}={run.path} has no evaluation with this strategy. "
            f"Available: {available}. Add others with {command('evaluate')} strategies=..."
        )
    if like:
        preferred = _split_and_strategy(like.stored)
        candidates = [e for e in candidates if _split_and_strategy(e) == preferred] or candidates
    newest = max(candidates, key=lambda e: e.folder.result.stat().st_mtime_ns)
    if len(candidates) > 1:
        others = ", ".join(sorted(e.folder.path.name for e in candidates if e is not newest))
        print(
            f"{newest.name} is the newest evaluation and is used. Set {key} to the folder of "
            f"another one to use that: {others}"
        )
    return newest


def _split_and_strategy(evaluation: Evaluation) -> tuple[str, str]:
    return evaluation.protocol.split, evaluation.protocol.strategy.name


def _load(run: RunFolder, evaluation: Evaluation) -> LoadedEvaluation:
    if not evaluation.result.has_score:
        raise UserError(
            f"{evaluation.folder.path}: this evaluation has no scores, because its images have no "
            "masks to compare the predictions with."
        )
    return LoadedEvaluation(run, evaluation, tuple(evaluation.ids), evaluation.confusions)


def align(first: LoadedEvaluation, second: LoadedEvaluation) -> LoadedEvaluation:
    """Return the second evaluation with its images in the order of the first.

    Raises:
        UserError: the two differ in their images or classes, or are the same evaluation.
    """
    names = f"{first.stored.name} and {second.stored.name}"
    if first.stored.folder.path.resolve() == second.stored.folder.path.resolve():
        raise UserError(
            f"compare_with={second.stored.folder.path}: run and compare_with are both "
            f"{first.stored.name}. Set compare_with to another run, or to the folder of another "
            "evaluation below evaluations/."
        )
    problems = differences(first.protocol, second.protocol, ignore=MAY_DIFFER)
    problems += _name_differences("classes", first.stored.class_names, second.stored.class_names)
    problems = problems or _name_differences(
        "images", tuple(sorted(first.ids)), tuple(sorted(second.ids))
    )
    if problems:
        lines = "".join(f"\n       {line}" for line in problems)
        raise UserError(f"{names} cannot be compared, because they differ in{lines}")
    index_of_id = {image_id: i for i, image_id in enumerate(second.ids)}
    order = [index_of_id[image_id] for image_id in first.ids]
    return replace(second, ids=first.ids, confusions=second.confusions.take(order))


def _name_differences(title: str, first: tuple[str, ...], second: tuple[str, ...]) -> list[str]:
    """Return one line that tells two lists of names apart, or nothing if they are equal."""
    if first == second:
        return []
    unshared = [
        f"{len(rest)} only in the {position} ({name_some(rest, 5)})"
        for position, rest in (
            ("first", [name for name in first if name not in set(second)]),
            ("second", [name for name in second if name not in set(first)]),
        )
        if rest
    ]
    return [f"{title}: {', '.join(unshared) or 'equal, but in another order'}"]
