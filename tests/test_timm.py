"""Networks of timm as backbones, against timm itself.

timm is not among the locked packages: ``make test-extras``.
"""

import copy
import importlib.util
import pickle

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab.backbones import TimmEncoder
from deeplab.cost.counting import measure_cost
from deeplab.errors import UserError
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import parse_strategy
from deeplab.training.optim import parameter_groups
from networks import build, on_meta, randomise_norms
from scripts import SMALL, run, run_folders

HERE = importlib.util.find_spec("timm") is not None

ATROUS = [
    "resnet18", "resnet26d", "resnetblur50", "resnest14d", "resnetv2_18", "res2net50_26w_4s",
    "convnext_atto", "convnextv2_atto", "inception_next_atto", "efficientnet_b0",
    "tf_efficientnetv2_b0", "mixnet_s", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100",
    "mobilenetv4_conv_small", "regnety_002", "xception41", "cspdarknet53", "mobilevit_xxs",
]  # fmt: skip
"""Run at output strides 8, 16 and 32."""

ONLY_32 = [
    "hrnet_w18_small", "densenet121", "vgg11", "swin_tiny_patch4_window7_224", "pvt_v2_b0",
    "swinv2_cr_tiny_224", "maxvit_rmlp_pico_rw_256",
]  # fmt: skip

ONLY_16 = ["vit_tiny_patch16_224"]

STRIDES = (
    {name: (8, 16, 32) for name in ATROUS}
    | {name: (32,) for name in ONLY_32}
    | {name: (16,) for name in ONLY_16}
)
CASES = [(name, stride) for name, strides in STRIDES.items() for stride in strides]
extras = pytest.mark.extras


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def lively(backbone, seed=0):
    """Weights and statistics that all matter, in double precision."""
    torch.manual_seed(seed)
    randomise_norms(backbone)
    return backbone.double().eval()


def images(*size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)


@pytest.mark.skipif(HERE, reason="timm is installed")
@pytest.mark.parametrize("script", ["train", "cost"])
def test_without_timm_the_extra_is_named(script, tmp_path):
    chosen = ("data=shapes", "backbone=timm", "backbone.model=resnet18")
    done = run(script, *chosen, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: backbone=timm: the package timm is not installed")
    assert 'pip install ".[timm]"' in done.stderr
    assert not run_folders(tmp_path)


def test_a_model_is_to_be_named(tmp_path):
    done = run("train", "backbone=timm", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "backbone.model has no value: set it with backbone.model=..." in done.stderr


@extras
@pytest.mark.parametrize(("name", "output_stride"), CASES)
def test_features_are_as_stated(timm, name, output_stride):
    backbone = on_meta(TimmEncoder, name)
    backbone.set_output_stride(output_stride)
    for size in [(65, 65), (33, 50), (64, 97), (130, 231)]:
        outputs = backbone(torch.empty(1, 3, *size, device="meta"))
        assert outputs.keys() == backbone.features.keys()
        for key, feature in backbone.features.items():
            sides = tuple((side - 1) // feature.stride + 1 for side in size)
            assert outputs[key].shape == (1, feature.channels, *sides), key
    strides = {key: feature.stride for key, feature in backbone.features.items()}
    low = {"conv2": 4, "conv3": 8, "conv4": min(16, output_stride)}
    assert strides == {**(low if name not in ONLY_16 else {}), "output": output_stride}


@extras
@pytest.mark.parametrize("name", [*ONLY_32, *ONLY_16])
def test_other_strides_are_refused(timm, name):
    backbone = on_meta(TimmEncoder, name)
    (able,) = STRIDES[name]
    for output_stride in {8, 16, 32} - {able}:
        said = f"timm's {name} cannot run at {output_stride}; it can at {able}$"
        with pytest.raises(ValueError, match=said):
            backbone.set_output_stride(output_stride)
    with pytest.raises(ValueError, match="output stride 12: it is one of"):
        backbone.set_output_stride(12)


@extras
@pytest.mark.parametrize("name", ATROUS)
@torch.no_grad()
def test_every_stride_is_the_network_that_timm_builds_for_it(timm, name):
    """One network that goes from stride to stride, and for each timm's own with its weights."""
    backbone = lively(TimmEncoder(name))
    own = backbone.timm.state_dict()
    for output_stride in (8, 32, 16, 8):
        backbone.set_output_stride(output_stride)
        extractor = timm.create_model(name, features_only=True, output_stride=output_stride)
        flat = {key.replace(".", "_"): tensor for key, tensor in own.items()}
        theirs = {key: flat[key.replace(".", "_")] for key in extractor.state_dict()}
        extractor.load_state_dict(theirs)
        maps = extractor.double().eval()(images(96, 160))
        info = [(f["num_chs"], f["reduction"]) for f in timm.create_model(name).feature_info]
        ours = backbone(images(96, 160))
        for key, stride in (("conv2", 4), ("conv3", 8), ("conv4", 16), ("output", 32)):
            place = max(i for i, (_, reduction) in enumerate(info) if reduction == stride)
            assert maps[place].std() > 1e-6
            torch.testing.assert_close(ours[key], maps[place], rtol=1e-9, atol=1e-9)


@extras
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "vgg11"])
@torch.no_grad()
def test_features_are_those_of_timms_extractor(timm, name):
    backbone = lively(TimmEncoder(name))
    extractor = timm.create_model(name, features_only=True)
    flat = {key.replace(".", "_"): t for key, t in backbone.timm.state_dict().items()}
    names = {key: key.removeprefix("model.").replace(".", "_") for key in extractor.state_dict()}
    extractor.load_state_dict({key: flat[short] for key, short in names.items()})
    *_, last = extractor.double().eval()(images(224, 224))
    last = last.permute(0, 3, 1, 2) if name.startswith("swin") else last
    torch.testing.assert_close(backbone(images(224, 224))["output"], last, rtol=1e-9, atol=1e-9)


@extras
@pytest.mark.parametrize("name", ["resnet18", "resnet26", "resnetv2_18", "xception41"])
@torch.no_grad()
def test_atrous_consistency(timm, name):
    """Nothing but resolution is gained, where convolutions pad the same on both sides and nothing
    looks at the whole map."""
    backbone = lively(TimmEncoder(name))
    coarse = backbone(images(97, 129))["output"]
    for output_stride in (16, 8):
        backbone.set_output_stride(output_stride)
        step = 32 // output_stride
        fine = backbone(images(97, 129))["output"][..., ::step, ::step]
        torch.testing.assert_close(fine, coarse, rtol=1e-9, atol=1e-9)
    assert coarse.std() > 1e-6


@extras
@pytest.mark.parametrize("name", ["resnest14d", "convnext_atto", "tf_efficientnetv2_b0"])
def test_output_stride_leaves_parameters_and_buffers_the_same_objects(timm, name):
    backbone = TimmEncoder(name, bn_eps=0.123, bn_momentum=0.456)
    before = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    names = list(backbone.state_dict())
    for output_stride in (16, 8, 32, 8):
        backbone.set_output_stride(output_stride)
        after = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
        assert list(backbone.state_dict()) == names
        assert before.keys() == after.keys()
        assert all(before[name] is after[name] for name in before)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} <= {(0.123, 0.456)}
    assert backbone.training


@extras
@pytest.mark.parametrize("name", ["resnest14d", "tf_efficientnetv2_b0", "mobilenetv3_small_050"])
@torch.no_grad()
def test_copies_go_their_own_way(timm, name):
    backbone = lively(TimmEncoder(name))
    backbone.set_output_stride(8)
    for copied in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert copied.output_stride == 8
        copied.set_output_stride(32)
        assert backbone(images(64, 64))["output"].shape[2:] == (8, 8)
        assert copied(images(64, 64))["output"].shape[2:] == (2, 2)
        copied.set_output_stride(8)
        assert torch.equal(copied(images(64, 64))["output"], backbone(images(64, 64))["output"])


@extras
@torch.no_grad()
def test_padding_stays_at_the_border(timm):
    """An image whose sides are no multiple of 32 has the features that it has as a part of a larger
    one, black around it: of ConvNeXt's first stem, whose cells do not overlap, to the bit."""
    backbone = lively(TimmEncoder("convnext_atto"))
    whole = torch.zeros(1, 3, 128, 96, dtype=torch.float64)
    whole[..., :101, :67] = images(101, 67)
    for key, small in backbone(images(101, 67)).items():
        torch.testing.assert_close(
            small, backbone(whole)[key][..., : small.shape[2], : small.shape[3]]
        )


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnextv2_atto", "swin_tiny_patch4_window7_224"])
def test_every_parameter_is_trained_in_one_group(timm, name):
    """Weight decay falls on matrices and kernels only."""
    model = build(TimmEncoder(name), channels=8)
    groups = parameter_groups(model, lr=0.1, weight_decay=1e-4)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for g in groups if g["weight_decay"] > 0 for p in g["params"]}
    for path, p in model.named_parameters():
        depthwise = p.ndim == 4 and p.shape[1] == 1 and p.shape[2] > 1
        table = "relative_position_bias_table" in path
        vector = p.ndim == 1 or max(p.shape) == p.numel()  # GRN's are (1, 1, 1, C)
        assert (id(p) in decayed) == (not vector and not depthwise and not table), path
    logits = model(torch.randint(0, 256, (2, 3, 70, 90), dtype=torch.uint8))
    logits.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilevit_xxs", "pvt_v2_b0"])
def test_multiply_adds_against_a_run_with_numbers(timm, name):
    """Linear layers and attention among them."""
    backbone = TimmEncoder(name)
    model = build(backbone, channels=8, rates=()).eval()
    model.set_output_stride(backbone.output_stride)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 97, 65, dtype=torch.uint8))
    products = torch.ops.aten
    counted = {op: n for op, n in counter.get_flop_counts()["Global"].items()}
    assert (products.convolution in counted) and sum(counted.values()) > 0
    assert measure_cost(model, input_size=(97, 65)).conv == sum(counted.values()) // 2


@extras
@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet50", 4.11), ("convnext_tiny", 4.47), ("swin_tiny_patch4_window7_224", 4.51),
     ("vit_small_patch16_224", 4.61), ("efficientnet_b0", 0.40)],
)  # fmt: skip
def test_multiply_adds_against_published_ones(timm, name, published):
    """Of 224 x 224 pixels, in 10^9, timm's table; there with the classifier."""
    backbone = on_meta(TimmEncoder, name)
    naive = on_meta(lambda: build(backbone, channels=1, rates=(), naive=True, image_pooling=False))
    naive.set_output_stride(backbone.output_stride)
    counted = measure_cost(naive, input_size=(224, 224)).conv / 1e9
    assert counted == pytest.approx(published, rel=0.03)
