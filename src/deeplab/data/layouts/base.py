"""Layouts, which find the images of each split and their masks or labels.

Each module of this package that defines one is a data set: ``data.name`` is the module's name, and
the keys of its config are those of the settings that the layout takes.
"""

import importlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from deeplab.data.items import Item, fingerprint, join_items
from deeplab.data.labeled_images import LabeledImages
from deeplab.data.settings import DataSettings, SegmentationSettings
from deeplab.data.split_error import SplitError, split_problem
from deeplab.utils.errors import UserError
from deeplab.utils.paths import is_url
from deeplab.utils.program import command
from deeplab.utils.sampling import sample_evenly
from deeplab.utils.text import pluralize

_COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
IMAGE_SUFFIXES = (*_COMMON_SUFFIXES, ".avif", ".heic", ".heif")
"""Ends of the names of photos."""


def is_image(name: str) -> bool:
    """Return True for the name of a photo."""
    return name.lower().endswith(IMAGE_SUFFIXES)


ARRAY_SUFFIX = ".npy"
"""End of the names of NumPy arrays."""

MASK_SUFFIXES = (*_COMMON_SUFFIXES, ARRAY_SUFFIX)
"""Ends of the names of mask files."""

PREPARING = ".preparing"
"""Name of the marker file in the root of a data set whose preparation is not finished."""


D = TypeVar("D", bound=DataSettings)
T = TypeVar("T")


class DataLayout(ABC):
    """Interface between a data set and its folder.

    The constructor of a data set's layout takes ``settings``, the keys of ``data``, whose type is
    the schema of the data set's config. It raises UserError if the data set is not at
    ``settings.root``.
    """

    @classmethod
    def check(cls, settings: Any) -> Any:
        """Check that the data set and its splits exist.

        Masks are read only where nothing else tells the classes.

        Returns:
            The settings, with the classes and the bit depth if the data set's files tell them.

        Raises:
            UserError: the data set or one of its splits does not exist.
        """
        raise NotImplementedError

    @classmethod
    def check_other_root(cls, settings: Any, root: str) -> None:
        """Check another folder of images than the one that a run was trained on.

        Raises:
            UserError: that folder has a file of its classes, and they are not the run's; or the
                images are drawn and not in it.
        """
        return

    def check_split(self, split: str) -> None:
        """Raise UserError unless a split exists."""
        self.num_images(split)

    @abstractmethod
    def num_images(self, split: str) -> int:
        """Return the number of images of a split, or of several joined by ``+``.

        Raises:
            UserError: there is no such split, or it is empty.
        """

    @abstractmethod
    def fingerprint(self, split: str) -> str:
        """Return a hash of the ids of a split, their order, and the sizes of their files."""

    @abstractmethod
    def origin(self, split: str) -> str:
        """Return where the images of a split come from: a list, a folder, a draw."""

    def notes(self) -> list[str]:
        """Return lines about what was guessed or is not used."""
        return []


class Layout(DataLayout):
    """Layout of images with masks."""

    root: Path

    @abstractmethod
    def splits(self) -> list[str]:
        """Return the names of the available splits."""

    @abstractmethod
    def items(self, split: str) -> Sequence[Item]:
        """Return the items of a split, always in the same order.

        Raises:
            UserError: there is no such split, or it is empty.
        """

    @classmethod
    def check(cls, settings: Any) -> Any:
        """See ``DataLayout``."""
        check_complete(Path(settings.root).expanduser())
        layout: Layout = cls(settings)  # type: ignore[call-arg]
        parts = check_splits(settings, partial(split_items, layout))
        from deeplab.data.find_pixel_format import MAX_SAMPLES, with_pixel_format  # imports OpenCV

        items = join_items(parts)
        settings = layout.with_classes(settings, items)
        sample = sample_evenly(items, MAX_SAMPLES)
        return with_pixel_format(settings, [item.image for item in sample])

    def image_size(self, item: Item) -> tuple[int, int]:
        """Return height and width of an image; raises BadFileError if it cannot be read."""
        from deeplab.data.image_io import read_header  # imports OpenCV

        return read_header(item.image).size

    def with_classes(self, settings: Any, items: Sequence[Item]) -> Any:
        """Return the settings with the classes that the data set's files name."""
        return settings

    def is_labeled(self, items: Sequence[Item]) -> bool:
        """Return True if there are masks, and the images are not those of a test set."""
        return any(os.path.isfile(item.mask) for item in items)  # noqa: PTH113  long names

    def num_images(self, split: str) -> int:
        """See ``DataLayout``."""
        return len(split_items(self, split))

    def fingerprint(self, split: str) -> str:
        """See ``DataLayout``."""
        return fingerprint(split_items(self, split))


class LabeledLayout(DataLayout):
    """Layout of images with labels."""

    root: Path | str
    """Folder of the images, or its address."""
    classes: tuple[str, ...]
    """Names of the classes, in order."""
    multi_label: bool
    """True if an image may have several labels, each a yes-or-no question."""

    @abstractmethod
    def splits(self) -> list[str]:
        """Return the names of the available splits."""

    @abstractmethod
    def images(self, split: str) -> LabeledImages:
        """Return the images of a split, or of several joined by ``+``.

        Raises:
            UserError: there is no such split, it is empty, or its labels are wrong.
        """

    def num_images(self, split: str) -> int:
        """See ``DataLayout``."""
        return len(self.images(split))

    def fingerprint(self, split: str) -> str:
        """See ``DataLayout``."""
        return self.images(split).fingerprint()


def open_layout(settings: DataSettings, *, require_complete: bool = True) -> DataLayout:
    """Return the layout of a data set.

    Raises:
        UserError: the data set is not at ``data.root``, or (with ``require_complete``) its
            preparation is not finished.
    """
    if require_complete:
        check_complete(Path(settings.root).expanduser())
    return layout_class(settings.name)(settings)  # type: ignore[call-arg]


def data_layout(settings: SegmentationSettings, *, require_complete: bool = True) -> "Layout":
    """Return the layout of a data set with masks; raises as ``open_layout`` does."""
    layout = open_layout(settings, require_complete=require_complete)
    assert isinstance(layout, Layout)
    return layout


def check_data(settings: D) -> D:
    """Check that a data set exists and return its settings with its classes.

    Raises:
        UserError: the data set or one of its splits does not exist.
    """
    checked: D = layout_class(settings.name).check(settings)
    return checked


def move_data(settings: D, root: str | None) -> D:
    """Return a run's settings with the folder that ``data.root`` names now; None: unchanged.

    Raises:
        UserError: the folder does not exist or holds other images.
    """
    if root is None:
        return settings
    if not is_url(root) and not Path(root).expanduser().is_dir():
        raise UserError(
            f"data.root={root}: no such folder. Set data.root to the folder that holds the data "
            "set."
        )
    layout_class(settings.name).check_other_root(settings, root)
    return settings.model_copy(update={"root": root})


def data_fingerprint(settings: DataSettings, layout: DataLayout) -> str:
    """Return the fingerprint of the images that a run is trained and validated on."""
    return "-".join(map(layout.fingerprint, (settings.train_split, settings.val_split)))


@cache
def layout_class(name: str) -> type[DataLayout]:
    """Return the layout of ``data.name``, the class that the module of this name defines.

    Raises:
        ValueError: there is no such layout.
    """
    if name not in layout_names():
        raise ValueError(f"no such data set. Choose from {', '.join(layout_names())}")
    module = importlib.import_module(f"{__package__}.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, DataLayout)
        and value.__module__ == module.__name__
        and "settings" in get_type_hints(value.__init__)
    )


@cache
def layout_names() -> tuple[str, ...]:
    """Return the names of the modules whose layout takes settings; none is imported."""
    paths = Path(__file__).parent.glob("*.py")
    takes_settings = re.compile(r"^    def __init__\(self, settings: ", re.MULTILINE)
    return tuple(sorted(path.stem for path in paths if takes_settings.search(path.read_text())))


def settings_class(name: str) -> type[DataSettings]:
    """Return the keys of a data set: the type of the settings that its layout takes.

    Raises:
        ValueError: there is no such layout.
    """
    settings: type[DataSettings] = get_type_hints(layout_class(name).__init__)["settings"]
    return settings


def split_items(layout: Layout, split: str) -> Sequence[Item]:
    """Return the items of a split, or of several joined by ``+``."""
    return join_items([layout.items(name) for name in split.split("+")])


@contextmanager
def name_key(key: str, split: str) -> Iterator[None]:
    """Begin the errors of a split with the key that names it, ``train_split`` or ``val_split``."""
    try:
        yield
    except UserError as error:
        raise UserError(f"data.{key}={split}: {split_problem(error, split)}") from None


def check_splits(settings: DataSettings, check: Callable[[str], T]) -> list[T]:
    """Return what a check returns for the training and the validation split; see ``name_key``."""
    results: list[T] = []
    for key, split in (("train_split", settings.train_split), ("val_split", settings.val_split)):
        with name_key(key, split):
            results.append(check(split))
    return results


def no_such_split(
    split: str, available: Sequence[str], problem: str = "no such split"
) -> UserError:
    """Return the error of a split that a data set does not have."""
    return SplitError(split, f"{problem}. Available splits: {', '.join(available) or 'none'}.")


def split_origin(layout: DataLayout, split: str) -> str:
    """Return where the images of a split come from, or of several joined by ``+``."""
    names = split.split("+")
    if len(names) == 1:
        return layout.origin(split)
    return ", ".join(f"{name}: {layout.origin(name)}" for name in names)


def describe_splits(layout: DataLayout, *splits: str) -> list[str]:
    """Return a line for each split: how many images it has and where they come from."""
    counts = [layout.num_images(split) for split in splits]
    lines = [
        f"{split}: {pluralize(count, 'image')} ({split_origin(layout, split)})"
        for split, count in zip(splits, counts, strict=True)
    ]
    return [*lines, *layout.notes()]


def exclusive_splits(layout: Layout, train_split: str, val_split: str) -> list[tuple[str, str]]:
    """Return the pairs of splits that should share no image: training, validation and test."""
    names = [train_split, val_split]
    if "test" in layout.splits() and "test" not in "+".join(names).split("+"):
        names.append("test")
    return list(combinations(names, 2))


def check_complete(root: Path) -> None:
    """Raise UserError if ``deeplab prepare`` has started on a folder and has not finished."""
    if any((folder / PREPARING).exists() for folder in (root, *root.absolute().parents[:2])):
        raise UserError(
            f"data.root={root}: this data set is incomplete: its preparation is in progress or was "
            f"interrupted. Wait for it to finish, or run the same {command('prepare')} command "
            "again, which resumes it."
        )


DRAWN_SPLITS = ("train", "val")
"""Splits of drawn images."""


def check_drawn_splits(settings: DataSettings) -> None:
    """Raise UserError unless the splits of drawn images exist, before any is drawn."""
    check_splits(settings, partial(check_drawn_split, name=settings.name))


def check_drawn_split(split: str, name: str) -> None:
    """Raise UserError unless a split, or several joined by ``+``, is one of a drawn data set."""
    for part in split.split("+"):
        if part not in DRAWN_SPLITS:
            raise SplitError(
                part, f"no such split. The splits of data={name} are {' and '.join(DRAWN_SPLITS)}."
            )


def check_drawn_root(root: str, *, drawn: bool) -> None:
    """Raise UserError unless drawn images are already in a folder that was named for them."""
    if not drawn:
        raise UserError(
            f"data.root={root}: the drawn images of this run are not in this folder. Leave out "
            "data.root to have them drawn again."
        )
