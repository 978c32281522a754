"""COCO's instances as label maps of VOC's 21 classes, for pretraining.

DeepLabv3 (section 4.1 on MS-COCO) trains on the images of COCO that have VOC's classes on more than
1000 pixels, all other classes being background. What it leaves open is decided here:

- Pixels of instances of two VOC classes are 255: COCO has no depth order, and which instance comes
  first in the file says nothing. Instances of the same class may overlap.
- Crowd regions are 255 where no single instance lies: they are coarse outlines around groups, with
  gaps between. They do not count among the 1000 pixels.
- Instances of other classes are not drawn: they are background, and where they lie on a VOC object,
  as a cup on a table does, the pixels stay that object's.
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
from pycocotools import mask as coco_mask

from deeplab.data.class_set import Pixels, write_mask
from deeplab.utils.constants import IGNORE
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import parallel_map

Mask = NDArray[np.bool_]

FETCH = "It is to be an instances file as COCO publishes it: fetch it again."


class Outline(NamedTuple):
    """An annotation: an instance, or a crowd."""

    id: int
    label: int
    crowd: bool
    segmentation: Any
    """Polygons ``[[x, y, x, y, ...], ...]``, or run lengths ``{size, counts}``."""


class Scene(NamedTuple):
    """An image and what VOC knows in it."""

    id: int
    image: str
    height: int
    width: int
    outlines: list[Outline]

    @property
    def stem(self) -> str:
        return Path(self.image).stem


def rasterize(
    annotations: Path,
    images: Path,
    masks: Path,
    category_of: Sequence[int],
    *,
    min_pixels: int,
    num_workers: int,
    progress: bool = True,
) -> list[str]:
    """Draw ``masks/STEM.png`` for the images of an instances file that have enough of VOC in them.

    A mask that is there already is taken for drawn; of the others all are drawn (overwrite) to count.

    Args:
        annotations: the instances file.
        images: the folder of its images, which must all be there.
        masks: the folder for the masks.
        category_of: COCO's category of each class; of background any that COCO does not have.
        min_pixels: an image is kept if more pixels than these have a class other than background.
        num_workers: processes.
        progress: whether there is a bar.

    Returns:
        The stems of the images kept, in the order of COCO's image ids.

    Raises:
        UserError: the file is damaged or no instances file, or images are missing.
    """
    scenes = _read(annotations, category_of)
    _check_images(scenes, images, annotations)
    kept = {scene.stem for scene in scenes if _png(scene, masks).exists()}
    todo = [scene for scene in scenes if scene.stem not in kept]
    keep = partial(_draw_if_enough, source=annotations, masks=masks, min_pixels=min_pixels)
    enough = parallel_map(
        keep, todo, num_workers=num_workers, desc=f"Drawing {annotations.stem}", progress=progress
    )
    kept.update(scene.stem for scene, yes in zip(todo, enough, strict=True) if yes)
    return [scene.stem for scene in scenes if scene.stem in kept]


def _read(path: Path, category_of: Sequence[int]) -> list[Scene]:
    """The images with annotations of VOC's classes, in the order of their ids."""
    content = _load(path)
    known = {_get(entry, "id", int, f"{path}: a category") for entry in content["categories"]}
    label_of = {category: label for label, category in enumerate(category_of) if label}
    scenes = {scene.id: scene for scene in (_scene(e, path) for e in content["images"])}
    for entry in content["annotations"]:
        number = _get(entry, "id", int, f"{path}: an annotation")
        where = f"{path}: annotation {number}"
        category = _get(entry, "category_id", int, where)
        image = _get(entry, "image_id", int, where)
        if category not in known:
            raise UserError(f"{where}: category {category} is not among its categories. {FETCH}")
        if image not in scenes:
            raise UserError(f"{where}: image {image} is not among its images. {FETCH}")
        if category in label_of:
            segmentation = _get(entry, "segmentation", (list, dict), where)
            crowd = bool(_get(entry, "iscrowd", int, where))
            outline = Outline(number, label_of[category], crowd, segmentation)
            scenes[image].outlines.append(outline)
    return [scenes[image] for image in sorted(scenes) if scenes[image].outlines]


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {FETCH}") from None
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8; brackets without end
        raise UserError(f"{path}: this is not JSON ({error}). {FETCH}") from None
    for key in ("images", "annotations", "categories"):
        _get(content, key, list, str(path))
    return content


def _get(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise UserError(f"{where}: it has no {key!r}. {FETCH}")
    if not isinstance(entry[key], kind):
        raise UserError(f"{where}: {key!r} cannot be {str(entry[key])[:40]!r}. {FETCH}")
    return entry[key]


def _scene(entry: Any, path: Path) -> Scene:
    number = _get(entry, "id", int, f"{path}: an image")
    where = f"{path}: image {number}"
    name = _get(entry, "file_name", str, where)
    height, width = (_get(entry, key, int, where) for key in ("height", "width"))
    if min(height, width) < 1:
        raise UserError(f"{where}: its size is {height} x {width} (height x width). {FETCH}")
    return Scene(number, name, height, width, [])


def _check_images(scenes: list[Scene], images: Path, path: Path) -> None:
    missing = [scene.image for scene in scenes if not (images / scene.image).exists()]
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{images}: {len(missing)} of the {len(scenes)} images that {path} has with VOC's "
            f"classes are missing here ({some}). Unpack the whole archive of these images."
        )


def _png(scene: Scene, masks: Path) -> Path:
    return masks / f"{scene.stem}.png"


def _draw_if_enough(scene: Scene, source: Path, masks: Path, min_pixels: int) -> bool:
    label = _draw(scene, source)
    enough = np.count_nonzero((label > 0) & (label != IGNORE)) > min_pixels
    if enough:
        write_mask(_png(scene, masks), label)
    return bool(enough)


def _draw(scene: Scene, source: Path) -> Pixels:
    """The labels ``(H, W)`` of an image."""
    label = np.zeros((scene.height, scene.width), np.uint8)
    crowds = np.zeros(label.shape, np.bool_)
    for outline in scene.outlines:
        inside = _mask(outline, scene, f"{source}: annotation {outline.id}")
        if outline.crowd:
            crowds |= inside
        else:
            label[inside & (label > 0) & (label != outline.label)] = IGNORE
            label[inside & (label == 0)] = outline.label
    label[crowds & (label == 0)] = IGNORE
    return label


def _mask(outline: Outline, scene: Scene, where: str) -> Mask:
    """Where an annotation is, ``(H, W)``."""
    if isinstance(outline.segmentation, dict):
        return _from_runs(outline.segmentation, scene, where)
    polygons = [_polygon(p, scene, where) for p in outline.segmentation]
    polygons = [p for p in polygons if len(p) >= 6 and len(p) % 2 == 0]
    if not polygons:
        return np.zeros((scene.height, scene.width), np.bool_)
    runs = coco_mask.frPyObjects(polygons, scene.height, scene.width)
    return np.asarray(coco_mask.decode(coco_mask.merge(runs)), np.bool_)


def _polygon(points: Any, scene: Scene, where: str) -> list[float]:
    # pycocotools does not look: it crashes on coordinates far away
    reach = 2 * max(scene.height, scene.width)
    numbers = isinstance(points, list) and all(isinstance(n, int | float) for n in points)
    if not numbers or not all(abs(n) <= reach for n in points):  # nan is not <= either
        raise UserError(f"{where}: a polygon is not of numbers in or near its image. {FETCH}")
    return points


def _from_runs(rle: dict[str, Any], scene: Scene, where: str) -> Mask:
    """The mask of run lengths. They go down the columns and begin with the outside.

    pycocotools is not asked: where lengths do not add up it returns memory as it finds it.
    """
    size = _get(rle, "size", list, where)
    if size != [scene.height, scene.width]:
        raise UserError(
            f"{where}: its mask is of size {size}, but its image is "
            f"[{scene.height}, {scene.width}] (height, width). {FETCH}"
        )
    counts = _get(rle, "counts", (list, str), where)
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    whole = all(isinstance(run, int) and run >= 0 for run in runs)
    if not whole or sum(runs) != scene.height * scene.width:
        raise UserError(f"{where}: its run lengths do not add up to its image's pixels. {FETCH}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(scene.width, scene.height).T


def _uncompressed(text: str) -> list[int]:
    """The run lengths that COCO writes as a string: 5 bits a character, the lowest first, a sixth
    bit says that more follow; from the fourth on, a run less the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:  # the sign
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
