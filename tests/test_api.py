"""The framework from Python, in one process, as in a notebook."""

import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

import deeplab
from deeplab.models import DeepLabV3Plus
from support.networks import tiny_model
from support.repository import ROOT

TINY = {"aspp": "tiny", "decoder": "tiny"}


def test_import_is_light_and_shows_the_names():
    code = (
        "import deeplab, sys; print(dir(deeplab)); assert not {'torch', 'hydra'} & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True
    ).stdout
    for name in deeplab.__all__:
        assert repr(name) in shown


def test_a_created_model_is_a_plain_module_that_trains(tmp_path):
    model = deeplab.create_model("resnet_tiny", **TINY, num_classes=3, output_stride=8)
    assert type(model) is DeepLabV3Plus
    assert model.output_stride == 8
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images = torch.randint(0, 256, (2, 3, 65, 65), dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 17, 17))
    losses = []
    for _ in range(8):
        losses.append(torch.nn.functional.cross_entropy(model(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    other = deeplab.create_model("resnet_tiny", **TINY, num_classes=3)
    other.load_state_dict(torch.load(tmp_path / "mine.pt", weights_only=True))
    other.set_output_stride(8)
    assert torch.equal(other.eval()(images), model.eval()(images))


def test_values_of_a_group_are_keyword_arguments():
    model = deeplab.create_model(
        "resnet_tiny",
        base_width=4,
        aspp={"channels": 8, "atrous_rates": (6, 12)},
        decoder={"low_level": ["conv3", "conv2"], "low_level_channels": 4, "convs": [(3, 8)]},
        num_classes=5,
    )
    parts = {"low_level": ("conv3", "conv2"), "convs": ((3, 8),), "atrous_rates": (6, 12)}
    same = tiny_model(**parts).state_dict()
    assert {k: t.shape for k, t in model.state_dict().items()} == {
        k: t.shape for k, t in same.items()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet_tyni"}, "Did you mean resnet_tiny"),
        ({"backbone": "resnet_tiny", "dephth": 3}, "backbone.dephth: no such key"),
        ({"backbone": 101}, "backbone=101: expected the name"),
        ({"decoder": "niave"}, "Did you mean naive"),
        ({"decoder": {"low_levle": ["conv2"]}}, "decoder.low_levle: no such key"),
        ({"output_stride": 4}, "output_stride=4: must be 8, 16 or 32"),
        ({"num_classes": 0}, "num_classes=0: expected an integer"),
        ({"backbone": "resnet_tiny", "pretrained": True}, "no published weights of this backbone"),
        ({"pretrained": "missing.pth"}, "missing.pth: no such file"),
        ({"in_channels": 4, "mean": [1, 2]}, "expected 4 values"),
    ],
)
def test_a_mistake_is_one_exception(arguments, message):
    with pytest.raises(deeplab.UserError, match=message):
        deeplab.create_model(**arguments)


def test_models_are_listed_by_pattern():
    assert "xception" in deeplab.list_models()
    assert deeplab.list_models("*_tiny") == ["resnet_tiny", "xception_tiny"]
    assert "resnet_tiny" not in deeplab.list_models("resnet*", pretrained=True)


@pytest.mark.parametrize("in_channels", [1, 6])
def test_pretrained_weights_fit_other_channels(in_channels, tmp_path):
    """Gray images give what they give as RGB, and so do two equal images one after the other."""
    rgb = deeplab.create_model("resnet_tiny", **TINY)
    torch.save(rgb.backbone.state_dict(), tmp_path / "backbone.pth")
    model = deeplab.create_model(
        "resnet_tiny", **TINY, in_channels=in_channels, pretrained=tmp_path / "backbone.pth"
    )
    gray = torch.randint(0, 256, (2, 1, 65, 65)).float()
    image = gray if in_channels == 1 else torch.randint(0, 256, (2, 3, 65, 65)).float()
    features = [
        network.backbone.eval()(network.normalize(images))["output"]
        for network, images in (
            (rgb, image.expand(-1, 3, -1, -1)),
            (model, image.repeat(1, max(1, in_channels // 3), 1, 1)),
        )
    ]
    torch.testing.assert_close(*features, atol=1e-4, rtol=1e-4)


def test_a_hydra_application_of_the_caller_stays_as_it_is(tmp_path):
    (tmp_path / "stage").mkdir()
    (tmp_path / "train.yaml").write_text("defaults: [{stage: voc}]\nmine: 1\n")
    (tmp_path / "stage" / "voc.yaml").write_text("own: 2\n")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = compose("train", return_hydra_config=True)
        HydraConfig.instance().set_config(before)
        deeplab.create_model("resnet_tiny", **TINY)
        assert HydraConfig.get() == before.hydra
        assert str(VersionBase.instance().getbase()) == "1.2"
        assert compose("train") == {"stage": {"own": 2}, "mine": 1}
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert compose("train") == {"stage": {"own": 2}, "mine": 1}
