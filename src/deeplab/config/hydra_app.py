"""What all scripts share: Hydra with the project's ``conf/``, and errors for a person.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Callable

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from deeplab.config.messages import explain
from deeplab.config.paths import CONF, TABLES
from deeplab.utils.errors import UserError


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
    """Keys of sweeps as Hydra takes them: a table or a preset that is named by its path is a sweep
    over one value, or Hydra would look for a choice of this name; ``data_roots.NAME`` and
    ``external_weights.NAME`` are new keys."""
    key, _, value = argument.partition("=")
    path = value.strip("\"'")
    if key in TABLES and path.endswith((".yaml", ".yml")) and (path != value or "," not in value):
        return f"{key}=choice({quoted(path)})"
    return f"+{argument}" if key.startswith(("data_roots.", "external_weights.")) else argument


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
