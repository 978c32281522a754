"""The doctor on a configured data set: examines the files, prints and writes the report."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeplab.config.schema.scripts import PrepareClassificationConfig, PrepareConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import class_set
from deeplab.data.image_io import read_image
from deeplab.data.items import Item
from deeplab.data.layouts.base import (
    LabeledLayout,
    Layout,
    check_data,
    check_drawn_split,
    data_layout,
    describe_splits,
    exclusive_splits,
    open_layout,
    split_items,
    split_origin,
)
from deeplab.data.pixel_format import PixelFormat
from deeplab.data.settings import SyntheticSettings
from deeplab.data.split_error import split_problem
from deeplab.preparation.doctor import Finding, examine_dataset
from deeplab.preparation.doctor_report import as_json, as_markdown, as_text
from deeplab.preparation.summary import split_line
from deeplab.utils.errors import UserError
from deeplab.utils.files import check_writable, write_json, write_text
from deeplab.utils.parallel import parallel_map
from deeplab.utils.text import name_some, pluralize

MAX_ERRORS_SHOWN = 20
"""Number of bad files that the terminal shows."""

WRONG_LIST_REMEDY = "Until then the split cannot be used."
"""What the report says after the wrong lists, each of which says what to do."""


def run_check(config: PrepareConfig) -> None:
    """Examine the splits, print and write the report; exit with status 1 if there are errors."""
    check_no_source(config)
    check_writable(Path(config.report_dir), f"report_dir={config.report_dir}")
    data = check_data(config.data)
    layout = data_layout(data)
    splits, unreadable = _splits_to_check(config, layout)
    print("\n".join(describe_splits(layout, *splits)))
    report = examine_dataset(
        splits,
        class_set(data),
        exclusive=None
        if config.splits
        else exclusive_splits(layout, data.train_split, data.val_split),
        crop_size=None if "data.crop_size" in config.automatic else data.crop_size,
        largest_scale=data.scales.max,
        num_workers=config.num_processes,
        progress=config.enable_progress_bar,
        pixel_format=data.pixel_format,
    )
    report.findings[:0] = unreadable
    target = _report_path(config)
    write_text(target, as_markdown(report, f"{data.name}: {layout.root}"))
    write_json(target.with_suffix(".json"), as_json(report))
    print(as_text(report))
    print(f"  report  {target}, {target.with_suffix('.json').name}")
    if report.with_severity("error"):
        sys.exit(1)


def prepare_classification_data(config: PrepareClassificationConfig) -> None:
    """Print the content of a classification data set; with ``check`` also decode every file.

    Files that cannot be decoded are listed in the terminal and in the report, and the exit status
    is 1 if there are any.
    """
    check_no_source(config)
    if config.check:
        check_writable(Path(config.report_dir), f"report_dir={config.report_dir}")
    data = config.data
    if isinstance(data, SyntheticSettings):
        for split in config.splits or ():
            check_drawn_split(split, data.name)
    check_data(data)
    folder = open_layout(data)
    assert isinstance(folder, LabeledLayout)
    print(f"\n{config.data_choice} in {folder.root}: {len(folder.classes)} classes")
    others = folder.splits() if config.check and not config.splits else []
    splits = dict.fromkeys((*_splits(config), *others))
    images_by_split = {split: folder.images(split) for split in splits}
    for split, images in images_by_split.items():
        print(split_line(split, len(images), split_origin(folder, split)))
    print("".join(f"  {note}\n" for note in folder.notes()), end="")
    if not config.check:
        return
    paths = list(dict.fromkeys(i.path for images in images_by_split.values() for i in images))
    desc = "Decoding every file"
    problems = parallel_map(
        partial(_problem, pixel_format=data.pixel_format),
        paths,
        num_workers=config.num_processes,
        desc=desc,
        progress=config.enable_progress_bar,
    )
    errors = [problem for problem in problems if problem]
    target = _report_path(config)
    lines = [f"# {data.name}: {folder.root}", "", _summary_line(len(paths), errors), ""]
    write_text(target, "\n".join([*lines, *(f"- {error}" for error in errors), ""]))
    print("", name_some(errors, MAX_ERRORS_SHOWN, separator="\n"), sep="\n")
    print(f"{lines[2]}\n  report  {target}")
    if errors:
        sys.exit(1)


def _splits_to_check(
    config: PrepareConfig, layout: Layout
) -> tuple[dict[str, Sequence[Item]], list[Finding]]:
    """Return the configured splits and, if none are named, the others that have more images.

    The findings are the errors of splits whose lists are wrong.
    """
    splits = {split: split_items(layout, split) for split in _splits(config)}
    findings: list[Finding] = []
    if config.splits:
        return splits, findings
    examined = {item for items in splits.values() for item in items}
    for split in [name for name in layout.splits() if name not in splits and name != "all"]:
        try:
            items = layout.items(split)
        except UserError as error:
            problem = split_problem(error, split)
            findings.append(Finding("error", "wrong list", split, problem, WRONG_LIST_REMEDY))
            continue
        if not examined.issuperset(items) or split == "test":
            splits[split] = items
            examined.update(items)
    return splits, findings


def check_no_source(config: PrepareConfig | PrepareClassificationConfig) -> None:
    """Raise UserError if a source is set although nothing is unpacked."""
    if config.source:
        reason = "the doctor examines data.root" if config.check else "the images are used in place"
        raise UserError(
            f"source={config.source}: has no effect with data={config.data_choice}, {reason}. "
            "Leave it out, or set data.root to the folder of the images."
        )


def _splits(config: PrepareConfig | PrepareClassificationConfig) -> tuple[str, ...]:
    """Return the splits that are asked for, by default those of training and validation."""
    return config.splits or tuple(dict.fromkeys((config.data.train_split, config.data.val_split)))


def _report_path(config: PrepareConfig | PrepareClassificationConfig) -> Path:
    root = Path(config.data.root).expanduser().absolute().name
    words = (config.data.name, *[root] * (config.data.name == "folder"), *_splits(config))
    name = "-".join(words).replace("/", "_")
    return Path(config.report_dir).expanduser() / f"{name}.md"


def _problem(path: Path, pixel_format: PixelFormat) -> str:
    """Return the error of an image; empty if it can be decoded."""
    try:
        read_image(path, pixel_format)
    except BadFileError as error:
        return str(error)
    return ""


def _summary_line(images: int, errors: list[str]) -> str:
    result = pluralize(len(errors), "error") if errors else "nothing wrong"
    return f"{pluralize(images, 'image')}: {result}."
