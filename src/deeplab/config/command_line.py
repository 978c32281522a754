"""Checks of a script's arguments before Hydra composes a config from them.

Hydra accepts several mistakes without a word: a dictionary for a group, an empty one for a section,
a removed key that gets its default again, other settings of its own that the scripts rely on.
"""

import os
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from deeplab.config.messages import format_hydra_error, unknown_choice
from deeplab.config.paths import (
    OWN_GROUPS,
    SWEEPING,
    TABLES,
    describe_own_choices,
    group_choices,
    script_groups,
)
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.interrupts import is_child
from deeplab.utils.own_code.folders import CONFIG_DIR
from deeplab.utils.program import command

HYDRA_KEYS = (
    r"hydra/(launcher|sweeper|sweeper/sampler)",
    r"hydra\.(launcher|sweeper)\..+",
    r"hydra\.job\.env_(set|copy)(\..+)?",
    r"hydra\.(sweep\.dir|verbose)",
)
"""Hydra's own keys that may be set; the scripts rely on the others as ``conf/`` sets them."""

MAX_KEY = 200

MAX_DEPTH = 30
"""Largest number of brackets inside each other; the parser calls itself for each."""

NAME = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99})*")
"""Name of a choice of a group."""


def check_arguments(arguments: Sequence[str], script: str) -> list[str]:
    """Check options and overrides; return them in this order, as Hydra's parser needs them.

    Args:
        arguments: the command line without the script, as Hydra gets it.
        script: name of the script's file in ``conf/``.

    Raises:
        UserError: an argument is wrong.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(f"{argument}: not valid UTF-8. Rename the file.") from None
        if len(argument.splitlines()) > 1:
            raise UserError(f"{' '.join(argument.split())}: a line break. Write it in one line.")
    parser = get_args_parser()
    parser.error = _option_error  # type: ignore[method-assign]
    options = parser.parse_intermixed_args(arguments)
    _check_options(options)
    if not is_child() and (line := describe_own_choices(script_groups(script))):
        print(line, file=sys.stderr)
    parsed = parse_overrides(options.overrides)
    check_overrides(parsed, script_groups(script))
    if options.multirun:
        _check_sweep(parsed, script)
    rest = list(arguments)
    for override in options.overrides:
        rest.remove(override)
    return [*rest, *options.overrides]


def _option_error(message: str) -> NoReturn:
    raise UserError(f"{message}. Keys are set as key=value; --hydra-help has all options.")


def _check_options(options: Namespace) -> None:
    for name in ("config_path", "config_name", "experimental_rerun"):
        if getattr(options, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')}={getattr(options, name)}: a script has one config "
                "file. Set keys as key=value; choices of your own go into a folder that "
                "--config-dir names."
            )
    folder = options.config_dir
    if folder is not None:
        if not os.path.isdir(folder):  # noqa: PTH112  never raises
            raise UserError(
                f"--config-dir={folder}: no such folder. Name one with files as in conf/."
            )
        os.environ[CONFIG_DIR] = os.path.abspath(folder)  # noqa: PTH100  keeps links
    if not options.cfg and (options.package or options.resolve):
        name = "--package" if options.package else "--resolve"
        raise UserError(f"{name}: has no effect here. Add --cfg job, or leave it out.")


def parse_overrides(arguments: Sequence[str]) -> list[Override]:
    """Return the overrides in parsed form.

    Raises:
        UserError: one cannot be parsed.
    """
    parser = OverridesParser.create()
    parsed = []
    for argument in arguments:
        if _depth(argument) > MAX_DEPTH:
            raise UserError(f"{argument}: its brackets are nested too deeply. Remove some.")
        try:
            parsed += parser.parse_overrides([argument])
        except HydraException as error:
            raise UserError(format_hydra_error(error)) from None
        except (ValueError, ArithmeticError):  # thousands of digits, or an exponent as long
            raise UserError(f"{argument}: this number is too long. Write a shorter one.") from None
    return parsed


def override_values(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of overrides by key, for commands that compose no config.

    Raises:
        UserError: one cannot be parsed.
    """
    return {o.key_or_group: o.value() for o in parse_overrides(arguments)}


def _depth(text: str) -> int:
    steps = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}
    return max(accumulate(steps.get(character, 0) for character in text), default=0)


def check_overrides(overrides: Sequence[Override], groups: Collection[str]) -> None:
    """Check the parts of overrides that neither Hydra nor the settings check.

    Args:
        overrides: the overrides in parsed form.
        groups: config groups of the script.

    Raises:
        UserError: one is wrong.
    """
    for override in overrides:
        key, text = override.key_or_group, str(override.input_line)
        if not key:
            raise UserError(f"{text}: a key is missing. Write it before the equals sign.")
        if len(key) > MAX_KEY:
            raise UserError(f"{key}: no such key. See --help and --keys.")
        if override.is_hydra_override():
            _check_hydra_override(override)
        elif override.is_delete() and key.count(".") < 2:  # deeper ones are entries, as in a list
            raise UserError(
                f"{text}: a key cannot be removed, it would have its default. Leave out the ~ and "
                "set it to another value; many keys accept null."
            )
        values = list(_values(override))
        if key in groups:
            if override.package is not None or override.is_add() or override.is_force_add():
                raise UserError(f"{text}: not a choice of a group. Write it as {key}=NAME.")
            for value in values:
                _check_choice(text, key, value)
        if {} in values:
            raise UserError(
                f"{text}: an empty dictionary changes nothing. Leave it out, or set single keys, "
                f"as in {key}.KEY=VALUE."
            )
        counts = Counter(map(repr, values))  # True equals 1
        if duplicate := [value for value in values if counts[repr(value)] > 1]:
            raise UserError(f"{text}: {duplicate[0]} is listed twice. Name each value once.")


def _check_choice(text: str, group: str, value: object) -> None:
    if isinstance(value, list | dict):
        choices = group_choices(group)
        several = " To run several, sweep over them with -m." if isinstance(value, list) else ""
        if isinstance(value, dict) and group in (*OWN_GROUPS, "callbacks"):
            node = "callbacks.NAME" if group == "callbacks" else group
            several = f" A class of your own is {node}.{TARGET}=module.Name {node}.ARGUMENT=..."
        raise UserError(
            f"{text}: expected the name of one choice, as in {group}={choices[0]}.{several} "
            f"Choices: {', '.join(choices)}."
        )
    name = str(value)
    is_file = name.endswith((".yaml", ".yml"))
    if group in TABLES and (value is None or is_file):
        return
    if is_file or not isinstance(value, str) or not NAME.fullmatch(name):
        raise UserError(unknown_choice(group, "null" if value is None else name.lower()))


def _check_hydra_override(override: Override) -> None:
    key, text = override.key_or_group, str(override.input_line)
    if not any(re.fullmatch(pattern, key) for pattern in HYDRA_KEYS) or override.is_delete():
        raise UserError(
            f"{text}: the scripts rely on this setting of Hydra. Leave it out; runs_dir and output "
            "say where results go. Of Hydra's own, hydra/launcher, hydra.launcher.*, "
            "hydra.sweeper.*, hydra.sweep.dir, hydra.job.env_set.* and hydra.verbose can be set."
        )
    if key == "hydra/sweeper" and override.value() == "basic":
        raise UserError(
            f"{text}: this sweeper starts jobs without checking all of them first. Leave it out."
        )
    empty = ("",) if key.startswith(("hydra.launcher.", "hydra.sweeper.")) else ("", None)
    if override.value() in empty or (key.startswith("hydra/") and not _is_name(override)):
        raise UserError(f"{text}: expected a name or a value. Leave it out, or set it.")


def _is_name(override: Override) -> bool:
    return isinstance(override.value(), str)


def _check_sweep(overrides: Sequence[Override], script: str) -> None:
    """Raise UserError if ``-m`` has nothing to do with the script or the other arguments."""
    if script not in SWEEPING:
        names = " and ".join(map(command, SWEEPING))
        raise UserError(f"-m: only {names} sweep. Leave it out, and run this once for each value.")
    keys = {override.key_or_group for override in overrides}
    if not keys:
        raise UserError("-m: no key has a value. List them, as in -m seed=0,1,2, or leave out -m.")


def _values(override: Override) -> Iterator[object]:
    """Yield the value of an override, or the values of a list of alternatives."""
    if override.is_sweep_override():
        for value in getattr(override.value(), "list", ()):
            yield value.text if isinstance(value, QuotedString) else value
    elif not override.is_delete():
        yield override.value()
