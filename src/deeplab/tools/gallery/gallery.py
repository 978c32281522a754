"""Gallery of one evaluation, or of two: load, select images, render them, write the page."""

from pathlib import Path

from deeplab.config.schema.scripts import GalleryConfig
from deeplab.data.class_set import class_set
from deeplab.data.items import Item
from deeplab.data.layouts.base import data_layout, move_data, split_items
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.settings import SegmentationSettings
from deeplab.tools.gallery.evaluations import (
    LoadedEvaluation,
    align,
    find_evaluation,
    is_evaluation,
)
from deeplab.tools.gallery.images import (
    GalleryImage,
    ImageRenderer,
    remove_stale_images,
)
from deeplab.tools.gallery.page import MARKER, render_page
from deeplab.tools.gallery.selection import select
from deeplab.tracking.run_folder import read_config
from deeplab.utils.constants import PAGE_FILE, TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_write, check_writable
from deeplab.utils.links import check_links
from deeplab.utils.paths import short_path
from deeplab.utils.program import command
from deeplab.utils.write_errors import report_write_errors


def run_gallery(config: GalleryConfig) -> Path:
    """Write the page, print its path and return it.

    Raises:
        UserError: an evaluation, a prediction or an image is missing or damaged, or the two
            evaluations cannot be compared.
    """
    evaluations = _load_evaluations(config)
    if not config.output:
        check_links(evaluations[0].run.path)
    folder = _output_folder(evaluations, config.output)
    check_writable(folder, f"output={folder}")
    data = read_config(evaluations[0].run).data
    classes = class_set(data)
    if classes.names != evaluations[0].stored.class_names:
        raise UserError(
            f"{evaluations[0].stored.folder.path}: the classes of this evaluation are not those "
            "of the run's config. The evaluation belongs to another run."
        )
    selection = select(
        [evaluation.confusions for evaluation in evaluations],
        num_images=config.num_images,
        num_per_class=config.num_per_class,
        num_confused_pairs=config.num_confused_pairs,
    )
    images = _gallery_images(evaluations, selection.all_images, data, config.data.root)
    renderer = ImageRenderer(
        folder,
        classes,
        thumbnail_width=config.thumbnail_width,
        max_image_size=config.max_image_size,
        pixel_format=data.pixel_format,
    )
    target = folder / PAGE_FILE
    with report_write_errors(f"output={folder}"):
        if target.exists() and MARKER.encode() not in target.read_bytes():
            raise UserError(
                f"output={folder}: {target} exists and was not written by {command('gallery')}. "
                "Set output to another folder, or remove it."
            )
        sizes = renderer.render_all(images, config.enable_progress_bar)
        with atomic_write(target) as draft:
            draft.write_text(render_page(evaluations, classes, selection, sizes), encoding="utf-8")
        remove_stale_images(folder, images)  # only now: the earlier page showed them until here
    print(f"Gallery of {len(images)} images: {short_path(target)}")
    return target


def _load_evaluations(config: GalleryConfig) -> tuple[LoadedEvaluation, ...]:
    folders = [config.run, config.compare_with or config.run]
    if config.strategy and all(map(is_evaluation, folders)):
        raise UserError(
            f"strategy={config.strategy}: it chooses among the evaluations of a run, but "
            f"{config.run} is one evaluation. Leave it out."
        )
    first = find_evaluation(config.run, "run", config.strategy)
    if config.compare_with is None:
        return (first,)
    second = find_evaluation(config.compare_with, "compare_with", config.strategy, like=first)
    return first, align(first, second)


def _gallery_images(
    evaluations: tuple[LoadedEvaluation, ...],
    indices: list[int],
    data: SegmentationSettings,
    data_root: str | None,
) -> list[GalleryImage]:
    """Return the selected images with their masks and predictions."""
    split = evaluations[0].protocol.split
    if isinstance(data, OwnDataSettings):
        raise UserError(
            f"data.{TARGET}={data.target}: the gallery shows files of images, and a dataset of "
            "your own has none. Its scores are in the folder of the evaluation."
        )
    data = move_data(data, data_root or evaluations[0].stored.result.data_root)
    try:
        items = {item.id: item for item in split_items(data_layout(data), split)}
    except UserError as error:
        raise UserError(f"{evaluations[0].stored.folder.result}: {error}") from None
    return [
        GalleryImage(
            i,
            _item(items, evaluations[0], i, split, data.root),
            tuple(evaluation.prediction(i, data_root) for evaluation in evaluations),
            tuple(evaluation.confusions for evaluation in evaluations),
        )
        for i in indices
    ]


def _item(
    items: dict[str, Item], evaluation: LoadedEvaluation, index: int, split: str, data_root: str
) -> Item:
    image_id = evaluation.ids[index]
    if image_id not in items:
        raise UserError(
            f"data.root={data_root}: split {split!r} has no image {image_id}, which "
            f"{evaluation.stored.folder.result} names. Set data.root to the evaluated folder."
        )
    return items[image_id]


def _output_folder(evaluations: tuple[LoadedEvaluation, ...], output: str | None) -> Path:
    if output:
        return Path(output).expanduser()
    gallery = evaluations[0].stored.folder.gallery
    if len(evaluations) < 2:
        return gallery
    second = evaluations[1]
    return gallery.with_name(
        f"{gallery.name}-vs-{second.run.path.resolve().name}-{second.strategy}"
    )
