"""Upload to the Hugging Face hub, with every failure reported as one sentence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deeplab.utils.errors import UserError
from deeplab.utils.reading import describe


def check_account(hub_id: str) -> None:
    """Raise UserError unless the user is logged in and the hub answers."""
    from huggingface_hub import HfApi

    with _hub_errors(hub_id):
        HfApi().whoami()


def upload(hub_id: str, files: Sequence[Path], *, message: str, private: bool) -> str:
    """Upload files in one commit, and create the repository if it does not exist.

    Args:
        hub_id: ``USER/NAME``.
        files: files to put at the top of the repository; its other files are kept.
        message: commit message.
        private: make a new repository private.

    Returns:
        The URL of the repository.

    Raises:
        UserError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    with _hub_errors(hub_id):
        api = HfApi()
        url = api.create_repo(hub_id, private=private, exist_ok=True)
        added = [CommitOperationAdd(path_in_repo=f.name, path_or_fileobj=f) for f in files]
        api.create_commit(hub_id, added, commit_message=message)
        return str(url)


@contextmanager
def _hub_errors(hub_id: str) -> Iterator[None]:
    """Turn the client's errors into a UserError of one sentence.

    They come from HTTP libraries that change with the client's version, and some wrap others, so
    all exceptions are caught.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    key = f"push_to_hub={hub_id}"
    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(
            f"{key}: you are not logged in. Run hf auth login, or set HF_TOKEN."
        ) from None
    except Exception as error:
        causes = [error]
        while cause := causes[-1].__cause__:
            assert isinstance(cause, Exception)
            causes.append(cause)
        refused = next((e for e in causes if isinstance(e, HfHubHTTPError)), None)
        if refused is not None and refused.response is not None:
            status = refused.response.status_code
            reason = refused.server_message or describe(refused)
            hint = " Check that your token may write there." if status in (401, 403, 404) else ""
            raise UserError(f"{key}: the hub refused ({status}, {reason}).{hint}") from None
        raise UserError(
            f"{key}: the request to {constants.ENDPOINT} failed "
            f"({type(error).__name__}: {describe(error)})."
        ) from None
