"""Memory of predictions, and the windows that are chosen where it does not suffice."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab.config.execution import inference_execution
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.transforms import EvalTransform
from deeplab.inference import memory, segmenter
from deeplab.inference.memory import (
    PeakMemory,
    bytes_per_pixel,
    largest_window,
)
from deeplab.inference.predictor import Predictor
from deeplab.inference.segmenter import Segmenter
from deeplab.inference.strategy import Strategy, Window
from deeplab.models.backbones import MobileNetV2
from deeplab.utils import free_memory as free_memory_module
from deeplab.utils.free_memory import free_memory, is_out_of_memory
from support.networks import build, randomize_norms, tiny_model

FILL = (0, 0, 0)


@pytest.fixture
def segment(monkeypatch):
    """Return a function that builds a segmenter of one network, whose reports are collected."""
    monkeypatch.setattr(segmenter, "MANY_PIXELS", 10_000)
    torch.manual_seed(0)
    model = tiny_model()
    randomize_norms(model)
    model.logits.weight.data.normal_(0, 0.3)

    def build_segmenter(window=None, overlap=0.33):
        execution = inference_execution(TrainerSettings(accelerator="cpu"))
        padding = EvalTransform(size=(33, 33), fill=FILL)
        made = Segmenter(
            Predictor(model, [Strategy(16, window=window)]), execution, padding, 5,
            auto_overlap=overlap,
        )  # fmt: skip
        made.lines = []
        made.report = made.lines.append
        return made

    return build_segmenter


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_peak_is_the_most_that_exists_at_a_time():
    x = torch.zeros(1000)
    with PeakMemory() as measured:
        y = x + 1  # 4,000 bytes
        z = y.double()  # 8,000 more
        z = z[:10].clone()  # 80 more, then z's 8,000 are gone
        y = y.view(10, 100).t()  # no bytes
        torch.empty(1500, dtype=torch.uint8)  # 1,500, too few for another peak
    assert measured.peak == 4000 + 8000 + 80
    assert measured.bytes == 4000 + 80
    del y, z
    assert measured.bytes == 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_estimate_is_near_what_the_process_takes():
    predictor, side = Predictor(build(MobileNetV2()), [Strategy(16, (1.0, 1.25))]), 513
    estimate = bytes_per_pixel(predictor, "cpu")
    images = torch.zeros(1, 3, side, side, dtype=torch.uint8)

    def resident(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    predictor.label_maps(images[..., :129, :129], [(129, 129)])
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    predictor.label_maps(images, [(side, side)])
    taken = (resident("VmHWM") - before) / side**2
    assert 0.6 * estimate < taken < 1.6 * estimate


@pytest.mark.parametrize(("usable", "pixel_bytes"), [(10**9, 350), (10**12, 97.3), (5, 1000)])
def test_largest_window(usable, pixel_bytes):
    side = largest_window(usable, pixel_bytes)
    assert side % 16 == 1
    assert side == 257 or side**2 * pixel_bytes <= usable < (side + 16) ** 2 * pixel_bytes


def test_an_image_that_fits_is_predicted_whole(segment, monkeypatch):
    monkeypatch.setattr(segmenter, "free_memory", lambda device: 10**12)
    image, auto = noise(200, 300), segment()
    np.testing.assert_array_equal(auto.labels(image), segment(overlap=None).labels(image))
    assert not auto.lines


def test_other_images_are_predicted_in_windows_that_fit(segment, monkeypatch):
    image, auto = noise(400, 500), segment()
    pixel_bytes = bytes_per_pixel(auto.predictor, "cpu")
    free = 300**2 * pixel_bytes / memory.USABLE
    monkeypatch.setattr(segmenter, "free_memory", lambda device: int(free))
    labels = auto.labels(image)
    (line,) = auto.lines
    assert line.startswith("An image of 500 x 400 pixels is predicted in windows of 289: whole it")
    windows = segment(Window(289, 0.33), overlap=None)
    np.testing.assert_array_equal(labels, windows.labels(image))
    label, probabilities = auto.probabilities(image, np.float32)
    np.testing.assert_array_equal(label, labels)
    assert probabilities.sum(axis=0) == pytest.approx(1, abs=1e-4)
    assert len(auto.lines) == 2
    small = noise(60, 50)  # the next image is whole again
    np.testing.assert_array_equal(auto.labels(small), segment(overlap=None).labels(small))
    assert len(auto.lines) == 2


def test_windows_are_halved_while_memory_does_not_suffice(segment, monkeypatch):
    """A GPU may have less memory than it said, and other systems do not tell."""
    monkeypatch.setattr(segmenter, "free_memory", lambda device: None)
    image, auto = noise(600, 1200), segment()
    forward = auto.predictor.model.forward

    def limited(images):
        if images.shape[-1] > 320:
            raise torch.OutOfMemoryError
        return forward(images)

    monkeypatch.setattr(auto.predictor.model, "forward", limited)
    labels = auto.labels(image)
    assert [line.split(" windows of ")[1] for line in auto.lines] == [
        "600: memory does not suffice.",
        "300: memory does not suffice.",
    ]
    windows = segment(Window(300, 0.33), overlap=None)
    np.testing.assert_array_equal(labels, windows.labels(image))
    whole = segment(overlap=None)
    monkeypatch.setattr(whole.predictor.model, "forward", limited)
    with pytest.raises(MemoryError, match="Set window_size=1025"):
        whole.labels(image)


def test_memory_that_never_suffices_is_an_error(segment, monkeypatch):
    auto = segment()

    def fail(images):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(auto.predictor.model, "forward", fail)
    with pytest.raises(MemoryError, match="500 x 400 pixels need more memory"):
        auto.labels(noise(400, 500))


def test_only_errors_of_too_little_memory_count_as_such(segment, monkeypatch):
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as allocator:
        torch.empty(1 << 60, dtype=torch.uint8)
    for error in (allocator.value, torch.OutOfMemoryError(), MemoryError()):
        assert is_out_of_memory(error)
    auto = segment()

    def fail(images):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(auto.predictor.model, "forward", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        auto.labels(noise(40, 50))


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_free_memory_is_that_of_the_container(tmp_path, monkeypatch):
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(fields["MemTotal"].split()[0]) * 1024
    assert 0 < free_memory("cpu") < total
    most, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(free_memory_module, "CGROUPS", [(most, used)])
    for limit, expected in (("max", None), ("5000000", 4_000_000), ("900000", 0)):
        most.write_text(f"{limit}\n")
        used.write_text("1000000\n")
        free = free_memory("cpu")
        assert free == expected if expected is not None else free > 10**7
    most.write_text("5000000\n")
    for stat, cache in (("inactive_file", 3), ("inactive_file 1\ntotal_inactive_file", 300_000)):
        (tmp_path / "memory.stat").write_text(f"{stat} {cache}\n")
        assert free_memory("cpu") == 4_000_000 + cache
    assert free_memory("mps") is None
