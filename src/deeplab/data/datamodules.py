"""LightningDataModules for data sets of any layout."""

import math
import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import cv2
from lightning import LightningDataModule, Trainer
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from deeplab.data.bad_files import BadFileError, OnError
from deeplab.data.class_set import class_set
from deeplab.data.classification.dataset import ClassificationDataset
from deeplab.data.classification.transforms import CentralCrop, RandomResizedCrop
from deeplab.data.dataset import Batch, ImageDataset, SegmentationDataset
from deeplab.data.items import Item
from deeplab.data.layouts.base import DataLayout, LabeledLayout, Layout, split_items
from deeplab.data.layouts.own import OwnLayout
from deeplab.data.loader import build_loader
from deeplab.data.mixing import Mixing
from deeplab.data.own_dataset import OwnDataset
from deeplab.data.rare_classes import ClassSampler
from deeplab.data.samplers import EvalSampler, TrainSampler, image_order
from deeplab.data.settings import ClassificationSettings, DataSettings, SegmentationSettings
from deeplab.data.transforms import EvalTransform, TrainTransform
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import is_first_process

D = TypeVar("D", bound=ImageDataset[Any, Any])


class StreamData(LightningDataModule, Generic[D]):
    """Base LightningDataModule: one stream of training steps, and the validation images.

    Args:
        settings: keys of ``data``.
        layout: finds the images.
        steps: training steps in an epoch of the trainer, of which a run of this project has one;
            None: one pass over the images.
        batch_size: training images per step, over all processes.
        seed: seed of order and augmentation.
        num_workers: number of DataLoader workers.
    """

    def __init__(
        self,
        settings: DataSettings,
        layout: DataLayout,
        *,
        steps: int | None,
        batch_size: int,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__()
        cv2.setNumThreads(0)  # images are read in parallel, each by one thread
        self.layout = layout
        self.train_size = settings.crop_size
        self.eval_size = (settings.crop_size, settings.crop_size)
        self.train_split, self.val_split = settings.train_split, settings.val_split
        self.eval_batch_size, self.on_error = settings.eval_batch_size, settings.on_error
        self.pixel_format = settings.pixel_format
        self.steps, self.batch_size = steps, batch_size
        self.seed, self.num_workers = seed, num_workers
        self.overfit_batches: float = 0
        self.limit_val_batches: float | None = None
        self.skipped: Counter[str] = Counter()
        """Number of times that each bad file was skipped in this process."""

    @abstractmethod
    def open_split(self, split: str, *, training: bool, on_error: OnError) -> D:
        """Return the images of a split, which gives whole batches.

        Args:
            split: name of the split.
            training: True to augment the images.
            on_error: reaction to a bad file.
        """

    def restrict(self, overfit_batches: float, limit_val_batches: float | None) -> None:
        """Use a part of the images only; must be called before they are listed.

        Args:
            overfit_batches: train on the images of so many batches (an integer) or on a fraction of
                all (below 1), and validate on the same ones; 0: on all images.
            limit_val_batches: validate on so many batches or a fraction of all, evenly spaced over
                the split, whatever the number of devices; None: on all images.
        """
        self.overfit_batches, self.limit_val_batches = overfit_batches, limit_val_batches
        if overfit_batches:
            self.val_split = self.train_split

    @cached_property
    def train_set(self) -> D:
        """The training images, listed on first use because evaluation needs none of them."""
        on_error: OnError = "stop" if self.on_error == "stop" else "next"
        images = self.open_split(self.train_split, training=True, on_error=on_error)
        if self.overfit_batches:
            order = image_order(len(images), self.seed, epoch=0)
            count = _count_images(self.overfit_batches, len(images), self.batch_size)
            images.items = [images.items[i] for i in sorted(order[:count])]
        return images

    @cached_property
    def val_set(self) -> D:
        """The validation images."""
        on_error: OnError = "stop" if self.on_error == "stop" else "blank"
        images = self.open_split(self.val_split, training=False, on_error=on_error)
        if self.overfit_batches:
            images.items = self.train_set.items
        if self.limit_val_batches is not None:
            total = len(images)
            count = _count_images(self.limit_val_batches, total, self.eval_batch_size)
            images.items = [images.items[i * total // count] for i in range(count)]
        return images

    @property
    def epoch_steps(self) -> float:
        """Number of training steps in one pass over the training images."""
        return len(self.train_set) / self.batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches from the current step of a training to its last one.

        Outside of a training they are those of the first pass.
        """
        trainer = self.trainer
        sampler = TrainSampler(
            len(self.train_set),
            steps=self.steps or max(1, int(self.epoch_steps)),
            batch_size=self.batch_size,
            seed=self.seed,
            first_step=_first_batch(trainer) if trainer and trainer.training else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return self._loader(_Batches(self.train_set), sampler=sampler, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return this process's part of the validation images."""
        trainer = self.trainer
        rank = trainer.global_rank if trainer else 0
        if rank >= len(self.val_set):  # Lightning needs a batch on every device
            batch = self.val_set.__getitems__([0])
            batch["label"].fill_(self.val_set.no_label)
            return DataLoader([{**batch, "skipped": [()]}], batch_size=None)  # type: ignore[arg-type]
        sampler = EvalSampler(
            len(self.val_set), rank=rank, world_size=trainer.world_size if trainer else 1
        )
        return self._loader(self.val_set, sampler=sampler, batch_size=self.eval_batch_size)

    def eval_dataloader(self, batches: Sequence[Sequence[int]]) -> DataLoader[Any]:
        """Return these batches of validation images, each a list of indices."""
        return self._loader(_Batches(self.val_set), sampler=batches, batch_size=None)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the images of validation, for ``Trainer.test``, and say so."""
        if is_first_process():
            print(
                f"Testing on the validation images, data.val_split={self.val_split}.",
                file=sys.stderr,
            )
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the images of validation, for ``Trainer.predict``."""
        return self.val_dataloader()

    def _loader(self, dataset: Dataset[Any], **kwargs: Any) -> DataLoader[Any]:
        # the batches of training and validation in all processes, whose images have a byte a
        # channel and a label
        processes = self.trainer.world_size if self.trainer else 1
        pixels = self.batch_size * self.train_size**2
        pixels += processes * self.eval_batch_size * math.prod(self.eval_size)
        loader: DataLoader[Any] = build_loader(
            dataset,
            num_workers=self.num_workers,
            batch_bytes=(self.pixel_format.channels + 1) * pixels,
            **kwargs,
        )
        return loader

    def count_skipped(self) -> dict[str, int]:
        """Return how often all processes have skipped each bad file; called in every process."""
        counts = [self.skipped]
        if distributed.is_available() and distributed.is_initialized():
            counts = [Counter() for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(counts, self.skipped)
        return dict(sum(counts, Counter()))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the data: the counts of skipped files."""
        return {"skipped": self.count_skipped()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what a checkpoint holds; the first process goes on counting for all."""
        if not self.trainer or self.trainer.is_global_zero:
            self.skipped = Counter(state_dict["skipped"])

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Count the files that DataLoader workers have skipped."""
        for files in batch["skipped"]:
            self.skipped.update(files)
        return batch


def _count_images(batches: float, total: int, batch_size: int) -> int:
    """Return the number of images in a number of batches, or in a fraction of all images."""
    wanted = batches * batch_size if isinstance(batches, int) else math.ceil(batches * total)
    return min(total, wanted)


class _Batches(Dataset[Batch]):
    """Data set whose items are batches, so that the sampler of the loader is our own.

    (Lightning refuses a batch sampler on several devices.)
    """

    def __init__(self, images: ImageDataset[Any, Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, items: Sequence[Any]) -> Batch:
        return self.images.__getitems__(items)


def _first_batch(trainer: Trainer) -> int:
    """Return the number of batches that a trainer has done when it makes its loader."""
    if trainer.accumulate_grad_batches == 1:
        return trainer.global_step
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


class SegmentationData(StreamData[SegmentationDataset]):
    """LightningDataModule of uint8 images and label maps.

    Training gets crops, validation whole images.

    Args:
        settings: keys of ``data``.
        layout: finds the images and masks.
        fill: value of each channel of padding.
        val_labeled: False if the validation images have no masks, as in a test set.
        options: see ``StreamData``.
    """

    layout: Layout

    def __init__(
        self,
        settings: SegmentationSettings,
        layout: Layout,
        *,
        fill: tuple[int, ...],
        val_labeled: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(settings, layout, **options)
        self.eval_size = settings.padded_size
        self.settings, self.classes = settings, class_set(settings)
        self.train_transform = TrainTransform(settings, fill=fill)
        self.eval_transform = EvalTransform(size=settings.padded_size, fill=fill)
        self.val_labeled = val_labeled

    def open_split(self, split: str, *, training: bool, on_error: OnError) -> SegmentationDataset:
        """See ``StreamData``."""
        return open_segmentation_split(
            self.layout,
            split,
            classes=self.classes,
            transform=self.train_transform if training else self.eval_transform,
            seed=self.seed,
            on_error=on_error,
            labeled=training or self.val_labeled,
            pixel_format=self.pixel_format,
        )

    @cached_property
    def train_set(self) -> SegmentationDataset:
        """See ``StreamData``; with the keys that decide which images and mixtures are drawn.

        Raises:
            UserError: no training image has a labeled pixel to draw it by.
        """
        images, settings = super().train_set, self.settings
        if settings.copy_paste_prob or settings.cutmix_prob:
            names = self.classes.names
            background = names.index(BACKGROUND) if BACKGROUND in names else None
            images.mixing = Mixing(settings.copy_paste_prob, settings.cutmix_prob, background)
        if temperature := settings.rare_class_temperature:
            try:
                images.class_sampler = ClassSampler(images.count_pixels(), temperature)
            except ValueError as error:
                raise UserError(f"data.rare_class_temperature={temperature}: {error}.") from None
        return images

    def check_eval_batches(self) -> None:
        """Check by the headers that validation images which share a batch have the same size.

        Raises:
            UserError: they differ in size.
        """
        if self.eval_batch_size == 1:
            return
        sizes = sorted(set(self.val_set.map_items(self._padded_size, self.val_set.items)))
        if len(sizes) > 1:
            largest = [max(size[axis] for size in sizes) for axis in (0, 1)]
            raise UserError(
                f"data.eval_batch_size={self.eval_batch_size}: images larger than data.eval_size "
                f"differ in size and cannot share a batch ({len(sizes)} sizes in split "
                f"{self.val_split!r}). Set data.eval_batch_size=1, or data.eval_size={largest} "
                "(height, width) to pad all images to the largest."
            )

    def _padded_size(self, item: Item) -> tuple[int, int]:
        padded_height, padded_width = self.eval_transform.size
        try:
            height, width = self.val_set.image_size(item)
        except BadFileError:  # which becomes an empty sample, or an error when it is read
            return padded_height, padded_width
        return max(height, padded_height), max(width, padded_width)


def open_segmentation_split(layout: Layout, split: str, **options: Any) -> SegmentationDataset:
    """Return the images of a split.

    Args:
        layout: finds the images and masks.
        split: name of the split.
        options: see ``SegmentationDataset``.
    """
    open_dataset: Callable[..., SegmentationDataset] = SegmentationDataset
    if isinstance(layout, OwnLayout):
        open_dataset = partial(OwnDataset, source=layout.source)
    return open_dataset(split, split_items(layout, split), **options)


class ClassificationData(StreamData[ClassificationDataset]):
    """LightningDataModule of uint8 crops and their labels.

    Args:
        settings: keys of ``data``.
        layout: lists the images and their labels.
        options: see ``StreamData``.
    """

    layout: LabeledLayout

    def __init__(
        self, settings: ClassificationSettings, layout: LabeledLayout, **options: Any
    ) -> None:
        super().__init__(settings, layout, **options)
        self.classes = layout.classes
        self.train_crop = RandomResizedCrop(settings)
        self.eval_crop = CentralCrop(size=settings.crop_size, crop_pct=settings.crop_pct)

    def open_split(self, split: str, *, training: bool, on_error: OnError) -> ClassificationDataset:
        """See ``StreamData``."""
        return ClassificationDataset(
            split,
            self.layout.images(split),
            crop=self.train_crop if training else self.eval_crop,
            seed=self.seed,
            on_error=on_error,
            pixel_format=self.pixel_format,
        )
