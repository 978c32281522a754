"""Distinct training jobs of tables, the paper's or those of a plain sweep.

Rows that need the same trained network share a job: the fourteen rows of Table 3 evaluate four
networks. A job is identified by its settings and by its initial weights.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from deeplab.ablations.sweep_request import SweepRequest
from deeplab.ablations.tables import ERRORS, SEGMENTATION_SCORES, Row, Table
from deeplab.ablations.variants import same_run_error
from deeplab.checkpoints.initialization import adapt_to_previous_run
from deeplab.checkpoints.pretrained import IMAGENET_WEIGHTS, find_published_weights
from deeplab.config.implied_overrides import own_choices
from deeplab.config.overrides import quote_value
from deeplab.config.schema.run import RunConfig
from deeplab.data.settings import SyntheticSettings
from deeplab.evaluation.evaluation_folder import evaluation_name
from deeplab.tracking.evaluation_protocol import resolve_strategy_name
from deeplab.tracking.run_folder import RunFolder
from deeplab.tracking.run_identity import chosen_keys, settings_hash
from deeplab.utils.errors import UserError

RANDOM_WEIGHTS, ANOTHER_RUN = "random weights", "another run"
"""Descriptions of initial weights that have no address."""

PRETRAINED_PREFIX = "backbone.pretrained="

EXTERNAL_PREFIX = f"{PRETRAINED_PREFIX}external_weights."
"""Start of an override that needs weights from the user."""

Compose = Callable[[Sequence[str], Sequence[int]], Sequence[RunConfig]]
"""Function that composes overrides of ``deeplab train`` to a config for each seed."""


class RowEvaluation(NamedTuple):
    """Evaluation of a job's network that a table row needs."""

    table: str
    row: int
    """Number of the row, from 1."""
    strategy: str
    split: str | None
    submission: str | None
    variant: tuple[str, ...] | None = None
    """Overrides of the row as they were typed; None for the row of a table file."""

    def split_of(self, config: RunConfig) -> str:
        """Return the split that a run is evaluated on."""
        return self.split or config.data.val_split

    def name_of(self, config: RunConfig) -> str:
        """Return the name of the evaluation's folder in the folder of a run."""
        strategy = resolve_strategy_name(config, self.strategy)
        return evaluation_name(self.split_of(config), RunFolder("").weights, strategy)


class MissingWeights(NamedTuple):
    """External weights that the user has not provided."""

    name: str
    description: str


@dataclass
class Job:
    """Training job of one or more rows; its run may not exist yet."""

    overrides: tuple[str, ...]
    config: RunConfig
    pretraining: "Job | None" = None
    """Job whose weights this job starts from."""
    missing_weights: MissingWeights | None = None
    row_evaluations: list[RowEvaluation] = field(default_factory=list)
    """Evaluations that rows need; empty if the job only provides initial weights for others."""

    @cached_property
    def key(self) -> str:
        """Identity of the job: jobs with the same result have the same key."""
        if self.pretraining:
            init = self.pretraining.key
        elif self.missing_weights:
            init = ": ".join(self.missing_weights)
        else:
            init = f"{'network' if self.starts_whole else 'backbone'}={self.initial_weights}"
        data = self.config.data
        images = "" if isinstance(data, SyntheticSettings) else data.root
        chosen = " ".join(sorted(chosen_keys(self.config)))
        return f"{settings_hash(self.config)}({init})({images})({chosen})"

    @property
    def starts_whole(self) -> bool:
        """True if the whole network starts from weights, not only the backbone."""
        return self.pretraining is not None or self.config.init_from is not None

    @property
    def initial_weights(self) -> str | None:
        """Initial weights that the config names."""
        return self.config.init_from or self.config.backbone.pretrained

    @property
    def origin(self) -> str:
        """Readable description of the initial weights."""
        if self.pretraining:
            return ANOTHER_RUN
        if self.initial_weights == IMAGENET_WEIGHTS and self.config.init_from is None:
            return f"ImageNet weights ({find_published_weights(self.config.backbone).address})"
        return self.initial_weights or RANDOM_WEIGHTS

    @property
    def missing_weights_in_chain(self) -> MissingWeights | None:
        """External weights that are missing for this job or for its pretraining."""
        return self.missing_weights or (
            self.pretraining.missing_weights_in_chain if self.pretraining else None
        )

    @property
    def depth(self) -> int:
        """Number of jobs that must run before this one."""
        return 1 + self.pretraining.depth if self.pretraining else 0


def collect_jobs(request: SweepRequest, compose: Compose) -> list[Job]:
    """Return the distinct jobs of all rows, each after the jobs that it starts from.

    Raises:
        UserError: a row cannot be composed; the message names it.
    """
    _check_external_weights(request)
    collector = _JobCollector(request, compose)
    for name, table in request.tables.items():
        for number, row in enumerate(table.rows, 1):
            for seed in request.seeds if row.runnable else ():
                job = collector.add_row(table, row, seed, f"ablation/{name}, row {number}")
                evaluation = _row_evaluation(request, name, number, table, row)
                _check_distinct(job, evaluation)
                job.row_evaluations.append(evaluation)
    jobs = collector.jobs.values()
    _check_data_root(request, [job.config.data.name for job in jobs])
    return sorted(jobs, key=lambda job: job.depth)


def with_scores(request: SweepRequest, jobs: Sequence[Job]) -> SweepRequest:
    """Return the request with the scores of its variants, which follow from their task.

    Raises:
        UserError: a variant has no such inference strategy, or some variants are classifiers and
            others are not.
    """
    if not request.of_variants:
        return request
    for job in jobs:
        for evaluation in job.row_evaluations:
            try:
                resolve_strategy_name(job.config, evaluation.strategy)
            except ValueError as error:
                raise UserError(f"strategies: {error}.") from None
    tasks = {job.config.stage.task: job for job in jobs}
    if len(tasks) > 1:
        variants = " and ".join(describe_rows(job) for job in tasks.values())
        raise UserError(
            f"{variants}: one is a classifier, the other is not, and they have no score in common. "
            "Run one command for each."
        )
    scores = ERRORS if "classification" in tasks else SEGMENTATION_SCORES
    tables = {n: t.model_copy(update={"scores": scores}) for n, t in request.tables.items()}
    return request._replace(tables=tables)


def describe_rows(*jobs: Job) -> str:
    """Return the names of the rows, by table, or of the variants that jobs provide scores for."""
    rows: dict[str, set[int]] = {}
    variants: dict[str, None] = {}
    for job in jobs:
        for evaluation in job.row_evaluations:
            if evaluation.variant is None:
                rows.setdefault(evaluation.table, set()).add(evaluation.row)
            else:
                variants[" ".join([*evaluation.variant, f"seed={job.config.seed}"])] = None
    tables = [
        f"{table} row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"
        for table, numbers in rows.items()
    ]
    return "; ".join([*tables, *filter(None, [", ".join(variants)])]) or (
        "initial weights of other runs"
    )


def _check_distinct(job: Job, evaluation: RowEvaluation) -> None:
    """Raise UserError if two variants are the same run."""
    for other in job.row_evaluations:
        if evaluation.variant is not None and other.variant not in (None, evaluation.variant):
            raise same_run_error(other.variant or (), evaluation.variant)


class _JobCollector:
    """Collection of jobs that holds each of them once."""

    def __init__(self, request: SweepRequest, compose: Compose) -> None:
        self.request, self.compose = request, compose
        self.jobs: dict[str, Job] = {}
        self._configs: dict[tuple[str, ...], dict[int, RunConfig]] = {}

    def add_row(self, table: Table, row: Row, seed: int, where: str) -> Job:
        """Return the job of a row, after adding it and the jobs that it starts from."""
        job: Job | None = None
        for train, weights in reversed(list(_init_chain(table, row))):
            file = self.request.external_weights.get(weights) if weights else None
            overrides = merge_overrides(self.request, [*table.train, *train], seed, init_from=file)
            whole = job is not None or weights is not None
            overrides, pretrained = _resolve_pretrained(self.request, overrides, whole=whole)
            name = weights if weights and not file else pretrained
            missing = _missing_weights(self.request, table, name, where) if name else None
            config = self._config(overrides, seed, where)
            config = adapt_to_previous_run(config, job.config) if job else config
            new = Job(overrides, config, job, missing)
            job = self.jobs.setdefault(new.key, new)
        assert job is not None
        return job

    def _config(self, overrides: tuple[str, ...], seed: int, where: str) -> RunConfig:
        """Return the config of a job; Hydra, which is slow, composes it once for all seeds."""
        others = tuple(text for text in overrides if text != f"seed={seed}")
        if others not in self._configs:
            seeds = self.request.seeds
            try:
                configs = self.compose(others, seeds)
            except UserError as error:
                if self.request.of_variants:
                    raise
                raise UserError(f"{where}: {error}") from None
            self._configs[others] = dict(zip(seeds, configs, strict=True))
        return self._configs[others][seed]


def _check_external_weights(request: SweepRequest) -> None:
    known = {name for table in request.tables.values() for name in _known_weights(request, table)}
    if unknown := set(request.external_weights) - known:
        name = min(unknown)
        raise UserError(
            f"external_weights.{name}={request.external_weights[name]}: no table of this command "
            f"needs these weights. Names that the tables use: {', '.join(sorted(known)) or 'none'}."
        )


def _known_weights(request: SweepRequest, table: Table) -> dict[str, str]:
    return {**request.preset.external_weights, **table.external_weights}


def _missing_weights(request: SweepRequest, table: Table, name: str, where: str) -> MissingWeights:
    known = _known_weights(request, table)
    if name not in known:
        raise UserError(
            f"{where}: neither the table nor the preset describes external_weights.{name}. Add a "
            "description under external_weights in one of the two files."
        )
    return MissingWeights(name, known[name])


def _resolve_pretrained(
    request: SweepRequest, overrides: tuple[str, ...], *, whole: bool
) -> tuple[tuple[str, ...], str | None]:
    """Return the overrides with the backbone's weights, and the name of weights that are missing.

    If the whole network starts from other weights, ``backbone.pretrained`` is removed: only the
    first job of a chain uses it.

    Args:
        request: request with the files of external weights.
        overrides: overrides of a job.
        whole: whether the whole network starts from weights.
    """
    others = tuple(text for text in overrides if not text.startswith(PRETRAINED_PREFIX))
    whole = whole or any(re.match("init_from=(?!null$)", text) for text in overrides)
    pretrained = next((text for text in overrides if text.startswith(PRETRAINED_PREFIX)), "")
    if whole:
        return others, None
    if not pretrained.startswith(EXTERNAL_PREFIX):
        return overrides, None
    name = pretrained.removeprefix(EXTERNAL_PREFIX)
    if name not in request.external_weights:
        return others, name
    return (*others, f"{PRETRAINED_PREFIX}{quote_value(request.external_weights[name])}"), None


def _check_data_root(request: SweepRequest, data: Sequence[str]) -> None:
    """Raise an error if one ``data.root`` is set for several data sets."""
    names = list(dict.fromkeys(data))
    root = next((text for text in request.overrides if text.startswith("data.root=")), None)
    if root and len(names) > 1:
        keys = " ".join(f"data_roots.{name}=..." for name in names)
        raise UserError(
            f"{root}: these tables use several data sets ({', '.join(names)}). Set one folder for "
            f"each: {keys}"
        )


def merge_overrides(
    request: SweepRequest, overrides: Sequence[str], seed: int, init_from: str | None = None
) -> tuple[str, ...]:
    """Return the overrides of a job: the preset's, the row's, the command line's and the seed.

    The last override of a key wins.

    Args:
        request: request with the preset and the overrides of the command line.
        overrides: overrides of the table and the row; the preset may replace them.
        seed: seed of the job.
        init_from: file of external weights that the user has provided for the job.
    """
    replaced = [
        new for old in overrides for new in request.preset.replace.get(old.replace(" ", ""), (old,))
    ]
    everything = [*request.preset.train, *replaced, f"seed={seed}", *request.overrides]
    last = {override.split("=", 1)[0].lstrip("+"): override for override in everything}
    if init_from:
        last["init_from"] = f"init_from={quote_value(init_from)}"
    if root := request.data_roots.get(_data_choice(last)):
        last["data.root"] = f"data.root={quote_value(root)}"
    return (*own_choices(list(last.values())), *last.values())


def _data_choice(overrides: Mapping[str, str]) -> str:
    """Return the data set that overrides, by key, choose."""
    return overrides.get("data", "").partition("=")[2]


def _init_chain(table: Table, row: Row) -> Iterator[tuple[Sequence[str], str | None]]:
    """Yield the stages of a row from the last to the first: the row's own, then its pretraining.

    A stage consists of its overrides on top of the table's, and of the name of the external weights
    that it starts from.
    """
    yield row.train, None
    name = row.init_from
    while name:
        pretraining = table.pretraining[name]
        yield pretraining.train, pretraining.external_weights
        name = pretraining.init_from


def _row_evaluation(
    request: SweepRequest, name: str, number: int, table: Table, row: Row
) -> RowEvaluation:
    use_val_split = request.preset.use_val_split and not request.of_variants
    split, submission = (None, None) if use_val_split else (table.split, table.submission)
    variant = row.train if request.of_variants else None
    return RowEvaluation(name, number, row.strategy or table.strategy, split, submission, variant)
