import pytest
import torch

from deeplab.models.backbones import OUTPUT_STRIDES, MobileNetV2, ResNet, Xception
from support.networks import build, on_meta, randomize_norms, tiny_model, tiny_resnet


@pytest.mark.parametrize(
    ("backbone", "head", "trainable", "with_statistics"),
    [
        (lambda: ResNet(101), {"naive": True}, 58_164_437, 58_273_237),
        (lambda: ResNet(101), {}, 59_468_085, 59_578_005),
        (lambda: ResNet(101), {"separable": True}, 45_812_037, 45_935_365),
        (lambda: ResNet(101, stem="7x7"), {}, 59_344_309, 59_453_845),
        (lambda: ResNet(101, layout="torchvision"), {}, 59_344_309, 59_453_845),
        (lambda: Xception(65), {"naive": True}, 53_407_813, 53_596_085),
        (lambda: Xception(65), {}, 54_711_461, 54_900_853),
        (lambda: Xception(65), {"separable": True}, 41_055_413, 41_258_213),
    ],
)
def test_parameters_to_the_unit(backbone, head, trainable, with_statistics):
    model = on_meta(lambda: build(backbone(), **head))
    assert sum(p.numel() for p in model.parameters()) == trainable
    floats = [t.numel() for t in model.state_dict().values() if t.is_floating_point()]
    assert sum(floats) == with_statistics


@pytest.mark.parametrize("size", [(33, 33), (34, 57), (64, 64), (65, 129), (100, 75)])
@pytest.mark.parametrize("output_stride", OUTPUT_STRIDES)
@pytest.mark.parametrize("naive", [False, True])
def test_any_size_gives_logits_on_the_decoder_grid(size, output_stride, naive):
    model = tiny_model(naive=naive)
    model.set_output_stride(output_stride)
    assert model.output_stride == output_stride
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    stride = output_stride if naive else 4
    expected = tuple((side - 1) // stride + 1 for side in size)
    assert model(image).shape == (1, 5, *expected)  # in training mode, with one image


def test_all_backbones_in_a_model():
    for make in (lambda: Xception(41), lambda: MobileNetV2(0.25), lambda: ResNet(50)):
        model = on_meta(lambda make=make: build(make(), low_level=("conv3", "conv2")))
        out = model(torch.empty(2, 3, 97, 129, dtype=torch.uint8, device="meta"))
        assert out.shape == (2, 21, 25, 33)


def test_head_is_atrous_consistent_too():
    """Without image pooling (it averages over another number of pixels) the whole encoder."""
    torch.manual_seed(0)
    model = build(tiny_resnet(), naive=True, channels=8, image_pooling=False).double().eval()
    randomize_norms(model)
    image = torch.randint(0, 256, (1, 3, 97, 65), dtype=torch.uint8)
    with torch.no_grad():
        model.set_output_stride(32)
        coarse = model(image)
        model.set_output_stride(8)
        torch.testing.assert_close(model(image)[..., ::4, ::4], coarse, rtol=1e-9, atol=1e-9)


def test_switching_equals_building():
    """Weights trained at 16 run at 8 as in a network built at 8."""
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


def test_input_is_normalized_inside():
    model = build(tiny_resnet(layout="torchvision"), channels=8).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.full((1, 3, 33, 33), 255, dtype=torch.uint8)
    model(image)
    model(image.float())
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)
    assert torch.equal(seen[0], seen[1])


def test_logits_start_small():
    model = build(tiny_resnet(), num_classes=200)
    assert model.logits.weight.detach().std() == pytest.approx(0.0088, rel=0.05)
    assert not model.logits.bias.any()
    assert model.num_classes == 200
