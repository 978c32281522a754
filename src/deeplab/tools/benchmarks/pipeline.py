"""Benchmark of the input pipeline against a stock one.

The stock pipeline decodes with Pillow and applies a chain of albumentations that ends in normalized
float tensors.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, Dataset

from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.dataset import SegmentationDataset
from deeplab.data.further_augmentations import import_albumentations
from deeplab.data.image_io import read_image, read_mask
from deeplab.data.items import Item
from deeplab.data.memory_cache import use_memory
from deeplab.data.settings import AugmentationSettings
from deeplab.data.transforms import TrainTransform
from deeplab.tools.benchmarks.timing import Comparison, compare
from deeplab.utils.constants import IGNORE

CROP, BATCH, IMAGES = 513, 16, 64
MEAN = (127, 127, 127)
SIZES = ((375, 500), (500, 375), (333, 500), (500, 333))
"""Common heights and widths of VOC's images."""


def compare_pipelines(*, repeats: int) -> list[Comparison]:
    """Print the time of each pipeline, their ratios, and the time per stage.

    Whole batches are loaded in one process. The images are drawn noise and shapes, with VOC's sizes
    and bytes per pixel.
    """
    import_albumentations("pipeline")  # fails before the images are drawn
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _compare(repeats=repeats)
    finally:
        torch.set_num_threads(threads)


def _compare(*, repeats: int) -> list[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        items = draw_images(Path(folder))
        dataset, cached = build_dataset(items), build_dataset(items)
        use_memory(cached, share=1.0, passes=2, num_workers=0, devices=1)
        _consume(load_batches(cached))  # the first pass, which decodes
        pipelines = {
            "Pillow, stock albumentations, Normalize": lambda: _consume(
                DataLoader(StockPipeline(items), batch_size=BATCH)
            ),
            "OpenCV, stock albumentations, uint8": lambda: _consume(
                DataLoader(StockPipeline(items, fast=True), batch_size=BATCH)
            ),
            "this project, from the files": lambda: _consume(load_batches(dataset)),
            "this project, after the first pass": lambda: _consume(load_batches(cached)),
        }
        print(
            f"{IMAGES} images of VOC's sizes, crop {CROP}, batches of {BATCH}, one process, one "
            "thread"
        )
        title = f"{IMAGES} crops of {CROP} from images of VOC's sizes"
        comparisons = compare(title, pipelines, repeats=repeats)
        print_stages(items, dataset)
    return comparisons


def draw_images(folder: Path) -> list[Item]:
    """Write JPEGs with about VOC's 0.6 bytes per pixel, and their masks."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(IMAGES):
        height, width = SIZES[number % len(SIZES)]
        coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += rng.integers(-18, 19, image.shape, dtype=np.int16)
        label = np.zeros((height, width), np.uint8)
        for _ in range(4):
            center = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(label, center, int(rng.integers(20, 90)), int(rng.integers(1, 21)), -1)
        edges = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((5, 5)))
        label[np.asarray(edges) > 0] = IGNORE
        item = Item(str(number), folder / f"{number}.jpg", folder / f"{number}.png")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(item.image, quality=90)
        write_mask(item.mask, label)
        items.append(item)
    return items


class StockPipeline(Dataset[tuple[Any, Any]]):
    """Stock pipeline; ``fast`` decodes with OpenCV and leaves out the normalization."""

    def __init__(self, items: list[Item], *, fast: bool = False) -> None:
        A = import_albumentations("pipeline")  # noqa: N806
        self.items, self.fast = items, fast
        steps = [
            A.RandomScale((-0.5, 1.0), p=1),
            A.PadIfNeeded(
                CROP, CROP, position="top_left", border_mode=cv2.BORDER_CONSTANT, fill=MEAN,
                fill_mask=IGNORE,
            ),
            A.RandomCrop(CROP, CROP),
            A.HorizontalFlip(p=0.5),
        ]  # fmt: skip
        normalize = [] if fast else [A.Normalize((0.5,) * 3, (0.5,) * 3)]
        self.compose = A.Compose([*steps, *normalize, A.ToTensorV2()])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        item = self.items[index]
        if self.fast:
            image = cv2.imread(str(item.image), cv2.IMREAD_COLOR_RGB)
        else:
            image = np.array(Image.open(item.image).convert("RGB"))
        result = self.compose(image=image, mask=np.array(Image.open(item.mask)))
        return result["image"], result["mask"]


def build_dataset(items: list[Item]) -> SegmentationDataset:
    """Build the data set as this project does."""
    transform = TrainTransform(AugmentationSettings(crop_size=CROP), fill=MEAN)
    names = tuple(f"class {i}" for i in range(21))
    return SegmentationDataset("train", items, classes=ClassSet(names), transform=transform)


def load_batches(dataset: SegmentationDataset) -> DataLoader[Any]:
    """Return a loader of the batches of an epoch."""
    draws = [[(i, i) for i in range(s, s + BATCH)] for s in range(0, len(dataset), BATCH)]
    return DataLoader(dataset, batch_sampler=draws, collate_fn=lambda batch: batch)


def print_stages(items: list[Item], dataset: SegmentationDataset) -> None:
    """Print the milliseconds per image of each stage of this project's pipeline."""
    masks = [read_mask(item.mask) for item in items]
    pairs = [dataset.read(item) for item in items]
    out = np.empty((CROP, CROP, 3), np.uint8), np.empty((CROP, CROP), np.uint8)
    generators = [np.random.default_rng(i) for i in range(len(items))]
    stages: dict[str, Callable[[], Any]] = {
        "decode the JPEG": lambda: [read_image(i.image) for i in items],
        "decode the mask": lambda: [read_mask(i.mask) for i in items],
        "values to labels": lambda: [dataset.classes.decode(m, Path()) for m in masks],
        "scale, pad, crop, flip": lambda: [
            dataset.transform(*p, g, out) for p, g in zip(pairs, generators, strict=True)
        ],
    }
    print("this project by stage, ms per image:")
    for name, work in stages.items():
        measurement = Timer("work()", globals={"work": work}).blocked_autorange(min_run_time=0.5)
        print(f"  {name:<24} {1e3 * measurement.median / len(items):6.2f}")


def _consume(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass
