"""Archives of predictions as the test servers take them.

voc         results/VOC2012/Segmentation/comp6_SPLIT_cls/ID.png in a .tgz: palette PNGs of class
            indices. comp6 is the competition of methods that were trained on more than VOC.
cityscapes  ID.png in a .zip: gray PNGs of label ids, not of train ids.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from tqdm import tqdm

from deeplab.config.parsing import file_values
from deeplab.data.class_set import ClassSet
from deeplab.data.image_io import image_size
from deeplab.data.layouts.base import Item
from deeplab.evaluation.evaluation_folder import EvaluationFolder
from deeplab.utils.errors import UserError
from deeplab.utils.files import replacing

Kind = Literal["voc", "cityscapes"]


def check_submission(kind: Kind, classes: ClassSet) -> None:
    """Whether a data set's classes are those of the server.

    Raises:
        UserError: they are not.
    """
    known = tuple(file_values(f"data/{kind}")["classes"])
    if classes.names != known:
        raise UserError(
            f"export={kind}: the server scores {known[0]}, ... {known[-1]} ({len(known)}); "
            f"this run has {len(classes)}: {', '.join(classes.names[:3])} ..."
        )
    _values(kind, classes)


def write_submission(
    kind: Kind,
    folder: EvaluationFolder,
    items: Sequence[Item],
    classes: ClassSet,
    *,
    split: str,
    progress: bool = True,
) -> Path:
    """Pack the predictions of an evaluation, read the archive back, and return its path.

    Args:
        kind: which server.
        folder: of the evaluation.
        items: the images of the split; each must have a prediction of its size.
        classes: what cityscapes' label ids are looked up in.
        split: part of VOC's path.
        progress: whether there is a bar.

    Raises:
        UserError: a prediction is missing, or is not what the server takes.
    """
    target = folder.archive(kind, split)
    files = _files(kind, folder, items, classes, split)
    shown = tqdm(files, f"Packing {target.name}", total=len(items), disable=not progress)
    with replacing(target) as draft:
        (_write_tar if kind == "voc" else _write_zip)(draft, shown)
        names = {_name(kind, split, item.id): item for item in items}
        _check(kind, draft, names, allowed=_values(kind, classes))
    return target


def _name(kind: Kind, split: str, image_id: str) -> str:
    if kind == "cityscapes":
        return f"{image_id}.png"
    return f"results/VOC2012/Segmentation/comp6_{split}_cls/{image_id}.png"


def _values(kind: Kind, classes: ClassSet) -> list[int]:
    """What stands for each class in the server's files."""
    if kind == "voc":
        return list(range(len(classes)))
    if classes.values is None or classes.colored:
        raise UserError("export=cityscapes: this data set has no label ids (data.mask_values).")
    return [value for value in classes.values if isinstance(value, int)]


def _files(
    kind: Kind,
    folder: EvaluationFolder,
    items: Sequence[Item],
    classes: ClassSet,
    split: str,
) -> Iterator[tuple[str, bytes]]:
    """Path inside the archive and content of each prediction."""
    values = np.zeros(256, np.uint8)
    values[: len(classes)] = _values(kind, classes)
    for item in items:
        path = folder.prediction(item.id)
        if not path.is_file():
            raise UserError(f"{path}: this prediction is missing; overwrite=true makes all anew.")
        content = path.read_bytes()
        if kind == "cityscapes":
            with Image.open(path) as label, io.BytesIO() as written:
                Image.fromarray(values[np.array(label)]).save(written, format="PNG")
                content = written.getvalue()
        yield _name(kind, split, item.id), content


def _write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:  # PNGs are compressed already
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)


def _read(kind: Kind, path: Path) -> Iterator[tuple[str, bytes]]:
    if kind == "voc":
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                yield member.name, file.read() if file else b""
    else:
        with zipfile.ZipFile(path) as zipped:
            for name in zipped.namelist():
                yield name, zipped.read(name)


def _check(kind: Kind, path: Path, wanted: dict[str, Item], *, allowed: Sequence[int]) -> None:
    """Every image once, in its size, with values that the server knows."""
    mode, missing = ("P" if kind == "voc" else "L"), dict(wanted)
    for name, content in _read(kind, path):
        item = missing.pop(name, None)
        if item is None:
            raise UserError(f"export={kind}: {name} is in the archive twice or should not be.")
        with Image.open(io.BytesIO(content)) as label:
            found = np.unique(np.array(label))
            size = (label.height, label.width)
            right = label.mode == mode and np.isin(found, allowed).all()
        if not right or size != image_size(item.image):
            raise UserError(
                f"export={kind}: {name} is no {mode} PNG of the image's size with values of "
                f"{len(allowed)} classes; overwrite=true makes all predictions anew."
            )
    if missing:
        raise UserError(f"export={kind}: {next(iter(missing))} is missing in the archive.")
