import pytest
import torch
from torch import nn

from deeplab.models.backbones import Feature
from deeplab.models.decoder import Decoder
from support.networks import on_meta, tiny_resnet

LOW_LEVEL = {"conv2": Feature(24, 4), "conv3": Feature(32, 8), "conv4": Feature(40, 16)}


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
def test_decoder_structures_of_table_2(convs, channels):
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


def test_without_the_1x1_convolution_all_channels_of_the_feature_are_concatenated():
    decoder = Decoder(16, LOW_LEVEL, low_level_channels=None, convs=((3, 8),)).eval()
    stage = decoder.stages[0]
    assert stage.refine[0].conv.in_channels == 16 + 24
    x, low = torch.randn(1, 16, 33, 33), torch.randn(1, 24, 33, 33)
    expected = stage.refine(torch.cat([x, low], dim=1))
    assert torch.equal(decoder(x, {"conv2": low}), expected)


def test_encoder_comes_first_in_the_concatenation():
    decoder = Decoder(16, LOW_LEVEL, low_level_channels=4, convs=((3, 8),)).eval()
    stage = decoder.stages[0]
    captured = []
    stage.refine.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    x, low = torch.randn(1, 16, 33, 33), torch.randn(1, 24, 33, 33)
    decoder(x, {"conv2": low})
    assert torch.equal(captured[0], torch.cat([x, stage.project(low)], dim=1))


def test_naive_decoder_has_no_stages():
    decoder = Decoder(16, LOW_LEVEL, low_level=(), convs=())
    x = torch.randn(1, 16, 5, 5)
    assert decoder(x, {}) is x
    assert not list(decoder.parameters())


def test_separable_decoder_keeps_1x1_convolutions():
    decoder = Decoder(16, LOW_LEVEL, convs=((3, 8), (1, 8)), separable=True)
    depthwise = [m for m in decoder.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [conv.kernel_size for conv in depthwise] == [(3, 3)]


@pytest.mark.parametrize(
    ("low_level", "convs", "message"),
    [
        (("conv5",), ((3, 8),), "low_level=conv5: .* Choose from conv2, conv3, conv4"),
        (("conv2", "conv2"), ((3, 8),), "more than once"),
        ((), ((3, 8),), "without a low-level stage"),
    ],
)
def test_invalid_decoders_raise(low_level, convs, message):
    with pytest.raises(ValueError, match=message):
        Decoder(16, tiny_resnet().low_level, low_level=low_level, convs=convs)
