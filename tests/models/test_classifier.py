"""The classification network."""

import pytest
import torch
from torch.nn import functional as F

from deeplab.checkpoints.loading import save_weights
from deeplab.checkpoints.matching import load_backbone
from deeplab.config.schema.stage import Recipe
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.models.classifier import Classifier
from deeplab.models.flops import measure_cost
from deeplab.models.network import without_constants
from deeplab.training.classification import ClassificationModule
from deeplab.training.losses import ClassificationLoss
from deeplab.training.optimizers import parameter_groups
from support.networks import SMALL_BACKBONES, build, on_meta, randomize_norms, tiny_resnet


def test_state_dict_keys():
    backbone = tiny_resnet()
    keys = set(without_constants(Classifier(backbone, num_classes=7).state_dict()))
    head_keys = {key for key in keys if not key.startswith("backbone.")}
    assert head_keys == {"classifier.weight", "classifier.bias"}
    assert {key.removeprefix("backbone.") for key in keys - head_keys} == set(backbone.state_dict())


@pytest.mark.parametrize("name", SMALL_BACKBONES)
def test_forward_equals_a_direct_computation(name):
    torch.manual_seed(0)
    backbone = SMALL_BACKBONES[name]()
    model = Classifier(backbone, num_classes=7, dropout=0.5)
    randomize_norms(model)
    torch.nn.init.normal_(model.classifier.bias)
    model.eval()
    images = torch.randint(0, 256, (2, 3, 65, 97), dtype=torch.uint8)
    with torch.no_grad():
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
        features = backbone((images.float() - mean) / std)["output"]
        assert features.shape[2:] == (3, 4)  # output stride 32
        weight = model.classifier.weight[:, :, 0, 0]
        expected = F.linear(features.flatten(2).mean(2), weight, model.classifier.bias)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_logits_are_float32_under_mixed_precision():
    model = Classifier(tiny_resnet(), num_classes=7)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(2, 3, 33, 33, dtype=torch.uint8)).dtype == torch.float32


@pytest.mark.parametrize("build_backbone", [lambda: Xception(65), lambda: ResNet(101)])
def test_cost(build_backbone):
    """The cost is that of the backbone at output stride 32 and a 1000-class layer with bias."""
    model = on_meta(lambda: Classifier(build_backbone(), num_classes=1000))
    cost = measure_cost(model, input_size=(299, 299))
    assert cost.trainable == sum(p.numel() for p in model.backbone.parameters()) + 2_049_000
    counted = 0

    def count(module, inputs, output):
        nonlocal counted
        counted += module.weight[0].numel() * output[0].numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    model(torch.empty(1, 3, 299, 299, dtype=torch.uint8, device="meta"))
    assert cost.conv == counted


def test_weights_initialize_a_segmentation_network(tmp_path):
    torch.manual_seed(0)
    model = Classifier(MobileNetV2(0.25), num_classes=7)
    randomize_norms(model)
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    network = build(MobileNetV2(0.25), channels=8)
    load_backbone(network.backbone, path)
    for name, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[name]), name


def test_every_parameter_is_in_one_group_and_the_bias_has_no_weight_decay():
    model = Classifier(MobileNetV2(0.25), num_classes=7)
    groups = {g["name"]: g for g in parameter_groups(model, Recipe(lr=0.1, weight_decay=1.0))}
    grouped = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert [p is model.classifier.weight for p in groups["head.weight"]["params"]] == [True]
    assert groups["head.bias"]["weight_decay"] == 0.0


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_overfits_one_batch(kind):
    torch.manual_seed(0)
    module = ClassificationModule(
        Classifier(tiny_resnet(), num_classes=3), Recipe(lr=0.05, bn_momentum=0.1), "abc",
        loss=ClassificationLoss(kind),
    )  # fmt: skip
    images = torch.randint(0, 256, (6, 3, 33, 33), dtype=torch.uint8)
    labels = torch.tensor([[0], [1], [2], [0], [1], [2]])
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(40):
        loss = module.loss(module.model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
