"""The PASCAL VOC segmentation layout, and a data set over any tree that has it.

    JPEGImages/ID.jpg
    SegmentationClass/ID.png       palette or grey PNG of class indices, 255 = ignore
    SegmentationClassAug/ID.png    masks of images that SegmentationClass lacks (SBD)
    ImageSets/Segmentation/SPLIT.txt

Departures from the authors' preparation: none of the masks is rewritten (theirs strips the colour
map first; here the indices are read straight from the palette PNG), and where both folders have a
mask the official one is taken.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from deeplab.errors import UserError

IGNORE = 255
"""The label of object borders and padding."""

Pixels = NDArray[np.uint8]
Transform = Callable[[Pixels, Pixels, np.random.Generator], tuple[Pixels, Pixels]]
"""Image ``(H, W, 3)``, label ``(H, W)`` and a generator to a new image and label."""


class VOCTree:
    """Paths and split lists of a VOC layout.

    Args:
        root: the folder with ``ImageSets``, or one that has it at ``VOC2012`` or at
            ``VOCdevkit/VOC2012``.

    Raises:
        UserError: ``root`` is missing or has no such layout.
    """

    def __init__(self, root: str | Path) -> None:
        root = Path(root).expanduser()
        candidates = [root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"]
        found = [c for c in candidates if (c / "ImageSets" / "Segmentation").is_dir()]
        if not found:
            what = "has no ImageSets/Segmentation" if root.is_dir() else "does not exist"
            raise UserError(
                f"data.root={root}: this folder {what}. It is to hold the VOC layout "
                "(JPEGImages, SegmentationClass, ImageSets/Segmentation), itself or in "
                "VOCdevkit/VOC2012."
            )
        self.root = found[0]

    def splits(self) -> list[str]:
        """The names of the split lists that are there."""
        return sorted(p.stem for p in (self.root / "ImageSets" / "Segmentation").glob("*.txt"))

    def ids(self, split: str) -> list[str]:
        """The image ids of a split, in the order of its list."""
        path = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not path.is_file():
            raise UserError(
                f"split {split!r}: {path} does not exist. Splits here: {', '.join(self.splits())}."
            )
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"split {split!r}: {path} cannot be read ({error}).") from None
        ids = [line.split()[0] for line in text.splitlines() if line.strip()]
        if not ids:
            raise UserError(f"split {split!r}: {path} lists no image.")
        return ids

    def image_path(self, image_id: str) -> Path:
        """Where the image of this id is."""
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def label_path(self, image_id: str) -> Path:
        """Where the mask of this id is: the official one, else the augmented one."""
        official = self.root / "SegmentationClass" / f"{image_id}.png"
        augmented = self.root / "SegmentationClassAug" / f"{image_id}.png"
        return augmented if augmented.exists() and not official.exists() else official


class Sample(NamedTuple):
    """One image with its label map, as they come out of the transform."""

    image: Pixels  # (H, W, 3), RGB
    label: Pixels  # (H, W)
    image_id: str
    size: tuple[int, int]  # height and width on disk


class VOCDataset(Dataset[Sample]):
    """The images of one split.

    Args:
        tree: where they are.
        split: the name of the list.
        num_classes: every label must be below it, or 255.
        transform: applied to each sample with the generator of its draw.
        seed: of these generators.
    """

    def __init__(
        self,
        tree: VOCTree,
        split: str,
        *,
        num_classes: int,
        transform: Transform,
        seed: int = 0,
    ) -> None:
        self.tree, self.split, self.ids = tree, split, tree.ids(split)
        self.num_classes, self.transform, self.seed = num_classes, transform, seed

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        """The sample of an index, or of ``(draw, index)``.

        The augmentation depends on the seed and on the number of the draw alone: neither on the
        worker that makes it nor on what was drawn before.
        """
        draw, index = item if isinstance(item, tuple) else (0, item)
        image_id = self.ids[index]
        image, label = self.read(image_id)
        generator = np.random.default_rng((self.seed, draw))
        size = (label.shape[0], label.shape[1])
        return Sample(*self.transform(image, label, generator), image_id, size)

    def read(self, image_id: str) -> tuple[Pixels, Pixels]:
        """Image ``(H, W, 3)`` and label ``(H, W)`` as they are on disk.

        Raises:
            UserError: a file is missing or unreadable, sizes differ, or a label is too large.
        """
        image = read_image(self.tree.image_path(image_id))
        path = self.tree.label_path(image_id)
        label = read_label(path)
        if image.shape[:2] != label.shape:
            raise UserError(f"{path}: mask {label.shape}, but its image is {image.shape[:2]}.")
        check_labels(label, self.num_classes, path)
        return image, label

    def fingerprint(self) -> str:
        """Changes with the split's ids, their order, and the sizes of their files."""
        lines = [
            f"{i} {_bytes(self.tree.image_path(i))} {_bytes(self.tree.label_path(i))}"
            for i in self.ids
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _bytes(path: Path) -> int:
    """A file's size; -1 if it is missing, which is found when it is read."""
    return path.stat().st_size if path.is_file() else -1


def read_image(path: Path) -> Pixels:
    """An RGB image ``(H, W, 3)``, without regard to an EXIF rotation (masks know none)."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path}: the image cannot be read ({error.strerror}).") from None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise UserError(f"{path}: this is no image that can be decoded.")
    return np.asarray(image, dtype=np.uint8)


def read_label(path: Path) -> Pixels:
    """The class indices ``(H, W)`` of a palette or grey PNG."""
    try:
        with Image.open(path) as mask:
            if mask.mode not in ("P", "L"):
                raise UserError(
                    f"{path}: a mask of mode {mask.mode}; it is to hold class indices "
                    "(palette or 8-bit grey PNG)."
                )
            return np.array(mask, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path}: the mask cannot be read ({error}).") from None


def check_labels(label: Pixels, num_classes: int, path: Path) -> None:
    """Raise UserError if a label is neither a class nor 255."""
    wrong = label[(label >= num_classes) & (label != IGNORE)]
    if wrong.size:
        raise UserError(
            f"{path}: label {int(wrong.max())}, but data.classes names {num_classes} classes "
            f"(0 to {num_classes - 1}; {IGNORE} = ignore). Name all classes, or mend the mask."
        )


def check_split(dataset: VOCDataset, most: int = 100) -> None:
    """Read up to ``most`` masks and image headers spread over the split; raises UserError as
    ``read`` does, and where none of them has a label.

    A wrong class list then shows before training starts. Every other file is checked when it is
    read.
    """
    labelled = False
    for image_id in spread(dataset.ids, most):
        path = dataset.tree.label_path(image_id)
        label = read_label(path)
        check_labels(label, dataset.num_classes, path)
        labelled = labelled or bool((label != IGNORE).any())
        size = _image_size(dataset.tree.image_path(image_id))
        if size != label.shape:
            raise UserError(f"{path}: mask {label.shape}, but its image is {size}.")
    if not labelled:
        raise UserError(f"split {dataset.split!r}: its masks hold nothing but {IGNORE} (ignore).")


def _image_size(path: Path) -> tuple[int, int]:
    """Height and width from an image's header."""
    if not path.is_file():
        raise UserError(f"{path}: the image does not exist.")
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        raise UserError(f"{path}: this is no image that can be decoded.") from None


def check_splits(tree: VOCTree, **splits: str) -> None:
    """Raise UserError naming the key whose split is not there."""
    for key, split in splits.items():
        try:
            tree.ids(split)
        except UserError as error:
            raise UserError(f"data.{key}={split}: {error}") from None


def spread(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` items at even distances, the first one included."""
    step = max(1, -(-len(items) // most))
    return list(items[::step])
