"""Checks of error messages."""


def check_error_message(done, words, cwd):
    """Check that a script failed with a short message with these words and left no files."""
    message = done.stderr.strip()
    assert done.returncode in (1, 2), done.stdout + message
    assert "Traceback" not in message
    assert message.startswith(("Error: ", "usage:")), message
    assert len(message.splitlines()) <= 8, message
    for word in words:
        assert word in message, message
    assert not list(cwd.iterdir())
