"""Files that others have published, in the caches where other programs look for them too.

* Of the Hugging Face hub: its client's cache. ``HF_HOME`` moves it, ``HF_ENDPOINT`` names a mirror,
  ``HF_TOKEN`` opens what is private, ``HF_HUB_OFFLINE=1`` asks nobody.
* Of PyTorch's server: torch.hub's folder. ``TORCH_HOME`` moves it, ``DEEPLAB_TORCH_MIRROR`` is the
  address of a mirror of https://download.pytorch.org/models.

What is there is not asked for again, and is taken by its checksum only.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deeplab.checkpoints.pretrained import HUB, TORCHVISION, Published
from deeplab.utils import disk_space
from deeplab.utils.download import Archive, fetch
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.files import file_hash

MIRROR = "DEEPLAB_TORCH_MIRROR"

RETRIES = 2
"""Further attempts in a row that bring nothing new."""

FILES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
"""The suffixes of weights."""

RUN_FILES = ("weights.safetensors", "config.yaml")
"""What a run's repository on the hub has at its top."""


class NotDownloadedError(UserError):  # noqa: N818 - a state of affairs
    """The file is not here, and nothing was to be downloaded."""


class Downloaded(NamedTuple):
    """A published file that is here."""

    path: Path
    source: str
    """Where it is from; on the hub, with the commit."""


class HubId(NamedTuple):
    """A repository on the hub."""

    repository: str
    """``user/name``."""
    revision: str | None = None
    """A branch, tag or commit; none: the latest."""


def hub_id(named: str) -> HubId | None:
    """The repository that ``hf://user/name`` or ``user/name`` names, both with or without
    ``@revision``; None where the second begins with a folder that is here, or is a file's name."""
    found = re.fullmatch(rf"({HUB})?(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", named)
    if not found or (not found[1] and (Path(named).parent.exists() or named.endswith(FILES))):
        return None
    return HubId(found[2], found[3])


def published_weights(what: Published, *, asked: str, download: bool, progress: bool) -> Downloaded:
    """A file of the catalog.

    Args:
        what: which one.
        asked: what has named it, for messages.
        download: whether to fetch it if it is not here.
        progress: whether there is a bar.

    Raises:
        NotDownloadedError: it is not here and not to be downloaded.
        UserError: it cannot be downloaded, or is damaged.
    """
    if not what.address.startswith(HUB):
        return _of_pytorch(what, asked=asked, download=download, progress=progress)
    repository, _, name = what.address.removeprefix(HUB).rpartition("/")
    where = HubId(repository)
    here = _cached(where, name)
    path = here or _of_hub(where, name, asked=asked, download=download, progress=progress)
    return _checked(where, path, asked)


def run_weights(where: HubId, *, asked: str, download: bool, progress: bool) -> Downloaded:
    """The weights of a run on the hub, with its ``config.yaml`` beside them; what is here may be
    older than what is there only if nothing is to be downloaded or the hub cannot be reached.

    Raises as ``published_weights`` does.
    """
    weights, config = RUN_FILES
    path = _of_hub(where, weights, asked=asked, download=download, progress=progress)
    same = where._replace(revision=path.parent.name)
    _of_hub(same, config, asked=asked, download=download, progress=progress)
    return _checked(where, path, asked)


def _of_hub(where: HubId, name: str, *, asked: str, download: bool, progress: bool) -> Path:
    """A file in the cache of the hub's client, below a folder that is named by its commit."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not download:
        if here := _cached(where, name):
            return here
        raise NotDownloadedError(f"{asked}: {HUB}{where.repository}/{name} is to be downloaded.")
    if not progress:
        disable_progress_bars()
    return _downloaded(where, name, asked)


@cache
def _downloaded(where: HubId, name: str, asked: str) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download

    site = f"{constants.ENDPOINT}/{where.repository}"
    at = f" at {where.revision}" if where.revision else ""
    if constants.HF_HUB_OFFLINE:
        if here := _cached(where, name):
            return here
        raise UserError(_unreachable(where, name, asked))
    try:
        return Path(hf_hub_download(where.repository, name, revision=where.revision))
    except errors.LocalEntryNotFoundError:
        raise UserError(_unreachable(where, name, asked)) from None
    except errors.RepositoryNotFoundError:
        why = "there is no such file or folder here, and no such repository"
        raise UserError(f"{asked}: {why} on the hub ({site}), or it wants a login.") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{asked}: {site} has no revision {where.revision}.") from None
    except errors.EntryNotFoundError:
        raise UserError(
            f"{asked}: {site} has no {name}{at}; a run has {' and '.join(RUN_FILES)} at its top."
        ) from None
    except Exception as error:  # those of the network are of several libraries
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{asked}: {site}/{name} cannot be downloaded ({first}).") from None


def _unreachable(where: HubId, name: str, asked: str) -> str:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE, f"models--{where.repository.replace('/', '--')}")
    return (
        f"{asked}: {constants.ENDPOINT} cannot be reached, and {name} of {where.repository} is not "
        f"among what has been downloaded. Where there is a network, run "
        f"hf download {where.repository} {name} and copy that folder to {folder}; "
        f"or fetch the file by other means and name it: {asked.partition('=')[0]}=FILE."
    )


def _cached(where: HubId, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    here: Any = try_to_load_from_cache(where.repository, name, revision=where.revision)
    return Path(here) if isinstance(here, str) else None


def _checked(where: HubId, path: Path, asked: str) -> Downloaded:
    """The hub's checksum is the name of the file that a path in the cache is a link to."""
    file = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", file.name) and _hash(file) != file.name:
        raise UserError(
            f"{asked}: {file} is damaged: its SHA-256 is not the one on the hub, by which it is "
            "named. Delete it, then run this again."
        )
    return Downloaded(path, f"{HUB}{where.repository}@{path.parent.name}/{path.name}")


@cache
def _hash(file: Path) -> str:
    return file_hash(file)


def torch_folder() -> Path:
    """Where torch.hub keeps weights; asked without torch, which takes a second to import."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(caches, "torch"))  # noqa: PTH118
    return Path(home).expanduser() / "hub" / "checkpoints"


def _of_pytorch(what: Published, *, asked: str, download: bool, progress: bool) -> Downloaded:
    folder, name = torch_folder(), what.address.rpartition("/")[2]
    mirror = os.environ.get(MIRROR, TORCHVISION).rstrip("/")
    assert what.checksum is not None
    archive, found = Archive(name, f"{mirror}/{name}", what.checksum), folder / name
    if found.is_file() and archive.fits(f"sha256:{_hash(found)}"):
        return Downloaded(found, what.address)
    if not download:
        raise NotDownloadedError(f"{asked}: {what.address} is to be downloaded.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Another process downloads {name}; waiting for its end."
        with locked(folder / f".{name}.lock", waiting, wait=True):
            fetch(archive, folder, progress=progress, retries=RETRIES)
    except OSError as error:
        raise disk_space.refusal(error, folder) from None
    except UserError as error:
        raise UserError(f"{asked}: {error}") from None
    _hash.cache_clear()  # a damaged one may have been replaced
    return Downloaded(found, what.address)
