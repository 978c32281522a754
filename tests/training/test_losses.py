"""Tests of the segmentation loss against a textbook version."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from deeplab.config.schema.loss import CrossEntropySettings, TopKSettings
from deeplab.training.losses import SegmentationLoss


def plain(logits, labels, class_weights=None, hard_pixel_fraction=1.0):
    """Compute the textbook loss: whole batch at full size, with gradients by autograd."""
    size = labels.shape[1:]
    upsampled = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    weights = None if class_weights is None else torch.tensor(class_weights).to(logits)
    losses = F.cross_entropy(
        upsampled, labels.long(), weights, ignore_index=255, reduction="none"
    ).flatten()
    if hard_pixel_fraction == 1.0:
        return losses.sum() / (labels != 255).sum()
    kept = losses.sort(descending=True).values[: int(hard_pixel_fraction * losses.numel())]
    return kept.sum() / (kept > 0).sum()


def example(dtype=torch.float64, n=3, k=5, small=(9, 7), large=(33, 26), ignored=0.2):
    torch.manual_seed(0)
    logits = torch.randn(n, k, *small, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, k, (n, *large), dtype=torch.uint8)
    labels[torch.rand(n, *large) < ignored] = 255
    return logits, labels


@pytest.mark.parametrize("class_weights", [None, (0.1, 1.0, 2.0, 3.0, 0.5)])
@pytest.mark.parametrize("hard_pixel_fraction", [1.0, 0.5, 0.07])
@pytest.mark.parametrize("sizes", [((9, 7), (33, 26)), ((9, 9), (9, 9)), ((5, 1), (17, 3))])
def test_value_and_gradient_in_float64(class_weights, hard_pixel_fraction, sizes):
    logits, labels = example(small=sizes[0], large=sizes[1])
    loss = SegmentationLoss(
        TopKSettings(class_weights=class_weights, hard_pixel_fraction=hard_pixel_fraction)
    ).double()
    value = loss(logits, labels)
    (gradient,) = torch.autograd.grad(3 * value, logits)
    reference = plain(logits, labels, class_weights, hard_pixel_fraction)
    (expected,) = torch.autograd.grad(3 * reference, logits)
    torch.testing.assert_close(value, reference, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


def test_gradient_against_finite_differences():
    logits, labels = example(n=2, small=(3, 4), large=(9, 10))
    assert torch.autograd.gradcheck(lambda x: SegmentationLoss()(x, labels), logits)


def test_divisor_is_the_number_of_labeled_pixels():
    """The divisor counts the whole batch, not each image, and is not weighted by class."""
    logits = torch.zeros(2, 4, 3, 3, dtype=torch.float64)
    labels = torch.full((2, 9, 9), 255, dtype=torch.uint8)
    labels[0, 0, 0] = 1
    labels[1] = 2
    assert SegmentationLoss()(logits, labels).item() == pytest.approx(torch.tensor(4.0).log())
    weighted = SegmentationLoss(CrossEntropySettings(class_weights=(1.0, 1.0, 2.0, 1.0)))(
        logits, labels
    )
    expected = torch.tensor(4.0).log() * (1 + 81 * 2) / 82
    assert weighted.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("hard_pixel_fraction", [1.0, 0.5])
def test_no_labeled_pixel(hard_pixel_fraction):
    logits, labels = example()
    value = SegmentationLoss(TopKSettings(hard_pixel_fraction=hard_pixel_fraction))(
        logits, torch.full_like(labels, 255)
    )
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def test_bfloat16_logits_are_summed_in_float32():
    logits, labels = example(torch.float32)
    low = logits.detach().to(torch.bfloat16).requires_grad_()
    value = SegmentationLoss()(low, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, SegmentationLoss()(low.float(), labels))
    value.backward()
    assert low.grad.dtype == torch.bfloat16


def test_autocast_does_not_apply_inside_the_loss():
    """Matrix products under autocast would round the gradient to eight bits."""
    logits, labels = example(torch.float32)
    low = logits.detach().to(torch.bfloat16)
    with_autocast, without_autocast = (low.float().requires_grad_() for _ in range(2))
    SegmentationLoss()(without_autocast, labels).backward()
    with torch.autocast("cpu", torch.bfloat16):
        value = SegmentationLoss()(with_autocast, labels)
    value.backward()
    assert torch.equal(with_autocast.grad, without_autocast.grad)


def test_scaled_float16_gradients_do_not_vanish():
    """With loss scaling, the unscaled gradient of a pixel is far below the range of float16."""
    logits, labels = example(torch.float32, n=1, small=(33, 33), large=(257, 257))
    labels[:] = 0
    low = (1e-2 * logits.detach()).half().requires_grad_()
    full = low.detach().float().requires_grad_()
    (65536 * SegmentationLoss()(low, labels)).backward()
    (65536 * SegmentationLoss()(full, labels)).backward()
    torch.testing.assert_close(low.grad.float(), full.grad, rtol=2e-3, atol=0)


def test_hard_pixel_fraction_falls_linearly():
    loss = SegmentationLoss(TopKSettings(hard_pixel_fraction=0.2, hard_pixel_steps=100))
    assert [loss.kept_fraction(s) for s in (0, 50, 100, 500)] == [1.0, pytest.approx(0.6), 0.2, 0.2]


def test_without_gradient():
    logits, labels = example()
    with torch.no_grad():
        value = SegmentationLoss()(logits, labels)
    torch.testing.assert_close(value, plain(logits, labels))


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("hard_pixel_fraction", [1.0, 0.5])
def test_at_most_one_image_at_full_size_in_memory(hard_pixel_fraction):
    logits, labels = example(n=4)
    with LargestTensor() as largest:
        SegmentationLoss(TopKSettings(hard_pixel_fraction=hard_pixel_fraction))(
            logits, labels
        ).backward()
    assert largest.elements == 5 * 33 * 26


@pytest.mark.parametrize("hard_pixel_fraction", [0.0, 1.5])
def test_invalid_hard_pixel_fraction(hard_pixel_fraction):
    with pytest.raises(ValueError, match="hard_pixel_fraction"):
        SegmentationLoss(TopKSettings(hard_pixel_fraction=hard_pixel_fraction))
