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

from deeplab.checkpoints.pretrained import HUB_SCHEME, TORCHVISION, PublishedWeights
from deeplab.utils import disk_space
from deeplab.utils.download import Archive, fetch
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.files import file_hash

MIRROR_VARIABLE = "DEEPLAB_TORCH_MIRROR"

RETRIES = 2
"""Further attempts in a row that bring nothing new."""

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
"""The suffixes of weights."""

RUN_FILES = ("weights.safetensors", "config.yaml")
"""What a run's repository on the hub has at its top."""


class NotDownloadedError(UserError):  # noqa: N818 - a state of affairs
    """The file is not here, and nothing was to be downloaded."""


class LocalWeights(NamedTuple):
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
    found = re.fullmatch(rf"({HUB_SCHEME})?(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", named)
    if not found or (not found[1] and (Path(named).parent.exists() or named.endswith(WEIGHT_SUFFIXES))):
        return None
    return HubId(found[2], found[3])


def fetch_published_weights(what: PublishedWeights, *, asked: str, download: bool, progress: bool) -> LocalWeights:
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
    if not what.address.startswith(HUB_SCHEME):
        return _torch_file(what, asked=asked, download=download, progress=progress)
    repository, _, name = what.address.removeprefix(HUB_SCHEME).rpartition("/")
    where = HubId(repository)
    here = _cached_file(where, name)
    path = here or _hub_file(where, name, asked=asked, download=download, progress=progress)
    return _verify(where, path, asked)


def fetch_run_weights(where: HubId, *, asked: str, download: bool, progress: bool) -> LocalWeights:
    """The weights of a run on the hub, with its ``config.yaml`` beside them; what is here may be
    older than what is there only if nothing is to be downloaded or the hub cannot be reached.

    Raises as ``fetch_published_weights`` does.
    """
    weights, config = RUN_FILES
    path = _hub_file(where, weights, asked=asked, download=download, progress=progress)
    same = where._replace(revision=path.parent.name)
    _hub_file(same, config, asked=asked, download=download, progress=progress)
    return _verify(where, path, asked)


def _hub_file(where: HubId, name: str, *, asked: str, download: bool, progress: bool) -> Path:
    """A file in the cache of the hub's client, below a folder that is named by its commit."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not download:
        if here := _cached_file(where, name):
            return here
        raise NotDownloadedError(f"{asked}: {HUB_SCHEME}{where.repository}/{name} is to be downloaded.")
    if not progress:
        disable_progress_bars()
    return _download(where, name, asked)


@cache
def _download(where: HubId, name: str, asked: str) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download

    site = f"{constants.ENDPOINT}/{where.repository}"
    at = f" at {where.revision}" if where.revision else ""
    if constants.HF_HUB_OFFLINE:
        if here := _cached_file(where, name):
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


def _cached_file(where: HubId, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    here: Any = try_to_load_from_cache(where.repository, name, revision=where.revision)
    return Path(here) if isinstance(here, str) else None


def _verify(where: HubId, path: Path, asked: str) -> LocalWeights:
    """The hub's checksum is the name of the file that a path in the cache is a link to."""
    file = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", file.name) and _hash(file) != file.name:
        raise UserError(
            f"{asked}: {file} is damaged: its SHA-256 is not the one on the hub, by which it is "
            "named. Delete it, then run this again."
        )
    return LocalWeights(path, f"{HUB_SCHEME}{where.repository}@{path.parent.name}/{path.name}")


@cache
def _hash(file: Path) -> str:
    return file_hash(file)


def torch_hub_folder() -> Path:
    """Where torch.hub keeps weights; asked without torch, which takes a second to import."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(caches, "torch"))  # noqa: PTH118
    return Path(home).expanduser() / "hub" / "checkpoints"


def _torch_file(what: PublishedWeights, *, asked: str, download: bool, progress: bool) -> LocalWeights:
    folder, name = torch_hub_folder(), what.address.rpartition("/")[2]
    mirror = os.environ.get(MIRROR_VARIABLE, TORCHVISION).rstrip("/")
    assert what.checksum is not None
    archive, found = Archive(name, f"{mirror}/{name}", what.checksum), folder / name
    if found.is_file() and archive.fits(f"sha256:{_hash(found)}"):
        return LocalWeights(found, what.address)
    if not download:
        raise NotDownloadedError(f"{asked}: {what.address} is to be downloaded.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Another process downloads {name}; waiting for its end."
        with locked(folder / f".{name}.lock", waiting, wait=True):
            fetch(archive, folder, progress=progress, retries=RETRIES)
    except OSError as error:
        raise disk_space.write_error(error, folder) from None
    except UserError as error:
        raise UserError(f"{asked}: {error}") from None
    _hash.cache_clear()  # a damaged one may have been replaced
    return LocalWeights(found, what.address)
