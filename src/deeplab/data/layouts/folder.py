"""Layout of your own images and masks, in the usual arrangements.

    images/ID.jpg        masks/ID.png            two folders; split by lists or at random
    images/train/ID.jpg  masks/train/ID.png      ... with a folder for each split
    train/images/ID.jpg  train/masks/ID.png
    train/ID.png         trainannot/ID.png       as in CamVid
    ID.jpg               ID_mask.png             one folder, distinguished by a suffix
    ID.jpg               ID.png                  ... or by the file format
    train.txt                                    lists: one id, or an image and its mask, per line

``pairing`` finds images and masks by the names of folders and files, ``splits`` decides the splits.
``image_dir`` and ``mask_dir`` name other folders.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab.data.items import Item
from deeplab.data.layouts.base import Layout, no_such_split
from deeplab.data.layouts.file_names import read_name
from deeplab.data.layouts.folder_index import FolderScan
from deeplab.data.layouts.folder_scan import scan_folder
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.data.layouts.pairing import annotated_pairs
from deeplab.data.layouts.splits import decide_splits
from deeplab.data.split_error import SplitError
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import is_first_process
from deeplab.utils.text import name_some

if TYPE_CHECKING:
    from deeplab.data.annotations.classes import Annotations

MASK_KEYS = ("mask_dir", "mask_suffix", "mask_values", "classes_file")
"""Keys that files of masks have."""


class FolderLayout(Layout):
    """Layout of a folder of images and masks.

    Raises:
        UserError: the folder does not exist, or no images and masks are found in it.
    """

    def __init__(self, settings: FolderSettings) -> None:
        self.root, self.settings = Path(settings.root).expanduser(), settings
        if not self.root.is_dir():
            raise UserError(
                f"data.root={settings.root}: this folder does not exist. Set data.root to the "
                "folder of your images and masks."
            )
        scan = scan_folder(self.root, settings)
        self.annotations, unused = _find_annotations(self.root, scan, settings)
        if self.annotations:
            pairs, notes = annotated_pairs(self.root, scan.paths, self.annotations, settings)
            self._splits = decide_splits(self.root, scan.paths, pairs, settings)
        elif scan.error:
            raise scan.error
        else:
            notes, self._splits = scan.notes, scan.splits
        self._notes = [*notes, *unused, *self._splits.notes]

    def splits(self) -> list[str]:
        return [name for name, split in self._splits.by_name.items() if split.origin]

    def items(self, split: str) -> Sequence[Item]:
        decided = self._splits.by_name.get(split)
        if decided is None:
            raise no_such_split(split, self.splits())
        if decided.error:
            raise SplitError(split, decided.error)
        return decided.items

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return self._splits.by_name[split].origin

    def notes(self) -> list[str]:
        """See ``DataLayout``."""
        return self._notes

    def with_classes(self, settings: FolderSettings, items: Sequence[Item]) -> FolderSettings:
        """Return the settings with the classes of their file or, without one, of the masks."""
        if self.annotations:
            if is_first_process():
                print(self.annotations.reading)
            return settings.model_copy(update={"classes": self.annotations.names})
        from deeplab.data.class_set import class_set  # imports OpenCV
        from deeplab.data.layouts.class_discovery import read_or_find_classes, report_listed

        if settings.classes:
            remedy = "Set data.mask_values to the values of the classes"
            path = None if settings.mask_values else self._check_classes_file(settings, items)
            if path:
                remedy = f"Leave data.classes out to take those of {path}. Otherwise: {remedy}"
            report_listed(class_set(settings), items, "data.classes", remedy)
            return settings
        try:
            found = read_or_find_classes(
                self.root,
                items,
                classes_file=settings.classes_file,
                ignored=settings.ignored_values,
                mask_values=settings.mask_values,
                unlisted_values=settings.unlisted_values,
            )
        except UserError as error:
            if len(folders := _folders_of_pairs(self.root, items)) > 1:
                raise UserError(
                    f"{error} data.root={settings.root} has several folders of images and masks: "
                    f"{name_some(folders, 8)}. To use one of them, set data.root to it."
                ) from None
            raise
        return settings.model_copy(
            update={
                "classes": found.names,
                "palette": found.colors,
                "mask_values": found.values,
                "ignored_values": found.ignored,
                "unlisted_values": found.unlisted_values,
            }
        )

    def _check_classes_file(self, settings: FolderSettings, items: Sequence[Item]) -> Path | None:
        """Return the classes file beside named classes, if there is one.

        Raises:
            UserError: it has the same classes with other values.
        """
        from deeplab.data.layouts.classes_file import (  # imports OpenCV
            find_classes_file,
            format_value,
            read_classes,
        )

        try:
            path = find_classes_file(self.root, settings.classes_file, items)
            listed = read_classes(path) if path else None
        except UserError:  # it is not used
            return None
        if not path or not listed:
            return None
        values = dict(zip(listed.names, listed.values or (), strict=True))
        other = [(i, name) for i, name in enumerate(settings.classes) if values.get(name, i) != i]
        if other and values.keys() == {*settings.classes}:
            place, name = other[0]
            places = ",".join(map(str, range(len(settings.classes))))
            raise UserError(
                f"data.classes=[{','.join(settings.classes)}]: the value of {name} is {place} by "
                f"its place, but {format_value(values[name])} in {path}. Leave data.classes out to "
                f"take the classes of the file, or add data.mask_values=[{places}] if the places "
                "are right."
            )
        return path

    @classmethod
    def check_other_root(cls, settings: FolderSettings, root: str) -> None:
        """See ``DataLayout``."""
        from deeplab.data.layouts.classes_file import (  # imports OpenCV
            find_classes_file,
            read_classes,
        )

        layout = cls(settings.model_copy(update={"root": root}))
        if layout.annotations:
            return
        splits = layout._splits.by_name.values()
        items = max((split.items for split in splits), key=len, default=())
        path = find_classes_file(layout.root, settings.classes_file, items)
        if path is None:
            return
        listed = read_classes(path)
        names = dict(zip(listed.values or (), listed.names, strict=True))
        values = settings.mask_values or range(len(settings.classes))
        same = [names.get(value) for value in values] == [*settings.classes]
        if not same:
            raise UserError(
                f"{path}: its classes or their values differ from those that the run was trained "
                f"with ({', '.join(settings.classes)}). Convert the masks to the run's values, or "
                "remove the file."
            )


def _folders_of_pairs(root: Path, items: Sequence[Item]) -> list[str]:
    """Return the folders below the root that have folders of images and of masks in them."""
    folders = set()
    for item in items:
        if item.image.is_relative_to(root) and item.mask.is_relative_to(root):
            image, mask = (path.relative_to(root).parts for path in (item.image, item.mask))
            nested = image[0] == mask[0] and min(len(image), len(mask)) > 2
            if nested and not read_name(image[0]).split and item.mask.is_file():
                folders.add(image[0])
    return sorted(folders)


def _find_annotations(
    root: Path, scan: FolderScan, settings: FolderSettings
) -> tuple["Annotations | None", list[str]]:
    """Return the annotations of a folder, or None if its masks are files; and lines about others.

    Raises:
        UserError: the annotations cannot be used, or their classes are wrong.
    """
    form = settings.annotations
    for_masks = [key for key in MASK_KEYS if getattr(settings, key) is not None]
    if form == "masks" or (form is None and for_masks):
        return None, []
    if for_masks:
        raise UserError(
            f"data.{for_masks[0]}: it is for files of masks, but data.annotations={form} draws the "
            "masks. Leave one of them out."
        )
    paths = scan.paths
    if not any(map(_may_annotate, scan.others)):
        return None, []
    from deeplab.data.annotations.classes import decide_classes  # imports OpenCV
    from deeplab.data.annotations.find import find_forms, read_annotations

    if scan.has_pairs and form is None:
        return None, [
            f"Annotations not used, since there are masks: {name_some(files)} "
            f"(data.annotations={name} uses them)"
            for name, files in find_forms(root, paths).items()
        ]
    source = read_annotations(root, paths, form)
    if source is None:
        return None, []
    if not source.images:
        raise UserError(
            f"data.root={root}: none of the images that its {source.tool} annotations name is in "
            "this folder. Add the images."
        )
    unlabeled, unlisted = settings.unlabeled, settings.unlisted_values
    return decide_classes(source, settings.classes, unlabeled, unlisted), []


def _may_annotate(path: str) -> bool:
    """Return True if a file may hold annotations, by its name alone."""
    return path.lower().endswith((".json", ".xml")) or (
        path.endswith(".txt") and "labels" in path.split("/")
    )
