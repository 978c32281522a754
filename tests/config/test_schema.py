"""Agreement of the YAML files with each other and with the constructors' defaults."""

import inspect
import subprocess
import sys

import pytest
import yaml

from deeplab.config.build_model import build_backbone, check_classifier, check_model
from deeplab.config.defaults import default_values
from deeplab.config.parsing import parse
from deeplab.config.paths import TABLES
from deeplab.config.schema.groups import schema_of
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.scripts import CostConfig
from deeplab.config.schema.stage import Recipe
from deeplab.models.aspp import ASPP
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.models.decoder import Decoder
from deeplab.training.validate_config import check_train
from deeplab.utils.program import CONF
from support.configs import compose_config, train_config
from support.repository import ROOT

NEEDED = {
    "data=folder": ["data.root=somewhere"],
    "backbone=timm": ["backbone.model=resnet18"],
    "stage=imagenet": ["data=imagenet"],
    "stage=shape_classes": ["data=shape_classes"],
    "data=huggingface": ["data.path=user/name"],
    "loss=own": ["loss._target_=torch.nn.CrossEntropyLoss"],
    "optimizer=own": ["optimizer._target_=torch.optim.Adam"],
    "lr_scheduler=own": ["lr_scheduler._target_=torch.optim.lr_scheduler.ConstantLR"],
}
"""Values that some choices require."""

WITHOUT_CODE = ("backbone=own", "aspp=own", "decoder=own", "data=own")
"""Choices that need a class, of which Python and its packages have none."""


def choices():
    for group in sorted(p for p in CONF.iterdir() if p.is_dir() and p.name not in TABLES):
        for path in sorted(group.glob("*.yaml")):
            if f"{group.name}={path.stem}" not in WITHOUT_CODE:
                yield f"{group.name}={path.stem}"


@pytest.mark.parametrize("choice", choices())
def test_every_choice_composes_and_builds(choice):
    if choice == "backbone=timm":
        pytest.importorskip("timm")
    config = train_config(choice, *NEEDED.get(choice, ()))
    if isinstance(config, TrainConfig):
        check_model(config, num_classes=len(config.data.classes) or 2)
    else:
        check_classifier(config, num_classes=2)


@pytest.mark.parametrize(
    ("choice", "constructor"),
    [
        ("backbone=xception", Xception),
        ("backbone=resnet101", ResNet),
        ("backbone=mobilenetv2", MobileNetV2),
        ("aspp=full", ASPP),
        ("decoder=full", Decoder),
        ("stage=voc", Recipe),
    ],
)
def test_the_papers_choice_equals_the_constructors_defaults(choice, constructor):
    extra = () if choice.startswith("backbone") else ("backbone=xception",)  # weight decay
    group = getattr(train_config(choice, *extra), choice.split("=")[0])
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    for name, default in defaults.items():
        if default is not None or constructor is Recipe:
            assert getattr(group, name) == default, name


def test_backbone_names_match_their_depths():
    depths = {
        "xception": 65, "xception41": 41, "xception71": 71,
        "resnet50": 50, "resnet101": 101, "resnet101_torchvision": 101,
    }  # fmt: skip
    for choice, depth in depths.items():
        config = train_config(f"backbone={choice}")
        assert config.backbone.depth == depth
    assert isinstance(build_backbone(train_config("backbone=mobilenetv2")), MobileNetV2)


def test_a_data_set_picks_its_network_and_recipe():
    default = train_config()
    assert default.backbone.base_width == 16
    assert default.stage.lr == 0.1
    voc = train_config("data=voc")
    assert (voc.backbone.family, voc.backbone.depth) == ("xception", 65)
    assert voc.stage.lr == 0.007
    assert voc.stage.max_steps == 30_000
    assert voc.data.train_split == "trainaug"
    assert len(voc.data.classes) == 21
    explicit = train_config("data=voc", "backbone=resnet50", "stage=shapes")
    assert (explicit.backbone.family, explicit.stage.lr) == ("resnet", 0.1)


def test_weight_decay_comes_from_the_backbone():
    assert train_config("backbone=xception").stage.weight_decay == 4e-5
    assert train_config("backbone=resnet101").stage.weight_decay == 1e-4
    assert train_config("backbone=resnet101", "stage.weight_decay=0.5").stage.weight_decay == 0.5


def test_cost_takes_the_same_groups():
    from omegaconf import OmegaConf

    config = parse(CostConfig, OmegaConf.create(compose_config("cost", "data=shapes")))
    assert len(config.data.classes) == 7
    assert config.backbone.base_width == 16


def test_check_accepts_the_default():
    from omegaconf import OmegaConf

    assert check_train(OmegaConf.create(compose_config("train"))).name.startswith(
        "shapes-resnet_tiny"
    )


def test_files_of_another_folder_are_completed_too(tmp_path):
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/mine.yaml").write_text("family: xception\ndepth: 41\n")
    (tmp_path / "backbone/wrong.yaml").write_text("family: xceptoin\n")

    def run(*arguments):
        command = [sys.executable, "src/train.py", "--config-dir", str(tmp_path), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    printed = yaml.safe_load(run("backbone=mine", "backbone.width_mult=0.5", "--cfg", "job").stdout)
    assert printed["backbone"] == {
        **train_config("backbone=xception").backbone.model_dump(mode="json"),
        "pretrained": "auto",
        "depth": 41,
        "width_mult": 0.5,
    }
    assert "backbone.family=xceptoin: no such backbone." in run("backbone=wrong").stderr


def test_no_file_repeats_a_default():
    repeated = []
    for path in sorted(CONF.rglob("*.yaml")):
        values = yaml.safe_load(path.read_text()) or {}
        entries = values.get("defaults", [])
        if any(isinstance(entry, str) and entry != "_self_" for entry in entries):
            continue  # it builds on another file, from which it differs
        name = path.relative_to(CONF).with_suffix("").as_posix()
        defaults = {k: v for s in schema_of(name, values) for k, v in default_values(s).items()}
        repeated += [
            f"{name}: {k}"
            for k, v in values.items()
            if k in defaults
            and v == defaults[k]
            and k not in ("name", "_target_")  # which select them
        ]
    assert repeated == []
