"""LightningDataModule for data sets of any layout."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from deeplab.data.class_set import ClassSet
from deeplab.data.dataset import Batch, SegmentationDataset
from deeplab.data.layouts.base import Layout, split_items
from deeplab.data.samplers import EvalSampler, TrainSampler
from deeplab.data.transforms import EvalTransform, TrainTransform


class StreamData(LightningDataModule):
    """Base LightningDataModule: one stream of training steps, and the validation images.

    A subclass has the data sets ``train_set`` and ``val_set``, which return whole batches.

    Args:
        steps: training steps of the run.
        batch_size: training images per step, over all processes.
        eval_batch_size: images per validation step.
        seed: seed of order and augmentation.
        num_workers: number of DataLoader workers.
    """

    train_set: Any
    val_set: Any

    def __init__(
        self, *, steps: int, batch_size: int, eval_batch_size: int, seed: int, num_workers: int
    ) -> None:
        super().__init__()
        self.seed, self.num_workers = seed, num_workers
        self.steps, self.batch_size, self.eval_batch_size = steps, batch_size, eval_batch_size
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
        layout: finds the images and masks.
        classes: classes and their mask values.
        train_split: name of the training split; several are joined by ``+``.
        val_split: name of the validation split; several are joined by ``+``.
        crop_size, scale_min, scale_max, scale_step, hflip_prob, augmentations: see
            ``deeplab.data.transforms``.
        eval_size: whole images are padded to at least this height and width.
        fill: RGB color of padding.
        steps, batch_size, seed, num_workers: see ``StreamData``.
        eval_batch_size: images per validation step; 1 if some are larger than ``eval_size``.
        on_error: reaction to a bad file: ``stop``, or ``skip``, which replaces it by the next good
            image in training, leaves it out of validation, and counts it in ``skipped``.
        val_labeled: False if the validation images have no masks, as in a test set.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        classes: ClassSet,
        train_split: str,
        val_split: str,
        crop_size: int,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        hflip_prob: float,
        augmentations: Sequence[Mapping[str, Mapping[str, Any]]] = (),
        eval_size: tuple[int, int],
        fill: tuple[int, int, int],
        steps: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        num_workers: int,
        on_error: Literal["stop", "skip"] = "stop",
        val_labeled: bool = True,
    ) -> None:
        super().__init__(
            steps=steps,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.layout, self.classes = layout, classes
        self.train_split, self.val_split = train_split, val_split
        self.train_transform = TrainTransform(
            crop_size=crop_size,
            scale_min=scale_min,
            scale_max=scale_max,
            scale_step=scale_step,
            hflip_prob=hflip_prob,
            augmentations=augmentations,
            fill=fill,
        )
        self.eval_transform = EvalTransform(size=eval_size, fill=fill)
        self.on_error, self.val_labeled = on_error, val_labeled

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
