"""Texts in two arrays, without an object for each."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray


class Texts(Sequence[str]):
    """Texts such as paths, one after another in an array.

    Args:
        data: all of them in UTF-8; what in a file's name is none is kept.
        ends: where each ends in ``data``.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the texts in this form."""
        encoded = [text.encode(errors="surrogateescape") for text in texts]
        data = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(data, np.cumsum([len(text) for text in encoded], dtype=np.int64))

    @classmethod
    def join(cls, parts: Sequence["Texts"]) -> Self:
        """Return the texts of all parts, one part after another."""
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(np.concatenate([part.data for part in parts]), np.concatenate(ends))

    def find_repeated(self) -> str | None:
        """Return a text that is there more than once; None if each is there once."""
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        kinds, counts = np.unique(hashes, return_counts=True)
        if len(kinds) == len(self):
            return None
        seen: set[str] = set()
        alike = np.flatnonzero(np.isin(hashes, kinds[counts > 1]))
        texts = (self[index] for index in alike.tolist())
        return next((text for text in texts if text in seen or seen.add(text)), None)  # type: ignore[func-returns-value]

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index]].tobytes().decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        data, start = self.data.tobytes(), 0
        for end in self.ends.tolist():
            yield data[start:end].decode(errors="surrogateescape")
            start = end
