"""The command ``deeplab``: one subcommand for each script in ``src/``."""

import os
import sys
from pkgutil import resolve_name

from deeplab import __version__
from deeplab.utils.errors import UserError, script_errors
from deeplab.utils.installation import DISTRIBUTION, check_installation
from deeplab.utils.interrupts import is_child
from deeplab.utils.program import PACKAGE, command, short_exit, start_program
from deeplab.utils.text import did_you_mean, print_folded, similar

COMMANDS = {
    "train": "train a network; with -m a sweep or the paper's tables",
    "tune": "suggest a learning rate, or how many images fit into memory",
    "evaluate": "score a trained network on whole images",
    "predict": "apply a trained network to images and videos",
    "demo": "open a page that segments dropped images",
    "prepare": "download and unpack a data set, or check its files",
    "runs": "list runs with state, score and time",
    "compare": "compare evaluations",
    "ablations": "plan and report the paper's tables",
    "gallery": "write an HTML page of an evaluation's images",
    "export": "write ONNX or torch.export files, or upload to the hub",
    "convert": "convert the authors' TensorFlow checkpoints",
    "cost": "count parameters and multiply-adds, measure speed",
    "benchmark": "measure the loss, the input pipeline and evaluation",
}
"""Subcommands with one line each."""

PARSERS = {
    "runs": "deeplab.ablations.list_runs:run_list",
    "ablations": "deeplab.ablations.cli:run_ablations",
    "benchmark": "deeplab.tools.benchmarks.cli:run_benchmark",
}
"""Functions of the subcommands that parse their arguments themselves, without Hydra."""


def main() -> None:
    """Run ``deeplab SUBCOMMAND ARGUMENTS``."""
    match sys.argv[1:]:
        case [name, *rest] if name in COMMANDS:
            sys.argv[1:] = rest
            run_command(name)
            return
        case ["-sc" | "--shell-completion", request]:
            _complete(request)
            return
    start_program("")
    with short_exit(), script_errors():
        match sys.argv[1:]:
            case [] | ["--help" | "-h" | "help", *_]:
                print_folded(_help().rstrip())
            case ["--version", *_]:
                print(_version())
            case [name, *_]:
                hint = did_you_mean(similar(name, COMMANDS))
                raise UserError(
                    f"{name}: no such subcommand.{hint} Subcommands: {', '.join(COMMANDS)}."
                )


def run_command(name: str) -> None:
    """Run a subcommand with the arguments in ``sys.argv``."""
    if sys.argv[1:] == ["--version"]:
        print(_version())
        return
    start_program(name)
    with short_exit(), script_errors():
        if not is_child():
            check_installation(__version__)
        if name in PARSERS:
            resolve_name(PARSERS[name])(sys.argv[1:])
            return
        from deeplab.config.hydra_app import run_script
        from deeplab.scripts import TASKS

        if name == "convert":
            from deeplab.tools.convert.arguments import add_keys

            sys.argv[1:] = add_keys(sys.argv[1:])
        run_script(TASKS[name], name)


def _complete(request: str) -> None:
    """Print what Hydra's completion of a shell needs, which knows no subcommands.

    Args:
        request: ``install=bash``, or ``query=bash`` for the line in ``COMP_LINE``.
    """
    name = "train"
    if request.startswith("query="):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  a message would be in the line
        program, *words = os.environ.get("COMP_LINE", "").split(" ")
        if len(words) < 2:
            print(*(command for command in COMMANDS if command.startswith("".join(words))))
            return
        name = words[0]
        if name in PARSERS or name not in COMMANDS:
            return
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    sys.argv[1:] = ["--shell-completion", request]
    run_command(name)


def _version() -> str:
    return f"{DISTRIBUTION} {__version__} ({PACKAGE})"


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = [f"  {command(name.ljust(width))}  {line}" for name, line in COMMANDS.items()]
    lines = [
        "DeepLabv3+ (arXiv 1802.02611): training, evaluation, prediction and ablations.",
        "",
        *commands,
        "",
        f"{command('train')} --help shows examples and choices; --keys WORD looks up its keys.",
        f'Completion in bash: eval "$({command("").strip()} -sc install=bash)"',
    ]
    return "\n".join(lines)
