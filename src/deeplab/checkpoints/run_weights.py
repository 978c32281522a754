"""Weight files of run folders: found by a path and checked, without loading torch."""

from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

from safetensors import safe_open

from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RESTORE_HINT, RunFolder
from deeplab.utils.constants import CONFIG_FILE
from deeplab.utils.errors import UserError
from deeplab.utils.files import file_hash
from deeplab.utils.reading import check_regular, exists, report_damage

RUN_WEIGHT_SUFFIXES = (".ckpt", ".safetensors")
"""Suffixes of weight files in a run folder."""

WEIGHT_SUFFIXES = (*RUN_WEIGHT_SUFFIXES, ".pth", ".pt", ".bin")
"""Suffixes of weight files."""

BACKBONE_PREFIX = "backbone."
"""Prefix of the backbone's names in the network."""

WEIGHTS_HINT = "Get an undamaged copy of the weights."
"""What to do if a file of weights is damaged."""

OWN_NETWORK_HINT = (
    "load them into their network, create_model(...) or "
    "SegmentationModule.load_from_checkpoint(...).eval_model, and predict with "
    "TrainedModel.from_network(network, classes=[...])"
)
"""What to do with weights that no run has trained."""


def find_run_weights(value: str, key: str) -> tuple[RunFolder, Path]:
    """Return the run that a path names, with the weights to use, which have been checked.

    These are the file itself if ``value`` names one, else the run's final weights or its last
    checkpoint.

    Raises:
        UserError: there is no such run, or it has no weights, or they are damaged; ``key`` is the
            key that was set to ``value``.
    """
    path = Path(value).expanduser()
    try:
        folder = RunFolder.find(value, key)
    except UserError:
        if not path.is_file() or path.suffix not in WEIGHT_SUFFIXES:
            raise
        raise UserError(
            f"{key}={value}: weights without the {CONFIG_FILE} of a run beside them, which says of "
            f"which network they are. In Python, {OWN_NETWORK_HINT}."
        ) from None
    in_run = path.resolve() != folder.path.resolve()
    if path.is_file() or (in_run and path.suffix in RUN_WEIGHT_SUFFIXES):
        if path.suffix not in RUN_WEIGHT_SUFFIXES:
            raise UserError(
                f"{path}: this file holds no weights. Give the run's folder, or a file in it that "
                f"ends in {' or '.join(RUN_WEIGHT_SUFFIXES)}."
            )
        weights = path.resolve()
    elif found := [file for file in (folder.weights, folder.last) if exists(file)]:
        weights = found[0]
    else:
        raise UserError(
            f"{key}={value}: this run has neither weights nor a checkpoint yet. Train it first."
        )
    check_weights(weights)
    return folder, weights


def check_weights(weights: Path) -> None:
    """Check that weights are a complete file, and those of a finished run the ones of its result.

    Raises:
        UserError: they are no file, damaged, or were replaced.
    """
    with report_damage(weights, WEIGHTS_HINT):
        check_regular(weights)
        if weights.suffix == ".safetensors":
            read_header(weights)
        elif weights.suffix == ".ckpt" and not is_zipfile(weights):
            raise ValueError("it is cut off, or no checkpoint")
    folder = RunFolder(weights.parent)
    if not folder.finished or weights.resolve() != folder.weights.resolve():
        return
    result = Result.read(folder.result, RESTORE_HINT)
    with report_damage(weights, WEIGHTS_HINT):
        if result.weights_sha256 and not result.is_of_weights(weights_hash(weights)):
            raise ValueError(
                f"its SHA-256 is not the one in {folder.result.name}: it was damaged or replaced "
                "after the training"
            )


def weights_hash(weights: Path) -> str:
    """Return the SHA-256 of a file of weights.

    Raises:
        UserError: it cannot be read, as if its run was removed in the meantime.
    """
    with report_damage(weights, WEIGHTS_HINT):
        return file_hash(weights)


class Header(NamedTuple):
    """Header of a safetensors file."""

    names: list[str]
    """Names of the tensors."""
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Return the header of a safetensors file, by which its size is checked.

    Raises:
        UserError: the file is damaged.
    """
    with report_damage(path, WEIGHTS_HINT):
        check_regular(path)
        with safe_open(path, "np") as file:
            return Header(list(file.keys()), file.metadata() or {})
