"""Which image is drawn when: the order of training, and the share of each process.

Training is one stream of draws, numbered from 0 to steps x batch size. Draw d is image
``permutation(seed, d // n)[d % n]`` of the n images, augmented with a generator of (seed, d). So
the same batches come with any number of workers or processes, and a run that continues at step s
sees what it would have seen without the interruption.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainStream(Sampler[list[tuple[int, int]]]):
    """Batches of ``(draw, index)``.

    Args:
        images: how many images there are.
        steps: batches in the whole run; also this sampler's length.
        batch_size: images a step, over all processes.
        seed: of the permutations.
        first_step: the step to start at.
        rank, world_size: this process and how many there are; each takes its slice of the batch.
    """

    def __init__(
        self,
        images: int,
        *,
        steps: int,
        batch_size: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch size {batch_size} over {world_size} processes leaves a rest")
        self.images, self.steps, self.batch_size = images, steps, batch_size
        self.seed, self.first_step = seed, first_step
        self.share = batch_size // world_size
        self.offset = rank * self.share

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self.first_step, self.steps):
            first = step * self.batch_size + self.offset
            batch = []
            for draw in range(first, first + self.share):
                if draw // self.images != epoch:
                    epoch = draw // self.images
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.images)
                batch.append((draw, int(order[draw % self.images])))
            yield batch


class EvalShare(Sampler[int]):
    """Every ``world_size``-th image from the ``first`` on: all processes together see each image
    exactly once."""

    def __init__(self, images: int, *, first: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(first + rank, images, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
