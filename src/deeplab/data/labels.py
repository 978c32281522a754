"""Reading of an image's label map, from its mask or its annotation."""

from deeplab.data.class_set import ClassSet, Pixels
from deeplab.data.image_io import read_header, read_mask, size_mismatch_error
from deeplab.data.items import Item


def read_label(item: Item, classes: ClassSet, size: tuple[int, int] | None = None) -> Pixels:
    """Return the label map ``(H, W)`` of an image.

    Args:
        item: the image with its mask or annotation.
        classes: classes and their mask values.
        size: height and width of the image; None: a mask of any size is read.

    Raises:
        BadFileError: the file is missing or damaged, sizes differ, or a value or a region has no
            class.
    """
    if item.annotation is not None:
        return item.annotation.draw(read_header(item.image))
    mask = read_mask(item.mask, colored=classes.colored)
    if size is not None and mask.shape[:2] != size:
        raise size_mismatch_error(item.mask, mask.shape, item.image)
    return classes.decode(mask, item.mask)
