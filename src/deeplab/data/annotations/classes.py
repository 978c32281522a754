"""Classes of annotations: which regions get which label, and which pixels no region covers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deeplab.data.annotations.base import Annotation, AnnotationSet
from deeplab.data.annotations.regions import LabelDrawing
from deeplab.data.layouts.classes_file import is_void, plain_name
from deeplab.data.settings import MAX_CLASSES, UnlistedValues
from deeplab.utils.constants import BACKGROUND, IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.text import name_some, pluralize

if TYPE_CHECKING:
    from deeplab.data.layouts.folder_settings import Unlabeled

MAX_LISTED = 8
"""Number of classes that a line lists."""


class Annotations(NamedTuple):
    """Annotations of a folder with their classes."""

    source: AnnotationSet
    names: tuple[str, ...]
    drawing: LabelDrawing
    reading: str
    """Line that says which names are classes, which are ignored, and what background is."""

    def of(self, image: str) -> Annotation | None:
        """Return the annotation of an image, given by its path below the root, if it has one."""
        if image not in self.source.images:
            return None
        return Annotation(self.source, image, self.drawing)


def decide_classes(
    source: AnnotationSet,
    chosen: Sequence[str],
    unlabeled: "Unlabeled",
    unlisted: UnlistedValues,
) -> Annotations:
    """Return annotations with their classes.

    Args:
        source: the annotations.
        chosen: names of the classes by their index; empty: all that the annotations have.
        unlabeled: label of pixels that no region covers.
        unlisted: treatment of regions whose name is none of ``chosen``.

    Raises:
        UserError: there are too few or too many classes, or none of them is the background.
    """
    void = [name for name in source.names if is_void(name) and name not in chosen]
    is_background = {name for name in source.names if plain_name(name) == BACKGROUND}
    regions = [name for name in source.names if name not in {*void, *is_background}]
    has_background = unlabeled == BACKGROUND or bool(is_background)
    names = tuple(chosen) or (*[BACKGROUND] * has_background, *regions)
    if not chosen:
        _check_number(source, names)
    if unlabeled == BACKGROUND and BACKGROUND not in names:
        raise UserError(
            f"data.classes=[{','.join(names)}]: pixels that no region covers need a class named "
            f"{BACKGROUND}. Add it as the first, or set data.unlabeled=ignore."
        )
    others = [name for name in regions if name not in names]
    if others and unlisted == "error":
        raise UserError(
            f"data.classes=[{','.join(names)}]: the annotations have regions of "
            f"{name_some(others)} too. Add them, or set data.unlisted_values={BACKGROUND} to count "
            "their pixels as it, or data.unlisted_values=ignore to leave them out."
        )
    if unlisted == BACKGROUND:
        is_background.update(others)
        others = []
    labels = {name: index for index, name in enumerate(names)}
    labels |= {name: labels[BACKGROUND] for name in sorted(is_background) if BACKGROUND in labels}
    drawing = LabelDrawing(
        tuple(labels.items()),
        unlabeled=labels[BACKGROUND] if unlabeled == BACKGROUND else IGNORE,
        overlap_is_ignored=source.overlap_is_ignored,
        ignored=tuple(sorted({*void, *others})),
    )
    return Annotations(source, names, drawing, _describe(source, names, drawing))


def _check_number(source: AnnotationSet, names: Sequence[str]) -> None:
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"data.classes: the {source.tool} annotations have {len(names)} classes; at most "
            f"{MAX_CLASSES} are possible. List those to use, with data.unlisted_values=ignore."
        )
    if len(names) < 2:
        fix = "Annotate regions of a second class"
        if BACKGROUND not in names:
            fix += ", or leave out data.unlabeled=ignore"
        raise UserError(
            f"data.root={source.root}: the {source.tool} annotations have "
            f"{pluralize(len(names), 'class')} ({name_some(names) or 'none'}); at least 2 are "
            f"needed. {fix}."
        )


def _describe(source: AnnotationSet, names: Sequence[str], drawing: LabelDrawing) -> str:
    listed = ", ".join(names[:MAX_LISTED]) + ", ..." * (len(names) > MAX_LISTED)
    parts = [f"{source.tool} annotations, {len(names)} classes: {listed}"]
    if drawing.unlabeled == IGNORE:
        parts.append("pixels without a region are ignored")
    else:
        leave_out = "data.unlabeled=ignore leaves them out"
        parts.append(f"pixels without a region are background ({leave_out})")
    if drawing.ignored:
        parts.append(f"ignored: {name_some(drawing.ignored)}")
    if drawing.overlap_is_ignored:
        parts.append("pixels of two classes are ignored")
    return "; ".join(parts)
