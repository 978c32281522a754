"""Uploading to the Hugging Face hub, where nothing of a failure is left but one sentence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deeplab.utils.errors import UserError


def check_account(hub_id: str) -> None:
    """Raise UserError unless somebody is logged in and the hub answers."""
    from huggingface_hub import HfApi

    with _said(hub_id):
        HfApi().whoami()


def upload(hub_id: str, files: Sequence[Path], *, message: str, private: bool) -> str:
    """Make the repository if it is not there, and put files at its top in one commit.

    Args:
        hub_id: ``USER/NAME``.
        files: these; others that lie in the repository stay.
        message: of the commit.
        private: whether a new repository is.

    Returns:
        Its address.

    Raises:
        UserError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    with _said(hub_id):
        api = HfApi()
        address = api.create_repo(hub_id, private=private, exist_ok=True)
        added = [CommitOperationAdd(path_in_repo=f.name, path_or_fileobj=f) for f in files]
        api.create_commit(hub_id, added, commit_message=message)
        return str(address)


@contextmanager
def _said(hub_id: str) -> Iterator[None]:
    """The client's errors in a sentence. They come from HTTP libraries that change with its
    version, some wrapped in others, so all are caught."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(
            f"push={hub_id}: nobody is logged in. Type hf auth login, or set HF_TOKEN."
        ) from None
    except Exception as error:
        causes = [error]
        while cause := causes[-1].__cause__:
            assert isinstance(cause, Exception)
            causes.append(cause)
        refused = next((e for e in causes if isinstance(e, HfHubHTTPError)), None)
        if refused is not None and refused.response is not None:
            status = refused.response.status_code
            why = refused.server_message or str(refused).strip().splitlines()[0]
            hint = " Is the token one that may write there?" if status in (401, 403, 404) else ""
            raise UserError(f"push={hub_id}: the hub refuses ({status}, {why}).{hint}") from None
        raise UserError(
            f"push={hub_id}: {constants.ENDPOINT} cannot be used "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0]})."
        ) from None
