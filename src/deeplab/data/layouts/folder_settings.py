"""Keys of a folder of images and masks, which its search, pairing and splits read."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from deeplab.data.settings import FoundClasses, SegmentationSettings
from deeplab.utils.settings import FilePath, Float, Seed

AnnotationForm = Literal["coco", "cvat", "label_studio", "labelme", "supervisely", "yolo", "masks"]
"""Forms of annotations."""

Unlabeled = Literal["background", "ignore"]
"""Label of pixels that no annotated region covers."""


class FolderSettings(SegmentationSettings):
    """Your own images and masks."""

    of_ones_own: ClassVar[bool] = True

    classes: FoundClasses = ()
    """Names of the classes; null: from ``classes_file``."""
    classes_file: FilePath | None = None
    """File of the names and mask values of the classes; null: ``classes.yaml``, ``classes.csv`` and
    similar in ``root`` or above the masks. Without one they are found in the masks and written to
    ``root/classes.yaml``."""
    image_dir: FilePath | None = None
    """Folder of the images, below ``root`` or a whole path; null: the usual names are tried."""
    mask_dir: FilePath | None = None
    """Folder of the masks, likewise; if it is that of the images, suffixes distinguish them."""
    image_suffix: Annotated[str, Field(max_length=100)] = ""
    """End of an image's file name, after the part that it shares with its mask."""
    mask_suffix: Annotated[str, Field(max_length=100)] | None = None
    """End of a mask's file name, such as ``_mask``; null: the usual ones are tried."""
    val_fraction: Annotated[Float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the training images that is drawn as ``val`` if no list or folder is ``val``."""
    split_seed: Seed = 0
    """Seed of that draw."""
    annotations: AnnotationForm | None = None
    """Form of a labeling tool's annotations, from which the masks are drawn; null: it is found;
    ``masks``: there are files of masks."""
    unlabeled: Unlabeled = "background"
    """Label of pixels that no annotated region covers."""
