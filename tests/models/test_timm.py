"""Networks of timm as backbones, compared with timm itself.

timm is an optional dependency: run these tests with ``make test-extras``.
"""

import copy
import json
import pickle
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file, save, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab.checkpoints.initialization import adapt_to_weights
from deeplab.checkpoints.matching import load_backbone
from deeplab.checkpoints.pretrained import find_published_weights
from deeplab.config.build_model import build_backbone
from deeplab.config.schema.stage import Recipe
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

ATROUS = [
    "resnet18", "resnet26d", "resnetblur50", "resnest14d", "resnetv2_18", "res2net50_26w_4s",
    "convnext_atto", "convnextv2_atto", "inception_next_atto", "efficientnet_b0",
    "tf_efficientnetv2_b0", "mixnet_s", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100",
    "mobilenetv4_conv_small", "regnety_002", "xception41", "cspdarknet53", "mobilevit_xxs",
]  # fmt: skip
"""Networks that run at output strides 8, 16 and 32."""

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


def randomized(backbone, seed=0):
    """Randomize batch norms, convert to double precision and set evaluation mode."""
    torch.manual_seed(seed)
    randomize_norms(backbone)
    return backbone.double().eval()


def random_image(*size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)


def test_model_is_required(tmp_path):
    done = run("train", "backbone=timm", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "backbone.model: this key has no value. Set backbone.model=..." in done.stderr


@extras
@pytest.mark.parametrize(("name", "output_stride"), CASES)
def test_features_match_their_declaration(timm, name, output_stride):
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
def test_unsupported_output_strides_raise(timm, name):
    backbone = on_meta(TimmEncoder, name)
    (supported,) = STRIDES[name]
    for output_stride in {8, 16, 32} - {supported}:
        message = (
            f"timm's {name} cannot run at output stride {output_stride}. Choose from {supported}$"
        )
        with pytest.raises(ValueError, match=message):
            backbone.set_output_stride(output_stride)
    with pytest.raises(ValueError, match="output stride 12 is not allowed"):
        backbone.set_output_stride(12)


@extras
@pytest.mark.parametrize("name", ATROUS)
@torch.no_grad()
def test_every_output_stride_equals_the_network_that_timm_builds_for_it(timm, name):
    """A network whose output stride changes equals timm's networks with the same weights."""
    backbone = randomized(TimmEncoder(name))
    flat = {key.replace(".", "_"): tensor for key, tensor in backbone.timm.state_dict().items()}
    strides = [feature["reduction"] for feature in timm.create_model(name).feature_info]
    indices = [len(strides) - 1 - strides[::-1].index(stride) for stride in (4, 8, 16, 32)]
    for output_stride in (8, 32, 16):
        backbone.set_output_stride(output_stride)
        options = {"features_only": True, "out_indices": indices, "output_stride": output_stride}
        extractor = timm.create_model(name, **options)
        extractor.load_state_dict({k: flat[k.replace(".", "_")] for k in extractor.state_dict()})
        references = extractor.double().eval()(random_image(64, 96))
        features = backbone(random_image(64, 96)).values()
        for feature, reference in zip(features, references, strict=True):
            assert reference.std() > 1e-6
            torch.testing.assert_close(feature, reference, rtol=1e-9, atol=1e-9)


@extras
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "vgg11"])
@torch.no_grad()
def test_features_equal_those_of_timms_extractor(timm, name):
    backbone = randomized(TimmEncoder(name))
    extractor = timm.create_model(name, features_only=True)
    flat = {key.replace(".", "_"): t for key, t in backbone.timm.state_dict().items()}
    names = {key: key.removeprefix("model.").replace(".", "_") for key in extractor.state_dict()}
    extractor.load_state_dict({key: flat[short] for key, short in names.items()})
    *_, last = extractor.double().eval()(random_image(224, 224))
    last = last.permute(0, 3, 1, 2) if name.startswith("swin") else last
    torch.testing.assert_close(
        backbone(random_image(224, 224))["output"], last, rtol=1e-9, atol=1e-9
    )


@extras
@pytest.mark.parametrize("name", ["resnet18", "resnet26", "resnetv2_18", "xception41"])
@torch.no_grad()
def test_atrous_consistency(timm, name):
    """A lower output stride changes only the resolution.

    This holds for networks with symmetric padding and without operations over the whole map.
    """
    backbone = randomized(TimmEncoder(name))
    coarse = backbone(random_image(97, 129))["output"]
    for output_stride in (16, 8):
        backbone.set_output_stride(output_stride)
        step = 32 // output_stride
        fine = backbone(random_image(97, 129))["output"][..., ::step, ::step]
        torch.testing.assert_close(fine, coarse, rtol=1e-9, atol=1e-9)
    assert coarse.std() > 1e-6


@extras
@pytest.mark.parametrize("name", ["resnest14d", "convnext_atto", "tf_efficientnetv2_b0"])
def test_output_stride_keeps_parameter_and_buffer_objects(timm, name):
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
def test_copies_are_independent(timm, name):
    backbone = randomized(TimmEncoder(name))
    backbone.set_output_stride(8)
    for copied in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert copied.output_stride == 8
        copied.set_output_stride(32)
        assert backbone(random_image(64, 64))["output"].shape[2:] == (8, 8)
        assert copied(random_image(64, 64))["output"].shape[2:] == (2, 2)
        copied.set_output_stride(8)
        assert torch.equal(
            copied(random_image(64, 64))["output"], backbone(random_image(64, 64))["output"]
        )


@extras
@torch.no_grad()
def test_padding_equals_a_larger_image_with_zeros(timm):
    """An image with sides that are not multiples of 32 has the features of its zero-padded copy.

    ConvNeXt is suitable, because the patches of its stem do not overlap.
    """
    backbone = randomized(TimmEncoder("convnext_atto"))
    padded = torch.zeros(1, 3, 128, 96, dtype=torch.float64)
    padded[..., :101, :67] = random_image(101, 67)
    for key, feature in backbone(random_image(101, 67)).items():
        torch.testing.assert_close(
            feature, backbone(padded)[key][..., : feature.shape[2], : feature.shape[3]]
        )


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnextv2_atto", "swin_tiny_patch4_window7_224"])
def test_every_parameter_is_trained_in_one_group(timm, name):
    """Weight decay applies to matrices and convolution kernels only."""
    model = build(TimmEncoder(name), channels=8)
    groups = parameter_groups(model, Recipe(lr=0.1, weight_decay=1e-4))
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for g in groups if g["weight_decay"] > 0 for p in g["params"]}
    for path, p in model.named_parameters():
        depthwise = p.ndim == 4 and p.shape[1] == 1 and p.shape[2] > 1
        table = "relative_position_bias_table" in path
        vector = p.ndim == 1 or max(p.shape) == p.numel()  # parameters of GRN are (1, 1, 1, C)
        assert (id(p) in decayed) == (not vector and not depthwise and not table), path
    logits = model(torch.randint(0, 256, (2, 3, 70, 90), dtype=torch.uint8))
    logits.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilevit_xxs", "pvt_v2_b0"])
def test_multiply_adds_equal_those_of_a_real_forward_pass(timm, name):
    """The count includes linear layers and attention."""
    backbone = TimmEncoder(name)
    model = build(backbone, channels=8, atrous_rates=()).eval()
    model.set_output_stride(backbone.output_stride)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 97, 65, dtype=torch.uint8))
    assert measure_cost(model, input_size=(97, 65)).conv == counter.get_total_flops() // 2


@extras
@pytest.mark.parametrize(
    ("name", "published_gmacs"),
    [("resnet50", 4.11), ("convnext_tiny", 4.47), ("swin_tiny_patch4_window7_224", 4.51),
     ("vit_small_patch16_224", 4.61), ("pvt_v2_b0", 0.57)],
)  # fmt: skip
def test_multiply_adds_match_published_ones(timm, name, published_gmacs):
    """The published values are from timm's table for 224 x 224 pixels, with the classifier."""
    backbone = on_meta(TimmEncoder, name)
    naive = on_meta(
        lambda: build(backbone, channels=1, atrous_rates=(), naive=True, image_pooling=False)
    )
    naive.set_output_stride(backbone.output_stride)
    counted = measure_cost(naive, input_size=(224, 224)).conv / 1e9
    assert counted == pytest.approx(published_gmacs, rel=0.03)


@extras
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnxt_tiny", "no such network. Did you mean convnext_tiny"),
        ("resnet18.a9_in1k", "no weights a9_in1k for this network. Choose from a1_in1k"),
        ("hf-hub:someone/something", "no such network"),
    ],
)
def test_unknown_names_raise(timm, name, message):
    with pytest.raises(UserError) as error:
        TimmEncoder(name)
    assert str(error.value).startswith(f"backbone.model={name}: timm {timm.__version__} has no")
    assert message in str(error.value)


@extras
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coatnet_nano_rw_224", "needs 224 x 224 pixels"),
        ("vit_small_patch14_dinov2", "has stride 14, which is not one of 8, 16, 32"),
        ("selecsls42", "has stride 64"),
    ],
)
def test_unsuitable_networks_raise(timm, name, message):
    with pytest.raises(ValueError, match=message):
        on_meta(TimmEncoder, name)
    with pytest.raises(ValueError, match="drop_path_rate: timm's vgg11 has no such setting"):
        TimmEncoder("vgg11", drop_path_rate=0.1)


@extras
def test_default_settings_are_timms(timm):
    default = TimmEncoder("tf_efficientnetv2_b0")
    assert default.mean == pytest.approx((123.675, 116.28, 103.53))
    assert {m.eps for m in default.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    custom = TimmEncoder("tf_efficientnetv2_b0", mean=(1, 2, 3), std=(4, 5, 6), drop_path_rate=0.5)
    assert (custom.mean, custom.std) == ((1, 2, 3), (4, 5, 6))
    assert TimmEncoder("xception41").mean == pytest.approx((127.5, 127.5, 127.5))
    rates = [m.drop_prob for m in custom.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) > 0.4
    assert not any(type(m).__name__ == "DropPath" for m in default.modules())


@extras
@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_loading_a_classifiers_weights(timm, name, tmp_path):
    """The classifier may have any number of classes; unused tensors are reported."""
    classifier = timm.create_model(name, num_classes=7)
    state = {key: tensor.contiguous() for key, tensor in classifier.state_dict().items()}
    save_file(state, tmp_path / "classifier.safetensors")
    backbone = TimmEncoder(name)
    fit = load_backbone(backbone, tmp_path / "classifier.safetensors")
    assert fit.publisher == "timm"
    assert list(fit.left_out) == (["fc"] if name == "resnet18" else ["head", "norm"])
    assert all(torch.equal(state[key], t) for key, t in backbone.timm.state_dict().items())
    save_file(state | {"extra.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(
        UserError, match=r"0 of its \d+ tensors .* 1 of the file have no counterpart"
    ):
        load_backbone(backbone, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match="these are not weights of this backbone"):
        load_backbone(TimmEncoder("resnet26"), tmp_path / "classifier.safetensors")


@extras
@torch.no_grad()
def test_loading_weights_with_the_authors_keys(timm, tmp_path):
    """The keys are those of ConvNeXt's original release, which timm renames when loading it."""
    reference = timm.create_model("convnext_atto")
    authors_state = {}
    for key, tensor in reference.state_dict().items():
        for timm_key, authors_key in (
            (r"^stem\.(\d)", r"downsample_layers.0.\1"),
            (r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2"),
            (r"^stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2"),
            (r"\.conv_dw\.", ".dwconv."),
            (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
            (r"^head\.norm\.", "norm."),
            (r"^head\.fc\.", "head."),
        ):
            key = re.sub(timm_key, authors_key, key)
        authors_state[key] = tensor
    torch.save({"state_dict": authors_state}, tmp_path / "authors.pth")
    backbone = TimmEncoder("convnext_atto")
    fit = load_backbone(backbone, tmp_path / "authors.pth")
    assert list(fit.left_out) == ["head"]
    state = backbone.timm.state_dict()
    assert all(torch.equal(state[key], reference.state_dict()[key]) for key in state)


@extras
@pytest.mark.parametrize("name", ["tf_efficientnetv2_b0", "regnety_002"])
@torch.no_grad()
def test_sync_batch_norm_keeps_activations(timm, name):
    """PyTorch's conversion to SyncBatchNorm would drop the activation in timm's batch norms."""
    backbone = randomized(TimmEncoder(name))
    expected = backbone(random_image(64, 64))["output"]
    plugin = SyncBatchNormPlugin(gpu=True)
    replaced = plugin.revert(plugin.apply(backbone))
    norms = [m for m in replaced.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert torch.equal(replaced(random_image(64, 64))["output"], expected)
    replaced.set_output_stride(8)
    assert replaced(random_image(64, 64))["output"].shape[2:] == (8, 8)


@extras
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_inference_strategies_on_images_of_any_size(timm, name):
    """Several strategies in one predictor give the same label maps as one by one."""
    backbone = TimmEncoder(name).eval()
    strides = (32,) if name in ONLY_32 else (32, 8)
    model = build(backbone, channels=8, num_classes=3).eval()
    strategies = [parse_strategy(f"os{s}-x0.75+1-flip", output_stride=s) for s in strides]
    image = torch.randint(0, 256, (1, 3, 71, 102), dtype=torch.uint8)
    (joint,) = Predictor(model, strategies).label_maps(image, [(71, 102)])
    for strategy, labels in zip(strategies, joint, strict=True):
        ((separate,),) = Predictor(model, [strategy]).label_maps(image, [(71, 102)])
        assert labels.shape == (71, 102)
        assert torch.equal(labels, separate)


TIMM = ("backbone=timm", "backbone.model=resnet10t", *SMALL)


@extras
def test_train_evaluate_and_predict(timm, tmp_path):
    printed = run("train", *TIMM, "stage.max_steps=3", cwd=tmp_path).stdout
    (folder,) = run_folders(tmp_path)
    assert folder.name.startswith("shapes-resnet10t-aspp_tiny-decoder_tiny-os16-")
    config = yaml.safe_load((folder / "config.yaml").read_text())["backbone"]
    assert config["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert "mIoU" in printed
    assert "finished" in run("train", f"resume={folder}", cwd=tmp_path).stdout
    evaluation = f"run={folder}", "strategies=[os16,os8-ms]", "trainer.accelerator=cpu"
    assert "os8-ms" in run("evaluate", *evaluation, cwd=tmp_path).stdout
    assert len(list(folder.glob("evaluations/*/result.json"))) == 2
    (image,) = sorted(tmp_path.glob("data/shapes/*/JPEGImages/*"))[:1]
    prediction = f"run={folder}", f"input={image}", "output=predicted", "trainer.accelerator=cpu"
    run("predict", *prediction, cwd=tmp_path)
    assert list((tmp_path / "predicted").glob("*.png"))
    pretrained = [*TIMM, "stage.max_steps=2", f"backbone.pretrained={folder}/weights.safetensors"]
    assert "tensors by this project's names" in run("train", *pretrained, cwd=tmp_path).stdout
    resnet18 = run("train", *TIMM, "backbone.model=resnet18", cwd=tmp_path).stdout
    assert "shapes-resnet18-aspp_tiny-decoder_tiny-os16-" in resnet18


@extras
def test_ablation_table_of_timm_networks(timm, tmp_path):
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
        "shapes-convnext_atto-aspp_tiny-decoder_tiny-os16-seed0",
        "shapes-resnet10t-aspp_tiny-decoder_tiny-os16-seed0",
    ]


@extras
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["backbone.model=vgg11"],
            "output_stride: timm's vgg11 cannot run at output stride 16. Choose from 32.",
        ),
        (["backbone.model=resnet81"], "backbone.model=resnet81: timm"),
        (
            ["backbone.model=vit_tiny_patch16_224"],
            "low_level=conv2: the backbone has no low-level features. Use decoder=naive",
        ),
        (
            ["backbone.model=coatnet_nano_rw_224"],
            "backbone: timm's coatnet_nano_rw_224 does not accept",
        ),
        (["backbone.model=resnet10t", "backbone.weight_init=0.1"], "backbone.weight_init"),
    ],
)
def test_config_errors_create_no_run_folder(timm, overrides, message, tmp_path):
    for script in ("train", "cost"):
        done = run(script, "data=shapes", "backbone=timm", *overrides, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not run_folders(tmp_path)


@extras
def test_cost(timm, tmp_path):
    overrides = ("data=voc", "backbone=timm", "backbone.model=convnext_tiny", "format=json")
    report = json.loads(run("cost", *overrides, cwd=tmp_path).stdout)
    assert report["multiply_adds"]["conv"] > 40e9


@extras
def test_pretrained_weights_from_the_hub(timm, tmp_path):
    """The weights come from a local hub, and without it from the cache."""
    torch.manual_seed(5)
    classifier = timm.create_model("resnet10t")
    file = "timm/resnet10t.c3_in1k/model.safetensors"
    frozen = ("backbone.pretrained=imagenet", "stage.batch_norm=frozen", "stage.lr=1e-9")
    with hub({file: save(classifier.state_dict())}) as site:
        variables = site.variables(tmp_path)
        printed = run("train", *TIMM, *frozen, cwd=tmp_path, variables=variables).stdout
    assert f"hf://timm/resnet10t.c3_in1k@{COMMIT}/model.safetensors" in printed
    assert "license apache-2.0" in printed
    assert "tensors by timm's names; left out: fc (2)" in printed
    (folder,) = run_folders(tmp_path)
    weights = load_file(folder / "weights.safetensors")
    pretrained = classifier.state_dict()
    for key, tensor in weights.items():
        if key.startswith("backbone.timm."):
            expected = pretrained[key.removeprefix("backbone.timm.")]
            assert torch.allclose(tensor, expected, atol=1e-4), key
    offline = variables | {"HF_HUB_OFFLINE": "1"}
    repeated = run("train", *TIMM, *frozen, cwd=tmp_path, variables=offline).stdout
    assert "This run is finished" in repeated
    missing = [*TIMM, "backbone.model=resnet18", *frozen]
    done = run("train", *missing, cwd=tmp_path, variables=offline, ok=False)
    assert done.returncode == 2
    assert "timm/resnet18." in done.stderr
    assert "backbone.pretrained=FILE" in done.stderr
    assert len(run_folders(tmp_path)) == 1


@extras
def test_addresses_of_pretrained_weights(timm):
    def address(model):
        return find_published_weights(
            train_config("backbone=timm", f"backbone.model={model}").backbone
        ).address

    assert address("resnet18") == "hf://timm/resnet18.a1_in1k/model.safetensors"
    assert address("resnet18.tv_in1k") == "hf://timm/resnet18.tv_in1k/model.safetensors"
    with pytest.raises(UserError, match="timm lists no weights of swinv2_cr_tiny_224 on"):
        address("swinv2_cr_tiny_224")


@extras
def test_the_documented_dinov3_encoder(timm, tmp_path):
    name = "convnext_tiny.dinov3_lvd1689m"
    config = train_config("backbone=timm", f"backbone.model={name}")
    published = find_published_weights(config.backbone)
    assert (published.address, published.license) == (
        f"hf://timm/{name}/model.safetensors", "dinov3-license",
    )  # fmt: skip
    weights = timm.create_model(name, num_classes=0).state_dict()  # as the hub's file, without head
    save_file(weights, tmp_path / "model.safetensors")
    pretrained = f"backbone.pretrained={tmp_path}/model.safetensors"
    config = train_config("backbone=timm", f"backbone.model={name}", pretrained)
    config = adapt_to_weights(config)
    cfg = timm.get_pretrained_cfg(name)
    assert config.backbone.mean == pytest.approx([255 * value for value in cfg.mean])
    assert config.backbone.std == pytest.approx([255 * value for value in cfg.std])
    backbone = build_backbone(config)
    report = load_backbone(backbone, tmp_path / "model.safetensors")
    assert len(report.state) >= len(weights) - 2
    first = weights["stem.0.weight"]
    assert any(torch.equal(first, weight) for weight in backbone.parameters())


@extras
@pytest.mark.parametrize("in_channels", [1, 4, 6])
def test_weights_of_rgb_are_adapted_to_other_channels_as_by_timm(timm, tmp_path, in_channels):
    full = timm.create_model("resnet18")
    torch.save(full.state_dict(), tmp_path / "resnet18.pth")
    backbone = TimmEncoder("resnet18", in_channels=in_channels)
    load_backbone(backbone, tmp_path / "resnet18.pth")
    weight = full.conv1.weight.detach().clone()
    expected = timm.models._manipulate.adapt_input_conv(in_channels, weight)
    assert torch.equal(backbone.timm.conv1.weight, expected)
    for output_stride in (8, 16):
        backbone.set_output_stride(output_stride)
        maps = backbone.eval()(torch.zeros(1, in_channels, 65, 65))
        assert maps["output"].shape[-1] == 64 // output_stride + 1
