"""The authors' segmentation networks by name: downloaded, converted once, kept in a cache.

``run=NAME`` and ``init_from=NAME`` take a name of ``MODEL_ZOO``. The archive is downloaded from the
authors' server, converted by ``deeplab convert`` and removed; the weights, their config and the
archive's checksum stay in ``~/.cache/deeplab/model_zoo`` (``XDG_CACHE_HOME`` moves it).
``DEEPLAB_MODEL_ZOO_MIRROR`` is the address of a mirror of the authors' folder.

No checksum of the archives is published. That of the first download is kept, and a later download
must have the same.
"""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from deeplab.config.overrides import quote_value
from deeplab.utils.constants import CONFIG_FILE, WEIGHTS_FILE
from deeplab.utils.download import Archive, fetch
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.file_lock import locked
from deeplab.utils.files import file_hash, write_text
from deeplab.utils.paths import cache_folder
from deeplab.utils.program import child_command, command, pythonpath
from deeplab.utils.write_errors import write_error

SERVER = "https://storage.googleapis.com/download.tensorflow.org/models"
"""Folder of the archives; the authors link it as http://download.tensorflow.org/models."""

MIRROR_VARIABLE = "DEEPLAB_MODEL_ZOO_MIRROR"

CONVERSION_RECORD = "conversion.json"
"""Record of a conversion, beside the weights."""

FILES = (WEIGHTS_FILE, CONFIG_FILE, CONVERSION_RECORD)
"""Files of a converted network."""

CHECKSUM = "archive.sha256"
"""File with the checksum of the first download."""


class ZooNetwork(NamedTuple):
    """Network of the authors' model zoo."""

    name: str
    file: str
    """Name of the archive, without ``.tar.gz``."""
    score: str
    """mIoU as published, with how it was measured."""

    @property
    def address(self) -> str:
        """Address of the archive."""
        return f"{SERVER}/{self.file}.tar.gz"


VAL, MULTI = "val, output stride 16", "val, output stride 8, multi-scale, flip"

MODEL_ZOO = (
    ZooNetwork(
        "deeplabv3plus_xception65_voc",
        "deeplabv3_pascal_train_aug_2018_01_04",
        f"82.20 ({VAL}), 83.58 ({MULTI})",
    ),
    ZooNetwork(
        "deeplabv3plus_xception65_voc_trainval",
        "deeplabv3_pascal_trainval_2018_01_04",
        "87.80 (test, output stride 8, multi-scale, flip)",
    ),
    ZooNetwork(
        "deeplabv3_mobilenetv2_voc",
        "deeplabv3_mnv2_pascal_train_aug_2018_01_29",
        f"75.32 ({VAL}), 77.33 ({MULTI})",
    ),
    ZooNetwork(
        "deeplabv3_mobilenetv2_voc_trainval",
        "deeplabv3_mnv2_pascal_trainval_2018_01_29",
        "80.25 (test, output stride 8, multi-scale, flip)",
    ),
    ZooNetwork(
        "deeplabv3_mobilenetv2_x0.5_voc",
        "deeplabv3_mnv2_dm05_pascal_trainaug_2018_10_01",
        f"70.19 ({VAL})",
    ),
    ZooNetwork(
        "deeplabv3_mobilenetv2_x0.5_voc_trainval",
        "deeplabv3_mnv2_dm05_pascal_trainval_2018_10_01",
        "71.83 (test, output stride 8)",
    ),
    ZooNetwork(
        "deeplabv3plus_xception65_cityscapes",
        "deeplabv3_cityscapes_train_2018_02_06",
        f"78.79 ({VAL}), 80.42 (val, output stride 8, three scales, flip)",
    ),
    ZooNetwork(
        "deeplabv3_mobilenetv2_cityscapes",
        "deeplabv3_mnv2_cityscapes_train_2018_02_05",
        f"70.71 ({VAL}), 73.57 (val, output stride 8, three scales, flip)",
    ),
    ZooNetwork(
        "deeplabv3plus_xception65_ade20k",
        "deeplabv3_xception_ade20k_train_2018_05_29",
        f"45.65 ({MULTI})",
    ),
    ZooNetwork(
        "deeplabv3plus_mobilenetv2_ade20k",
        "deeplabv3_mnv2_ade20k_train_2018_12_03",
        f"32.04 ({VAL}, images of 257 pixels)",
    ),
)
"""The authors' networks that can be converted, from the model zoo of their DeepLab code.

The scores are theirs.
"""


def find_zoo_network(value: str, key: str) -> ZooNetwork | None:
    """Return the network that a value names; None if it names none, or there is such a path.

    Raises:
        UserError: it looks like a name of this list, but is none; ``key`` is the key that was set.
    """
    if Path(value).expanduser().exists():
        return None
    network = next((network for network in MODEL_ZOO if network.name == value), None)
    names = ", ".join(network.name for network in MODEL_ZOO)
    if network is None and value.startswith(("deeplabv3_", "deeplabv3plus_")) and "/" not in value:
        raise UserError(
            f"{key}={value}: no such path, and no network of the authors' list. Networks: {names}."
        )
    return network


def cached_weights(network: ZooNetwork) -> Path | None:
    """Return the weights of a network that is in the cache; None if it is not there."""
    folder = zoo_folder() / network.name
    complete = all((folder / name).is_file() for name in FILES)
    return folder / FILES[0] if complete else None


def zoo_folder() -> Path:
    """Return the folder of the converted networks."""
    return cache_folder() / "model_zoo"


def fetch_zoo_network(network: ZooNetwork, *, setting: str, progress: bool) -> Path:
    """Return the weights of a network, beside their config; download and convert it if necessary.

    Args:
        network: the network.
        setting: key and value that named it, for messages.
        progress: show a progress bar.

    Raises:
        UserError: it cannot be downloaded or converted, or the package for it is missing.
    """
    if cached := cached_weights(network):
        return cached
    require_extra("convert", "tensorflow", setting=setting)
    folder = zoo_folder() / network.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Another process makes {network.name} ready; waiting for it."
        with locked(folder / ".lock", waiting, wait=True):
            if cached := cached_weights(network):
                return cached
            archive = _download(network, folder, setting, progress)
            print(f"Converting {archive.name}; this is done once.", flush=True)
            _convert(archive, folder, setting)
            archive.unlink()
    except OSError as error:
        raise write_error(error, folder) from None
    return folder / FILES[0]


def _download(network: ZooNetwork, folder: Path, setting: str, progress: bool) -> Path:
    kept = folder / CHECKSUM
    first = not kept.is_file()
    checksum = "sha256:" + ("" if first else kept.read_text().strip())
    server = os.environ.get(MIRROR_VARIABLE, SERVER).rstrip("/")
    name = f"{network.file}.tar.gz"
    try:
        path = fetch(Archive(name, f"{server}/{name}", checksum), folder, progress=progress)
    except UserError as error:
        hint = f" To convert a file that you have: {command('convert')} {name}."
        raise UserError(f"{setting}: {error}{hint}") from None
    if first:
        write_text(kept, file_hash(path) + "\n")
    return path


def _convert(archive: Path, folder: Path, setting: str) -> None:
    """Convert an archive in a process of its own: TensorFlow keeps its memory."""
    target = f"output={quote_value(folder / FILES[0])}"
    arguments = child_command("convert", str(archive), target, "enable_progress_bar=false")
    environment = os.environ | {"PYTHONPATH": pythonpath()}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise UserError(f"{setting}: the conversion failed: {lines[-1].removeprefix('Error: ')}")
