"""What a command line asks for: ``ablation=table1,table2 preset=quick num_seeds=3`` and overrides of
``train.py`` for all rows."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from deeplab.ablations.jobs import SweepRequest
from deeplab.ablations.tables import Table, choices, is_file, read_preset, read_table
from deeplab.config.messages import format_hydra_error
from deeplab.utils.errors import UserError

DEFAULT_PRESET = "quick"

ALL = "all"

NAMED = ("data_roots.", "external_weights.")
"""What keys of files and folders begin with."""


def names_tables(arguments: Sequence[str]) -> bool:
    """Whether a command line names an ablation table."""
    return any(argument.startswith("ablation=") for argument in arguments)


def parse_request(arguments: Sequence[str]) -> SweepRequest:
    """What the arguments ask for.

    Raises:
        UserError: a table, a preset or a number that cannot be.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
    except HydraException as error:
        raise UserError(format_hydra_error(error)) from None
    own = {o.key_or_group: o for o in parsed if _is_own(o)}
    rest = [o for o in parsed if not _is_own(o)]
    for override in rest:
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line}: beside ablation=... only seed may have several values; "
                "run the others one after the other, or write a table of your own."
            )
    names = [n for value in _values(own.get("ablation")) for n in _expanded(value)]
    preset = _one_value(own, "preset") or DEFAULT_PRESET
    return SweepRequest(
        tables=_tables(names),
        preset_name=preset,
        preset=read_preset(preset),
        overrides=[str(override.input_line) for override in rest],
        seeds=_seeds(own),
        data_roots=_roots(own),
        external_weights=_named(own, "external_weights"),
    )


def _tables(names: Sequence[str]) -> dict[str, Table]:
    """By the names of their files, which are those of what is made of them."""
    files = dict.fromkeys(names)
    found = {Path(name).stem if is_file(name) else name: name for name in files}
    if len(found) < len(files):
        twice = next(name for name in files if name not in found.values())
        raise UserError(f"ablation={twice}: another table has this name too; rename this one.")
    return {stem: read_table(name) for stem, name in found.items()}


def _is_own(override: Override) -> bool:
    key = override.key_or_group
    return key in ("ablation", "preset", "num_seeds", "seed") or key.startswith(NAMED)


def _named(own: dict[str, Override], kind: str) -> dict[str, str]:
    """The files or folders that were given by name.

    Raises:
        UserError: one does not exist.
    """
    found = {
        key.removeprefix(f"{kind}."): _values(override)[0]
        for key, override in own.items()
        if key.startswith(f"{kind}.")
    }
    for name, path in found.items():
        if not Path(path).expanduser().exists():
            raise UserError(f"{kind}.{name}={path}: there is no such file or folder.")
    return found


def _roots(own: dict[str, Override]) -> dict[str, str]:
    found, known = _named(own, "data_roots"), choices("data")
    for name in found:
        if name not in known:
            raise UserError(
                f"data_roots.{name}: there is no such data set; there are {', '.join(known)}."
            )
    return found


def _expanded(name: str) -> list[str]:
    return choices("ablation") if name == ALL else [name]


def _values(override: Override | None) -> list[str]:
    """The values of an override, of which a sweep has several."""
    if override is None:
        return []
    if override.is_sweep_override():
        try:
            return [_text(value) for value in override.sweep_iterator()]
        except HydraException:  # glob, interval
            raise UserError(f"{override.input_line}: its values are to be listed.") from None
    value = override.value()
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _text(value: object) -> str:
    return str(value.text if isinstance(value, QuotedString) else value)


def _one_value(own: dict[str, Override], key: str) -> str | None:
    values = _values(own.get(key))
    if len(values) > 1:
        raise UserError(f"{key}={','.join(values)}: one value is wanted.")
    return values[0] if values else None


def _seeds(own: dict[str, Override]) -> list[int]:
    count, named = _one_value(own, "num_seeds"), _values(own.get("seed"))
    if count is not None and named:
        raise UserError("num_seeds=N stands for seed=0,...,N-1; say one of them.")
    texts = named if count is None else [count]
    if not all(text.isdecimal() for text in texts) or (count and not int(count)):
        raise UserError(
            "seed and seeds: whole numbers are wanted, as in num_seeds=3 or seed=0,1,2."
        )
    return [int(seed) for seed in named] or list(range(int(count or 1)))
