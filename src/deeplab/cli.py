"""What all scripts share: Hydra with the project's ``conf/``, and errors for a person.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeplab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""

CONF = ROOT / "conf"

TABLES = ("ablation", "profile")
"""Groups of files that say what a sweep runs, and hold no keys of a run."""

S = TypeVar("S")


def run_script(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Compose ``conf/<config_name>.yaml`` from the command line and run ``task`` with it.

    A user's mistake ends the script with a message and status 2, without a traceback; anything
    else that fails keeps its traceback. In a sweep a job that fails says so at once, and the others
    go on.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra pass its exceptions on to us
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # a file keeps every state of a bar
    sys.argv += _implied(sys.argv[1:])
    sys.argv[1:] = map(as_swept, sys.argv[1:])
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)

    started = False

    def job(config: DictConfig) -> None:
        nonlocal started
        started = True
        try:
            task(config)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise _said(error) from None
            if isinstance(error, UserError):
                _exit(str(error))  # here, for Hydra would add its own
            raise

    try:
        main(job)()
    except UserError as error:
        _exit(str(error))
    except JobFailed as error:
        _exit(str(error), status=1)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if started:
            raise
        _exit(explain(error))  # composing failed
    except KeyboardInterrupt:
        sys.exit(130)


def _implied(arguments: list[str]) -> list[str]:
    """A stage that is named like a data set picks it. (A data set picks its stage in its own file;
    Hydra allows one direction.)"""
    typed = dict(a.split("=", 1) for a in arguments if "=" in a)
    stage = typed.get("stage", "")
    known = stage != "" and (CONF / "data" / f"{stage}.yaml").is_file()
    return [f"data={stage}"] if known and "data" not in typed else []


def as_swept(argument: str) -> str:
    """Keys of sweeps as Hydra takes them: a table or a profile that is named by its path is a sweep
    over one value, or Hydra would look for a choice of this name; ``roots.NAME`` and
    ``supplies.NAME`` are new keys."""
    key, _, value = argument.partition("=")
    path = value.strip("\"'")
    if key in TABLES and path.endswith((".yaml", ".yml")) and (path != value or "," not in value):
        return f"{key}=choice({quoted(path)})"
    return f"+{argument}" if key.startswith(("roots.", "supplies.")) else argument


def quoted(text: object) -> str:
    """A path or another text as the value of an override, whatever signs are in it."""
    return "'" + str(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


class JobFailed(Exception):  # noqa: N818
    """A job of a sweep has ended with an error that is no user's mistake, and has said so."""


def _said(error: Exception) -> Exception:
    """Print how a job of a sweep has failed; returns what stands for it where jobs are collected,
    which may be another process: not every exception arrives there."""
    job = HydraConfig.get()
    what = _without_traceback(str(error))
    if not isinstance(error, UserError):
        what = "\n" + "".join(traceback.format_exception(error)).rstrip()
    typed = " ".join(job.overrides.task)
    print(f"Error in job {job.job.num} ({typed}): {what}", file=sys.stderr, flush=True)
    return error if isinstance(error, UserError) else JobFailed(f"{type(error).__name__}: {error}")


def _exit(message: str, status: int = 2) -> None:
    print(f"Error: {_without_traceback(message)}", file=sys.stderr)
    sys.exit(status)


def _without_traceback(message: str) -> str:
    if "Original Traceback" in message:  # a loading worker's, which has it in the message
        return message.rpartition("UserError: ")[2].strip()
    return message


def file_values(name: str) -> dict[str, Any]:
    """The keys of ``conf/<name>.yaml`` itself, without the groups that it composes."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(loaded, dict)
    return {str(k): v for k, v in loaded.items() if k not in ("defaults", "hydra")}


def parse(schema: type[S], config: DictConfig) -> S:
    """The composed config as an object of its schema.

    Raises:
        UserError: one line for each key that is wrong, with its value and what is allowed.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None
    return validate(schema, values)


def validate(schema: type[S], values: Any) -> S:
    """Plain values as an object of their schema; raises UserError as ``parse`` does."""
    from pydantic import ValidationError

    try:
        return schema(**values)
    except ValidationError as error:
        lines = dict.fromkeys(_explain_key(dict(item), values) for item in error.errors())
        raise UserError("\n       ".join(lines)) from None


WORDS = {
    "too_short": "at least one is wanted",
    "tuple_type": "a list is wanted, as in [a,b]",
    "string_type": "a text is wanted (numbers go into two pairs of quotes: 'key=\"2024\"')",
}
"""What pydantic calls by Python's names."""


def _explain_key(error: dict[str, Any], values: Any) -> str:
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
