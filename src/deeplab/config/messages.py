"""Error messages for wrong keys and values on the command line and in YAML files."""

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.errors import OverrideParseException

from deeplab.config.paths import CONF
from deeplab.utils.extras import install_command

PYDANTIC_MESSAGES = {
    "too_short": "expected {min_length} or more values",
    "tuple_type": "expected a list, as in [a,b]",
    "string_type": "expected a string (quote numbers: 'key=\"2024\"')",
}
"""Replacements for pydantic's messages that use Python's type names, by error type."""


def format_validation_error(error: dict[str, Any], values: Any) -> str:
    """Return one of pydantic's errors as one line in the form ``key=value: problem``."""
    path = []
    for part in error["loc"]:  # also has names of union members, which are not keys
        inside = values.keys() if isinstance(values, dict) else range(_length(values))
        if part in inside:
            values = values[part]
        elif error["type"] not in ("missing", "extra_forbidden") or part != error["loc"][-1]:
            continue
        path.append(str(part))
    key = ".".join(path)
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    template = PYDANTIC_MESSAGES.get(error["type"])
    problem = template.format(**error.get("ctx", {})) if template else message
    if error["type"] == "missing":
        return f"{key}: this key is missing. Set it to a value."
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key."
    if error["type"] == "value_error":
        return f"{key + ': ' if key else ''}{problem}."
    return f"{key}={_format_value(error['input'])}: {problem[0].lower() + problem[1:]}."


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 0


def _format_value(value: Any) -> str:
    return "null" if value is None else str(value)


def format_hydra_error(error: Exception) -> str:
    """Return an error of Hydra or OmegaConf as a message in this project's form."""
    text = str(error)
    cause = str(error.__cause__ or "")
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            path = error.override.rstrip("/")
            hint = f" Did you mean run={path}?" if (Path(path) / "config.yaml").is_file() else ""
            return f"{error.override}: cannot be read as key=value.{hint}"
        return (
            f"{error.override}: cannot be read as key=value ({text.splitlines()[0]}). Put a value "
            "with special characters into two pairs of quotes: 'key=\"value\"'."
        )
    if match := re.search(r"Ambiguous value for argument '([^=]*)=(.*)'", text):
        key, values = match[1], match[2]
        return (
            f"{key}={values}: a list needs brackets. Write {key}=[{values}], or add -m to sweep "
            "over the values."
        )
    if match := re.search(r"Sweep parameters '([^=]*)=", text):
        return f"{match[1]}: this value defines several runs. Add -m to sweep over them."
    if "Config group override must be" in text:
        return _group_value_error()
    if match := re.search(r"Could not override '([^']*)'", text):
        return _unknown_key(match[1].split("@")[0], text + cause)
    if match := re.search(r"Could not find '([^']*)'", text) or re.search(
        r"In '[^']*': Could not find '([^']*)'", text
    ):
        return _unknown_choice(match[1])
    if match := re.search(r"full_key: (\S+)", text) if "Missing mandatory" in text else None:
        return f"{match[1]}: this key has no value. Set {match[1]}=..."
    return text.split("\nSee ")[0].strip()


def _unknown_key(key: str, text: str) -> str:
    groups = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name != "hydra")
    if "No match in the defaults list" in text and (CONF / key).is_dir():
        return f"{key}: this script has no such config group."
    from deeplab.config.reference import key_names

    known = [*groups, *key_names()]
    return f"{key}: no such key.{_did_you_mean(key, known)}"


def _unknown_choice(path: str) -> str:
    group, _, choice = path.rpartition("/")
    if group == "hydra/launcher":
        return (
            f"{group}={choice}: this launcher is not installed. "
            f"For joblib and submitit: {install_command('launchers')}"
        )
    folder = CONF / group
    if not folder.is_dir():
        return f"{path}: no such group or choice."
    choices = sorted((p.stem for p in folder.glob("*.yaml")), key=lambda c: (len(c), c))
    hint = _did_you_mean(choice, choices)
    return f"{group}={choice}: no such choice.{hint} Choices: {', '.join(choices)}."


def _group_value_error() -> str:
    """Return the message for a group set to a number or null; Hydra does not name the group."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.partition("=")
        not_a_name = choice in ("null", "true", "false") or choice.replace(".", "").isdigit()
        if not_a_name and (CONF / group).is_dir():
            return _unknown_choice(f"{group}/{choice}")
    return "A config group must be set to the name of a choice, as in backbone=xception."


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    candidates = [candidate for candidate in known if candidate != word]
    near = difflib.get_close_matches(word, candidates, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else " See --help and --keys."
