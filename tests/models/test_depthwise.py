"""Atrous depthwise convolution: its output and its gradients are those of the definition."""

import pytest
import torch
from torch.nn import functional as F

from deeplab.models.depthwise import atrous_depthwise_conv
from deeplab.models.layers import Conv

CHANNELS = 32


def reference(x, weight, rate):
    return F.conv2d(x, weight, padding=rate, dilation=rate, groups=weight.shape[0])


def gradients(function, x, weight, rate, grad):
    x, weight = (t.detach().clone().requires_grad_() for t in (x, weight))
    y = function(x, weight, rate)
    y.backward(grad.to(y.dtype))
    return y.detach(), x.grad, weight.grad


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [2, 3, 4, 6, 12, 18, 36])
@pytest.mark.parametrize("size", [(5, 5), (17, 17), (16, 21), (33, 33), (33, 50), (1, 7)])
def test_output_and_gradients(size, rate, dtype, memory_format):
    """bfloat16 at 33 pixels is where PyTorch's own gradient of the weights is wrong."""
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(2, CHANNELS, *size, generator=generator).to(dtype) for _ in range(2))
    weight = torch.randn(CHANNELS, 1, 3, 3, generator=generator).to(dtype)
    x, grad = (t.to(memory_format=memory_format) for t in (x, grad))
    exact = gradients(reference, x.double(), weight.double(), rate, grad)
    found = gradients(atrous_depthwise_conv, x, weight, rate, grad)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    for tensor, expected in zip(found, exact, strict=True):
        assert tensor.dtype == dtype
        assert (tensor.double() - expected).norm() <= tolerance * expected.norm()
    with torch.no_grad():
        assert torch.allclose(found[0], reference(x, weight, rate), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_a_layer_in_bfloat16(channels_last):
    """The layer of every separable convolution, in mixed precision, at the paper's crop size."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    layer = Conv(CHANNELS, CHANNELS, 3, dilation=2, groups=CHANNELS)
    x = torch.randn(2, CHANNELS, 33, 33).to(memory_format=memory_format)
    expected = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    (found,) = torch.autograd.grad(y.float().square().sum(), layer.weight)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_other_convolutions_and_inference_are_pytorchs(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr("deeplab.models.layers.atrous_depthwise_conv", fail)
    x = torch.randn(1, 8, 9, 9).to(memory_format=torch.channels_last)
    for layer in (
        Conv(8, 8, 3, dilation=2),
        Conv(8, 8, 3, groups=8),
        Conv(8, 8, 3, groups=8, dilation=2, stride=2),
    ):
        layer(x)
    atrous = Conv(8, 8, 3, groups=8, dilation=2)
    atrous(x.contiguous())
    with torch.no_grad():
        atrous(x)
    with pytest.raises(AssertionError):
        atrous(x)
