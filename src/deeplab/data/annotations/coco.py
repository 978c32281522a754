"""COCO: one JSON file for many images, as most labeling tools and Roboflow write it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from deeplab.data.annotations.base import (
    AnnotatedRegions,
    AnnotationSet,
    ImageFinder,
    Record,
    damaged,
    json_files,
    read_json,
)
from deeplab.data.annotations.bitmaps import decode_runs, uncompress_coco_runs
from deeplab.data.annotations.regions import Bitmap, Outlines, Patch, Region
from deeplab.data.layouts.base import is_image
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.errors import UserError


class Runs(Record):
    """Run lengths of a mask, down its columns."""

    size: tuple[int, int]
    counts: list[int] | str


class Instance(Record):
    """Annotation of an object, or of a group of them."""

    image_id: int | str
    category_id: int
    segmentation: Runs | list[list[float]] | None = None
    iscrowd: int = 0


class Image(Record):
    """Image of a file."""

    id: int | str
    file_name: str
    height: int | None = None
    width: int | None = None


class Category(Record):
    """Class of a file."""

    id: int
    name: str


class Instances(Record):
    """Content of a file."""

    images: list[Image]
    annotations: list[Instance]
    categories: list[Category]


class Coco(AnnotationSet):
    """Annotations in COCO's form.

    Raises:
        UserError: two files annotate one image or give one number to two classes, or there are
            boxes alone.
    """

    form = "coco"
    tool = "COCO"
    overlap_is_ignored = True

    def __init__(self, root: Path, paths: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(root, paths, files)
        finder = ImageFinder(filter(is_image, paths))
        self._regions: dict[str, tuple[Image, list[Instance]]] = {}
        self._categories: dict[str, dict[int, str]] = {}
        categories: dict[int, str] = {}
        missing, boxes = [], 0
        for path in files:
            content = read_json(root / path, Instances)
            names = {category.id: category.name for category in content.categories}
            if clash := [i for i, n in names.items() if categories.get(i, n) != n]:
                raise UserError(
                    f"{root / path}: category {clash[0]} is {names[clash[0]]!r} here and "
                    f"{categories[clash[0]]!r} in another file. Use one numbering, or remove one "
                    "of the files."
                )
            categories |= names
            self._categories[path] = names
            by_image: dict[int | str, list[Instance]] = defaultdict(list)
            for instance in content.annotations:
                if instance.segmentation:
                    by_image[instance.image_id].append(instance)
                else:
                    boxes += 1
            for image in content.images:
                found = finder.find(image.file_name, path)
                if found is None:
                    missing.append(image.file_name)
                    continue
                if found in self.images:
                    raise UserError(
                        f"{root / path}: {found} is annotated in {self.images[found]} too. Move "
                        "the file that is not to be used elsewhere."
                    )
                self.images[found] = path
                self._regions[found] = image, by_image[image.id]
        if boxes and not any(instances for _, instances in self._regions.values()):
            raise UserError(
                f"{root / files[0]}: its {boxes} annotations have boxes but no outlines "
                "(segmentation). Export the data set for segmentation."
            )
        used = {
            self._categories[self.images[name]].get(instance.category_id)
            for name, (_, instances) in self._regions.items()
            for instance in instances
        }
        # Roboflow writes the name of the project as a category 0 that nothing has
        if len(categories) > 1 and categories.get(0, BACKGROUND) not in {*used, BACKGROUND}:
            self.notes.append(f"category 0, {categories.pop(0)}, has no region and is no class")
        names_in_order = (name for _, name in sorted(categories.items()))
        self.names = [name for name in dict.fromkeys(names_in_order) if name != BACKGROUND]
        self.note_missing(missing)
        if boxes:
            self.notes.append(f"{boxes} annotations have a box but no outline and are not used")

    @classmethod
    def find(cls, root: Path, paths: Sequence[str]) -> list[str]:
        return json_files(root, paths, "{", "images", "annotations", "categories")

    def regions(self, image: str) -> AnnotatedRegions:
        path, (record, instances) = self.root / self.images[image], self._regions[image]
        names = self._categories[self.images[image]]
        size = (record.height, record.width) if record.height and record.width else None
        regions = []
        with damaged(path):
            for instance in instances:
                if instance.category_id not in names:
                    raise ValueError(f"category {instance.category_id} is not among its categories")
                if isinstance(instance.segmentation, Runs):
                    masked = instance.segmentation.size
                    size = size or masked
                    if masked != size:
                        raise ValueError(
                            f"{image}: run lengths are for {masked[1]} x {masked[0]} pixels, not "
                            f"for {size[1]} x {size[0]} (width x height)"
                        )
                name, crowd = names[instance.category_id], bool(instance.iscrowd)
                regions += [Region(name, shape, crowd) for shape in _shapes(instance)]
        return AnnotatedRegions(regions, size)


def _shapes(instance: Instance) -> list[Outlines | Bitmap]:
    segmentation = instance.segmentation
    if isinstance(segmentation, Runs):
        counts = segmentation.counts
        runs = uncompress_coco_runs(counts) if isinstance(counts, str) else counts
        return [Bitmap(Patch(decode_runs(runs, *segmentation.size, by_column=True)))]
    shapes: list[Outlines | Bitmap] = []
    for numbers in segmentation or []:
        if len(numbers) >= 6 and len(numbers) % 2 == 0:  # others enclose nothing
            shapes.append(Outlines([list(zip(numbers[::2], numbers[1::2], strict=True))]))
    return shapes
