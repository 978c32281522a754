"""The doctor on a configured data set: examine, print, write the report."""

import sys
from pathlib import Path

from deeplab.config import PrepareConfig
from deeplab.cores import cores
from deeplab.data.layout import split_items
from deeplab.datasets import check_data, class_set, data_layout
from deeplab.files import write_json, write_text
from deeplab.preparation.doctor import diagnose
from deeplab.preparation.report import as_json, as_markdown, as_text


def run_check(config: PrepareConfig) -> None:
    """Examine the splits, print what is wrong and end with status 1 if there are errors."""
    data = check_data(config.data)
    layout = data_layout(data)
    splits = config.splits or tuple(dict.fromkeys((data.train_split, data.val_split)))
    diagnosis = diagnose(
        {split: split_items(layout, split) for split in splits},
        class_set(data),
        crop_size=data.crop_size,
        largest_scale=data.scales.max,
        workers=cores() if config.workers == "auto" else config.workers,
        progress=config.progress,
    )
    name = "-".join([data.name, *splits]).replace("/", "_")
    target = Path(config.report) / f"{name}.md"
    write_text(target, as_markdown(diagnosis, f"{data.name}: {layout.root}"))
    write_json(target.with_suffix(".json"), as_json(diagnosis))
    print(as_text(diagnosis))
    print(f"  report  {target}, {target.with_suffix('.json').name}")
    if diagnosis.of("error"):
        sys.exit(1)
