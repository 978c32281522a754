"""The doctor on a configured data set: examine, print, write the report."""

import sys
from pathlib import Path

from deeplab.config.build_classification_data import check_classification_data, image_folder
from deeplab.config.build_data import check_data, class_set, data_layout
from deeplab.config.schema.scripts import PrepareClassificationConfig, PrepareConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.image_io import read_image
from deeplab.data.layouts.base import split_items
from deeplab.preparation.doctor import examine_dataset
from deeplab.preparation.doctor_report import as_json, as_markdown, as_text
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json, write_text
from deeplab.utils.parallel import cpu_count, parallel_map

SHOWN = 20
"""Bad files that the terminal shows."""


def run_check(config: PrepareConfig) -> None:
    """Examine the splits, print what is wrong and end with status 1 if there are errors."""
    data = check_data(config.data)
    layout = data_layout(data)
    splits = config.splits or tuple(dict.fromkeys((data.train_split, data.val_split)))
    diagnosis = examine_dataset(
        {split: split_items(layout, split) for split in splits},
        class_set(data),
        crop_size=data.crop_size,
        largest_scale=data.scales.max,
        num_workers=cpu_count() if config.num_workers == "auto" else config.num_workers,
        progress=config.enable_progress_bar,
    )
    name = "-".join([data.name, *splits]).replace("/", "_")
    target = Path(config.report_dir) / f"{name}.md"
    write_text(target, as_markdown(diagnosis, f"{data.name}: {layout.root}"))
    write_json(target.with_suffix(".json"), as_json(diagnosis))
    print(as_text(diagnosis))
    print(f"  report  {target}, {target.with_suffix('.json').name}")
    if diagnosis.of("error"):
        sys.exit(1)


def prepare_classification_data(config: PrepareClassificationConfig) -> None:
    """Say what there is for a classifier; with ``check`` decode every file, name those that cannot
    be, in the report too, and end with status 1 if there are any."""
    if config.source:
        raise UserError(
            f"source={config.source}: of data={config.data_choice} nothing is unpacked."
        )
    data = config.data
    check_classification_data(data)
    folder = image_folder(data)
    splits = config.splits or tuple(dict.fromkeys((data.train_split, data.val_split)))
    print(f"\n{config.data_choice} in {folder.root}: {len(folder.classes)} classes")
    found = {split: folder.pictures(split) for split in splits}
    for split, pictures in found.items():
        print(f"  {split:<12} {len(pictures):>9,} images")
    if not config.check:
        return
    num_workers = cpu_count() if config.num_workers == "auto" else config.num_workers
    paths = list(dict.fromkeys(p.path for pictures in found.values() for p in pictures))
    desc = "Decoding every file"
    problems = parallel_map(
        _problem, paths, num_workers=num_workers, desc=desc, progress=config.enable_progress_bar
    )
    bad = [problem for problem in problems if problem]
    target = Path(config.report_dir) / f"{'-'.join([data.name, *splits]).replace('/', '_')}.md"
    lines = [f"# {data.name}: {folder.root}", "", _verdict(len(paths), bad), ""]
    write_text(target, "\n".join([*lines, *(f"- {problem}" for problem in bad), ""]))
    print("\n".join(["", *bad[:SHOWN], *[f"and {len(bad) - SHOWN} more"] * (len(bad) > SHOWN)]))
    print(f"{lines[2]}\n  report  {target}")
    if bad:
        sys.exit(1)


def _problem(path: Path) -> str:
    """What is wrong with a picture; empty if nothing is."""
    try:
        read_image(path)
    except BadFileError as error:
        return str(error)
    return ""


def _verdict(images: int, bad: list[str]) -> str:
    return f"{images} images: {len(bad)} errors." if bad else f"{images} images: nothing wrong."
