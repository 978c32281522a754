"""Tables of a plain sweep: each combination of the typed values is a row."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Glob, Override, QuotedString, Transformer

from deeplab.ablations.tables import Row, Table
from deeplab.config.parsing import validate
from deeplab.config.paths import group_choices
from deeplab.config.schema.run import Strategies, StrategySettings
from deeplab.inference.strategy import SINGLE_SCALE, parse_strategy
from deeplab.utils.constants import MAX_RUN_NAME
from deeplab.utils.errors import UserError
from deeplab.utils.settings import Settings
from deeplab.utils.text import name_some

MAX_VARIANTS = 1000

SWEEPS = "sweeps"
"""Folder of the reports on plain sweeps and of studies, in the folder of the runs."""

MAX_NAME = 60
"""Number of characters of a sweep's keys in its name."""

FIXED_KEYS = ("runs_dir", "resume", "resume_with_other_code", "overwrite", "name")
"""Keys of a command or of all its runs, which have one value."""


class _Strategies(Settings):
    strategies: Strategies


class Value(NamedTuple):
    """One value of a key that is swept over."""

    text: str
    """The value without quotes."""
    override: str


def variant_tables(
    swept: Sequence[Override], seeds: Sequence[int], strategies: Any
) -> dict[str, Table]:
    """Return a table for each inference strategy; its rows are tested against the first.

    Args:
        swept: overrides with several values; without them the seeds are the runs of one row.
        seeds: seeds of each row.
        strategies: value of the key; None: single-scale.

    Raises:
        UserError: values cannot be listed, or a strategy is invalid.
    """
    values = {override.key_or_group: list_values(override) for override in swept}
    combinations = list(itertools.product(*values.values()))
    if len(combinations) > MAX_VARIANTS:
        raise UserError(
            f"{swept[0].input_line}: {len(combinations)} variants. A sweep has at most "
            f"{MAX_VARIANTS}; list fewer values."
        )
    if swept:
        columns = tuple(values)
        rows = [
            Row(cells=tuple(v.text for v in row), train=tuple(v.override for v in row))
            for row in combinations
        ]
    else:
        columns, rows = ("seed",), [Row(cells=(", ".join(map(str, seeds)),))]
    entries = _parse_strategies(strategies)
    names = [_table_name(entry) for entry in entries]
    return {
        name: Table(
            title=", ".join(columns) + (f": {name}" if len(entries) > 1 else ""),
            setting=f"inference strategy {entry.strategy}",
            columns=columns,
            rows=tuple(rows),
            strategy=entry.strategy,
            split=entry.split,
            submission=entry.submission,
            reference=1 if len(rows) > 1 else None,
        )
        for name, entry in zip(names, entries, strict=True)
    }


def list_values(override: Override) -> list[Value]:
    """Return the values of a sweep over a list, a range or a pattern of names, in their order.

    Raises:
        UserError: they cannot be listed.
    """
    text, values = str(override.input_line), override.value()
    if override.key_or_group in FIXED_KEYS:
        raise UserError(f"{text}: all runs of a sweep share this key. Give it one value.")
    if override.is_interval_sweep():
        raise UserError(
            f"{text}: an interval has no values to list. List them, separated by commas, or let "
            "hydra/sweeper=optuna choose."
        )
    if getattr(values, "shuffle", False):
        raise UserError(f"{text}: rows have a fixed order. Leave out shuffle.")
    if isinstance(values, Glob):
        choices = [c for c in group_choices(override.key_or_group) if c != "own"]
        found: list[Any] = values.filter(choices)
        if not found:
            raise UserError(f"{text}: no choice matches. Choices: {', '.join(choices)}.")
    else:
        found = list(override.sweep_iterator())
    if not found:
        raise UserError(f"{text}: no value. List one or more.")
    key = override.get_key_element()
    return [Value(_text(value), f"{key}={Transformer.str(value)}") for value in found]


def _text(value: Any) -> str:
    if isinstance(value, QuotedString):
        return value.text
    return value if isinstance(value, str) else re.sub(r"\\(.)", r"\1", Transformer.str(value))


def _parse_strategies(value: Any) -> list[StrategySettings]:
    entries = validate(_Strategies, {"strategies": value or [SINGLE_SCALE]}).strategies
    for entry in entries:
        try:
            parse_strategy(entry.strategy, output_stride=16)
        except ValueError as error:
            raise UserError(f"strategies: {error}.") from None
    return list(dict.fromkeys(entries))


def _table_name(entry: StrategySettings) -> str:
    """Return the stem of the names of a table's files."""
    return "-".join(filter(None, (entry.split, entry.strategy))).replace("/", "_")


def same_run_error(first: Sequence[str], second: Sequence[str]) -> UserError:
    """Return the error of two variants that are the same run."""
    keys = [o.split("=", 1)[0] for o, other in zip(first, second, strict=True) if o != other]
    return UserError(
        f"{' '.join(first)} and {' '.join(second)}: these variants are the same run, whose result "
        f"does not depend on {name_some(keys)}. Sweep over other keys or values."
    )


def sweep_name(keys: Sequence[str], content: str) -> str:
    """Return the name of a sweep over keys, with a hash of its content."""
    names = "-".join(key.lstrip("+").rpartition(".")[2] for key in keys)
    words = re.sub(r"[^\w.-]+", "_", names)[:MAX_NAME]
    return f"{words}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def run_name(name: str, variant: Sequence[str], seed: int) -> str:
    """Return the name of a variant's run: the default name with what differs, before the seed.

    >>> run_name("shapes-xception-seed1", ["stage.lr=0.01", "backbone=xception"], 1)
    'shapes-xception-lr0.01-seed1'
    """
    end = f"-seed{seed}"
    room = MAX_RUN_NAME - len(end)
    base = result = _cut(name.removesuffix(end), room)
    for override in variant:
        if part := _name_part(override, base):
            result = _cut(f"{result}-{part}", room).rstrip("-")
    return result + end


def _cut(text: str, size: int) -> str:
    """Return the start of a text that has at most so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


def _name_part(override: str, base: str) -> str:
    """Return a key's value as a part of a name; empty if the name has it already."""
    key, _, value = override.lstrip("+~").partition("=")
    value = re.sub(r"[^\w.+=-]+", "_", value.strip("'\"").rstrip("/").rpartition("/")[2]).strip("_")
    leaf = key.removesuffix("._target_").rpartition(".")[2]
    part = f"{leaf}{'' if value[:1].isdigit() else '_'}{value}"[:40].strip("_")
    in_name = {part, value} & {*base.split("-")} or key == "output_stride"
    return "" if in_name or f"-{value}-" in f"-{base}-" else part
