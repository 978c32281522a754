"""LightningDataModule for data sets of any layout."""

from collections import Counter
from functools import cached_property
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from deeplab.data.class_set import class_set
from deeplab.data.dataset import Batch, SegmentationDataset
from deeplab.data.layouts.base import Layout, split_items
from deeplab.data.samplers import EvalSampler, TrainSampler
from deeplab.data.settings import DataSettings, SegmentationSettings
from deeplab.data.transforms import EvalTransform, TrainTransform


class StreamData(LightningDataModule):
    """Base LightningDataModule: one stream of training steps, and the validation images.

    A subclass has the data sets ``train_set`` and ``val_set``, which return whole batches.

    Args:
        settings: keys of ``data``.
        steps: training steps of the run.
        batch_size: training images per step, over all processes.
        seed: seed of order and augmentation.
        num_workers: number of DataLoader workers.
    """

    train_set: Any
    val_set: Any

    def __init__(
        self, settings: DataSettings, *, steps: int, batch_size: int, seed: int, num_workers: int
    ) -> None:
        super().__init__()
        self.train_split, self.val_split = settings.train_split, settings.val_split
        self.eval_batch_size, self.on_error = settings.eval_batch_size, settings.on_error
        self.steps, self.batch_size = steps, batch_size
        self.seed, self.num_workers = seed, num_workers
        self.skipped: Counter[str] = Counter()
        """Number of times that each bad file was skipped in this process."""

    @property
    def epoch_steps(self) -> float:
        """Number of training steps in one pass over the training images."""
        return len(self.train_set) / self.batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches from the trainer's current step to the last one."""
        trainer = self.trainer
        sampler = TrainSampler(
            len(self.train_set),
            steps=self.steps,
            batch_size=self.batch_size,
            seed=self.seed,
            first_step=trainer.global_step if trainer else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return self._loader(self.train_set, batch_sampler=sampler)

    def val_dataloader(self, first: int = 0) -> DataLoader[Any]:
        """Return this process's part of the validation images, from index ``first`` on."""
        trainer = self.trainer
        sampler = EvalSampler(
            len(self.val_set),
            first=first,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return self._loader(self.val_set, sampler=sampler, batch_size=self.eval_batch_size)

    def _loader(self, dataset: Dataset[Any], **kwargs: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=_identity,
            generator=torch.Generator(),  # keeps loaders off the global generator
            **kwargs,
        )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Count the files that DataLoader workers have skipped."""
        for files in batch["skipped"]:
            self.skipped.update(files)
        return batch


class SegmentationData(StreamData):
    """LightningDataModule of uint8 images and label maps.

    Training gets crops, validation whole images.

    Args:
        settings: keys of ``data``.
        layout: finds the images and masks.
        fill: RGB color of padding.
        val_labeled: False if the validation images have no masks, as in a test set.
        options: see ``StreamData``.
    """

    def __init__(
        self,
        settings: SegmentationSettings,
        layout: Layout,
        *,
        fill: tuple[int, int, int],
        val_labeled: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(settings, **options)
        self.layout, self.classes = layout, class_set(settings)
        self.train_transform = TrainTransform(settings, fill=fill)
        self.eval_transform = EvalTransform(size=settings.padded_size, fill=fill)
        self.val_labeled = val_labeled

    @cached_property
    def train_set(self) -> SegmentationDataset:
        """The training images, listed on first use because evaluation needs none of them."""
        return SegmentationDataset(
            self.train_split,
            split_items(self.layout, self.train_split),
            classes=self.classes,
            transform=self.train_transform,
            seed=self.seed,
            on_error="stop" if self.on_error == "stop" else "next",
        )

    @cached_property
    def val_set(self) -> SegmentationDataset:
        """The validation images."""
        return SegmentationDataset(
            self.val_split,
            split_items(self.layout, self.val_split),
            classes=self.classes,
            transform=self.eval_transform,
            on_error="stop" if self.on_error == "stop" else "blank",
            labeled=self.val_labeled,
        )


def _identity(batch: Any) -> Any:
    return batch  # the data set returns whole batches
