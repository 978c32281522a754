"""Networks of timm as backbones, against timm itself.

timm is not among the locked packages: ``make test-extras``.
"""

import copy
import importlib.util
import json
import pickle
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file, save, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab.checkpoints.loading import load_backbone
from deeplab.checkpoints.pretrained import find_published_weights
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import parse_strategy
from deeplab.models.backbones import TimmEncoder
from deeplab.models.flops import measure_cost
from deeplab.training.optimizers import parameter_groups
from deeplab.training.trainer import SyncBatchNormPlugin
from deeplab.utils.errors import UserError
from support.configs import train_config
from support.hubs import COMMIT, hub
from support.networks import build, on_meta, randomize_norms
from support.scripts import SMALL, run, run_folders

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

STRIDES = dict.fromkeys(ATROUS, (8, 16, 32)) | dict.fromkeys(ONLY_32, (32,))
STRIDES |= dict.fromkeys(ONLY_16, (16,))
CASES = [(name, stride) for name, strides in STRIDES.items() for stride in strides]
extras = pytest.mark.extras


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def lively(backbone, seed=0):
    """Weights and statistics that all matter, in double precision."""
    torch.manual_seed(seed)
    randomize_norms(backbone)
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
    backbone = on_meta(TimmEncoder, name).eval()
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
    flat = {key.replace(".", "_"): tensor for key, tensor in backbone.timm.state_dict().items()}
    stated = [feature["reduction"] for feature in timm.create_model(name).feature_info]
    places = [len(stated) - 1 - stated[::-1].index(stride) for stride in (4, 8, 16, 32)]
    for output_stride in (8, 32, 16):
        backbone.set_output_stride(output_stride)
        options = {"features_only": True, "out_indices": places, "output_stride": output_stride}
        extractor = timm.create_model(name, **options)
        extractor.load_state_dict({k: flat[k.replace(".", "_")] for k in extractor.state_dict()})
        expected = extractor.double().eval()(images(64, 96))
        for given, theirs in zip(backbone(images(64, 96)).values(), expected, strict=True):
            assert theirs.std() > 1e-6
            torch.testing.assert_close(given, theirs, rtol=1e-9, atol=1e-9)


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
    model = build(backbone, channels=8, atrous_rates=()).eval()
    model.set_output_stride(backbone.output_stride)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 97, 65, dtype=torch.uint8))
    assert measure_cost(model, input_size=(97, 65)).conv == counter.get_total_flops() // 2


@extras
@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet50", 4.11), ("convnext_tiny", 4.47), ("swin_tiny_patch4_window7_224", 4.51),
     ("vit_small_patch16_224", 4.61), ("pvt_v2_b0", 0.57)],
)  # fmt: skip
def test_multiply_adds_against_published_ones(timm, name, published):
    """Of 224 x 224 pixels, in 10^9, timm's table; there with the classifier."""
    backbone = on_meta(TimmEncoder, name)
    naive = on_meta(
        lambda: build(backbone, channels=1, atrous_rates=(), naive=True, image_pooling=False)
    )
    naive.set_output_stride(backbone.output_stride)
    counted = measure_cost(naive, input_size=(224, 224)).conv / 1e9
    assert counted == pytest.approx(published, rel=0.03)


@extras
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("convnxt_tiny", "no such network. Did you mean convnext_tiny"),
        ("resnet18.a9_in1k", "no weights a9_in1k of it; its weights are a1_in1k"),
        ("hf-hub:someone/something", "no such network"),
    ],
)
def test_unknown_names(timm, name, said):
    with pytest.raises(UserError) as caught:
        TimmEncoder(name)
    assert str(caught.value).startswith(f"backbone.model={name}: timm {timm.__version__} has no")
    assert said in str(caught.value)


@extras
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coatnet_nano_rw_224", "wants 224 x 224 pixels"),
        ("vit_small_patch14_dinov2", "has stride 14, and not one of 8, 16, 32"),
        ("selecsls42", "has stride 64"),
    ],
)
def test_networks_of_no_use_here(timm, name, said):
    with pytest.raises(ValueError, match=said):
        on_meta(TimmEncoder, name)
    with pytest.raises(ValueError, match="drop_path_rate: timm's vgg11 has no such setting"):
        TimmEncoder("vgg11", drop_path_rate=0.1)


@extras
def test_settings_are_the_networks_own_unless_named(timm):
    own = TimmEncoder("tf_efficientnetv2_b0")
    assert own.mean == pytest.approx((123.675, 116.28, 103.53))
    assert {m.eps for m in own.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    named = TimmEncoder("tf_efficientnetv2_b0", mean=(1, 2, 3), std=(4, 5, 6), drop_path_rate=0.5)
    assert (named.mean, named.std) == ((1, 2, 3), (4, 5, 6))
    assert TimmEncoder("xception41").mean == pytest.approx((127.5, 127.5, 127.5))
    rates = [m.drop_prob for m in named.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) > 0.4
    assert not any(type(m).__name__ == "DropPath" for m in own.modules())


@extras
@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_weights_of_a_file(timm, name, tmp_path):
    """A classifier's, of any number of classes; what has no place is named."""
    peer = timm.create_model(name, num_classes=7)
    state = {key: tensor.contiguous() for key, tensor in peer.state_dict().items()}
    save_file(state, tmp_path / "peer.safetensors")
    backbone = TimmEncoder(name)
    fit = load_backbone(backbone, tmp_path / "peer.safetensors")
    assert fit.whose == "timm"
    assert list(fit.left_out) == (["fc"] if name == "resnet18" else ["head", "norm"])
    assert all(torch.equal(state[key], t) for key, t in backbone.timm.state_dict().items())
    save_file(state | {"extra.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match=r"0 of its \d+ tensors .* 1 have no place"):
        load_backbone(backbone, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match="these are not weights of this backbone"):
        load_backbone(TimmEncoder("resnet26"), tmp_path / "peer.safetensors")


@extras
@torch.no_grad()
def test_weights_by_the_names_of_the_networks_authors(timm, tmp_path):
    """ConvNeXt's own release, which timm renames where it loads it."""
    peer = timm.create_model("convnext_atto")
    theirs = {}
    for key, tensor in peer.state_dict().items():
        for ours, authors in (
            (r"^stem\.(\d)", r"downsample_layers.0.\1"),
            (r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2"),
            (r"^stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2"),
            (r"\.conv_dw\.", ".dwconv."),
            (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
            (r"^head\.norm\.", "norm."),
            (r"^head\.fc\.", "head."),
        ):
            key = re.sub(ours, authors, key)
        theirs[key] = tensor
    torch.save({"state_dict": theirs}, tmp_path / "authors.pth")
    backbone = TimmEncoder("convnext_atto")
    fit = load_backbone(backbone, tmp_path / "authors.pth")
    assert list(fit.left_out) == ["head"]
    own = backbone.timm.state_dict()
    assert all(torch.equal(own[key], peer.state_dict()[key]) for key in own)


@extras
@pytest.mark.parametrize("name", ["tf_efficientnetv2_b0", "regnety_002"])
@torch.no_grad()
def test_common_statistics_keep_activations(timm, name):
    """Its batch norms hold an activation, which PyTorch's way to common statistics drops."""
    backbone = lively(TimmEncoder(name))
    expected = backbone(images(64, 64))["output"]
    plugin = SyncBatchNormPlugin()
    replaced = plugin.revert(plugin.apply(backbone))
    kinds = {type(m) for m in replaced.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert all(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert torch.equal(replaced(images(64, 64))["output"], expected)
    replaced.set_output_stride(8)
    assert replaced(images(64, 64))["output"].shape[2:] == (8, 8)


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_looking_at_images_of_any_size(timm, name):
    """Several scales and strides at once, each as alone."""
    backbone = TimmEncoder(name).eval()
    strides = (32,) if name in ONLY_32 else (32, 8)
    model = build(backbone, channels=8, num_classes=3).eval()
    looks = [parse_strategy(f"os{s}-x0.75+1-flip", output_stride=s) for s in strides]
    image = torch.randint(0, 256, (1, 3, 71, 102), dtype=torch.uint8)
    (together,) = Predictor(model, looks).label_maps(image, [(71, 102)])
    for look, labels in zip(looks, together, strict=True):
        ((alone,),) = Predictor(model, [look]).label_maps(image, [(71, 102)])
        assert labels.shape == (71, 102)
        assert torch.equal(labels, alone)


TIMM = ("backbone=timm", "backbone.model=resnet10t", *SMALL)


@extras
def test_training_evaluating_and_predicting(timm, tmp_path):
    printed = run("train", *TIMM, "stage.max_steps=3", cwd=tmp_path).stdout
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("shapes-resnet10t-tiny-os16-")
    config = yaml.safe_load((folder / "config.yaml").read_text())["backbone"]
    assert config["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert "mIoU" in printed
    assert "finished" in run("train", f"resume={folder}", cwd=tmp_path).stdout
    looks = f"run={folder}", "strategies=[os16,os8-ms]", "trainer.accelerator=cpu"
    assert "os8-ms" in run("evaluate", *looks, cwd=tmp_path).stdout
    assert len(list(folder.glob("evaluations/*/result.json"))) == 2
    (image,) = sorted(tmp_path.glob("data/shapes/*/JPEGImages/*"))[:1]
    seen = f"run={folder}", f"input={image}", "output=seen", "trainer.accelerator=cpu"
    run("predict", *seen, cwd=tmp_path)
    assert list((tmp_path / "seen").glob("*.png"))
    again = [*TIMM, "stage.max_steps=2", f"backbone.pretrained={folder}/weights.safetensors"]
    assert "tensors by this project's names" in run("train", *again, cwd=tmp_path).stdout
    other = run("train", *TIMM, "backbone.model=resnet18", cwd=tmp_path).stdout
    assert "shapes-resnet18-tiny-os16-" in other


@extras
def test_a_table_has_rows_of_networks(timm, tmp_path):
    table = {
        "title": "Networks",
        "setting": "drawn scenes",
        "columns": ["backbone"],
        "train": [*SMALL],
        "strategy": "os16",
        "rows": [
            {"cells": [name], "train": ["backbone=timm", f"backbone.model={name}"]}
            for name in ("resnet10t", "convnext_atto")
        ],
    }
    (tmp_path / "networks.yaml").write_text(yaml.safe_dump(table))
    sweep = ("-m", "ablation=networks.yaml", "preset=paper", "trainer.accelerator=cpu")
    run("train", *sweep, cwd=tmp_path)
    assert [p.name.rsplit("-", 1)[0] for p in run_folders(tmp_path) if p.name != "ablations"] == [
        "shapes-convnext_atto-tiny-os16", "shapes-resnet10t-tiny-os16",
    ]  # fmt: skip


@extras
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["backbone.model=vgg11"], "output_stride: timm's vgg11 cannot run at 16; it can at 32"),
        (["backbone.model=resnet81"], "backbone.model=resnet81: timm"),
        (["backbone.model=vit_tiny_patch16_224"], "'conv2': the backbone has none"),
        (
            ["backbone.model=coatnet_nano_rw_224"],
            "backbone: timm's coatnet_nano_rw_224 does not go",
        ),
        (["backbone.model=resnet10t", "backbone.weight_init=0.1"], "backbone.weight_init"),
    ],
)
def test_mistakes_leave_nothing_behind(timm, typed, said, tmp_path):
    for script in ("train", "cost"):
        done = run(script, "data=shapes", "backbone=timm", *typed, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not run_folders(tmp_path)


@extras
def test_cost(timm, tmp_path):
    chosen = ("data=voc", "backbone=timm", "backbone.model=convnext_tiny", "format=json")
    report = json.loads(run("cost", *chosen, cwd=tmp_path).stdout)
    assert report["multiply_adds"]["conv"] > 40e9


@extras
def test_weights_by_name(timm, tmp_path):
    """From a hub on this machine, and then from the cache without it."""
    torch.manual_seed(5)
    peer = timm.create_model("resnet10t")
    file = "timm/resnet10t.c3_in1k/model.safetensors"
    still = ("backbone.pretrained=imagenet", "stage.batch_norm=frozen", "stage.lr=1e-9")
    with hub({file: save(peer.state_dict())}) as site:
        variables = site.variables(tmp_path)
        printed = run("train", *TIMM, *still, cwd=tmp_path, variables=variables).stdout
    assert f"hf://timm/resnet10t.c3_in1k@{COMMIT}/model.safetensors" in printed
    assert "license apache-2.0" in printed
    assert "tensors by timm's names; left out: fc (2)" in printed
    (folder,) = run_folders(tmp_path)
    weights = load_file(folder / "weights.safetensors")
    expected = peer.state_dict()
    for key, tensor in weights.items():
        if key.startswith("backbone.timm."):
            other = expected[key.removeprefix("backbone.timm.")]
            assert torch.allclose(tensor, other, atol=1e-4), key
    offline = variables | {"HF_HUB_OFFLINE": "1"}
    again = run("train", *TIMM, *still, cwd=tmp_path, variables=offline).stdout
    assert "This run is finished" in again
    missing = [*TIMM, "backbone.model=resnet18", *still]
    done = run("train", *missing, cwd=tmp_path, variables=offline, ok=False)
    assert done.returncode == 2
    assert "timm/resnet18." in done.stderr
    assert "backbone.pretrained=FILE" in done.stderr
    assert len(run_folders(tmp_path)) == 1


@extras
def test_addresses_of_weights(timm):
    def address(model):
        return find_published_weights(train_config("backbone=timm", f"backbone.model={model}").backbone).address

    assert address("resnet18") == "hf://timm/resnet18.a1_in1k/model.safetensors"
    assert address("resnet18.tv_in1k") == "hf://timm/resnet18.tv_in1k/model.safetensors"
    with pytest.raises(UserError, match="timm knows of no weights of swinv2_cr_tiny_224 on"):
        address("swinv2_cr_tiny_224")
