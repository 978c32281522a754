"""Tests of reading and writing videos, by decoding what was written."""

import os
import struct
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeplab.data.bad_files import BadFileError
from deeplab.tools.predict.video import ENCODERS, Frame, Video, atomic_video_writer
from support.image_trees import color_blocks
from support.repository import ROOT

av = pytest.importorskip("av")

MILLISECOND = Fraction(1, 1000)
VARIABLE_TIMES = (0, 40, 80, 400, 440, 1000)


def write_source(path, times, *, codec="libx264", time_base=MILLISECOND, size=(48, 64)):
    """Write a video of another program: its container, codec and time stamps."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(color_blocks(*size, seed=i, side=16), format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def add_sound(path, codec, *, length=2.0, start=0):
    """Return a copy of a video with a tone that begins ``start`` seconds later."""
    rate, suffix = 48_000, {"pcm_s16le": ".mov", "libopus": ".webm"}.get(codec, ".mp4")
    target = path.with_name(f"sound{suffix}")
    with av.open(path) as source, av.open(target, "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        tone = np.sin(2 * np.pi * 440 * np.arange(int(length * rate)) / rate)
        samples = np.int16(20_000 * tone)[None]
        for first in range(0, samples.shape[1], 960):
            frame = av.AudioFrame.from_ndarray(samples[:, first : first + 960], layout="mono")
            frame.sample_rate, frame.pts = rate, round(start * rate) + first
            frame.time_base = Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return target


def tone(path):
    """Return codec, start and end in seconds, and the frequency of a video's sound."""
    with av.open(path) as container:
        (stream,) = container.streams.audio
        name, rate = stream.codec_context.name, stream.codec_context.sample_rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frames = [f for frame in container.decode(stream) for f in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    crossings = (np.diff(np.signbit(middle)) != 0).sum()
    start = float(frames[0].time)
    return name, start, start + len(samples) / rate, crossings * rate / len(middle) / 2


def copy(source: Video, target: Path, sound_from: Path | None = None):
    with atomic_video_writer(target, source.frame_rate, source.time_base, sound_from) as writer:
        for frame in source.frames():
            writer.add(frame)
    return writer


def seconds(path):
    """Return the time stamps of a video's frames, in milliseconds."""
    with av.open(path) as container:
        return [round(1000 * frame.time) for frame in container.decode(video=0)]


def test_written_video_plays_in_browsers(tmp_path):
    path = tmp_path / "video.mp4"
    pixels = color_blocks(48, 64, side=16)
    with atomic_video_writer(path, Fraction(25, 2)) as writer:
        for i in range(10):
            writer.add(Frame(pixels, i))
    with av.open(path) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (10, 12.5)
        assert stream.duration * stream.time_base == Fraction(10 * 2, 25)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 10
    assert np.abs(frames[0].astype(int) - pixels).mean() < 6
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before the download ends
    _, other = cv2.VideoCapture(str(path)).read()  # another reader sees the same colors
    assert np.abs(other[..., ::-1].astype(int) - pixels).mean() < 6


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_variable_frame_rate_keeps_its_time_stamps(tmp_path, name, codec):
    source = write_source(tmp_path / name, VARIABLE_TIMES, codec=codec)
    copy(Video(source), tmp_path / "out.mp4")
    assert seconds(tmp_path / "out.mp4") == list(VARIABLE_TIMES)
    with av.open(tmp_path / "out.mp4") as container:
        stream = container.streams.video[0]
        assert 1 < stream.duration * stream.time_base < 1.2
    read = list(Video(tmp_path / "out.mp4").frames())
    assert len(read) == 6
    for i, frame in enumerate(read):
        assert np.abs(frame.pixels.astype(int) - color_blocks(48, 64, seed=i, side=16)).mean() < 12


def test_time_stamps_start_with_the_video(tmp_path):
    """A recording of a stream starts at an arbitrary time."""
    source = write_source(tmp_path / "a.ts", [5000, 5040, 5200])
    copy(Video(source), tmp_path / "out.mp4")
    assert seconds(tmp_path / "out.mp4") == [0, 40, 200]


def test_frames_without_time_stamps_follow_the_frame_rate(tmp_path):
    source = write_source(tmp_path / "a.h264", range(0, 400, 40))
    copy(Video(source), tmp_path / "out.mp4")
    assert seconds(tmp_path / "out.mp4") == list(range(0, 400, 40))


def test_odd_sides_keep_their_last_row_and_column(tmp_path):
    pixels = color_blocks(45, 63, side=16)
    with atomic_video_writer(tmp_path / "odd.mp4", Fraction(25)) as writer:
        writer.add(Frame(pixels, 0))
    (frame,) = Video(tmp_path / "odd.mp4").frames()
    assert frame.pixels.shape == (46, 64, 3)
    assert np.abs(frame.pixels[:45, :63].astype(int) - pixels).mean() < 10


def test_rotated_video_is_upright(tmp_path):
    path = write_source(tmp_path / "a.mp4", [0, 40])
    content = bytearray(path.read_bytes())
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    start = content.index(upright, content.index(b"tkhd"))
    quarter_turn = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    content[start : start + len(upright)] = quarter_turn
    path.write_bytes(content)
    frame = next(Video(path).frames())
    assert frame.pixels.shape == (64, 48, 3)
    _, turned_by_opencv = cv2.VideoCapture(str(path)).read()
    assert np.abs(frame.pixels.astype(int) - turned_by_opencv[..., ::-1]).mean() < 6


def test_truncated_video_is_read_up_to_the_cut(tmp_path):
    source = write_source(tmp_path / "a.mkv", range(0, 4000, 40))
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    video = Video(source)
    frames = list(video.frames())
    assert 20 < len(frames) == video.num_frames < 80
    assert f"damaged or cut off: {len(frames)} of 100 frames" in video.problem


def test_damage_in_the_middle_is_reported_and_the_rest_is_read(tmp_path):
    source = write_source(tmp_path / "a.avi", range(60), codec="mjpeg", time_base=Fraction(1, 25))
    content = bytearray(source.read_bytes())
    middle = content.index(b"movi") + (len(content) - content.index(b"movi")) // 3
    content[middle : middle + len(content) // 3] = bytes(len(content) // 3)
    source.write_bytes(content)
    video = Video(source)
    frames = list(video.frames())
    assert 20 < len(frames) < 59
    assert "damaged or cut off" in video.problem
    assert np.abs(frames[0].pixels.astype(int) - color_blocks(48, 64, side=16)).mean() < 12


@pytest.mark.parametrize("content", [b"", b"no video", "without its index", "sound only"])
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content == "without its index":
        write_source(path, range(0, 400, 40))
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "sound only":
        with av.open(path, "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 48000
            container.mux([*stream.encode(frame), *stream.encode(None)])
    else:
        path.write_bytes(content)
    with pytest.raises(BadFileError, match=r"a\.mp4: not a video that FFmpeg can decode"):
        Video(path)


def test_interrupted_video_replaces_nothing(tmp_path):
    path = tmp_path / "video.mp4"
    with atomic_video_writer(path, Fraction(25)) as writer:
        writer.add(Frame(color_blocks(48, 64, side=16), 0))
    content = path.read_bytes()
    with suppress(KeyError), atomic_video_writer(path, Fraction(25)) as writer:
        writer.add(Frame(color_blocks(20, 20), 0))
        raise KeyError
    with (
        pytest.raises(BadFileError, match="20000 x 2 pixels"),
        atomic_video_writer(path, Fraction(25)) as writer,
    ):
        writer.add(Frame(color_blocks(2, 20000), 0))
    assert [p.name for p in tmp_path.iterdir()] == ["video.mp4"]
    assert path.read_bytes() == content


FULL_DISK_SCRIPT = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from deeplab.tools.predict.video import Frame, atomic_video_writer
from deeplab.utils.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
random = np.random.default_rng(0)
try:
    with atomic_video_writer(Path(sys.argv[1]), Fraction(25)) as writer:
        for i in range(30):
            writer.add(Frame(random.integers(0, 256, (240, 320, 3), np.uint8), i))
except UserError as error:
    print(error)
"""


def test_full_disk_leaves_no_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK_SCRIPT, str(tmp_path / "video.mp4")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path}: File too large. Free some space" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_vp9_without_an_encoder_for_h264(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    copy(Video(write_source(tmp_path / "a.mkv", VARIABLE_TIMES)), tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("vp9", "yuv420p")
    assert seconds(tmp_path / "out.mp4") == list(VARIABLE_TIMES)


def test_no_encoder_at_all_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - set(ENCODERS))
    with (
        pytest.raises(BadFileError, match="no encoder libx264 or libvpx-vp9"),
        atomic_video_writer(tmp_path / "out.mp4", Fraction(25)) as writer,
    ):
        writer.add(Frame(color_blocks(48, 64, side=16), 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("codec", "source_codec", "written"),
    [
        ("aac", "libx264", "aac"),
        ("libopus", "libvpx-vp9", "opus"),
        ("libmp3lame", "libx264", "mp3float"),
        ("pcm_s16le", "libx264", "aac"),
    ],
)
def test_sound_is_kept(tmp_path, codec, source_codec, written):
    """The tone of the source, from beginning to end, in a form that browsers play."""
    suffix = ".webm" if source_codec == "libvpx-vp9" else ".mp4"
    video = write_source(tmp_path / f"a{suffix}", range(0, 2000, 40), codec=source_codec)
    source = add_sound(video, codec)
    target = tmp_path / "overlay.mp4"
    writer = copy(Video(source), target, source)
    assert writer.problem is None
    name, start, end, frequency = tone(target)
    assert name == written
    assert abs(start) < 0.03
    assert end == pytest.approx(2, abs=0.06)
    assert frequency == pytest.approx(440, rel=0.01)
    assert seconds(target) == seconds(source)
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_sound_keeps_its_place_beside_the_frames(tmp_path):
    video = write_source(tmp_path / "a.mp4", range(0, 2000, 40))
    source = add_sound(video, "aac", length=1, start=0.5)
    copy(Video(source), tmp_path / "b.mp4", source)
    assert tone(tmp_path / "b.mp4")[1] == pytest.approx(tone(source)[1], abs=0.03)
    assert tone(source)[1] == pytest.approx(0.5, abs=0.05)


def test_sound_ends_where_the_frames_end(tmp_path):
    source = add_sound(write_source(tmp_path / "a.mp4", range(0, 1000, 40)), "aac", length=3)
    copy(Video(source), tmp_path / "b.mp4", source)
    assert tone(tmp_path / "b.mp4")[2] == pytest.approx(1, abs=0.06)


def test_a_video_without_sound(tmp_path):
    source = write_source(tmp_path / "a.mp4", range(0, 400, 40))
    writer = copy(Video(source), tmp_path / "b.mp4", source)
    assert writer.problem is None
    with av.open(tmp_path / "b.mp4") as container:
        assert not container.streams.audio
