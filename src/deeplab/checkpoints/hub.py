"""Downloads of published weights, kept in the caches that other programs use too.

* Hugging Face hub: the cache of its client. ``HF_HOME`` moves it, ``HF_ENDPOINT`` names a mirror,
  ``HF_TOKEN`` gives access to private repositories, ``HF_HUB_OFFLINE=1`` turns off the network.
* PyTorch's server: the folder of torch.hub. ``TORCH_HOME`` moves it, ``DEEPLAB_TORCH_MIRROR`` is
  the address of a mirror of https://download.pytorch.org/models.

A cached file is not downloaded again, and every file is verified by its checksum before use.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deeplab.checkpoints.pretrained import HUB_SCHEME, TORCHVISION, PublishedWeights
from deeplab.utils.constants import CONFIG_FILE, WEIGHTS_FILE
from deeplab.utils.download import Archive, fetch
from deeplab.utils.errors import UserError
from deeplab.utils.file_lock import locked
from deeplab.utils.files import file_hash
from deeplab.utils.paths import cache_folder
from deeplab.utils.reading import describe
from deeplab.utils.write_errors import write_error

MIRROR_VARIABLE = "DEEPLAB_TORCH_MIRROR"

RETRIES = 2
"""Number of further attempts in a row that bring no new data."""

OTHER_START = (
    "Or name a file of these weights: backbone.pretrained=FILE. Without them: "
    "backbone.pretrained=null trains from random ones."
)
"""Ways out where published weights cannot be downloaded."""

RUN_FILES = (WEIGHTS_FILE, CONFIG_FILE)
"""Files at the top of a run's repository on the hub."""


class NotDownloadedError(UserError):
    """Error for weights that are not on this machine and must not be downloaded."""


class LocalWeights(NamedTuple):
    """Weight file on this machine."""

    path: Path
    source: str
    """Origin of the file; for the hub, with the commit."""


class HubId(NamedTuple):
    """Repository on the hub."""

    repository: str
    """``user/name``."""
    revision: str | None = None
    """Branch, tag or commit; None for the latest."""


def hub_id(name: str, key: str) -> HubId | None:
    """Return the repository that ``hf://user/name`` names; None if ``name`` is a path.

    It may end with ``@revision``. A name without ``hf://`` is never looked up: ``runs/NAME``, typed
    in another folder, looks like the name of a repository.

    Raises:
        UserError: the part after ``hf://`` has another form; ``key`` is the key that was set.
    """
    if not name.startswith(HUB_SCHEME):
        return None
    match = re.fullmatch(rf"{HUB_SCHEME}(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", name)
    if not match:
        raise UserError(
            f"{key}={name}: not the name of a repository. Write {HUB_SCHEME}USER/NAME, with "
            "@REVISION after it for a branch, tag or commit."
        )
    return HubId(match[1], match[2])


def fetch_published_weights(
    weights: PublishedWeights, *, setting: str, download: bool, progress: bool
) -> LocalWeights:
    """Return a file of the list of published weights, downloaded if necessary.

    Args:
        weights: entry of the list.
        setting: key and value that named the weights, for messages.
        download: whether to download the file if it is not on this machine.
        progress: whether to show a progress bar.

    Raises:
        NotDownloadedError: the file is not on this machine, and ``download`` is false.
        UserError: it cannot be downloaded, or is damaged.
    """
    if not weights.address.startswith(HUB_SCHEME):
        return _torch_file(weights, setting=setting, download=download, progress=progress)
    repository, _, name = weights.address.removeprefix(HUB_SCHEME).rpartition("/")
    hub = HubId(repository)
    cached = _cached_file(hub, name)
    try:
        path = cached or _hub_file(hub, name, setting=setting, download=download, progress=progress)
    except NotDownloadedError:
        raise
    except UserError as error:
        raise UserError(f"{error} {OTHER_START}") from None
    return _verify(hub, path, setting)


def fetch_run_weights(hub: HubId, *, setting: str, download: bool, progress: bool) -> LocalWeights:
    """Return the weights of a run on the hub, with its ``config.yaml`` in the same folder.

    A cached version older than the hub's is used only if ``download`` is false or if the hub cannot
    be reached.

    Raises as ``fetch_published_weights`` does.
    """
    weights, config = RUN_FILES
    path = _hub_file(hub, weights, setting=setting, download=download, progress=progress)
    same_commit = hub._replace(revision=path.parent.name)
    _hub_file(same_commit, config, setting=setting, download=download, progress=progress)
    return _verify(hub, path, setting)


def _hub_file(hub: HubId, name: str, *, setting: str, download: bool, progress: bool) -> Path:
    """Return a file in the cache of the hub's client; its folder has the commit as its name."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not download:
        if cached := _cached_file(hub, name):
            return cached
        raise NotDownloadedError(
            f"{setting}: {HUB_SCHEME}{hub.repository}/{name} must be downloaded first."
        )
    if not progress:
        disable_progress_bars()
    path = _download(hub, name, setting)
    if not path.exists():  # the user has deleted a damaged one
        _download.cache_clear()
        path = _download(hub, name, setting)
    return path


@cache  # one version of a run for the whole process, and one request
def _download(hub: HubId, name: str, setting: str) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download

    site = f"{constants.ENDPOINT}/{hub.repository}"
    revision = f" at {hub.revision}" if hub.revision else ""
    try:
        return Path(hf_hub_download(hub.repository, name, revision=hub.revision))
    except errors.LocalEntryNotFoundError:
        folder = Path(constants.HF_HUB_CACHE, f"models--{hub.repository.replace('/', '--')}")
        raise UserError(
            f"{setting}: {constants.ENDPOINT} cannot be reached, and {name} of {hub.repository} is "
            "not in the cache. On a machine with a network, run hf download "
            f"{hub.repository} {name} and copy its cache folder to {folder}; or get the file by "
            f"other means and set {setting.partition('=')[0]}=FILE."
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{setting}: the hub has no such repository ({site}). A private repository needs a "
            "login."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{setting}: {site} has no revision {hub.revision}.") from None
    except errors.EntryNotFoundError:
        raise UserError(
            f"{setting}: {site} has no {name}{revision}. The repository of a run has "
            f"{' and '.join(RUN_FILES)} at its top."
        ) from None
    except Exception as error:  # network errors come from several libraries
        raise UserError(
            f"{setting}: {site}/{name} cannot be downloaded ({describe(error)})."
        ) from None


def _cached_file(hub: HubId, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached: Any = try_to_load_from_cache(hub.repository, name, revision=hub.revision)
    return Path(cached) if isinstance(cached, str) else None


def _verify(hub: HubId, path: Path, setting: str) -> LocalWeights:
    """Compare a cached file with the hub's checksum, which is the name of the link's target."""
    file = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", file.name) and file_hash(file) != file.name:
        raise UserError(
            f"{setting}: {file} is damaged: its SHA-256 is not the hub's, which is the file's "
            "name. Delete the file, then run this again."
        )
    return LocalWeights(path, f"{HUB_SCHEME}{hub.repository}@{path.parent.name}/{path.name}")


def torch_hub_folder() -> Path:
    """Return the folder of torch.hub's weights, without importing torch, which takes a second."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else cache_folder("torch")) / "hub" / "checkpoints"


def _torch_file(
    weights: PublishedWeights, *, setting: str, download: bool, progress: bool
) -> LocalWeights:
    folder, name = torch_hub_folder(), weights.address.rpartition("/")[2]
    mirror = os.environ.get(MIRROR_VARIABLE, TORCHVISION).rstrip("/")
    assert weights.checksum is not None
    archive, path = Archive(name, f"{mirror}/{name}", weights.checksum), folder / name
    if path.is_file() and archive.matches(f"sha256:{file_hash(path)}"):
        return LocalWeights(path, weights.address)
    if not download:
        raise NotDownloadedError(f"{setting}: {weights.address} must be downloaded first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Another process is downloading {name}; waiting for it."
        with locked(folder / f".{name}.lock", waiting, wait=True):
            fetch(archive, folder, progress=progress, retries=RETRIES)
    except OSError as error:
        raise write_error(error, folder) from None
    except UserError as error:
        raise UserError(f"{setting}: {error} {OTHER_START}") from None
    return LocalWeights(path, weights.address)
