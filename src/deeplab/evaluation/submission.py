"""Archives of predictions for the test servers.

voc         results/VOC2012/Segmentation/comp6_SPLIT_cls/ID.png in a .tgz: palette PNGs of class
            indices. comp6 is the competition for methods trained on more data than VOC.
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

from deeplab.config.parsing import file_values
from deeplab.data.class_set import ClassSet
from deeplab.data.image_io import read_header
from deeplab.data.items import Item
from deeplab.evaluation.evaluation_folder import EvaluationFolder
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write
from deeplab.utils.progress import show_progress

Kind = Literal["voc", "cityscapes"]


def check_submission(kind: Kind, classes: ClassSet) -> None:
    """Check that a data set has the classes of the server.

    Raises:
        UserError: it has other classes.
    """
    expected = tuple(file_values(f"data/{kind}")["classes"])
    if classes.names != expected:
        raise UserError(
            f"submission={kind}: this run has {len(classes)} classes "
            f"({', '.join(classes.names[:3])} ...), but the server scores {len(expected)} "
            f"({expected[0]}, ... {expected[-1]}). Evaluate a run on data={kind}."
        )
    _server_values(kind, classes)


def write_submission(
    kind: Kind,
    folder: EvaluationFolder,
    items: Sequence[Item],
    classes: ClassSet,
    *,
    split: str,
    progress: bool = True,
) -> Path:
    """Pack the predictions of an evaluation, check the archive, and return its path.

    Args:
        kind: the test server.
        folder: the evaluation folder.
        items: the images of the split; each must have a prediction of its size.
        classes: classes of the predictions, with the label ids for cityscapes.
        split: name of the split, which is part of VOC's path.
        progress: show a progress bar.

    Raises:
        UserError: a prediction is missing, or the server would not accept it.
    """
    target = folder.archive(kind, split)
    files = _files(kind, folder, items, classes, split)
    bar = show_progress(files, f"Packing {target.name}", len(items), "img", show=progress)
    with atomic_write(target) as draft:
        (_write_tar if kind == "voc" else _write_zip)(draft, bar)
        names = {_name(kind, split, item.id): item for item in items}
        _check(kind, draft, names, allowed=_server_values(kind, classes))
    return target


def _name(kind: Kind, split: str, image_id: str) -> str:
    if kind == "cityscapes":
        return f"{image_id}.png"
    return f"results/VOC2012/Segmentation/comp6_{split}_cls/{image_id}.png"


def _server_values(kind: Kind, classes: ClassSet) -> list[int]:
    """Return the pixel value of each class in the server's files."""
    if kind == "voc":
        return list(range(len(classes)))
    if classes.values is None or classes.colored:
        raise UserError(
            "submission=cityscapes: this data set has no label ids. Set data.mask_values to them."
        )
    return [value for value in classes.values if isinstance(value, int)]


def _files(
    kind: Kind,
    folder: EvaluationFolder,
    items: Sequence[Item],
    classes: ClassSet,
    split: str,
) -> Iterator[tuple[str, bytes]]:
    """Yield the path inside the archive and the content of each prediction."""
    values = np.zeros(256, np.uint8)
    values[: len(classes)] = _server_values(kind, classes)
    for item in items:
        path = folder.prediction(item.id)
        if not path.is_file():
            raise UserError(
                f"{path}: this prediction is missing. Set overwrite=true to predict all again."
            )
        content = path.read_bytes()
        if kind == "cityscapes":
            with Image.open(path) as label, io.BytesIO() as buffer:
                Image.fromarray(values[np.array(label)]).save(buffer, format="PNG")
                content = buffer.getvalue()
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


def _check(kind: Kind, path: Path, expected: dict[str, Item], *, allowed: Sequence[int]) -> None:
    """Check that every image is in the archive once, in its size, with values of the server."""
    mode, missing = ("P" if kind == "voc" else "L"), dict(expected)
    for name, content in _read(kind, path):
        item = missing.pop(name, None)
        if item is None:
            raise UserError(
                f"submission={kind}: {name} is in the archive twice or does not belong there."
            )
        with Image.open(io.BytesIO(content)) as label:
            values = np.unique(np.array(label))
            size = (label.height, label.width)
            valid = label.mode == mode and np.isin(values, allowed).all()
        if not valid or size != read_header(item.image).size:
            raise UserError(
                f"submission={kind}: {name} is not a PNG of mode {mode} with the image's size and "
                f"values of {len(allowed)} classes. Set overwrite=true to predict all again."
            )
    if missing:
        raise UserError(
            f"submission={kind}: {next(iter(missing))} is missing in the archive. Set "
            "overwrite=true to predict all again."
        )
