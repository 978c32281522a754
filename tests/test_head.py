"""ASPP and decoder."""

import pytest
import torch
from torch import nn

from deeplab.aspp import ASPP
from deeplab.backbones import Feature
from deeplab.decoder import Decoder
from networks import on_meta, tiny_resnet

LOW_LEVEL = {"conv2": Feature(24, 4), "conv3": Feature(32, 8), "conv4": Feature(40, 16)}


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(32, [3, 6, 9]), (16, [6, 12, 18]), (8, [12, 24, 36])]
)
@pytest.mark.parametrize("separable", [False, True])
def test_rates_follow_the_output_stride(output_stride, rates, separable):
    aspp = ASPP(16, channels=8, separable=separable)
    aspp.set_output_stride(output_stride)
    convs = [m for m in aspp.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [conv.dilation[0] for conv in convs] == rates
    assert aspp(torch.randn(2, 16, 5, 7)).shape == (2, 8, 5, 7)


def test_rates_that_do_not_scale_are_refused():
    with pytest.raises(ValueError, match="ASPP rate 5"):
        ASPP(16, rates=(5,)).set_output_stride(32)


@pytest.mark.parametrize("rates", [(), (6,), (6, 12, 18, 24)])
@pytest.mark.parametrize("image_pooling", [False, True])
def test_any_number_of_branches(rates, image_pooling):
    aspp = ASPP(16, channels=8, rates=rates, image_pooling=image_pooling)
    assert aspp.project.conv.in_channels == 8 * (len(rates) + 1 + image_pooling)
    assert aspp(torch.randn(2, 16, 5, 5)).shape == (2, 8, 5, 5)


def test_concatenation_order_is_pooling_1x1_rates():
    aspp = ASPP(16, channels=4).eval()
    seen = []
    aspp.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 16, 9, 9)
    aspp(x)
    expected = [aspp.image_pooling(x), aspp.conv(x), *(branch(x) for branch in aspp.atrous)]
    assert torch.equal(seen[0], torch.cat(expected, dim=1))


def test_dropout_is_behind_the_projection():
    aspp = ASPP(16, channels=64, dropout=0.5)
    out = aspp(torch.randn(4, 16, 9, 9))
    scaled = aspp.project(torch.randn(4, 320, 9, 9))
    assert (out == 0).float().mean() > (scaled == 0).float().mean() + 0.15


def test_one_training_image():
    """The image-level branch has one value per channel then."""
    ASPP(16, channels=8).train()(torch.randn(1, 16, 3, 3)).sum().backward()


@pytest.mark.parametrize(
    ("convs", "channels"),
    [
        (((3, 256),), 256),
        (((3, 256), (3, 256)), 256),
        (((3, 256),) * 3, 256),
        (((3, 128),), 128),
        (((1, 256),), 256),
        ((), 256 + 48),
    ],
)
def test_structures_of_table_2(convs, channels):
    decoder = on_meta(Decoder, 256, LOW_LEVEL, convs=convs)
    assert decoder.out_channels == channels
    features = {
        n: torch.empty(1, f.channels, 132 // f.stride, 132 // f.stride, device="meta")
        for n, f in LOW_LEVEL.items()
    }
    out = decoder(torch.empty(1, 256, 9, 9, device="meta"), features)
    assert out.shape == (1, channels, 33, 33)


@pytest.mark.parametrize("order", [("conv3", "conv2"), ("conv2", "conv3")])
def test_two_stages_go_from_coarse_to_fine(order):
    decoder = Decoder(16, LOW_LEVEL, low_level=order, low_level_channels=4, convs=((3, 8),))
    assert decoder.low_level == ["conv3", "conv2"]
    assert [stage.project.conv.in_channels for stage in decoder.stages] == [32, 24]
    assert [stage.refine[0].conv.in_channels for stage in decoder.stages] == [16 + 4, 8 + 4]
    features = {"conv3": torch.randn(1, 32, 17, 13), "conv2": torch.randn(1, 24, 33, 25)}
    assert decoder(torch.randn(1, 16, 9, 7), features).shape == (1, 8, 33, 25)


def test_encoder_comes_first_in_the_concatenation():
    decoder = Decoder(16, LOW_LEVEL, low_level_channels=4, convs=((3, 8),)).eval()
    stage = decoder.stages[0]
    seen = []
    stage.refine.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, low = torch.randn(1, 16, 33, 33), torch.randn(1, 24, 33, 33)
    decoder(x, {"conv2": low})
    assert torch.equal(seen[0], torch.cat([x, stage.project(low)], dim=1))


def test_naive_decoder_is_the_empty_one():
    decoder = Decoder(16, LOW_LEVEL, low_level=(), convs=())
    x = torch.randn(1, 16, 5, 5)
    assert decoder(x, {}) is x
    assert not list(decoder.parameters())


def test_separable_decoder_leaves_1x1_dense():
    decoder = Decoder(16, LOW_LEVEL, convs=((3, 8), (1, 8)), separable=True)
    depthwise = [m for m in decoder.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [conv.kernel_size for conv in depthwise] == [(3, 3)]


@pytest.mark.parametrize(
    ("low_level", "convs", "message"),
    [
        (("conv5",), ((3, 8),), "low-level stage 'conv5': the backbone has conv2, conv3, conv4"),
        (("conv2", "conv2"), ((3, 8),), "more than once"),
        ((), ((3, 8),), "without a low-level stage"),
    ],
)
def test_impossible_decoders(low_level, convs, message):
    with pytest.raises(ValueError, match=message):
        Decoder(16, tiny_resnet().low_level, low_level=low_level, convs=convs)
