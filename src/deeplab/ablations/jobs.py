"""The distinct trainings that rows stand for.

Rows that are trained alike share a training: Table 3 looks at four networks in fourteen ways. A
training is known by its settings and by what it starts from.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from deeplab.ablations.tables import Preset, Row, Table
from deeplab.checkpoints.initialization import adapt_to_previous_run
from deeplab.checkpoints.pretrained import IMAGENET, find_published_weights
from deeplab.config.hydra_app import quote_value
from deeplab.config.schema.run import RunConfig
from deeplab.tracking.run_folder import settings_hash
from deeplab.utils.errors import UserError

RANDOM, ANOTHER = "random weights", "another training"
"""What trainings start from that have no address."""

PRETRAINED = "backbone.pretrained="

SUPPLIED = f"{PRETRAINED}external_weights."
"""An override for weights that the user has to name."""

Compose = Callable[[Sequence[str]], RunConfig]
"""Overrides of ``train.py`` to the config that they make."""


class Use(NamedTuple):
    """What a row wants of a training."""

    table: str
    row: int
    """Its number, from 1."""
    strategy: str
    split: str | None
    export: str | None


@dataclass
class Training:
    """A run, which may not be there yet."""

    overrides: tuple[str, ...]
    config: RunConfig
    start: "Training | None" = None
    """The one whose weights it starts from."""
    lacks: str | None = None
    """What the user would have to supply."""
    uses: list[Use] = field(default_factory=list)
    """Rows that are scored on it; none where others start from it only."""

    @property
    def key(self) -> str:
        """The same for trainings with the same result."""
        start = self.start.key if self.start else self.lacks or self.named or ""
        return f"{settings_hash(self.config)}({start})"

    @property
    def named(self) -> str | None:
        """The weights that were named for it to start from."""
        return self.config.init_from or self.config.backbone.pretrained

    @property
    def origin(self) -> str:
        """What it starts from, for a person."""
        if self.start:
            return ANOTHER
        if self.named == IMAGENET and self.config.init_from is None:
            return f"ImageNet weights ({find_published_weights(self.config.backbone).address})"
        return self.named or RANDOM

    @property
    def missing(self) -> str | None:
        """What the user would have to supply for it or for what it starts from."""
        return self.lacks or (self.start.missing if self.start else None)

    @property
    def depth(self) -> int:
        """How many trainings come before it."""
        return 1 + self.start.depth if self.start else 0


class SweepRequest(NamedTuple):
    """What is to be run."""

    tables: Mapping[str, Table]
    preset_name: str
    preset: Preset
    overrides: Sequence[str] = ()
    """On top of all, from the command line."""
    seeds: Sequence[int] = (0,)
    data_roots: Mapping[str, str] = {}
    """Where data sets are, by their choice."""
    external_weights: Mapping[str, str] = {}
    """Files of weights by the name that tables give them."""


def trainings(request: SweepRequest, compose: Compose) -> list[Training]:
    """The distinct trainings of all rows, those that others start from first.

    Raises:
        UserError: a row cannot be composed; it is named.
    """
    _check_supplies(request)
    collected = _Collected(request, compose)
    for name, table in request.tables.items():
        for number, row in enumerate(table.rows, 1):
            for seed in request.seeds if row.runnable else ():
                made = collected.training(table, row, seed, f"ablation/{name}, row {number}")
                made.uses.append(_use(request.preset, name, number, table, row))
    found = collected.found.values()
    _check_roots(request, [training.config.data.name for training in found])
    return sorted(found, key=lambda training: training.depth)


class _Collected:
    """Trainings, each of which is there once."""

    def __init__(self, request: SweepRequest, compose: Compose) -> None:
        self.request, self.compose = request, compose
        self.found: dict[str, Training] = {}
        self._composed: dict[tuple[str, ...], RunConfig] = {}

    def training(self, table: Table, row: Row, seed: int, where: str) -> Training:
        """That of a row; what it starts from is there too then."""
        made: Training | None = None
        for train, supply in reversed(list(_chain(table, row))):
            given = self.request.external_weights.get(supply) if supply else None
            overrides = merged(self.request, [*table.train, *train], seed, start=given)
            whole = made is not None or supply is not None
            overrides, wanted = _backbone_start(self.request, overrides, whole=whole)
            lacking = supply if supply and not given else wanted
            lacks = f"{lacking}: {_what(self.request, table, lacking, where)}" if lacking else None
            config = self._config(overrides, where)
            config = adapt_to_previous_run(config, made.config) if made else config
            training = Training(overrides, config, made, lacks)
            made = self.found.setdefault(training.key, training)
        assert made is not None
        return made

    def _config(self, overrides: tuple[str, ...], where: str) -> RunConfig:
        if overrides not in self._composed:
            try:
                self._composed[overrides] = self.compose(overrides)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
        return self._composed[overrides]


def _check_supplies(request: SweepRequest) -> None:
    known = {name for table in request.tables.values() for name in _supplies(request, table)}
    if unknown := set(request.external_weights) - known:
        raise UserError(
            f"external_weights.{min(unknown)}: no table here asks for it; they ask for "
            f"{', '.join(sorted(known)) or 'none'}."
        )


def _supplies(request: SweepRequest, table: Table) -> dict[str, str]:
    return {**request.preset.external_weights, **table.external_weights}


def _what(request: SweepRequest, table: Table, name: str, where: str) -> str:
    """What the weights of this name are."""
    known = _supplies(request, table)
    if name not in known:
        raise UserError(f"{where}: neither table nor preset says what external_weights.{name} is.")
    return known[name]


def _backbone_start(
    request: SweepRequest, overrides: tuple[str, ...], *, whole: bool
) -> tuple[tuple[str, ...], str | None]:
    """Overrides with what the backbone starts from, and the name of weights that are lacking.

    Where the whole network starts from something, the backbone does not start from its own: what
    comes first in a chain has.
    """
    others = tuple(text for text in overrides if not text.startswith(PRETRAINED))
    whole = whole or any(re.match("init_from=(?!null$)", text) for text in overrides)
    named = next((text for text in overrides if text.startswith(PRETRAINED)), "")
    if whole:
        return others, None
    if not named.startswith(SUPPLIED):
        return overrides, None
    name = named.removeprefix(SUPPLIED)
    if name not in request.external_weights:
        return others, name
    return (*others, f"{PRETRAINED}{quote_value(request.external_weights[name])}"), None


def _check_roots(request: SweepRequest, data: Sequence[str]) -> None:
    """One ``data.root`` cannot be that of several data sets."""
    names = list(dict.fromkeys(data))
    root = next((text for text in request.overrides if text.startswith("data.root=")), None)
    if root and len(names) > 1:
        each = " ".join(f"data_roots.{name}=..." for name in names)
        raise UserError(f"{root}: these tables are of {' and '.join(names)}; name each: {each}")


def merged(
    request: SweepRequest, overrides: Sequence[str], seed: int, start: str | None = None
) -> tuple[str, ...]:
    """A row's overrides as the preset has them, and what comes on top; of each key the last one
    counts. ``start`` is the file of weights that was supplied for it."""
    replaced = [
        new for old in overrides for new in request.preset.replace.get(old.replace(" ", ""), (old,))
    ]
    everything = [*request.preset.train, *replaced, *request.overrides, f"seed={seed}"]
    last = {override.split("=", 1)[0].lstrip("+"): override for override in everything}
    if start:
        last["init_from"] = f"init_from={quote_value(start)}"
    if root := request.data_roots.get(_data(last)):
        last["data.root"] = f"data.root={quote_value(root)}"
    return tuple(last.values())


def _data(overrides: Mapping[str, str]) -> str:
    """The data set that overrides, by key, choose."""
    return overrides.get("data", "").partition("=")[2]


def _chain(table: Table, row: Row) -> Iterator[tuple[Sequence[str], str | None]]:
    """The row's training, what it starts from, what that starts from and so on: what each adds to
    the table's overrides, and the weights that it wants supplied."""
    yield row.train, None
    name = row.init_from
    while name:
        start = table.pretraining[name]
        yield start.train, start.external_weights
        name = start.init_from


def _use(preset: Preset, name: str, number: int, table: Table, row: Row) -> Use:
    split, export = (None, None) if preset.use_val_split else (table.split, table.submission)
    return Use(name, number, row.strategy or table.strategy, split, export)
