"""Videos, frame by frame."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import prefetch

Pixels = NDArray[np.uint8]

CODEC = "mp4v"
"""MPEG-4, which OpenCV's packages can write everywhere."""

USUAL_RATE = 25.0


class Video:
    """A video file to read.

    Raises:
        BadFileError: it has no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said here
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self.expected = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Frames by the file's own account; 0 if it gives none."""
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= 1000 else USUAL_RATE
        """Frames a second."""
        self.count = 0
        """Frames read."""
        self._first = self._read()
        if self._first is None:
            raise BadFileError(
                "unreadable video",
                path,
                "this is no video that OpenCV can decode, or it is truncated",
                "Convert it.",
            )

    @property
    def problem(self) -> str | None:
        """What is to be said after the last frame. An account of the length that is out by one
        part in a hundred is usual and no problem."""
        if self.expected - self.count <= max(1, self.expected // 100):
            return None
        return f"it ends early: {self.count} of {self.expected} frames could be read and were done"

    def frames(self) -> Iterator[Pixels]:
        """The frames ``(H, W, 3)``, RGB, upright; the next ones are decoded meanwhile."""
        others = (frame for _, frame in prefetch(self._read, repeat(()), num_threads=1, max_pending=2))
        for frame in chain([self._first], others):
            if frame is None:
                return
            self.count += 1
            yield frame

    def _read(self) -> Pixels | None:
        there, frame = self._capture.read()
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8) if there else None


class VideoWriter:
    """A video file to write, frame after frame, all of one size."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self.count = 0
        self._writer = cv2.VideoWriter()

    def add(self, frame: Pixels) -> None:
        """Append an RGB frame ``(H, W, 3)``.

        Raises:
            BadFileError: OpenCV cannot write videos, or none of this size or rate.
        """
        # The codec wants even sides and would leave out the last row or column.
        odd = [side % 2 for side in frame.shape[:2]]
        even = np.pad(frame, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        size = (even.shape[1], even.shape[0])
        if not self.count:
            code = cv2.VideoWriter.fourcc(*CODEC)
            if not self._writer.open(str(self.path), cv2.CAP_FFMPEG, code, self.rate, size):
                raise BadFileError(
                    "unwritable video",
                    self.path,
                    f"this OpenCV can write no {CODEC} video of {size[0]} x {size[1]} pixels and "
                    f"{self.rate:g} frames a second; overlay=false frames=true needs none",
                    "Convert it.",
                )
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self.count += 1

    def finish(self) -> None:
        """Close the file.

        Raises:
            OSError: it is not whole, of which OpenCV says nothing.
        """
        self._writer.release()
        written = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) != self.count:
            raise OSError("a video could not be written whole; perhaps the disk is full")


@contextmanager
def video_at(path: Path, rate: float) -> Iterator[VideoWriter]:
    """A video that takes the name ``path``, an .mp4, when the block ends well."""
    with atomic_write(path) as draft:
        named = draft.with_name(f"{draft.name}.mp4")  # the suffix says which container
        try:
            writer = VideoWriter(named, rate)
            yield writer
            writer.finish()
            os.replace(named, draft)
        finally:
            named.unlink(missing_ok=True)
