import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplab.models.aspp import ASPP
from deeplab.models.backbones import Feature
from deeplab.models.decoder import Decoder
from deeplab.models.layers import (
    Conv,
    Normalize,
    PooledBatchNorm,
    SeparableConv,
    batch_norms,
    initialize,
    resize,
    set_batch_norm,
)


def aligned_resize(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize pixel by pixel: bilinear, with aligned corners."""
    out = np.empty((*x.shape[:2], *size))
    h, w = x.shape[2:]
    for i in range(size[0]):
        for j in range(size[1]):
            y = i * (h - 1) / (size[0] - 1)
            z = j * (w - 1) / (size[1] - 1)
            y0, z0 = min(int(y), h - 2), min(int(z), w - 2)
            dy, dz = y - y0, z - z0
            out[..., i, j] = (1 - dy) * (
                (1 - dz) * x[..., y0, z0] + dz * x[..., y0, z0 + 1]
            ) + dy * ((1 - dz) * x[..., y0 + 1, z0] + dz * x[..., y0 + 1, z0 + 1])
    return out


@pytest.mark.parametrize("size", [(33, 17), (7, 9), (4, 30)])
def test_resize_maps_corner_to_corner(size):
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    np.testing.assert_allclose(resize(x, size), aligned_resize(x.numpy(), size), atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [12, 33, 40])
def test_output_size_depends_on_stride_only(kernel, dilation, stride, side):
    conv = Conv(2, 2, kernel, stride=stride, dilation=dilation)
    assert conv(torch.zeros(1, 2, side, side)).shape[-1] == (side - 1) // stride + 1


def test_relu_placement_of_separable_conv():
    x = torch.randn(2, 4, 8, 8)
    original = x.clone()
    before = SeparableConv(4, 6, activation="before").eval()
    after = SeparableConv(4, 6, activation="after").eval()
    assert torch.equal(before(x), before(x.clamp(min=0)))
    assert torch.equal(x, original)  # not in place
    assert before(x).min() < 0
    assert not torch.equal(after(x), after(x.clamp(min=0)))
    assert after(x).min() == 0
    assert sum(isinstance(m, nn.ReLU) for m in before.modules()) == 0
    assert sum(isinstance(m, nn.ReLU) for m in after.modules()) == 2


def test_pooled_batch_norm_trains_with_one_image():
    norm = PooledBatchNorm(4)
    norm.running_mean.uniform_()
    mean = norm.running_mean.clone()
    one = torch.randn(1, 4, 1, 1)
    expected = (one - mean.view(1, -1, 1, 1)) / (norm.running_var.view(1, -1, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(norm(one), expected)
    assert torch.equal(norm.running_mean, mean)
    two = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(norm(two), nn.BatchNorm2d(4)(two))
    assert not torch.equal(norm.running_mean, mean)


def test_normalize_accepts_uint8():
    layer = Normalize((127.5,) * 3, (127.5,) * 3)
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert layer(pixels).unique().tolist() == [-1.0, 1.0]
    assert not layer.state_dict()


@pytest.mark.parametrize("std", [0.09, 0.33])
def test_truncated_normal(std):
    conv = Conv(64, 256, 3)
    initialize(conv, std)
    assert conv.weight.abs().max() <= 2 * std
    # a normal truncated at 2 sigma has a standard deviation of 0.88 sigma
    assert conv.weight.detach().std() == pytest.approx(0.88 * std, rel=0.02)


def test_named_initializations():
    model = nn.Sequential(Conv(64, 256, 3), SeparableConv(256, 256))
    initialize(model, "variance_scaling")
    assert model[0].weight.detach().std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    initialize(model, "head")
    assert model[0].weight.abs().max() <= (6 / ((64 + 256) * 9)) ** 0.5
    assert model[1].depthwise.conv.weight.detach().std() == pytest.approx(0.88 * 0.33, rel=0.05)
    assert model[1].pointwise.conv.weight.detach().std() == pytest.approx(0.88 * 0.06, rel=0.02)


def test_separable_convolution_without_norm_of_its_depthwise_part():
    block = SeparableConv(4, 6, depthwise_norm=False).eval()
    block.set_atrous(stride=1, dilation=2)
    x = torch.randn(2, 4, 9, 9)
    inner = F.conv2d(x, block.depthwise.conv.weight, padding=2, dilation=2, groups=4)
    expected = F.relu(block.pointwise.norm(F.conv2d(inner, block.pointwise.conv.weight)))
    torch.testing.assert_close(block(x), expected)
    initialize(block, "head")
    assert block.depthwise.conv.weight.abs().max() > 0.2


@pytest.mark.parametrize(
    ("part", "arguments", "fewer"),
    [(ASPP, (16,), 3), (Decoder, (16, {"conv2": Feature(24, 4)}), 2)],
)
def test_parts_without_norm_of_depthwise_convolutions(part, arguments, fewer):
    norms = [
        len(list(batch_norms(part(*arguments, separable=True, depthwise_norm=norm))))
        for norm in (True, False)
    ]
    assert norms[0] - norms[1] == fewer


def test_set_batch_norm_changes_every_norm():
    model = nn.Sequential(SeparableConv(4, 4), PooledBatchNorm(4))
    set_batch_norm(model, eps=0.5)
    set_batch_norm(model, momentum=0.25)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [(n.eps, n.momentum) for n in norms] == [(0.5, 0.25)] * 3
