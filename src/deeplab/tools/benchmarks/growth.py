"""Benchmark of growth: what commands take as images, photos and sweeps become larger.

Images and networks are tiny, so that what the project itself does for each image shows.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np

from deeplab.utils.errors import UserError
from deeplab.utils.program import child_command, pythonpath
from deeplab.utils.text_table import Column, TextTable, number_column

NUM_FILES = 64
"""Different images, to which all names of images are hard links."""

SIDE, BLOCK, CLASSES = 64, 8, 150
"""Side of an image and of its blocks of one class in pixels, and number of classes."""

SHARD = 10_000
"""Images in a shard."""

SEEDS = 10
"""Seeds of each variant of a sweep, which are two decoders with each learning rate."""

TINY = (
    "backbone=resnet_tiny", "data.crop_size=33", "data.eval_batch_size=16", "stage.batch_size=2",
    "stage.max_steps=1", "trainer.limit_val_batches=1", "trainer.num_threads=1",
    "trainer.num_workers=0", "trainer.accelerator=cpu", "logger=csv",
)  # fmt: skip
SEGMENTATION = (
    *TINY, "stage=shapes", "data=folder", "aspp=tiny", "decoder=tiny", "data.eval_size=65",
)  # fmt: skip
CLASSIFICATION = (*TINY, "stage=shape_classes")


MEASURE = """
import os, subprocess, sys

_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
code = os.waitstatus_to_exitcode(status)
if not code:
    print(f"\\n{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
sys.exit(code)
"""
"""Program that runs a command and prints its processor time and its peak memory.

Linux counts the memory of a process that starts another one as that one's peak too: this program is
small."""


class Usage(NamedTuple):
    """What a command and the processes that it starts have taken."""

    seconds: float
    """Processor time."""
    peak_bytes: int
    """Most memory of one process."""


class Case(NamedTuple):
    """Something that grows."""

    title: str
    unit: str
    sizes: tuple[int, ...]
    """The first one is what the others are compared with."""
    measure: Callable[[Path, int], Mapping[str, Usage]]
    """Measures commands by name, at one size, with their files in a folder."""
    package: str = "numpy"
    """What must be installed."""


def print_growth(*, repeats: int) -> None:
    """Print what commands take, and how much of it each image, megapixel or training adds.

    Args:
        repeats: number of measurements, of which the least counts.
    """
    for case in CASES:
        if not find_spec(case.package):
            print(f"{case.title}: left out, because {case.package} is not installed\n")
            continue
        print(f"{case.title}:", flush=True)
        with TemporaryDirectory() as folder:
            measured = [
                (size, [case.measure(Path(folder, f"{size}-{n}"), size) for n in range(repeats)])
                for size in case.sizes
            ]
        columns = [
            Column("command", identifies_row=True),
            number_column(f"{case.unit}s", ",.0f"),
            number_column("seconds", ".1f"),
            number_column("GB", ".2f", unit=1e9),
            number_column(f"microseconds per {case.unit}", ",.3g", unit=1e-6),
            number_column(f"bytes per {case.unit}", ",.0f"),
        ]
        rows: list[tuple[object, ...]] = []
        for name in measured[0][1][0]:
            least = [(size, _least([u[name] for u in usages])) for size, usages in measured]
            first_size, first = least[0]
            rows.append((name, first_size, *first, None, None))
            rows += [
                (
                    name, size, *usage, (usage.seconds - first.seconds) / (size - first_size),
                    (usage.peak_bytes - first.peak_bytes) / (size - first_size),
                )
                for size, usage in least[1:]
            ]  # fmt: skip
        print(f"{TextTable.from_values(columns, rows).as_text()}\n", flush=True)


def _least(usages: list[Usage]) -> Usage:
    return Usage(min(u.seconds for u in usages), min(u.peak_bytes for u in usages))


def run_measured(folder: Path, *arguments: str) -> Usage:
    """Run a command in a folder, with a cache of its own there.

    Raises:
        UserError: it has failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": pythonpath()}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *child_command(*arguments)],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        problem = lines[-1] if lines else f"status {done.returncode}"
        raise UserError(f"{' '.join(arguments)[:200]}: it has failed ({problem}).")
    seconds, peak = lines[-1].split()
    return Usage(float(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024))


def _pairs(folder: Path, count: int) -> Mapping[str, Usage]:
    """Start trainings on pairs of a folder."""
    arguments = _segmentation(folder, count)
    return {
        "deeplab train": run_measured(folder, *arguments),
        "deeplab train, from the index": run_measured(folder, *arguments, "seed=1"),
    }


def _segmentation(folder: Path, count: int) -> list[str]:
    """Write pairs of images and masks; return the command that trains on them."""
    rng = np.random.default_rng(0)
    for part, end in (("images", "jpg"), ("masks", "png")):
        (folder / "data" / part).mkdir(parents=True)
        for index in range(min(count, NUM_FILES)):
            blocks = rng.integers(0, CLASSES, (SIDE // BLOCK,) * 2, dtype=np.uint8)
            values = np.kron(blocks, np.ones((BLOCK, BLOCK), np.uint8))
            cv2.imwrite(str(folder / "data" / part / f"{index:08}.{end}"), values)
        _link(folder / "data" / part, end, count)
    names = "\n".join(f"class_{index}" for index in range(CLASSES))
    (folder / "data/classes.txt").write_text(f"{names}\n")
    return ["train", *SEGMENTATION, f"data.root={folder / 'data'}"]


def _link(folder: Path, end: str, count: int) -> None:
    for index in range(NUM_FILES, count):
        os.link(folder / f"{index % NUM_FILES:08}.{end}", folder / f"{index:08}.{end}")


def _evaluation(folder: Path, count: int) -> Mapping[str, Usage]:
    """Evaluate a network on images, and make the gallery of the evaluation."""
    run_measured(folder, *_segmentation(folder, count), "data.val_fraction=0.5")
    (run,) = (folder / "runs").glob("folder-*")
    device = ("trainer.accelerator=cpu", "trainer.num_threads=1")
    return {
        "deeplab evaluate": run_measured(folder, "evaluate", f"run={run}", *device),
        "deeplab gallery": run_measured(folder, "gallery", f"run={run}"),
    }


def _labels(folder: Path, count: int, *, parquet: bool = False) -> Mapping[str, Usage]:
    """Start trainings on a list of labeled images."""
    data = folder / "data"
    data.mkdir(parents=True)
    for index, image in enumerate(_images()):
        (data / f"{index:08}.jpg").write_bytes(image)
    _link(data, "jpg", count)
    (data / "classes.txt").write_text("".join(f"class_{index}\n" for index in range(CLASSES)))
    for split, lines in (("train", count), ("val", NUM_FILES)):
        indices = np.arange(lines)
        paths = [f"{index:08}.jpg" for index in indices]
        labels = [f"class_{index}" for index in indices % CLASSES]
        if parquet:
            import pyarrow
            import pyarrow.parquet

            table = pyarrow.table({"path": paths, "labels": labels})
            pyarrow.parquet.write_table(table, data / f"{split}.parquet")
        else:
            rows = "".join(f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
            (data / f"{split}.csv").write_text(f"path,labels\n{rows}")
    keys = ("data=imagenet", "data.labels=single_label", f"data.root={data}")
    return {"deeplab train": run_measured(folder, "train", *CLASSIFICATION, *keys)}


def _parquet(folder: Path, count: int) -> Mapping[str, Usage]:
    return _labels(folder, count, parquet=True)


def _shards(folder: Path, count: int) -> Mapping[str, Usage]:
    """Start trainings on labeled images in tar files."""
    data, images = folder / "data", [*_images()]
    data.mkdir(parents=True)
    for split, number in (("train", count), ("val", NUM_FILES)):
        for shard, start in enumerate(range(0, number, SHARD)):
            with tarfile.open(data / f"{split}-{shard:05}.tar", "w") as archive:
                for index in range(start, min(start + SHARD, number)):
                    label = str(index % CLASSES).encode()
                    for end, content in (("jpg", images[index % NUM_FILES]), ("cls", label)):
                        member = tarfile.TarInfo(f"{index:08}.{end}")
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
    arguments = ("train", *CLASSIFICATION, "data=webdataset", f"data.root={data}")
    return {
        "deeplab train": run_measured(folder, *arguments),
        "deeplab train, from the index": run_measured(folder, *arguments, "seed=1"),
    }


def _images() -> Iterator[bytes]:
    """Yield different images as the content of JPEG files."""
    rng = np.random.default_rng(0)
    for _ in range(NUM_FILES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        yield cv2.imencode(".jpg", pixels)[1].tobytes()


def _photo(folder: Path, megapixels: int) -> Mapping[str, Usage]:
    """Predict a large photo."""
    run_measured(folder, *_segmentation(folder, 100))
    (run,) = (folder / "runs").glob("folder-*")
    side = round((megapixels * 1e6) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "photo.jpg"), cv2.resize(pixels, (side, side)))
    arguments = ("predict", f"run={run}", "input=photo.jpg", "trainer.accelerator=cpu")
    return {
        "whole": run_measured(folder, *arguments, "window_size=null"),
        "in windows of 513": run_measured(folder, *arguments, "window_size=513"),
    }


def _sweep(folder: Path, trainings: int) -> Mapping[str, Usage]:
    """Plan a sweep over learning rates and seeds."""
    rates = ",".join(f"{1 + number / 1000:.3f}" for number in range(trainings // (2 * SEEDS)))
    seeds = ",".join(map(str, range(SEEDS)))
    plan = ("ablations", "plan", "decoder=full,naive", f"stage.lr={rates}", f"seed={seeds}")
    return {"deeplab ablations plan": run_measured(folder, *plan)}


CASES = (
    Case("Pairs of a folder", "pair", (100, 10_000, 100_000), _pairs),
    Case("Labels in CSV files", "line", (100, 1_000_000), _labels),
    Case("Labels in Parquet files", "line", (100, 1_000_000), _parquet, "pyarrow"),
    Case("Labeled images in shards", "image", (100, 100_000), _shards),
    Case("Images of an evaluation with 150 classes", "image", (200, 2_000), _evaluation),
    Case("Large photos, deeplab predict", "megapixel", (1, 4, 16), _photo),
    Case("Trainings of a sweep", "training", (20, 100, 500), _sweep),
)
