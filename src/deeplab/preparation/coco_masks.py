"""COCO's instances as label maps of VOC's 21 classes, for pretraining.

DeepLabv3 (section 4.1 on MS-COCO) trains on the images of COCO that have VOC's classes on more than
1000 pixels, all other classes being background. It leaves some cases open, which are decided here:

- Pixels of instances of two VOC classes are 255: COCO has no depth order, and the order of the
  instances in the file has no meaning. Instances of the same class may overlap.
- Crowd regions are 255 where no single instance lies: they are coarse outlines around groups, with
  gaps between. They do not count among the 1000 pixels.
- Instances of other classes are not drawn: they are background, and where they lie on a VOC object,
  as a cup on a table does, the pixels keep that object's class.
- Polygons of fewer than three points or with half a point enclose nothing and are left out; the
  real files have a few.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.data.annotations.bitmaps import decode_runs, uncompress_coco_runs
from deeplab.data.class_set import Pixels, write_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import parallel_map

Mask = NDArray[np.bool_]

FETCH_HINT = "An instances file as COCO publishes it is needed: download it again."


class Annotation(NamedTuple):
    """An annotated region: an instance, or a crowd."""

    id: int
    label: int
    crowd: bool
    segmentation: Any
    """Polygons ``[[x, y, x, y, ...], ...]``, or run lengths ``{size, counts}``."""


class AnnotatedImage(NamedTuple):
    """An image and its annotations of VOC's classes."""

    id: int
    file_name: str
    height: int
    width: int
    annotations: list[Annotation]

    @property
    def stem(self) -> str:
        return Path(self.file_name).stem


def rasterize(
    annotation_file: Path,
    image_folder: Path,
    mask_folder: Path,
    category_ids: Sequence[int],
    *,
    min_pixels: int,
    num_workers: int,
    progress: bool = True,
) -> list[str]:
    """Draw the masks ``STEM.png`` of the images of an instances file that have enough VOC pixels.

    An existing mask is kept; all other images are drawn in memory to count their pixels.

    Args:
        annotation_file: the instances file.
        image_folder: the folder of its images, all of which must exist.
        mask_folder: the folder for the masks.
        category_ids: COCO's category of each class; for background, any that COCO does not have.
        min_pixels: an image is kept if more pixels than these have a class other than background.
        num_workers: number of processes.
        progress: True to show a progress bar.

    Returns:
        The stems of the images kept, in the order of COCO's image ids.

    Raises:
        UserError: the file is damaged or no instances file, or images are missing.
    """
    images = _read(annotation_file, category_ids)
    _check_images(images, image_folder, annotation_file)
    kept = {image.stem for image in images if _mask_path(image, mask_folder).exists()}
    remaining = [image for image in images if image.stem not in kept]
    draw = partial(
        _draw_if_enough, source=annotation_file, mask_folder=mask_folder, min_pixels=min_pixels
    )
    drawn = parallel_map(
        draw,
        remaining,
        num_workers=num_workers,
        desc=f"Drawing {annotation_file.stem}",
        progress=progress,
    )
    kept.update(image.stem for image, enough in zip(remaining, drawn, strict=True) if enough)
    return [image.stem for image in images if image.stem in kept]


def _read(path: Path, category_ids: Sequence[int]) -> list[AnnotatedImage]:
    """Return the images with annotations of VOC's classes, in the order of their ids."""
    content = _load(path)
    categories = {_get(entry, "id", int, f"{path}: a category") for entry in content["categories"]}
    labels = {category: label for label, category in enumerate(category_ids) if label}
    images = {image.id: image for image in (_image(e, path) for e in content["images"])}
    for entry in content["annotations"]:
        annotation_id = _get(entry, "id", int, f"{path}: an annotation")
        where = f"{path}: annotation {annotation_id}"
        category = _get(entry, "category_id", int, where)
        image_id = _get(entry, "image_id", int, where)
        if category not in categories:
            raise UserError(
                f"{where}: category {category} is not among its categories. {FETCH_HINT}"
            )
        if image_id not in images:
            raise UserError(f"{where}: image {image_id} is not among its images. {FETCH_HINT}")
        if category in labels:
            segmentation = _get(entry, "segmentation", (list, dict), where)
            crowd = bool(_get(entry, "iscrowd", int, where))
            annotation = Annotation(annotation_id, labels[category], crowd, segmentation)
            images[image_id].annotations.append(annotation)
    return [images[image_id] for image_id in sorted(images) if images[image_id].annotations]


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {FETCH_HINT}") from None
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8; brackets without end
        raise UserError(f"{path}: not valid JSON ({error}). {FETCH_HINT}") from None
    for key in ("images", "annotations", "categories"):
        _get(content, key, list, str(path))
    return content


def _get(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise UserError(f"{where}: has no {key!r}. {FETCH_HINT}")
    if not isinstance(entry[key], kind):
        raise UserError(f"{where}: {key!r} cannot be {str(entry[key])[:40]!r}. {FETCH_HINT}")
    return entry[key]


def _image(entry: Any, path: Path) -> AnnotatedImage:
    image_id = _get(entry, "id", int, f"{path}: an image")
    where = f"{path}: image {image_id}"
    name = _get(entry, "file_name", str, where)
    height, width = (_get(entry, key, int, where) for key in ("height", "width"))
    if min(height, width) < 1:
        raise UserError(f"{where}: its size is {width} x {height} (width x height). {FETCH_HINT}")
    return AnnotatedImage(image_id, name, height, width, [])


def _check_images(images: list[AnnotatedImage], folder: Path, path: Path) -> None:
    missing = [image.file_name for image in images if not (folder / image.file_name).exists()]
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{folder}: {len(missing)} of the {len(images)} images that {path} annotates with "
            f"VOC's classes are missing ({some}). Unpack the complete archive of these images."
        )


def _mask_path(image: AnnotatedImage, folder: Path) -> Path:
    return folder / f"{image.stem}.png"


def _draw_if_enough(
    image: AnnotatedImage, source: Path, mask_folder: Path, min_pixels: int
) -> bool:
    label = _draw(image, source)
    enough = np.count_nonzero((label > 0) & (label != IGNORE)) > min_pixels
    if enough:
        write_mask(_mask_path(image, mask_folder), label, flush=False)
    return bool(enough)


def _draw(image: AnnotatedImage, source: Path) -> Pixels:
    """Return the label map ``(H, W)`` of an image."""
    label = np.zeros((image.height, image.width), np.uint8)
    crowds = np.zeros(label.shape, np.bool_)
    for annotation in image.annotations:
        inside = _region(annotation, image, f"{source}: annotation {annotation.id}")
        if annotation.crowd:
            crowds |= inside
        else:
            label[inside & (label > 0) & (label != annotation.label)] = IGNORE
            label[inside & (label == 0)] = annotation.label
    label[crowds & (label == 0)] = IGNORE
    return label


def _region(annotation: Annotation, image: AnnotatedImage, where: str) -> Mask:
    """Return the mask ``(H, W)`` of an annotation."""
    if isinstance(annotation.segmentation, dict):
        return _decode_run_lengths(annotation.segmentation, image, where)
    polygons = [_polygon(p, image, where) for p in annotation.segmentation]
    polygons = [p for p in polygons if len(p) >= 6 and len(p) % 2 == 0]
    if not polygons:
        return np.zeros((image.height, image.width), np.bool_)
    from pycocotools import mask as coco_mask

    run_lengths = coco_mask.frPyObjects(polygons, image.height, image.width)
    return np.asarray(coco_mask.decode(coco_mask.merge(run_lengths)), np.bool_)


def _polygon(points: Any, image: AnnotatedImage, where: str) -> list[float]:
    # pycocotools does not check this: it crashes on coordinates far away
    limit = 2 * max(image.height, image.width)
    numeric = isinstance(points, list) and all(isinstance(n, int | float) for n in points)
    if not numeric or not all(abs(n) <= limit for n in points):  # nan is not <= either
        raise UserError(
            f"{where}: a polygon does not consist of numbers in or near its image. {FETCH_HINT}"
        )
    return points


def _decode_run_lengths(rle: dict[str, Any], image: AnnotatedImage, where: str) -> Mask:
    """Return the mask of run lengths.

    pycocotools is not used here: if the lengths do not add up it returns uninitialized memory.
    """
    size = _get(rle, "size", list, where)
    if size != [image.height, image.width]:
        raise UserError(
            f"{where}: its mask is of size {size}, but its image is "
            f"[{image.height}, {image.width}] (height, width). {FETCH_HINT}"
        )
    counts = _get(rle, "counts", (list, str), where)
    runs = uncompress_coco_runs(counts) if isinstance(counts, str) else counts
    try:
        return decode_runs(runs, image.height, image.width, by_column=True)
    except (TypeError, ValueError):
        raise UserError(
            f"{where}: its run lengths do not add up to its image's pixels. {FETCH_HINT}"
        ) from None
