import pytest
import torch

from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.models.network import without_constants
from deeplab.utils.settings import OUTPUT_STRIDES
from support.networks import (
    TORCHVISION_RESNET,
    build,
    on_meta,
    randomize_norms,
    tiny_model,
    tiny_resnet,
)


@pytest.mark.parametrize(
    ("backbone", "head", "trainable", "with_statistics"),
    [
        (lambda: ResNet(101), {"naive": True}, 58_164_437, 58_273_237),
        (lambda: ResNet(101), {}, 59_468_085, 59_578_005),
        (lambda: ResNet(101), {"separable": True}, 45_812_037, 45_935_365),
        (lambda: ResNet(101, stem="7x7"), {}, 59_344_309, 59_453_845),
        (lambda: ResNet(101, **TORCHVISION_RESNET), {}, 59_344_309, 59_453_845),
        (lambda: Xception(65), {"naive": True}, 53_407_813, 53_596_085),
        (lambda: Xception(65), {}, 54_711_461, 54_900_853),
        (lambda: Xception(65), {"separable": True}, 41_055_413, 41_258_213),
    ],
)
def test_exact_parameter_counts(backbone, head, trainable, with_statistics):
    model = on_meta(lambda: build(backbone(), **head))
    assert sum(p.numel() for p in model.parameters()) == trainable
    state = without_constants(model.state_dict())
    floats = [t.numel() for t in state.values() if t.is_floating_point()]
    assert sum(floats) == with_statistics


@pytest.mark.parametrize("size", [(33, 33), (34, 57), (64, 64), (65, 129), (100, 75)])
@pytest.mark.parametrize("output_stride", OUTPUT_STRIDES)
@pytest.mark.parametrize("naive", [False, True])
def test_logits_are_on_the_decoder_grid_for_any_size(size, output_stride, naive):
    model = tiny_model(naive=naive)
    model.set_output_stride(output_stride)
    assert model.output_stride == output_stride
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    stride = output_stride if naive else 4
    expected = tuple((side - 1) // stride + 1 for side in size)
    assert model(image).shape == (1, 5, *expected)  # in training mode, with one image


def test_all_backbones_in_a_model():
    for build_backbone in (lambda: Xception(41), lambda: MobileNetV2(0.25), lambda: ResNet(50)):
        backbone = on_meta(build_backbone)
        model = on_meta(build, backbone, low_level=("conv3", "conv2"))
        out = model(torch.empty(2, 3, 97, 129, dtype=torch.uint8, device="meta"))
        assert out.shape == (2, 21, 25, 33)


def test_atrous_consistency_of_the_encoder():
    """Backbone and ASPP are consistent, except for image pooling.

    Image pooling averages over a different number of pixels at each output stride.
    """
    torch.manual_seed(0)
    model = build(tiny_resnet(), naive=True, channels=8, image_pooling=False).double().eval()
    randomize_norms(model)
    image = torch.randint(0, 256, (1, 3, 97, 65), dtype=torch.uint8)
    with torch.no_grad():
        model.set_output_stride(32)
        coarse = model(image)
        model.set_output_stride(8)
        torch.testing.assert_close(model(image)[..., ::4, ::4], coarse, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("copied", [False, True])
def test_the_state_dict_has_the_constants_that_belong_to_the_weights(copied):
    """Pretrained weights bring their normalization and epsilon, in plain copies of tensors too."""
    trained = build(tiny_resnet(mean=(9, 8, 7), std=(6, 5, 4), bn_eps=0.02), channels=8).eval()
    served = build(tiny_resnet(), channels=8).eval()
    state = trained.state_dict()
    served.load_state_dict({k: t.clone() for k, t in state.items()} if copied else state)
    image = torch.randint(0, 256, (1, 3, 65, 65), dtype=torch.uint8)
    assert torch.equal(served(image), trained(image))
    assert torch.equal(served.get_extra_state(), trained.get_extra_state())


def test_a_state_dict_of_before_keeps_the_constants():
    trained = build(tiny_resnet(mean=(9, 8, 7), std=(6, 5, 4)), channels=8).eval()
    before = trained.get_extra_state()
    trained.load_state_dict(without_constants(build(tiny_resnet(), channels=8).state_dict()))
    assert torch.equal(trained.get_extra_state(), before)


def test_changing_the_output_stride_equals_building_at_it():
    """Weights trained at output stride 16 run at 8 as in a network built at 8."""
    trained, built = tiny_model().eval(), tiny_model().eval()
    built.set_output_stride(8)
    built.load_state_dict(trained.state_dict())
    image = torch.randint(0, 256, (1, 3, 65, 65), dtype=torch.uint8)
    at_16 = trained(image)
    trained.set_output_stride(8)
    assert torch.equal(trained(image), built(image))
    assert not torch.equal(trained(image), at_16)
    trained.set_output_stride(16)
    assert torch.equal(trained(image), at_16)


def test_model_normalizes_its_input():
    model = build(tiny_resnet(**TORCHVISION_RESNET), channels=8).eval()
    captured = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    image = torch.full((1, 3, 33, 33), 255, dtype=torch.uint8)
    model(image)
    model(image.float())
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(captured[0][0, :, 0, 0], expected)
    assert torch.equal(captured[0], captured[1])


def test_initial_logit_weights_are_small():
    model = build(tiny_resnet(), num_classes=200)
    assert model.logits.weight.detach().std() == pytest.approx(0.0088, rel=0.05)
    assert not model.logits.bias.any()
    assert model.num_classes == 200
