"""Search for the annotations of labeling tools in a folder."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from deeplab.data.annotations.base import AnnotationSet
from deeplab.data.annotations.coco import Coco
from deeplab.data.annotations.cvat import Cvat
from deeplab.data.annotations.label_studio import LabelStudio
from deeplab.data.annotations.labelme import LabelMe
from deeplab.data.annotations.supervisely import Supervisely
from deeplab.data.annotations.yolo import Yolo
from deeplab.utils.errors import UserError
from deeplab.utils.text import name_some

FORMS: dict[str, type[AnnotationSet]] = {
    form.form: form for form in (Coco, Cvat, LabelStudio, LabelMe, Supervisely, Yolo)
}
"""Forms of annotations by their names for ``data.annotations``."""

SUFFIXES = (".json", ".xml", ".txt", ".yaml", ".yml")
"""Ends of the names of files that belong to annotations."""


Files = dict[str, list[str]]
"""Files of annotations by the names of their forms."""


def find_forms(root: Path, paths: Sequence[str]) -> Files:
    """Return the forms of annotations in a folder with their files.

    Args:
        root: the folder.
        paths: its files.
    """
    return _find_forms(root, tuple(paths), _stamps(root, paths))


def read_annotations(root: Path, paths: Sequence[str], form: str | None) -> AnnotationSet | None:
    """Return the annotations of a folder; None if it has none.

    Args:
        root: the folder.
        paths: its files.
        form: name of the form; None: the only one that there is.

    Raises:
        UserError: there are none in this form, or annotations in two forms; or a file is damaged.
    """
    state = root, tuple(paths), _stamps(root, paths)
    found = _find_forms(*state)
    if form and form not in found:
        raise UserError(
            f"data.annotations={form}: no annotations of {FORMS[form].tool} are in {root}. Correct "
            "data.root, or leave the key out."
        )
    if not form and len(found) > 1:
        listed = "; ".join(f"{name}: {name_some(files)}" for name, files in found.items())
        raise UserError(
            f"data.root={root}: annotations in several forms ({listed}). Set data.annotations to "
            "the one to use."
        )
    form = form or next(iter(found), None)
    return _read(form, *state) if form else None


# A command opens the layout of a folder several times; the files are read again once they change.
@lru_cache(maxsize=4)
def _find_forms(root: Path, paths: tuple[str, ...], stamps: object) -> Files:
    return {name: files for name, form in FORMS.items() if (files := form.find(root, paths))}


@lru_cache(maxsize=4)
def _read(form: str, root: Path, paths: tuple[str, ...], stamps: object) -> AnnotationSet:
    return FORMS[form](root, paths, _find_forms(root, paths, stamps)[form])


def _stamps(root: Path, paths: Sequence[str]) -> tuple[tuple[int, int] | None, ...]:
    """Return the sizes and times of the files that may belong to annotations."""
    return tuple(_stamp(root / path) for path in paths if path.lower().endswith(SUFFIXES))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
