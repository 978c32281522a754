"""Error messages for wrong keys and values on the command line and in YAML files."""

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import OverrideParseException

from deeplab.config.overrides import typed_override
from deeplab.config.paths import OWN_GROUPS, SWEEPING, config_groups, group_choices
from deeplab.utils.constants import CONFIG_FILE, TARGET
from deeplab.utils.extras import install_command
from deeplab.utils.paths import is_reachable
from deeplab.utils.program import CONF, command, script_name
from deeplab.utils.settings import problem_text
from deeplab.utils.text import did_you_mean, printable, similar

PYDANTIC_MESSAGES = {
    "too_short": "expected {min_length} or more values",
    "too_long": "expected {max_length} or fewer values",
    "missing": "expected more values",
    "model_type": "expected keys, as in {{name: value}}",
    "tuple_type": "expected a list, as in [a,b]",
    "string_too_short": "expected a value that is not empty",
    "string_type": "expected a string (quote numbers: 'key=\"2024\"')",
}
"""Replacements for pydantic's messages that use Python's type names, by error type."""


MOVED_KEYS = {
    "stage.optimizer": "optimizer=NAME",
    "stage.momentum": "optimizer.momentum",
    "stage.nesterov": "optimizer=nesterov",
    "stage.betas": "optimizer.betas",
    "stage.schedule": "lr_scheduler=NAME",
    "stage.power": "lr_scheduler.power",
    "stage.decay_rate": "lr_scheduler.decay_rate",
    "stage.decay_epochs": "lr_scheduler.decay_epochs",
    "stage.class_weights": "loss.class_weights",
    "stage.hard_pixel_fraction": "loss=top_k loss.hard_pixel_fraction",
    "stage.hard_pixel_steps": "loss=top_k loss.hard_pixel_steps",
    "optimizer.lr": "stage.lr",
    "optimizer.weight_decay": "stage.weight_decay",
    **dict.fromkeys(("epochs", "num_epochs", "iterations", "max_iters"), "stage.max_steps"),
    **dict.fromkeys(("image_size", "img_size", "imgsz", "input_size"), "data.crop_size"),
    **dict.fromkeys(("model", "arch", "encoder", "encoder_name"), "backbone=NAME"),
    **dict.fromkeys(("encoder_weights", "weights"), "backbone.pretrained or init_from"),
    **dict.fromkeys(("output_dir", "save_dir", "project"), "runs_dir"),
    "batch": "stage.batch_size",
    "data.val_part": "data.val_fraction",
    "dataset": "data=NAME",
    "device": "trainer.accelerator",
    "gpus": "trainer.devices",
    "learning_rate": "stage.lr",
    "num_classes": "data.classes",
    "patience": "stage.early_stopping",
    "progress": "enable_progress_bar",
    "workers": "trainer.num_workers",
}
"""Keys of earlier versions or other programs, and what they are called here."""

MAX_HINTS = 3
"""Number of keys or choices that are suggested in place of an unknown one."""

SEE_HELP = " See --help and --keys."
"""What a message says where no key or choice is similar."""


def format_validation_errors(errors: Sequence[Any], values: Any) -> str:
    """Return pydantic's errors, one line for each wrong key, in the form ``key=value: problem``.

    The members of a union, which each have an error, share a line.
    """
    inside = {item["loc"][:-1] for item in errors}  # a list with wrong items counts as short
    lines: dict[str, list[str]] = {}
    for item in errors:
        if item["type"] != "too_short" or item["loc"] not in inside:
            key, problem = _format_validation_error(item, values)
            lines.setdefault(key, []).append(problem)
    texts = [f"{key}: " * bool(key) + "; or ".join(dict.fromkeys(p)) for key, p in lines.items()]
    return "\n       ".join(text if text.endswith("?") else f"{text}." for text in texts)


def _format_validation_error(error: Mapping[str, Any], values: Any) -> tuple[str, str]:
    """Return the key, with its value if that is wrong, and the problem."""
    path, kind = [], error["type"]
    for part in error["loc"]:  # also has names of union members, which are not keys
        inside = values.keys() if isinstance(values, dict) else range(_length(values))
        if part in inside:
            values = values[part]
        elif (
            kind not in ("missing", "extra_forbidden")
            or part != error["loc"][-1]
            or isinstance(part, int)
        ):
            continue
        path.append(str(part))
    key = ".".join(path)
    if kind == "missing" and isinstance(error["loc"][-1], str):
        return key, "this key is missing. Set it to a value"
    if kind == "extra_forbidden":
        return key, _unknown_problem(key)
    template = PYDANTIC_MESSAGES.get(kind)
    problem = template.format(**error.get("ctx", {})) if template else problem_text(error)
    if kind == "value_error":
        return key, problem
    return f"{key}={_format_value(error['input'])}", problem[0].lower() + problem[1:]


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 0


def _format_value(value: Any) -> str:
    """Return a value as it is typed, in quotes if it is a string that reads as something else."""
    if isinstance(value, str) and re.fullmatch(r"null|true|false|[-+]?[\d.]+(e[-+]?\d+)?", value):
        return repr(value)
    return "null" if value is None else printable(str(value))


def format_hydra_error(error: Exception) -> str:
    """Return an error of Hydra or OmegaConf as a message in this project's form."""
    text = str(error)
    cause = str(error.__cause__ or "")
    if isinstance(error, OverrideParseException):
        key, is_pair, value = error.override.partition("=")
        if not is_pair:
            path = key.rstrip("/")
            fix = "Type one with spaces in quotes: 'key=two words'."
            if is_reachable(Path(path, CONFIG_FILE)):
                named = typed_override("run", path)
                fix = f"Did you mean {f'runs=[{path},...]' if _script() == 'compare' else named}?"
            return f"{key if key.strip() else repr(key)}: cannot be read as key=value. {fix}"
        if any(value.count(bracket) != value.count(end) for bracket, end in ("[]", "{}", "()")):
            return (
                f"{error.override}: a bracket without its other one. Type a value with spaces in "
                f"quotes, as 'data.classes=[road, wet road]', and a name with brackets in two "
                f"pairs: {typed_override(key, value)}."
            )
        return (
            f"{error.override}: cannot be read as key=value. A value with special characters needs "
            f"two pairs of quotes: {typed_override(key, value)}."
        )
    if match := re.search(r"Ambiguous value for argument '([^=]*)=(.*)'", text):
        key, values = match[1], match[2]
        if is_reachable(Path(values)):
            return (
                f"{key}={values}: a value with commas needs two pairs of quotes. Write "
                f"{typed_override(key, values)}."
            )
        sweep = ", or add -m to sweep over the values" if _script() in SWEEPING else ""
        return (
            f"{key}={values}: a list needs brackets, and one value with commas two pairs of "
            f"quotes. Write {key}=[{values}] or {typed_override(key, values)}{sweep}."
        )
    if match := re.search(r"Sweep parameters '([^=]*)=", text):
        fix = "Add -m to sweep over them" if _script() in SWEEPING else "Set a single one"
        return f"{match[1]}: this value stands for several ones. {fix}."
    if match := re.match(r"Error merging override (.*)", text, re.DOTALL):
        return (
            f"{match[1]}: a value of another form is expected. See --keys {match[1].split('=')[0]}."
        )
    if match := re.search(r"An item is already at '([^']*)'", text):
        return f"{match[1]}: this key exists. Write it without the +."
    if "does not support sweep type" in text:
        return "interval(...): only sweepers that optimize take intervals. List the values."
    if match := re.search(r"Could not override '([^']*)'", text):
        return _unknown_key(match[1].split("@")[0], text + cause)
    if match := re.match(r"In '((?!hydra/)[^']*/[^']*)': Could not (?:load|find) '([^']*)'", text):
        return f"{match[1]}.yaml: its defaults name {match[2]}, which does not exist. Correct them."
    if match := re.search(r"Could not find '([^']*)'", text):
        group, _, choice = match[1].rpartition("/")
        return unknown_choice(group, choice)
    if isinstance(error, RecursionError):
        return "defaults: files of the chosen groups name each other in turn. Correct their lists."
    missing = re.search(r"interpolation: Missing mandatory value: (\S+)", text)
    if match := missing or re.search(r"Missing mandatory.*\s+full_key: (\S+)", text):
        return f"{match[1]}: this key has no value. Set {match[1]}=..."
    if match := re.search(r"full_key: (\S+)", text):
        return f"{match[1]}: {text.splitlines()[0].rstrip('.')}. Set it to a value."
    return text.split("\nSee ")[0].strip()


def _script() -> str:
    """Return the name of the script's config file, by default that of ``train``."""
    name = script_name()
    return name if name and is_reachable(CONF / f"{name}.yaml") else "train"


def _unknown_key(key: str, text: str) -> str:
    if instead := _key_of_training(key):
        return f"{key}: {instead}"
    if managed := _managed_argument(key):
        return f"{key}: {managed}."
    group, _, name = key.rpartition(".")
    if name == TARGET:
        if group in OWN_GROUPS:
            fix = f"it takes the place of a file of conf/{group}. Leave out {group}=..."
            return f"{key}: a class of your own is one choice of its group: {fix}."
        return (
            f"{key}: no such key. Classes of your own are for {', '.join(OWN_GROUPS)}, callbacks "
            "and data.augmentations."
        )
    from deeplab.config.reference import choices_with, script_keys

    moved = MOVED_KEYS.get(key, "")
    if moved and re.match(r"\w+", moved)[0] in script_keys(_script()):  # type: ignore[index]
        return f"{key}: no such key. Set {moved} instead."
    if choices := choices_with(key):
        group = key.partition(".")[0]
        return f"{key}: the chosen {group} has no such key. It is for {' and '.join(choices)}."
    return f"{key}: no such key.{_suggest_keys(key, script_keys(_script()))}"


def _key_of_training(key: str) -> str:
    """Return what to do instead of setting a key that is for training; empty for other keys."""
    from deeplab.config.reference import script_keys

    own, group = script_keys(_script()), key.partition(".")[0]
    of_training = group in {*script_keys("train"), *config_groups()}
    if not of_training or group in {name.partition(".")[0] for name in own}:
        return ""
    strategy = next((name for name in ("strategies", "strategy") if name in own), "")
    other = f", or set {strategy}=os8" if key == "output_stride" and strategy else ""
    subject = f"keys of {group} are" if "." in key else "it is"
    problem = f"{subject} for {command('train')}, not for {command(_script())}"
    return f"{problem}. Leave it out{other}."


def _suggest_keys(key: str, known: Iterable[str]) -> str:
    """Return a hint at keys of the same name elsewhere, or of a similar one in the group."""
    group, _, name = key.rpartition(".")
    names = {k: k.rpartition(".")[2] for k in known if not f"{key}.".startswith(f"{k}.")}
    same = [k for k in names if names[k] == name]
    siblings = {names[k]: k for k in names if k.rpartition(".")[0] == group}
    near = [siblings[n] for n in similar(name, siblings)]
    hints = same if 0 < len(same) <= MAX_HINTS else near
    return did_you_mean(hints or similar(key, names, MAX_HINTS)) or SEE_HELP


def _unknown_problem(key: str) -> str:
    """Return what is wrong with a key that its settings do not have; suggest one of its group."""
    if key.partition(".")[0] not in config_groups():
        return "no such key"
    return _unknown_key(key, "").removeprefix(f"{key}: ").removesuffix(".")


def _managed_argument(key: str) -> str:
    """Return what to do instead of setting an argument of Lightning's trainer that is no key."""
    from deeplab.config.schema.lightning import MANAGED_ARGUMENTS

    instead = MANAGED_ARGUMENTS.get(key.removeprefix("trainer."), "")
    return instead and f"this argument of Lightning's trainer is no key. {instead}"


def unknown_choice(group: str, choice: str) -> str:
    """Return the message for a choice that a config group does not have."""
    if group == "hydra/launcher":
        return (
            f"{group}={choice}: this launcher is not installed. "
            f"For joblib and submitit: {install_command('launchers')}"
        )
    if group == "hydra/sweeper":
        return (
            f"{group}={choice}: this sweeper is not installed. Install Hydra's plugin for it, such "
            "as hydra-optuna-sweeper."
        )
    if group not in config_groups():
        return f"{group}/{choice}: no such group or choice."
    choices = group_choices(group)
    name = choice.removesuffix(".yaml").rpartition("/")[2]
    near = [name] if name in choices else similar(choice, choices, MAX_HINTS)
    hint = did_you_mean(near) or SEE_HELP
    if group == "backbone" and name not in choices and re.fullmatch(r"\w{3,60}", name):
        hint = f"{did_you_mean(near)}{_timm_hint(name)}" or hint
    return f"{group}={choice}: no such choice.{hint} Choices: {', '.join(choices)}."


def _timm_hint(name: str) -> str:
    """Return how to select timm's network of a name; empty if timm has none."""
    known = _timm_networks()
    if known is None:
        install = install_command("timm")
        return f" For a network of timm: backbone=timm backbone.model={name}, after {install}."
    names = [network for network in known if network == name or network.startswith(f"{name}_")]
    if not names:
        return ""
    network = name if name in names else min(names, key=lambda n: (len(n), n))
    return f" timm has it: backbone=timm backbone.model={network}."


@cache
def _timm_networks() -> list[str] | None:
    """Return the names of timm's networks, from its source: importing it takes seconds.

    None if it is not installed.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return None
    files = Path(spec.origin).parent.glob("models/*.py")
    pattern = re.compile(r"^@register_model\ndef (\w+)", re.MULTILINE)
    return [name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))]
