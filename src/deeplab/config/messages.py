"""Error messages for wrong keys and values on the command line and in YAML files."""

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from deeplab.config.paths import CONF, TABLES

WORDS = {
    "too_short": "at least one is wanted",
    "tuple_type": "a list is wanted, as in [a,b]",
    "string_type": "a text is wanted (numbers go into two pairs of quotes: 'key=\"2024\"')",
}
"""What pydantic calls by Python's names."""


def explain_key(error: dict[str, Any], values: Any) -> str:
    """One of pydantic's errors in a line."""
    path = []
    for part in error["loc"]:  # names of union members are among them, which are no keys
        inside = values.keys() if isinstance(values, dict) else range(_length(values))
        if part in inside:
            values = values[part]
        elif error["type"] not in ("missing", "extra_forbidden") or part != error["loc"][-1]:
            continue
        path.append(str(part))
    key = ".".join(path)
    what = WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{key}: this key is missing."
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key."
    if error["type"] == "value_error":
        return f"{key + ': ' if key else ''}{what}."
    return f"{key}={_as_typed(error['input'])}: {what[0].lower() + what[1:]}."


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 0


def _as_typed(value: Any) -> str:
    return "null" if value is None else str(value)


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's messages in the words of this project."""
    text = str(error)
    cause = str(error.__cause__ or "")
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            named = error.override.rstrip("/")
            hint = f" Did you mean run={named}?" if (Path(named) / "config.yaml").is_file() else ""
            return f"{error.override}: this cannot be read as key=value.{hint}"
        return (
            f"{error.override}: this cannot be read as key=value ({text.splitlines()[0]}). A value "
            "with special characters goes into two pairs of quotes: 'key=\"value\"'."
        )
    if found := re.search(r"Ambiguous value for argument '([^=]*)=(.*)'", text):
        key, values = found[1], found[2]
        return f"{key}={values}: a list stands in brackets: {key}=[{values}]. (A sweep wants -m.)"
    if found := re.search(r"Sweep parameters '([^=]*)=", text):
        return f"{found[1]}: this stands for several runs; add -m."
    if "Config group override must be" in text:
        return _choice_without_a_name()
    if found := re.search(r"Could not override '([^']*)'", text):
        return _unknown_key(found[1].split("@")[0], text + cause)
    if found := re.search(r"Could not find '([^']*)'", text) or re.search(
        r"In '[^']*': Could not find '([^']*)'", text
    ):
        return _unknown_choice(found[1])
    if found := re.search(r"full_key: (\S+)", text) if "Missing mandatory" in text else None:
        return f"{found[1]} has no value: set it with {found[1]}=..."
    return text.split("\nSee ")[0].strip()


def _unknown_key(key: str, text: str) -> str:
    groups = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name != "hydra")
    if "No match in the defaults list" in text and (CONF / key).is_dir():
        return f"{key}: this script has no such group."
    known = [*groups, *_known_keys()]
    return f"{key}: there is no such key.{_did_you_mean(key, known)}"


def _unknown_choice(path: str) -> str:
    group, _, choice = path.rpartition("/")
    folder = CONF / group
    if not folder.is_dir():
        return f"{path}: there is no such group or choice."
    choices = sorted((p.stem for p in folder.glob("*.yaml")), key=lambda c: (len(c), c))
    hint = _did_you_mean(choice, choices)
    return f"{group}={choice}: there is no such choice.{hint} Choices: {', '.join(choices)}."


def _choice_without_a_name() -> str:
    """A group set to a number or to null; Hydra does not say which."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.partition("=")
        no_name = choice in ("null", "true", "false") or choice.replace(".", "").isdigit()
        if no_name and (CONF / group).is_dir():
            return _unknown_choice(f"{group}/{choice}")
    return "a group is set to the name of one of its choices, as in backbone=xception."


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    others = [candidate for candidate in known if candidate != word]
    near = difflib.get_close_matches(word, others, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else " See --help and --cfg job."


def _known_keys() -> list[str]:
    """Every key of every file of ``conf/``, as it is typed."""
    keys = set()
    for path in CONF.rglob("*.yaml"):
        if path.parent.name in TABLES:
            continue
        group = "" if path.parent == CONF else f"{path.parent.name}."
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        for name, value in loaded.items() if isinstance(loaded, dict) else ():
            key = str(name)
            if key not in ("defaults", "hydra"):
                keys.add(f"{group}{key}")
                if isinstance(value, dict):
                    keys.update(f"{group}{key}.{inner}" for inner in value)
    return sorted(keys)
