"""Overrides as text, ``key=value``: as Hydra reads them and as they are typed in a shell."""

import re
import shlex

from deeplab.config.paths import OWN_GROUPS, TABLES
from deeplab.utils.extras import require_extra

UNREADABLE = re.compile(r"[^\w\s/\-+.$%*@?|:]", re.ASCII)
"""A character that Hydra reads in a value only in quotes."""


def quote_value(text: object) -> str:
    """Return a path or another string quoted as the value of an override.

    Hydra reads backslashes as they are, but for those before a quote.
    """
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ("\\" + m[2] if m[2] else ""), str(text))
    return f'"{escaped}"'


def typed_override(key: str, value: object) -> str:
    """Return the override that sets a key to a path or another string, as typed in a shell."""
    text = str(value)
    is_plain = re.fullmatch(r"(?=.*[A-Za-z/])[\w/+.@%-]+", text, re.ASCII)
    if is_plain and not re.fullmatch(r"null|true|false|nan|[-+]?inf|[-+.\d_]+e[-+\d]+", text, re.I):
        return f"{key}={text}"
    return shlex.quote(f"{key}={quote_value(text)}")


def to_hydra_override(argument: str) -> str:
    """Return a command line's argument in the form that Hydra accepts.

    Names that Hydra reads only in quotes, but that have one reading, get them, as in
    ``data.root=~/photos`` and ``data.classes=[Straße,Gehweg]``. A table or a preset that is given
    by its path becomes a sweep over one value, because Hydra would look for a choice of that name.
    ``data_roots.NAME`` and ``external_weights.NAME`` are new keys and get a ``+``. Optuna's sweeper
    is the one that knows the objective.

    Raises:
        UserError: Optuna's sweeper is not installed.
    """
    if argument == "hydra/sweeper=optuna":
        require_extra("optuna", "hydra_plugins.hydra_optuna_sweeper", setting=argument)
        return f"{argument}_objective"
    key, has_value, value = argument.partition("=")
    path = value.strip("\"'")
    if key in TABLES and path.endswith((".yaml", ".yml")) and (path != value or "," not in value):
        return f"{key}=choice({quote_value(path)})"
    if has_value and re.fullmatch(r"\+{0,2}[A-Za-z_][\w./@]*", key):
        argument = f"{key}={_quote_names(value)}"
    group = key.lstrip("+").partition(".")[0]
    if group in OWN_GROUPS and key.startswith("+") and "." in key:
        return argument.lstrip("+")  # its arguments are new keys, which need no plus
    return f"+{argument}" if key.startswith(("data_roots.", "external_weights.")) else argument


def _quote_names(value: str) -> str:
    """Return a value, or a list of values, with quotes around each that Hydra cannot read."""
    if re.search(r"[{}()'\"\\]", value):  # dictionaries, functions, and what has quotes already
        return value
    return re.sub(
        r"[^\s,\[\]][^,\[\]]*",
        lambda name: quote_value(name[0]) if UNREADABLE.search(name[0]) else name[0],
        value,
    )
