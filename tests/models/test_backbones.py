from itertools import product

import pytest
import torch
from torch import nn

from deeplab.models import backbones
from deeplab.models.backbones import (
    MobileNetV2,
    ResNet,
    TimmEncoder,
    Xception,
    backbone_class,
    backbone_names,
)
from deeplab.models.backbones.mobilenetv2 import scale_channels
from deeplab.utils.settings import OUTPUT_STRIDES
from support.networks import (
    SMALL_BACKBONES,
    TORCHVISION_RESNET,
    equal_states,
    on_meta,
    randomize_norms,
    tiny_resnet,
)


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: Xception(41), 24_920_560),
        (lambda: Xception(65), 37_867_312),
        (lambda: Xception(71), 40_289_736),
        (lambda: ResNet(101), 42_623_936),
        (lambda: ResNet(101, **TORCHVISION_RESNET), 42_500_160),
        (lambda: ResNet(101, stem="7x7"), 42_500_160),
        # torchvision's resnet50 has 25,557,032 parameters, 2,049,000 of them in its classifier
        (lambda: ResNet(50, **TORCHVISION_RESNET), 23_508_032),
        # torchvision's mobilenet_v2 has 3,504,872: without classifier and 1280-channel convolution
        (lambda: MobileNetV2(), 3_504_872 - 1_281_000 - (320 * 1280 + 2 * 1280)),
    ],
)
def test_exact_parameter_counts(build, count):
    assert parameter_count(on_meta(build)) == count


@pytest.mark.parametrize("build", SMALL_BACKBONES.values(), ids=SMALL_BACKBONES)
def test_features_match_their_declaration(build):
    backbone = on_meta(build)
    for output_stride, size in product(OUTPUT_STRIDES, [(65, 65), (33, 50), (64, 97)]):
        backbone.set_output_stride(output_stride)
        outputs = backbone(torch.empty(1, 3, *size, device="meta"))
        assert outputs.keys() == backbone.features.keys() == {"conv2", "conv3", "conv4", "output"}
        for name, feature in backbone.features.items():
            sides = tuple((side - 1) // feature.stride + 1 for side in size)
            assert outputs[name].shape == (1, feature.channels, *sides), (name, output_stride, size)
        strides = {name: f.stride for name, f in backbone.features.items()}
        assert strides == {
            "conv2": 4,
            "conv3": 8,
            "conv4": min(16, output_stride),
            "output": output_stride,
        }


def test_declared_channels():
    channels = lambda b: [f.channels for f in b.features.values()]  # noqa: E731
    assert channels(on_meta(Xception, 65)) == [256, 728, 1024, 2048]
    assert channels(on_meta(Xception, 71)) == [256, 728, 1024, 2048]
    assert channels(on_meta(ResNet, 101)) == [256, 512, 1024, 2048]
    assert channels(on_meta(MobileNetV2)) == [144, 192, 576, 320]


def strides_and_dilations(unit: nn.Module) -> list[tuple[int, int]]:
    """Return stride and dilation of the unit's 3x3 convolutions."""
    convs = [m for m in unit.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    for conv in convs:
        assert conv.padding == conv.dilation
    return [(conv.stride[0], conv.dilation[0]) for conv in convs]


@pytest.mark.parametrize(
    ("output_stride", "entry_3", "middle", "exit_1", "exit_2"),
    [(32, (2, 1), 1, (2, 1), 1), (16, (2, 1), 1, (1, 1), 2), (8, (1, 1), 2, (1, 2), 4)],
)
def test_xception_strides_and_dilations(output_stride, entry_3, middle, exit_1, exit_2):
    backbone = on_meta(Xception, 65)
    backbone.set_output_stride(output_stride)
    units = [strides_and_dilations(unit) for unit in backbone.units]
    assert len(units) == 3 + 16 + 2
    assert units[0] == units[1] == [(1, 1), (1, 1), (2, 1)]
    assert units[2] == [(1, entry_3[1])] * 2 + [entry_3]
    assert units[3:19] == [[(1, middle)] * 3] * 16
    assert units[19] == [(1, exit_1[1])] * 2 + [exit_1]
    assert units[20] == [(1, exit_2)] * 3


@pytest.mark.parametrize("output_stride", OUTPUT_STRIDES)
def test_xception_71_has_a_deeper_entry_flow(output_stride):
    backbone = on_meta(Xception, 71)
    backbone.set_output_stride(output_stride)
    assert [unit.stride for unit in backbone.units] == [2, 1, 2, 1, 2] + [1] * 16 + [2, 1]
    dilations = {32: (1, 1), 16: (1, 2), 8: (2, 4)}[output_stride]
    assert strides_and_dilations(backbone.units[5])[0] == (1, dilations[0])
    assert strides_and_dilations(backbone.units[-1])[0] == (1, dilations[1])


@pytest.mark.parametrize(
    ("output_stride", "block_2_last", "block_3", "block_3_last", "block_4"),
    [
        (32, (2, 1), (1, 1), (2, 1), (1, 2, 4)),
        (16, (2, 1), (1, 1), (1, 1), (2, 4, 8)),
        (8, (1, 1), (1, 2), (1, 2), (4, 8, 16)),
    ],
)
def test_resnet_beta_strides_and_dilations(
    output_stride, block_2_last, block_3, block_3_last, block_4
):
    backbone = on_meta(ResNet, 101)
    backbone.set_output_stride(output_stride)
    units = [strides_and_dilations(unit)[0] for unit in backbone.units]
    assert len(units) == 3 + 4 + 23 + 3
    assert units[:3] == [(1, 1), (1, 1), (2, 1)]
    assert units[3:7] == [(1, 1)] * 3 + [block_2_last]
    assert units[7:29] == [block_3] * 22
    assert units[29] == block_3_last
    assert units[30:] == [(1, dilation) for dilation in block_4]


@pytest.mark.parametrize(
    ("output_stride", "layer_3", "layer_4"),
    [
        (32, [(2, 1)] + [(1, 1)] * 5, [(2, 1), (1, 1), (1, 1)]),
        (16, [(2, 1)] + [(1, 1)] * 5, [(1, 1), (1, 2), (1, 2)]),
        (8, [(1, 1)] + [(1, 2)] * 5, [(1, 2), (1, 4), (1, 4)]),
    ],
)
def test_torchvision_layout_strides_and_dilations(output_stride, layer_3, layer_4):
    """They equal those of torchvision's ``replace_stride_with_dilation``."""
    backbone = on_meta(ResNet, 50, **TORCHVISION_RESNET)
    backbone.set_output_stride(output_stride)
    units = [strides_and_dilations(unit)[0] for unit in backbone.units]
    assert units[:7] == [(1, 1)] * 3 + [(2, 1)] + [(1, 1)] * 3
    assert units[7:13] == layer_3
    assert units[13:] == layer_4
    projections = [u.shortcut.conv.stride[0] for u in backbone.units if hasattr(u.shortcut, "conv")]
    assert projections == [1, 2, units[7][0], units[13][0]]


@pytest.mark.parametrize("build", SMALL_BACKBONES.values(), ids=SMALL_BACKBONES)
def test_atrous_consistency(build):
    """A lower output stride changes only the resolution.

    At the pixels of output stride 32, output strides 8 and 16 give the same features.
    """
    torch.manual_seed(0)
    backbone = build().double().eval()
    randomize_norms(backbone)
    image = torch.randn(1, 3, 97, 129, dtype=torch.float64)
    with torch.no_grad():
        backbone.set_output_stride(32)
        coarse = backbone(image)["output"]
        for output_stride in (16, 8):
            backbone.set_output_stride(output_stride)
            step = 32 // output_stride
            fine = backbone(image)["output"][..., ::step, ::step]
            torch.testing.assert_close(fine, coarse, rtol=1e-9, atol=1e-9)
    assert coarse.std() > 1e-3


@pytest.mark.parametrize("build", SMALL_BACKBONES.values(), ids=SMALL_BACKBONES)
def test_output_stride_does_not_change_the_state_dict(build):
    backbone = build()
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    backbone.set_output_stride(8)
    assert equal_states(before, backbone.state_dict())


def test_position_of_low_level_features():
    """The sign of the features shows where each backbone takes them.

    Before any ReLU (Xception), before the addition (ResNet beta), at a block's output
    (torchvision), and after the ReLU6 of a depthwise convolution (MobileNetV2).
    """
    torch.manual_seed(0)
    image = torch.randn(1, 3, 65, 65)
    minimum = {}
    for name, build in SMALL_BACKBONES.items():
        backbone = build().eval()
        minimum[name] = backbone(image)["conv2"].min()
    assert minimum["xception41"] < 0
    assert minimum["resnet_beta"] < 0
    assert minimum["resnet_torchvision"] >= 0
    assert minimum["mobilenetv2"] == 0


def test_resnet_beta_low_level_feature_is_the_branch_before_the_stride():
    backbone = ResNet(50, base_width=4).eval()
    image = torch.randn(1, 3, 65, 65)
    unit = backbone.units[1]
    x = backbone.units[0](backbone.stem(image)).output
    expected = unit.conv3(unit.conv2(unit.conv1(x)))
    assert torch.equal(backbone(image)["conv2"], expected)


def test_xception_shortcut_takes_the_input_before_the_relu():
    backbone = Xception(41, width_mult=0.125).eval()
    unit = backbone.units[3]  # first unit of the middle flow: identity shortcut
    x = torch.randn(1, 728 // 8, 5, 5)
    branch = unit.separable[2](unit.separable[1](unit.separable[0](x)))
    torch.testing.assert_close(unit(x).output, branch + x)
    assert (unit(x).output < 0).any()  # no activation after the addition


def test_only_the_last_xception_block_has_inner_activations():
    backbone = Xception(41, width_mult=0.125).eval()
    relus = [sum(isinstance(m, nn.ReLU) for m in unit.modules()) for unit in backbone.units]
    assert relus == [0] * 12 + [6]
    assert backbone(torch.randn(1, 3, 33, 33))["output"].min() == 0


def test_authors_batch_norm_settings():
    norms = lambda b: {(m.eps, m.momentum) for m in b.modules() if isinstance(m, nn.BatchNorm2d)}  # noqa: E731
    assert norms(on_meta(Xception)) == {(1e-3, 3e-4)}
    assert norms(on_meta(ResNet)) == {(1e-5, 3e-4)}
    assert norms(on_meta(MobileNetV2)) == {(1e-3, 3e-3)}
    assert norms(on_meta(MobileNetV2, bn_eps=1e-5, bn_momentum=0.1)) == {(1e-5, 0.1)}


@pytest.mark.parametrize(
    ("channels", "width", "divisor", "expected"),
    [(32, 0.5, 8, 16), (24, 0.5, 8, 16), (24, 0.5, 1, 12), (16, 0.35, 8, 8), (320, 1.4, 8, 448)],
)
def test_mobilenet_channel_rounding(channels, width, divisor, expected):
    assert scale_channels(channels, width, divisor) == expected


def test_multi_grid():
    exit_flow = on_meta(Xception, 41, multi_grid=(1, 2, 4)).units[-1]
    assert [dilation for _, dilation in strides_and_dilations(exit_flow)] == [2, 4, 8]
    block = on_meta(tiny_resnet, multi_grid=(1, 2, 1)).units
    assert [strides_and_dilations(unit)[0][1] for unit in block[-2:]] == [2, 4]


def test_every_family_is_registered():
    registered = {backbone_class(name) for name in backbone_names()}
    assert registered >= {Xception, ResNet, MobileNetV2, TimmEncoder}
    assert {*backbones.__all__} >= {family.__name__ for family in registered}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Xception(39), "depth=39: not a known Xception. Choose from 41, 65, 71"),
        (lambda: ResNet(34), "depth=34: not a known ResNet. Choose from 50, 101"),
        (lambda: ResNet((1, 2, 2, 2)), "two units in each"),
        (lambda: ResNet((2, 2, 2)), "units of each of the four blocks"),
        (
            lambda: on_meta(Xception).set_output_stride(12),
            "output stride 12 is not allowed. Choose from 8, 16, 32",
        ),
    ],
)
def test_invalid_values_raise(build, message):
    with pytest.raises(ValueError, match=message):
        build()
