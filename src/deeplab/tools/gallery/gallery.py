"""A gallery from an evaluation, or from two: read, select, paint, write the page."""

from pathlib import Path

from deeplab.config.build_data import class_set, data_layout
from deeplab.config.schema.data import DataConfig
from deeplab.config.schema.scripts import GalleryConfig
from deeplab.data.layouts.base import Item, split_items
from deeplab.tools.gallery.evaluations import Arm, aligned, find_arm
from deeplab.tools.gallery.images import FOLDER as CLASSIFICATION_DATA
from deeplab.tools.gallery.images import Painter, Scene, remove_others
from deeplab.tools.gallery.page import page
from deeplab.tools.gallery.selection import select
from deeplab.tracking.run_folder import read_config
from deeplab.utils.errors import UserError, report_write_errors
from deeplab.utils.files import atomic_write


def run_gallery(config: GalleryConfig) -> Path:
    """Make the page, print where it is and return its path.

    Raises:
        UserError: an evaluation, a prediction or an image is missing or damaged, or the two
            evaluations cannot be compared.
    """
    arms = _arms(config)
    data = read_config(arms[0].run).data
    classes = class_set(data)
    if classes.names != arms[0].evaluation.class_names:
        raise UserError(
            f"{arms[0].evaluation.folder.path}: its classes are not those of the run's config; it "
            "is of another run."
        )
    selection = select(
        [arm.confusion for arm in arms],
        images=config.num_images,
        per_class=config.num_per_class,
        pairs=config.num_confused_pairs,
    )
    scenes = _scenes(arms, selection.shown, data, config.data.root)
    folder = _output(arms, config.output)
    painter = Painter(
        folder, classes, thumbnail=config.thumbnail_width, large=config.max_image_size
    )
    target = folder / "index.html"
    if target.exists() and not (folder / CLASSIFICATION_DATA).is_dir():
        raise UserError(
            f"output={folder}: {target} is there, and gallery.py has not made it. Name another "
            "folder."
        )
    with report_write_errors(f"output={folder}"):
        sizes = painter.paint_all(scenes, config.enable_progress_bar)
        with atomic_write(target) as draft:
            draft.write_text(page(arms, classes, selection, sizes), encoding="utf-8")
        remove_others(folder, scenes)  # only now, since an earlier page has shown them until here
    print(f"Gallery of {len(scenes)} images: {target}")
    return target


def _arms(config: GalleryConfig) -> tuple[Arm, ...]:
    ours = find_arm(config.run, "run", config.strategy)
    if config.compare_with is None:
        return (ours,)
    return ours, aligned(ours, find_arm(config.compare_with, "against", config.strategy, like=ours))


def _scenes(
    arms: tuple[Arm, ...], numbers: list[int], data: DataConfig, root: str | None
) -> list[Scene]:
    """The images that are shown, with their masks and predictions."""
    split = str(arms[0].protocol["split"])
    placed = data.model_copy(update={"root": root or data.root})
    items = {item.id: item for item in split_items(data_layout(placed), split)}
    return [
        Scene(
            i,
            _item(items, arms[0], i, split, placed.root),
            tuple(arm.prediction(i, root) for arm in arms),
            tuple(arm.confusion[i] for arm in arms),
        )
        for i in numbers
    ]


def _item(items: dict[str, Item], arm: Arm, number: int, split: str, root: str) -> Item:
    image_id = arm.ids[number]
    if image_id not in items:
        raise UserError(
            f"data.root={root}: there is no {image_id} in split {split!r}, but "
            f"{arm.evaluation.name} has it. Name the folder that was evaluated."
        )
    return items[image_id]


def _output(arms: tuple[Arm, ...], named: str | None) -> Path:
    """The folder of the page."""
    if named:
        return Path(named).expanduser()
    name = "gallery"
    if len(arms) == 2:
        name = f"gallery-against-{arms[1].run.path.resolve().name}-{arms[1].strategy}"
    return arms[0].evaluation.folder.path / name
