"""Tests of settings that are derived from constructors, and of modules that are found by name."""

import inspect
import pickle
import shutil

import pytest

from deeplab.config.schema.model import AsppSettings, DecoderSettings, backbone_settings
from deeplab.models.aspp import ASPP
from deeplab.models.backbones import backbone_class, backbone_names
from deeplab.models.decoder import Decoder
from support.repository import ROOT
from support.scripts import SMALL, check_imports, run


@pytest.mark.parametrize(
    ("settings", "constructor"),
    [
        *((backbone_settings(name), backbone_class(name)) for name in backbone_names()),
        (AsppSettings, ASPP),
        (DecoderSettings, Decoder),
    ],
)
def test_settings_are_the_arguments_of_the_constructor(settings, constructor):
    """The signature that is read from the source is that of the imported class."""
    parameters = inspect.signature(constructor).parameters
    for name, field in settings.model_fields.items():
        if name not in parameters:
            assert name in ("family", "pretrained", "weight_decay")
            continue
        if parameters[name].default is inspect.Parameter.empty:
            assert field.is_required()
        else:
            assert field.default == parameters[name].default
        assert field.description, f"{name} is not described in the docstring"
    missing = parameters.keys() - settings.model_fields.keys()
    assert missing <= {"in_channels", "features"}


@pytest.mark.parametrize(
    "settings", [*map(backbone_settings, backbone_names()), AsppSettings, DecoderSettings]
)
def test_pickle_finds_the_settings(settings):
    assert pickle.loads(pickle.dumps(settings)) is settings


def test_settings_need_no_torch():
    check_imports(
        "from deeplab.config.schema.groups import schema_of\n"
        "schema_of('backbone/x', {'family': 'resnet'}); schema_of('data/x', {'name': 'voc'})"
    )


BACKBONE = '''
"""Two strided convolutions."""

from torch import Tensor, nn

from deeplab.models.backbones.base import Feature, Unit, UnitBackbone, UnitOutput
from deeplab.models.layers import ConvNorm, initialize
from deeplab.utils.settings import Channels, Mean, Std


class PlainUnit(Unit):
    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stride = 2
        self.conv = ConvNorm(in_channels, channels, 3)

    def set_atrous(self, *, stride: int, dilation: int) -> None:
        self.conv.set_atrous(stride=stride, dilation=dilation)

    def forward(self, x: Tensor) -> UnitOutput:
        output = self.conv(x)
        return UnitOutput(output, output)


class Plain(UnitBackbone):
    """Plain network.

    Args:
        width: channels of the first convolution.
        mean, std: normalization of the input.
    """

    def __init__(
        self, width: Channels = 8, mean: Mean = (0.0, 0.0, 0.0), std: Std = (255.0, 255.0, 255.0)
    ) -> None:
        super().__init__(
            stem=ConvNorm(3, width, 3, stride=2),
            stem_stride=2,
            units=[PlainUnit(width, 2 * width), PlainUnit(2 * width, 4 * width)],
            out_channels=4 * width,
            low_level_units={"conv2": (0, Feature(2 * width, 4))},
            mean=mean,
            std=std,
        )
        initialize(self, "variance_scaling")
'''

LAYOUT = '''
"""Drawn scenes under another name, with an own key."""

from deeplab.data.items import Item
from deeplab.data.layouts.shapes import ShapesLayout, ShapesSettings
from deeplab.utils.settings import Positive


class FewSettings(ShapesSettings):
    keep: Positive = 4
    """Number of images of each split."""


class FewLayout(ShapesLayout):
    def __init__(self, settings: FewSettings) -> None:
        super().__init__(settings)
        self.keep = settings.keep

    def items(self, split: str) -> list[Item]:
        return super().items(split)[: self.keep]
'''


def test_a_backbone_and_a_layout_are_one_module_and_one_file_each(tmp_path):
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "src/deeplab/models/backbones/plain.py").write_text(BACKBONE)
    (tmp_path / "src/deeplab/data/layouts/few.py").write_text(LAYOUT)
    (tmp_path / "conf/backbone/mine.yaml").write_text("family: plain\nwidth: 4\n")
    shapes = (ROOT / "conf/data/shapes.yaml").read_text()
    assert "name: shapes" in shapes
    (tmp_path / "conf/data/few.yaml").write_text(shapes.replace("name: shapes", "name: few"))

    def train(*arguments):
        overrides = ("data=few", "backbone=mine", *SMALL, *arguments)
        return run("train", *overrides, cwd=tmp_path, root=tmp_path, ok=False)

    done = train("stage.max_steps=2", "backbone.width=2", "data.keep=3")
    assert done.returncode == 0, done.stderr
    config = next(tmp_path.glob("runs/*/config.yaml")).read_text()
    assert "width: 2" in config
    assert "keep: 3" in config
    assert (
        "Error: backbone.width=0: must be greater than or equal to 1."
        in train("backbone.width=0").stderr
    )
    assert "Error: data.kep: no such key. Did you mean data.keep" in train("data.kep=1").stderr
