"""Conversion of TensorFlow variables: detected by their names, they fill every parameter."""

import re

import numpy as np
import pytest
import torch

from deeplab.config.build_model import check_model
from deeplab.models.network import without_constants
from deeplab.tools.convert.architecture import detect_architecture
from deeplab.tools.convert.arguments import add_keys
from deeplab.tools.convert.convert import OVERRIDES
from deeplab.tools.convert.tensorflow_names import convert
from deeplab.training.compose_config import compose_segmentation, compose_train
from deeplab.utils.errors import UserError
from support import slim_variables as slim
from support.scripts import run

NETWORKS = {
    # With parameter counts where the paper's are known; see test_backbones.
    "xception_65, as deeplabv3_pascal_train_aug": (
        [*slim.xception(65), *slim.head(2048, low_level=256, separable=True)],
        41_055_413,
    ),
    "xception_65, no decoder": ([*slim.xception(65), *slim.head(2048)], 53_407_813),
    "xception_65, decoder": ([*slim.xception(65), *slim.head(2048, low_level=256)], 54_711_461),
    "xception_41": ([*slim.xception(41), *slim.head(2048, classes=19)], None),
    "xception_71, without image pooling": (
        [*slim.xception(71), *slim.head(2048, low_level=256, separable=True, pooling=False)],
        None,
    ),
    "resnet_v1_101 beta": (
        [*slim.resnet(101, beta=True), *slim.head(2048, low_level=256)],
        59_468_085,
    ),
    "resnet_v1_50": ([*slim.resnet(50, beta=False), *slim.head(2048)], None),
    "mobilenet_v2": ([*slim.mobilenetv2(), *slim.head(320, atrous=False)], None),
    "mobilenet_v2, decoder": (
        [*slim.mobilenetv2(), *slim.head(320, low_level=144, classes=151)],
        None,
    ),
    "mobilenet_v2 dm05": ([*slim.mobilenetv2(half=True), *slim.head(160, atrous=False)], None),
}


def numbered(shapes):
    """Fill every variable with its number."""
    return {
        name: np.broadcast_to(np.float32(number), shape)
        for number, (name, shape) in enumerate(shapes, 1)
    }


def network(variables):
    architecture = detect_architecture(variables)
    config = compose_segmentation([*architecture.overrides, *OVERRIDES], read_images=False)
    model = check_model(config, num_classes=architecture.num_classes)
    return model, architecture, config


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_fills_its_parameter(name):
    shapes, parameters = NETWORKS[name]
    variables = numbered(shapes)
    model, architecture, _ = network(variables)
    state = convert(model, variables, architecture.scope)
    assert state.keys() == without_constants(model.state_dict()).keys()
    weights = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    numbers = [float(t.flatten()[0]) for t in weights.values()]
    assert all(bool((t == t.flatten()[0]).all()) for t in weights.values())
    assert sorted(numbers) == list(range(1, len(variables) + 1))
    counted = sum(p.numel() for p in model.parameters())
    assert counted == sum(int(np.prod(shape)) for name, shape in shapes if "moving_" not in name)
    assert parameters in (None, counted)
    assert not [n for n in architecture.overrides if "train" in n]


@pytest.mark.parametrize(
    ("tf_scope", "module"),
    [
        (
            "xception_65/entry_flow/block2/unit_1/xception_module/separable_conv2_pointwise",
            "backbone.units.1.separable.1.pointwise",
        ),
        (
            "xception_65/middle_flow/block1/unit_16/xception_module/separable_conv3_depthwise",
            "backbone.units.18.separable.2.depthwise",
        ),
        ("xception_65/exit_flow/block1/unit_1/xception_module/shortcut", "backbone.units.19.skip"),
        ("aspp2_depthwise", "aspp.atrous.1.depthwise"),
        ("decoder/decoder_conv1_pointwise", "decoder.stages.0.refine.1.pointwise"),
    ],
)
def test_variables_map_to_modules(tf_scope, module):
    variables = numbered(NETWORKS["xception_65, as deeplabv3_pascal_train_aug"][0])
    model, architecture, _ = network(variables)
    state = convert(model, variables, architecture.scope)
    for key, variable in (("weight", "gamma"), ("running_var", "moving_variance")):
        assert state[f"{module}.norm.{key}"][0] == variables[f"{tf_scope}/BatchNorm/{variable}"][0]


@pytest.mark.parametrize(
    ("shapes", "classifier", "choice"),
    [
        (slim.xception(65), {"xception_65/logits/weights": (1, 1, 2048, 1001)}, "xception"),
        (slim.resnet(101, beta=True), {"resnet_v1_101/logits/biases": (1001,)}, "resnet101"),
        (slim.mobilenetv2(), {"MobilenetV2/Conv_1/weights": (1, 1, 320, 1280)}, "mobilenetv2"),
    ],
)
def test_a_classifier_yields_its_backbone(shapes, classifier, choice):
    shapes = dict(shapes)
    variables = numbered((shapes | classifier).items())
    architecture = detect_architecture(variables)
    assert architecture.classifier_variables == list(classifier)
    assert architecture.num_classes is None
    assert f"backbone={choice}" in architecture.overrides
    config = compose_train([*architecture.overrides, "logger=csv"])
    backbone = check_model(config, num_classes=2).backbone
    state = convert(backbone, {name: variables[name] for name in shapes}, architecture.scope)
    assert state.keys() == backbone.state_dict().keys()
    numbers = [int(t.flatten()[0]) for k, t in state.items() if "num_batches" not in k]
    assert sorted(numbers) == list(range(1, len(shapes) + 1))


def test_detected_architectures():
    _, _, config = network(numbered(NETWORKS["mobilenet_v2 dm05"][0]))
    assert (config.data.name, config.backbone.width_mult, config.backbone.divisor) == (
        "voc",
        0.5,
        1,
    )
    assert config.backbone.mean == (127.5,) * 3
    _, _, config = network(numbered(NETWORKS["resnet_v1_50"][0]))
    assert config.backbone.mean == (123.15, 115.9, 103.06)
    assert config.backbone.multi_grid == (1, 2, 4)
    _, _, config = network(numbered(NETWORKS["xception_41"][0]))
    assert config.data.name == "cityscapes"


def test_layouts_of_convolutions():
    """Compare with TensorFlow's definition of both convolutions, computed here with einsum."""
    generator = np.random.default_rng(0)
    shapes = NETWORKS["mobilenet_v2 dm05"][0]
    variables = {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes}
    model, architecture, _ = network(variables)
    state = convert(model, variables, architecture.scope)
    image = generator.standard_normal((3, 3, 3), dtype=np.float32)  # height, width, channels
    kernel = variables["MobilenetV2/Conv/weights"]
    expected = np.einsum("hwi,hwio->o", image, kernel)
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    actual = torch.nn.functional.conv2d(x, state["backbone.stem.conv.weight"])[0, :, 0, 0]
    assert np.allclose(actual, expected, atol=1e-4)
    kernel = variables["MobilenetV2/expanded_conv/depthwise/depthwise_weights"]
    image = generator.standard_normal((3, 3, 16), dtype=np.float32)
    expected = np.einsum("hwi,hwij->i", image, kernel)
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    weight = state["backbone.units.0.depthwise.conv.weight"]
    actual = torch.nn.functional.conv2d(x, weight, groups=16)[0, :, 0, 0]
    assert np.allclose(actual, expected, atol=1e-4)


def test_a_folded_batch_norm_adds_its_bias():
    variables = {}
    for name, value in numbered(NETWORKS["mobilenet_v2 dm05"][0]).items():
        scope, _, last = name.rpartition("/")
        if last == "beta":
            variables[f"{scope.removesuffix('/BatchNorm')}/folded"] = value
        elif "BatchNorm" not in name:
            variables[name] = value
    model, architecture, _ = network(variables)
    model.load_state_dict(convert(model, variables, architecture.scope), assign=True)
    norm = model.aspp.project.norm.eval()
    x = torch.randn(1, 256, 2, 2)
    bias = variables["concat_projection/folded"][0]
    assert torch.allclose(norm(x), x + bias, atol=1e-5 * bias)


def test_missing_and_unknown_variables_are_named():
    shapes = dict(NETWORKS["mobilenet_v2"][0])
    variables = numbered(shapes.items())
    model, architecture, _ = network(variables)
    del variables["aspp0/BatchNorm/beta"]
    variables["aspp9/weights"] = np.zeros(1, np.float32)
    variables["MobilenetV2/Conv/weights"] = np.zeros((3, 3, 3, 5), np.float32)
    with pytest.raises(UserError) as caught:
        convert(model, variables, architecture.scope)
    message = str(caught.value)
    assert "aspp0/BatchNorm/beta is missing" in message
    assert "aspp9/weights is not part of it" in message
    assert "MobilenetV2/Conv/weights is [5, 3, 3, 3], not [32, 3, 3, 3]" in message


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"InceptionV3/Conv/weights": (1,)}, "not one of the networks that can be converted"),
        (dict([*slim.xception(41), *slim.conv("aspp0", 1, 2048, 256)]), "no logits/semantic"),
        (
            dict([*slim.xception(41), *slim.head(2048)]) | {"aspp4/weights": (3, 3, 2048, 256)},
            "4 atrous branches",
        ),
    ],
)
def test_unknown_networks_are_rejected(variables, words):
    with pytest.raises(UserError, match=re.escape(words)):
        detect_architecture(numbered(variables.items()))


@pytest.mark.parametrize(
    ("arguments", "with_keys"),
    [
        (["a b.pb"], ['input="a b.pb"']),
        (["it's.pb", "output=x"], ['input="it\'s.pb"', "output=x"]),
        (["--cfg", "job", "a.pb"], ["--cfg", "job", 'input="a.pb"']),
        (
            ["a.pb", "aspp.atrous_rates=[6,12]", "data.root='x y'"],
            ['input="a.pb"', 'overrides=["aspp.atrous_rates=[6,12]","data.root=\'x y\'"]'],
        ),
    ],
)
def test_arguments_get_their_keys(arguments, with_keys):
    assert add_keys(arguments) == with_keys


def test_a_file_name_with_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1.pb").touch()
    assert add_keys(["a=1.pb"]) == ['input="a=1.pb"']


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "input: this key has no value"),
        (["nothing.pb"], "no such file, folder or checkpoint prefix"),
        (["notes.txt"], "not an archive, folder, frozen graph"),
        (["empty"], "no checkpoint (*.index)"),
        (["damaged.tar.gz"], "damaged.tar.gz"),
    ],
)
def test_files_that_cannot_be_converted(arguments, words, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "damaged.tar.gz").write_bytes(b"x" * 100)
    (tmp_path / "empty").mkdir()
    done = run("convert", *arguments, "enable_progress_bar=false", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
