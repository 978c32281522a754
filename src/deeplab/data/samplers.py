"""Samplers: the order of the training images, and the images of each process.

Training is one stream of draws, numbered from 0 to steps x batch size. Draw d is image
``permutation(seed, d // n)[d % n]`` of the n images, augmented with a generator of (seed, d). The
batches are therefore the same for any number of workers or processes, and a run that resumes at
step s gets the same batches as without the interruption.

Both are DistributedSamplers because Lightning replaces any other sampler on several devices, by one
that gives some images twice.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler


def image_order(num_images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the permutation of the images in a pass over them."""
    return np.random.default_rng((seed, epoch)).permutation(num_images)


class TrainSampler(DistributedSampler[list[tuple[int, int]]]):
    """Sampler of training: batches of ``(draw, index)``.

    Args:
        num_images: number of images.
        steps: number of batches in an epoch of the trainer; also the length of this sampler. A run
            of this project has one epoch; the next one would go on with the next draws.
        batch_size: images per step, over all processes.
        seed: seed of the permutations.
        first_step: the step to start at.
        rank: index of this process, which takes its slice of each batch.
        world_size: number of processes.
    """

    def __init__(
        self,
        num_images: int,
        *,
        steps: int,
        batch_size: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} is not divisible by the number of processes, {world_size}"
            )
        super().__init__(range(num_images), num_replicas=world_size, rank=rank)  # type: ignore[arg-type]
        self.num_images, self.steps, self.batch_size = num_images, steps, batch_size
        self.seed, self.first_step = seed, first_step
        self.process_batch_size = batch_size // world_size
        self.offset = rank * self.process_batch_size

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, np.int64)
        begin = self.epoch * self.steps
        for step in range(max(begin, self.first_step), begin + self.steps):
            first = step * self.batch_size + self.offset
            batch = []
            for draw in range(first, first + self.process_batch_size):
                if draw // self.num_images != epoch:
                    epoch = draw // self.num_images
                    order = image_order(self.num_images, self.seed, epoch)
                batch.append((draw, int(order[draw % self.num_images])))
            yield batch


class EvalSampler(DistributedSampler[int]):
    """Sampler of evaluation: every ``world_size``-th image.

    All processes together see each image exactly once.
    """

    def __init__(self, num_images: int, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(range(num_images), num_replicas=world_size, rank=rank)  # type: ignore[arg-type]
        self.indices = range(rank, num_images, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
