"""Request of a sweep, parsed from the command line.

It names tables, as in ``ablation=table1,table2 preset=quick num_seeds=3``, or variants, as in
``decoder=full,naive seed=0,1``, plus overrides of ``deeplab train`` for all rows.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from deeplab.ablations.tables import (
    DEFAULT_PRESET,
    Preset,
    Table,
    is_yaml_path,
    read_preset,
    read_table,
)
from deeplab.ablations.variants import variant_tables
from deeplab.config.command_line import check_overrides, parse_overrides
from deeplab.config.paths import group_choices, project_choices, script_groups
from deeplab.utils.constants import MAX_SEEDS
from deeplab.utils.errors import UserError
from deeplab.utils.paths import is_reachable

ALL = "all"

SEED_KEYS = ("num_seeds", "seed")

REQUEST_KEYS = ("ablation", "preset", *SEED_KEYS, "strategies")

PATH_PREFIXES = ("data_roots.", "external_weights.")
"""Starts of the keys whose values are files or folders."""


class SweepRequest(NamedTuple):
    """Tables to run, and the settings for all their rows."""

    tables: Mapping[str, Table]
    preset_name: str
    """Name or path; empty without a preset, which variants need not have."""
    preset: Preset
    overrides: Sequence[str] = ()
    """Overrides from the command line, which take precedence over all others."""
    seeds: Sequence[int] = (0,)
    typed_seeds: str = ""
    """Override that sets the seeds; empty if none is typed."""
    data_roots: Mapping[str, str] = {}
    """Folders of data sets, by the names of their configs."""
    external_weights: Mapping[str, str] = {}
    """Files of weights, by the names that tables and presets give them."""
    of_variants: bool = False
    """True if the rows are the variants of a plain sweep."""


def sweeps_over_variants(arguments: Sequence[str]) -> bool:
    """Return True if a command line names no table and has several values of a key or strategy."""
    parsed = parse_overrides(arguments)
    keys = {o.key_or_group for o in parsed if o.is_sweep_override()} - {"seed", "ablation"}
    return bool(keys) and not any(o.key_or_group == "ablation" for o in parsed)


def parse_request(arguments: Sequence[str]) -> SweepRequest:
    """Return the request of a command line.

    Raises:
        UserError: a table, a preset, a path or a number is invalid.
    """
    parsed = parse_overrides(arguments)
    check_overrides(parsed, script_groups("train"))
    options = {o.key_or_group: o for o in parsed if _is_option(o)}
    rest = [o for o in parsed if not _is_option(o)]
    counts = Counter(override.key_or_group for override in parsed if _is_option(override))
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise UserError(f"{repeated[0]}: this key is set more than once. Keep one of them.")
    seeds, preset = _seeds(options), _single_value(options, "preset") or ""
    swept = [override for override in rest if override.is_sweep_override()]
    of_variants = "ablation" not in options
    if of_variants:
        _check_variants(rest)
        strategies = options.get("strategies")
        tables = variant_tables(swept, seeds, _list(strategies) if strategies else None)
    else:
        _check_table_overrides(swept, options)
        names = [n for value in _values(options["ablation"]) for n in _expand_all(value)]
        tables = _read_tables(names)
        preset = preset or _common_preset(tables)
    return SweepRequest(
        tables=tables,
        preset_name=preset,
        preset=read_preset(preset) if preset else Preset(title="no preset"),
        overrides=[str(o.input_line) for o in rest if not o.is_sweep_override()],
        seeds=seeds,
        typed_seeds=next((str(options[k].input_line) for k in SEED_KEYS if k in options), ""),
        of_variants=of_variants,
        data_roots=_data_roots(options),
        external_weights=_existing_paths(options, "external_weights"),
    )


def _check_table_overrides(swept: Sequence[Override], options: Mapping[str, Override]) -> None:
    if swept:
        raise UserError(
            f"{swept[0].input_line}: with ablation=..., only seed may have several values. "
            "Run one command for each value, or write a table of your own."
        )
    if strategies := options.get("strategies"):
        raise UserError(
            f"{strategies.input_line}: each row of a table names its inference strategy. Leave it "
            "out, or write a table of your own."
        )


def _check_variants(overrides: Sequence[Override]) -> None:
    """Check what a run by itself may do, but a run of a sweep may not."""
    counts = Counter(override.key_or_group for override in overrides)
    for override in overrides:
        if override.is_sweep_override() and counts[override.key_or_group] > 1:
            raise UserError(
                f"{override.key_or_group}: this key is set more than once. Keep one of them."
            )
        if override.key_or_group == "resume" and override.value() is not None:
            raise UserError(
                f"{override.input_line}: a sweep resumes its runs by itself. Leave it out, or "
                "leave out -m to resume one run."
            )


def _list(override: Override) -> Any:
    """Return the value of ``strategies``, for which values without brackets are a list too."""
    if override.is_sweep_override():
        return _values(override)
    return override.value()


def _read_tables(names: Sequence[str]) -> dict[str, Table]:
    """Return the tables by the stems of their files, which also name the report's files."""
    if len(set(names)) < len(names):
        raise UserError(f"ablation={','.join(names)}: a table is named twice. Name each once.")
    by_stem = {Path(name).stem if is_yaml_path(name) else name: name for name in names}
    if len(by_stem) < len(names):
        duplicate = next(name for name in names if name not in by_stem.values())
        raise UserError(
            f"ablation={duplicate}: another table has the same file name. Rename this file."
        )
    return {stem: read_table(name) for stem, name in by_stem.items()}


def _common_preset(tables: Mapping[str, Table]) -> str:
    """Return the preset that the tables name; one for all, since the report has one setting."""
    named = {table.preset: name for name, table in tables.items()}
    if len(named) > 1:
        choices = " or ".join(f"preset={preset} ({name})" for preset, name in named.items())
        raise UserError(
            f"ablation={','.join(tables)}: these tables are for different presets. Set one for "
            f"all: {choices}; or run one command for each."
        )
    return next(iter(named))


def _is_option(override: Override) -> bool:
    """Return True for a key of the request itself, which is no override of ``deeplab train``."""
    key = override.key_or_group
    return key in REQUEST_KEYS or key.startswith(PATH_PREFIXES)


def _existing_paths(options: dict[str, Override], group: str) -> dict[str, str]:
    """Return the files or folders of ``data_roots`` or ``external_weights`` by their names.

    Raises:
        UserError: one does not exist.
    """
    paths = {
        key.removeprefix(f"{group}."): _single_value(options, key) or ""
        for key in options
        if key.startswith(f"{group}.")
    }
    for name, path in paths.items():
        if not path or not is_reachable(Path(os.path.expanduser(path))):  # noqa: PTH111  never raises
            raise UserError(f"{group}.{name}={path}: no such file or folder. Check the path.")
    return paths


def _data_roots(options: dict[str, Override]) -> dict[str, str]:
    roots, known = _existing_paths(options, "data_roots"), group_choices("data")
    for name, path in roots.items():
        if name not in known:
            raise UserError(
                f"data_roots.{name}={path}: no such data set. Data sets: {', '.join(known)}."
            )
    return roots


def _expand_all(name: str) -> list[str]:
    """Return the tables that a name stands for: itself, or all of the paper's."""
    if name != ALL:
        return [name]
    return [n for n in project_choices("ablation") if read_table(n).preset == DEFAULT_PRESET]


def _values(override: Override | None) -> list[str]:
    """Return the values of an override: several for a sweep or a list."""
    if override is None:
        return []
    if override.is_sweep_override():
        try:
            return [_text(value) for value in override.sweep_iterator()]
        except HydraException:  # glob, interval
            raise UserError(
                f"{override.input_line}: glob and interval are not allowed. List the values, "
                "separated by commas."
            ) from None
    value = override.value()
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _text(value: object) -> str:
    return str(value.text if isinstance(value, QuotedString) else value)


def _single_value(options: dict[str, Override], key: str) -> str | None:
    values = _values(options.get(key))
    if len(values) > 1:
        raise UserError(f"{key}={','.join(values)}: only one value is allowed.")
    return values[0] if values else None


def _seeds(options: dict[str, Override]) -> list[int]:
    count, listed = _single_value(options, "num_seeds"), _values(options.get("seed"))
    if count is not None and listed:
        raise UserError(
            f"num_seeds={count} seed={','.join(listed)}: both set the seeds. num_seeds=N means "
            "seed=0,...,N-1; keep one of the two."
        )
    if "seed" in options and not listed:
        raise UserError(f"{options['seed'].input_line}: no value. List one or more.")
    texts = listed if count is None else [count]
    limit = MAX_SEEDS if count is not None else 2**32 - 1
    if not all(re.fullmatch("[0-9]{1,10}", text) and int(text) <= limit for text in texts) or (
        count and not int(count)
    ):
        key = "seed" if count is None else "num_seeds"
        raise UserError(
            f"{key}={','.join(texts)}: expected whole numbers, for num_seeds from 1 to "
            f"{MAX_SEEDS}. Examples: num_seeds=3, seed=0,1,2."
        )
    return [int(seed) for seed in listed] or list(range(int(count or 1)))
