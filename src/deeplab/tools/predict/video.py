"""Reading and writing of videos, frame by frame, with PyAV (FFmpeg)."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab.data.bad_files import BadFileError
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import prefetch

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Pixels = NDArray[np.uint8]
Timed = tuple[Fraction, Any]
"""Packets of sound with their time, in seconds."""

ENCODERS = {"libx264": {"crf": "20", "preset": "fast", "bf": "0"}, "libvpx-vp9": {"crf": "30"}}
"""Encoders whose mp4 files play in browsers, best first, with their options.

Without B-frames (``bf``) an mp4 of a variable frame rate has the right duration.
"""

COPIED_SOUND = ("aac", "mp3", "mp3float", "opus", "libopus")
"""Decoders of the sound that is copied; other sound is encoded again, as AAC."""

DEFAULT_FRAME_RATE = Fraction(25)


class Frame(NamedTuple):
    """A frame of a video."""

    pixels: Pixels
    """``(H, W, 3)``, RGB and upright."""
    time: int
    """Time stamp from the start of the video, in the video's time base."""


class Video:
    """A video file to read.

    Raises:
        BadFileError: no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        import av

        try:
            self._container = av.open(path)
            stream = self._container.streams.best("video")
        except (av.FFmpegError, OSError):
            stream = None
        if stream is None or stream.time_base is None:
            raise _unreadable(path)
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "AUTO"
        self._stream = stream
        self.time_base = stream.time_base
        """Seconds of one unit of the frames' time stamps."""
        self.frame_rate = stream.average_rate or DEFAULT_FRAME_RATE
        """Frames per second, the mean if it varies."""
        seconds = (self._container.duration or 0) / av.time_base
        self.expected_frames = stream.frames or round(seconds * self.frame_rate)
        """Number of frames according to the file's header; 0 if it states none."""
        self.num_frames = 0
        """Number of frames read so far."""
        self._frames = self._decode()
        self._first = next(self._frames, None)
        if self._first is None:
            raise _unreadable(path)

    @property
    def problem(self) -> str | None:
        """Problem to report after the last frame.

        A stated length that is off by one percent is common and no problem.
        """
        expected = self.expected_frames
        if expected - self.num_frames <= max(1, expected // 100):
            return None
        return (
            f"damaged or cut off: {self.num_frames} of {expected} frames could be read and are "
            "predicted"
        )

    def frames(self) -> Iterator[Frame]:
        """Yield the frames and decode the next ones ahead."""
        read = prefetch(lambda: next(self._frames, None), repeat(()), num_threads=1, max_pending=2)
        for frame in chain([self._first], (frame for _, frame in read)):
            if frame is None:
                self._container.close()
                return
            self.num_frames += 1
            yield frame

    def _decode(self) -> Iterator[Frame]:
        import av

        start = round(Fraction(self._container.start_time or 0, av.time_base) / self.time_base)
        step = max(1, round(1 / (self.frame_rate * self.time_base)))
        time = -step
        try:
            for packet in self._container.demux(self._stream):
                for frame in _decode_packet(packet):
                    # Some files have frames without a time stamp, or the same one twice.
                    time = time + step if frame.pts is None else max(frame.pts - start, time + 1)
                    yield Frame(_upright_pixels(frame), time)
        except av.FFmpegError:  # `problem` tells how much is missing
            return


def _unreadable(path: Path) -> BadFileError:
    return BadFileError(
        "unreadable video", path, "not a video that FFmpeg can decode, or damaged", "Convert it."
    )


def _decode_packet(packet: "av.Packet[VideoStream]") -> "list[VideoFrame]":
    """Return the frames of a packet; none if it is damaged, since later ones may be intact."""
    import av

    try:
        return packet.decode()
    except av.FFmpegError:
        return []


def _upright_pixels(frame: "VideoFrame") -> Pixels:
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(pixels, np.uint8)


class Sound:
    """The sound of a video, written into another one.

    Args:
        path: the video to read it from.
        target: the mp4 to write it into, before its first frame.
    """

    def __init__(self, path: Path, target: "OutputContainer") -> None:
        import av

        self.problem: str | None = None
        """What is wrong with the sound; None if nothing is."""
        self._target, self._packets = target, iter(tuple[Timed]())
        self._next: Timed | None = None
        self._container: InputContainer | None = None
        try:
            self._container = source = av.open(path)
            stream = source.streams.best("audio")
            if isinstance(stream, av.AudioStream):
                copied = stream.codec_context.name in COPIED_SOUND
                self._packets = (self._copy if copied else self._encode)(source, stream)
                self._next = next(self._packets, None)
        except (av.FFmpegError, ValueError) as error:
            self.problem = f"its sound is left out ({error})"

    def write_until(self, seconds: Fraction) -> None:
        """Write the sound up to a time from the start of the video."""
        import av

        try:
            while self._next is not None and self._next[0] <= seconds:
                self._target.mux(self._next[1])
                self._next = next(self._packets, None)
        except av.FFmpegError:
            self.problem = f"its sound is damaged after {float(self._next[0]):.1f} s"  # type: ignore[index]
            self._next = None

    def _copy(self, source: "InputContainer", stream: "av.AudioStream") -> Iterator[Timed]:
        """Yield the packets as they are, with their times."""
        target = self._target.add_stream_from_template(stream)
        start = _start(source, stream)
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue  # the last one, which is empty
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            packet.stream = target
            yield packet.pts * packet.time_base, [packet]

    def _encode(self, source: "InputContainer", stream: "av.AudioStream") -> Iterator[Timed]:
        """Yield packets of AAC, which every browser plays, with their times."""
        target = self._target.add_stream("aac", rate=stream.codec_context.sample_rate)
        start, time = _start(source, stream), Fraction(0)
        for frame in source.decode(stream):
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= start
                time = frame.pts * frame.time_base
            yield time, target.encode(frame)
        yield time, target.encode(None)

    def close(self) -> None:
        """Close the video that the sound was read from."""
        if self._container:
            self._container.close()


def _start(source: "InputContainer", stream: "av.AudioStream") -> int:
    """Return the start of a video in the time base of its sound."""
    import av

    assert stream.time_base is not None
    return round(Fraction(source.start_time or 0, av.time_base) / stream.time_base)


class VideoWriter:
    """An H.264 file to write, frame by frame, with all frames of one size.

    Args:
        path: the file, an mp4 whatever its suffix.
        frame_rate: frames per second, the mean if it varies.
        time_base: seconds of one unit of the time stamps; None: one frame.
        sound_from: video whose sound is kept; None: without sound.
    """

    def __init__(
        self,
        path: Path,
        frame_rate: Fraction,
        time_base: Fraction | None = None,
        sound_from: Path | None = None,
    ) -> None:
        import av

        self.path, self.frame_rate, self.sound_from = path, frame_rate, sound_from
        self.time_base = time_base or 1 / frame_rate
        # The index comes first, so that a browser starts to play before the download ends.
        self._container = av.open(path, "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: av.VideoStream | None = None
        self._sound: Sound | None = None
        self._seconds = Fraction(0)

    @property
    def problem(self) -> str | None:
        """What is wrong with the sound; None if nothing is."""
        return self._sound.problem if self._sound else None

    def add(self, frame: Frame) -> None:
        """Append a frame, whose time stamp is larger than that of the one before.

        Raises:
            BadFileError: this FFmpeg cannot write such videos, or none of this size.
        """
        import av

        # yuv420p, the format of all browsers, needs even sides.
        odd = [side % 2 for side in frame.pixels.shape[:2]]
        even = np.pad(frame.pixels, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._open_stream(*even.shape[:2])
            self._sound = Sound(self.sound_from, self._container) if self.sound_from else None
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts, picture.time_base = frame.time, self.time_base
        self._container.mux(self._stream.encode(picture))
        self._seconds = frame.time * self.time_base
        if self._sound:
            self._sound.write_until(self._seconds)

    def close(self) -> None:
        """Write the remaining frames and the sound beside the last one, and close the file."""
        if self._stream:
            self._container.mux(self._stream.encode(None))
        if self._sound:
            self._sound.write_until(self._seconds + 1 / self.frame_rate)
            self._sound.close()
        self._container.close()

    def _open_stream(self, height: int, width: int) -> "av.VideoStream":
        import av

        encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
        try:
            if encoder is None:
                raise ValueError(f"this FFmpeg has no encoder {' or '.join(ENCODERS)}")
            stream = self._container.add_stream(
                encoder, rate=self.frame_rate, options=ENCODERS[encoder]
            )
            assert isinstance(stream, av.VideoStream)
            context = stream.codec_context
            context.height, context.width, context.pix_fmt = height, width, "yuv420p"
            context.time_base = self.time_base
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            context.open()
        except (av.FFmpegError, ValueError) as error:
            raise BadFileError(
                "unwritable video",
                self.path,
                f"no video of {width} x {height} pixels can be written ({error}); "
                "save_overlay=false save_frames=true needs none",
                "Convert it.",
            ) from None
        return stream


@contextmanager
def atomic_video_writer(
    path: Path,
    frame_rate: Fraction,
    time_base: Fraction | None = None,
    sound_from: Path | None = None,
) -> Iterator[VideoWriter]:
    """Write a video that appears at ``path``, an .mp4, only if the block succeeds."""
    with atomic_write(path) as draft:
        writer = VideoWriter(draft, frame_rate, time_base, sound_from)
        yield writer
        writer.close()
