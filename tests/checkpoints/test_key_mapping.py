"""Backbones against their peers with the same weights, moved through the key map.

The peers (torchvision, timm) are not among the locked packages: ``make test-extras``.
"""

import pytest
import torch
from safetensors.torch import save_file

from deeplab.checkpoints.loading import load_backbone
from deeplab.models.backbones import MobileNetV2, ResNet, Xception

pytestmark = pytest.mark.extras

SIDE = 129


def randomized(network):
    """Weights, statistics and affine parameters of batch norm that all matter."""
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


def moved(peer, backbone, tmp_path):
    """The backbone with the peer's weights, read from a file as a user's are."""
    save_file(peer.state_dict(), tmp_path / "peer.safetensors")
    fit = load_backbone(backbone, tmp_path / "peer.safetensors")
    assert set(fit.state) >= {name for name, _ in backbone.named_parameters()}
    return backbone.eval()


def differ(ours, theirs):
    """The largest difference, in units of the features' own size where that is above 1."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.01  # nothing has died out
    return float((ours - theirs).abs().max() / max(1.0, float(theirs.abs().max())))


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("depth", [50, 101])
@torch.no_grad()
def test_resnet_and_torchvision(tmp_path, images, depth, output_stride):
    models = pytest.importorskip("torchvision.models")
    dilated = [False, output_stride < 16, output_stride < 32]
    peer = getattr(models, f"resnet{depth}")(replace_stride_with_dilation=dilated)
    peer = randomized(peer)
    ours = moved(peer, ResNet(depth, layout="torchvision"), tmp_path)
    ours.set_output_stride(output_stride)
    features = ours(images)
    x = peer.maxpool(peer.relu(peer.bn1(peer.conv1(images))))
    for i, name in enumerate(("conv2", "conv3", "conv4", "output"), 1):
        x = getattr(peer, f"layer{i}")(x)
        assert differ(features[name], x) < 1e-4


@torch.no_grad()
def test_mobilenetv2_and_torchvision(tmp_path, images):
    models = pytest.importorskip("torchvision.models")
    peer = randomized(models.mobilenet_v2())
    ours = moved(peer, MobileNetV2(bn_eps=1e-5), tmp_path)
    ours.set_output_stride(32)
    assert differ(ours(images)["output"], peer.features[:18](images)) < 1e-4


@pytest.mark.parametrize(
    ("depth", "output_stride"),
    # timm's 71 has no projection in a unit that it builds without its stride: not at 8
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
    peer = randomized(timm.create_model(f"xception{depth}", output_stride=output_stride))
    ours = moved(peer, Xception(depth), tmp_path)
    ours.set_output_stride(output_stride)
    assert differ(ours(images)["output"], peer.forward_features(images)) < 1e-4
