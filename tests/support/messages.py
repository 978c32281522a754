"""Checks of error messages."""

import pytest

from deeplab.config.command_line import check_arguments
from deeplab.config.compose import composed
from deeplab.config.overrides import to_hydra_override
from deeplab.scripts import TASKS
from deeplab.utils.errors import UserError, format_message
from deeplab.utils.program import PROGRAM, SCRIPT


def check_error_message(done, words, cwd):
    """Check that a script failed with a short message with these words and left no files."""
    message = done.stderr.strip()
    assert done.returncode in (1, 2), done.stdout + message
    assert "Traceback" not in message
    assert message.startswith(("Error: ", "usage:")), message
    check_text(message, words, cwd)


def check_refusal(script, arguments, words, cwd):
    """Check that the function of a script refuses arguments, with a short message and no files.

    It is called in this process, which takes a tenth of the time that a process of its own takes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setenv(PROGRAM, "deeplab {}")
        patch.setenv(SCRIPT, script)
        with pytest.raises(UserError) as error:
            call_script(script, arguments)
    check_text(format_message(str(error.value)), words, cwd)


def call_script(script, arguments):
    """Call the function of a script with the config of a command line."""
    check_arguments([*map(to_hydra_override, arguments)], script)
    with composed(script, arguments) as config:
        TASKS[script](config)


def check_text(message, words, cwd):
    """Check the length and the words of a message, and that a folder is empty."""
    assert len(message.splitlines()) <= 8, message
    for word in words:
        assert word in message, message
    assert not list(cwd.iterdir())
