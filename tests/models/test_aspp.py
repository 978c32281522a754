import pytest
import torch
from torch import nn

from deeplab.models.aspp import ASPP


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(32, [3, 6, 9]), (16, [6, 12, 18]), (8, [12, 24, 36])]
)
@pytest.mark.parametrize("separable", [False, True])
def test_atrous_rates_scale_with_output_stride(output_stride, rates, separable):
    aspp = ASPP(16, channels=8, separable=separable)
    aspp.set_output_stride(output_stride)
    convs = [m for m in aspp.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [conv.dilation[0] for conv in convs] == rates
    assert aspp(torch.randn(2, 16, 5, 7)).shape == (2, 8, 5, 7)


def test_fractional_rates_raise():
    with pytest.raises(ValueError, match="ASPP rate 5"):
        ASPP(16, atrous_rates=(5,)).set_output_stride(32)


@pytest.mark.parametrize("rates", [(), (6,), (6, 12, 18, 24)])
@pytest.mark.parametrize("image_pooling", [False, True])
def test_number_of_branches_is_configurable(rates, image_pooling):
    aspp = ASPP(16, channels=8, atrous_rates=rates, image_pooling=image_pooling)
    assert aspp.project.conv.in_channels == 8 * (len(rates) + 1 + image_pooling)
    assert aspp(torch.randn(2, 16, 5, 5)).shape == (2, 8, 5, 5)


def test_concatenation_order_is_pooling_1x1_atrous():
    aspp = ASPP(16, channels=4).eval()
    captured = []
    aspp.project.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    x = torch.randn(1, 16, 9, 9)
    aspp(x)
    expected = [aspp.image_pooling(x), aspp.conv(x), *(branch(x) for branch in aspp.atrous)]
    assert torch.equal(captured[0], torch.cat(expected, dim=1))


def test_dropout_follows_the_projection():
    aspp = ASPP(16, channels=64, dropout=0.5)
    out = aspp(torch.randn(4, 16, 9, 9))
    projected = aspp.project(torch.randn(4, 320, 9, 9))
    assert (out == 0).float().mean() > (projected == 0).float().mean() + 0.15


def test_training_with_one_image():
    """With one image, the image-level branch has one value per channel."""
    ASPP(16, channels=8).train()(torch.randn(1, 16, 3, 3)).sum().backward()
