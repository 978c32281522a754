"""Reading and writing of videos, frame by frame."""

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
"""MPEG-4, which the OpenCV packages of all platforms can write."""

DEFAULT_FRAME_RATE = 25.0


class Video:
    """A video file to read.

    Raises:
        BadFileError: no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors are reported here instead
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self.expected_frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Number of frames according to the file's header; 0 if it states none."""
        frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate = frame_rate if 0 < frame_rate <= 1000 else DEFAULT_FRAME_RATE
        """Frames per second."""
        self.num_frames = 0
        """Number of frames read so far."""
        self._first = self._read()
        if self._first is None:
            raise BadFileError(
                "unreadable video",
                path,
                "not a video that OpenCV can decode, or truncated",
                "Convert it.",
            )

    @property
    def problem(self) -> str | None:
        """Problem to report after the last frame.

        A stated length that is off by one percent is common and no problem.
        """
        expected = self.expected_frames
        if expected - self.num_frames <= max(1, expected // 100):
            return None
        return f"ends early: {self.num_frames} of {expected} frames could be read and are predicted"

    def frames(self) -> Iterator[Pixels]:
        """Yield the frames ``(H, W, 3)``, RGB and upright, and decode the next ones ahead."""
        later = (
            frame for _, frame in prefetch(self._read, repeat(()), num_threads=1, max_pending=2)
        )
        for frame in chain([self._first], later):
            if frame is None:
                return
            self.num_frames += 1
            yield frame

    def _read(self) -> Pixels | None:
        success, frame = self._capture.read()
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8) if success else None


class VideoWriter:
    """A video file to write, frame by frame, with all frames of one size."""

    def __init__(self, path: Path, frame_rate: float) -> None:
        self.path, self.frame_rate = path, frame_rate
        self.num_frames = 0
        self._writer = cv2.VideoWriter()

    def add(self, frame: Pixels) -> None:
        """Append an RGB frame ``(H, W, 3)``.

        Raises:
            BadFileError: OpenCV cannot write videos, or none of this size or frame rate.
        """
        # The codec needs even sides and would drop the last row or column.
        odd = [side % 2 for side in frame.shape[:2]]
        even = np.pad(frame, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        size = (even.shape[1], even.shape[0])
        if not self.num_frames:
            code = cv2.VideoWriter.fourcc(*CODEC)
            if not self._writer.open(str(self.path), cv2.CAP_FFMPEG, code, self.frame_rate, size):
                raise BadFileError(
                    "unwritable video",
                    self.path,
                    f"this OpenCV cannot write a {CODEC} video of {size[0]} x {size[1]} pixels and "
                    f"{self.frame_rate:g} frames per second; save_overlay=false save_frames=true "
                    "needs none",
                    "Convert it.",
                )
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self.num_frames += 1

    def finish(self) -> None:
        """Close the file.

        Raises:
            OSError: the file is incomplete, which OpenCV does not report.
        """
        self._writer.release()
        written = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) != self.num_frames:
            raise OSError("the video is incomplete; the disk may be full")


@contextmanager
def atomic_video_writer(path: Path, frame_rate: float) -> Iterator[VideoWriter]:
    """Write a video that appears at ``path``, an .mp4, only if the block succeeds."""
    with atomic_write(path) as draft:
        video = draft.with_name(f"{draft.name}.mp4")  # the suffix determines the container
        try:
            writer = VideoWriter(video, frame_rate)
            yield writer
            writer.finish()
            os.replace(video, draft)
        finally:
            video.unlink(missing_ok=True)
