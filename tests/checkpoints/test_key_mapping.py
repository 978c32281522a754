"""Comparison of backbones with reference networks after copying weights through the key mapping.

The references (torchvision, timm) are not among the locked packages: ``make test-extras``.
"""

import pytest
import torch
from safetensors.torch import save_file

from deeplab.checkpoints.matching import load_backbone
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from support.networks import TORCHVISION_RESNET

pytestmark = pytest.mark.extras

SIDE = 129


def randomize_batch_norm(network):
    """Randomize statistics and affine parameters of batch norm, so that all of them matter."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


def copy_weights(reference, backbone, tmp_path):
    """Load the reference's weights into the backbone through a file, as a user does."""
    save_file(reference.state_dict(), tmp_path / "reference.safetensors")
    report = load_backbone(backbone, tmp_path / "reference.safetensors")
    assert set(report.state) >= {name for name, _ in backbone.named_parameters()}
    return backbone.eval()


def max_difference(features, reference):
    """Return the largest difference, relative to the largest feature where that is above 1."""
    assert features.shape == reference.shape
    assert reference.std() > 0.01  # the features have not vanished
    return float((features - reference).abs().max() / max(1.0, float(reference.abs().max())))


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("depth", [50, 101])
@torch.no_grad()
def test_resnet_and_torchvision(tmp_path, images, depth, output_stride):
    models = pytest.importorskip("torchvision.models")
    dilated = [False, output_stride < 16, output_stride < 32]
    reference = getattr(models, f"resnet{depth}")(replace_stride_with_dilation=dilated)
    reference = randomize_batch_norm(reference)
    backbone = copy_weights(reference, ResNet(depth, **TORCHVISION_RESNET), tmp_path)
    backbone.set_output_stride(output_stride)
    features = backbone(images)
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
    for i, name in enumerate(("conv2", "conv3", "conv4", "output"), 1):
        x = getattr(reference, f"layer{i}")(x)
        assert max_difference(features[name], x) < 1e-4


@torch.no_grad()
def test_mobilenetv2_and_torchvision(tmp_path, images):
    models = pytest.importorskip("torchvision.models")
    reference = randomize_batch_norm(models.mobilenet_v2())
    backbone = copy_weights(reference, MobileNetV2(bn_eps=1e-5), tmp_path)
    backbone.set_output_stride(32)
    assert max_difference(backbone(images)["output"], reference.features[:18](images)) < 1e-4


@pytest.mark.parametrize(
    ("depth", "output_stride"),
    # At output stride 8 timm builds a unit of its 71 without stride and then without projection.
    [
        (depth, stride)
        for depth in (41, 65, 71)
        for stride in (32, 16, 8)
        if (depth, stride) != (71, 8)
    ],
)
@torch.no_grad()
def test_xception_and_timm(tmp_path, images, depth, output_stride):
    timm = pytest.importorskip("timm")
    model = timm.create_model(f"xception{depth}", output_stride=output_stride)
    reference = randomize_batch_norm(model)
    backbone = copy_weights(reference, Xception(depth), tmp_path)
    backbone.set_output_stride(output_stride)
    assert max_difference(backbone(images)["output"], reference.forward_features(images)) < 1e-4
