"""Classes of the user's own: a project with one of each, and runs of others that name classes."""

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deeplab.ablations.run_index import known_runs
from deeplab.api.models import create_model
from deeplab.config.compose import composed
from deeplab.tools.export.sample_images import sample_images
from deeplab.training.validate_config import check_train
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.own_code.trust import check_trusted
from deeplab.utils.own_code.version import code_version
from support.scripts import CPU, run, run_folders

MODULES = {
    "ownloss": """
from torch import nn
from torch.nn import functional as F
from ownhelp import mean

class Mean(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
    def forward(self, logits, labels):
        return self.factor * mean(F.cross_entropy(logits, labels, ignore_index=255))

class Vector(nn.Module):
    def forward(self, logits, labels):
        return logits.mean((1, 2, 3))

class Labels(nn.Module):
    def __init__(self, label, function, version="1"):
        super().__init__()
    def forward(self, logits, labels):
        return logits.mean()

class Nan(nn.Module):
    def forward(self, logits, labels):
        return logits.mean() * float("nan")

class Fails(nn.Module):
    def forward(self, logits, labels):
        return (logits + labels[..., 1:]).mean()

class Raises(nn.Module):
    def __init__(self):
        raise ValueError("no such luck")

def function(params, lr=1.0):
    return None
""",
    "ownhelp": "def mean(values):\n    return values.mean()\n",
    "ownoptim": """
import torch

class Signs(torch.optim.Optimizer):
    def __init__(self, params, lr=1.0, weight_decay=0.0, beta=0.5):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "beta": beta})
    @torch.no_grad()
    def step(self, closure=None):
        loss = torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad.sign())
        return loss
""",
    "ownnet": """
import torch
from torch import nn

class Convs(nn.Module):
    low_level = {"conv2": (4, 4)}
    out_channels = 8
    def __init__(self, wrong=False):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 5, stride=4, padding=2)
        self.last = nn.Conv2d(4, 4 if wrong else 8, 3, padding=1)
    def set_output_stride(self, output_stride):
        self.last.stride = (output_stride // 4,) * 2
    def forward(self, x):
        x = torch.relu(self.first(x))
        return {"conv2": x, "output": torch.relu(self.last(x))}

class Broken(Convs):
    def forward(self, x):
        return {"output": x + x[..., 1:]}

class Head(nn.Module):
    def __init__(self, in_channels, kept=False):
        super().__init__()
        self.out_channels, self.kept = in_channels, kept
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
    def set_output_stride(self, output_stride):
        if self.kept:
            raise KeyError(output_stride)
    def forward(self, x):
        return torch.relu(self.conv(x))

class Join(nn.Module):
    out_channels = 4
    def __init__(self, in_channels, features, fault=""):
        super().__init__()
        self.stride, self.fault = features["conv2"].stride, fault
        self.conv = nn.Conv2d(in_channels + features["conv2"].channels, 4, 1)
    def forward(self, x, features):
        low = features["conv2"]
        if self.fault == "size":
            return self.conv(torch.cat([x, low], 1))
        if self.fault == "stride":
            return x[:, :4]
        x = nn.functional.interpolate(x, size=low.shape[-2:])
        x = x.detach() if self.fault == "gradient" else x
        if self.fault == "odd" and low.shape[-1] != low.shape[-2]:
            x = x.transpose(-1, -2)
        return [] if self.fault == "list" else self.conv(torch.cat([x, low], 1))
""",
    "owndata": """
import numpy as np
import torch

class Halves:
    classes = ["left", "right"]
    def __init__(self, split, highest=1, random=False, missing=0, val_channels=3):
        self.count = {"train": 4, "val": 3}[split] - missing
        self.channels = val_channels if split == "val" else 3
        self.highest, self.random = highest, random
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        label = np.zeros((40, 48), np.int64)
        label[:, 20 + index :] = self.highest
        label[0] = 255
        generator = np.random.default_rng(None if self.random else index)
        image = generator.integers(0, 99, (self.channels, 40, 48)) + 100 * (label == 1)
        return torch.from_numpy(image.astype(np.uint8)), torch.from_numpy(label)

class One(Halves):
    classes = ["left"]
""",
    "owncallback": """
from pathlib import Path
from lightning import Callback

class Steps(Callback):
    def on_train_batch_end(self, trainer, module, *rest):
        Path("steps").write_text(str(trainer.global_step))
        module.log("own/steps", float(trainer.global_step))

    def on_validation_epoch_end(self, trainer, module):
        module.log("own/weights", 3.0)
""",
    "ownaugment": """
import random

class Dark:
    def __call__(self, image, mask):
        return image // random.choice((1, 2)), mask
""",
}
CONF = {
    "loss/mine": "_target_: ownloss.Mean\nfactor: 2.0\n",
    "data/halves": "defaults: [own]\n_target_: owndata.Halves\ncrop_size: 33\neval_size: 49\n",
}
RUN = (
    "data=halves", "loss=mine", "backbone._target_=ownnet.Convs", "aspp._target_=ownnet.Head",
    "decoder._target_=ownnet.Join", "stage=shapes", "optimizer._target_=ownoptim.Signs",
    "optimizer.beta=0.9", "stage.lr=0.001",
    "lr_scheduler._target_=torch.optim.lr_scheduler.StepLR", "lr_scheduler.step_size=1",
    "callbacks.steps._target_=owncallback.Steps", "stage.max_steps=2", "stage.batch_size=2",
    "data.augmentations=[{_target_: ownaugment.Dark}]",
    "trainer.num_workers=0", "logger=csv", *CPU,
)  # fmt: skip


def write_project(folder, conf=True):
    """Write the modules, which note that they are imported, and the files of ``conf/``."""
    for name, text in MODULES.items():
        note = f'open("imported", "a").write("{name} ")\n'
        (folder / f"{name}.py").write_text(note + text)
    for name, text in CONF.items() if conf else ():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train and evaluate a project's network with nothing but its own parts; return its folder."""
    cwd = tmp_path_factory.mktemp("project")
    write_project(cwd)
    run("train", *RUN, cwd=cwd)
    return cwd


def test_a_project_of_its_own(trained):
    (folder,) = run_folders(trained)
    assert folder.name.startswith("halves-shapes-Convs-aspp_Head-decoder_Join-")
    assert (trained / "steps").read_text() == "2"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [(row["step"], row["own/steps"], row["own/weights"]) for row in rows] == [
        ("1", "", "3.0"),
        ("2", "2.0", ""),
        ("2", "", "3.0"),
    ]
    done = run("evaluate", f"run={folder}", *CPU, cwd=trained, ok=False)
    assert "trust_remote_code=false" in done.stderr  # conf/ does not name the backbone
    assert f"ownnet.Convs ({trained}/ownnet.py)" in done.stderr
    for group, part in (("backbone", "Convs"), ("aspp", "Head"), ("decoder", "Join")):
        named = trained / f"other/{group}/named.yaml"
        named.parent.mkdir(parents=True)
        named.write_text(f"_target_: ownnet.{part}\n")
    named = ("--config-dir", "other", "strategies=[flip]")
    run("evaluate", f"run={folder}", *named, *CPU, cwd=trained)
    done = run("evaluate", f"run={folder}", "trust_remote_code=true", *CPU, cwd=trained)
    assert "left" in done.stdout
    keys = ("format=safetensors", "output=exported", "trust_remote_code=true")
    run("export", f"run={folder}", *keys, cwd=trained)
    card = (trained / "exported/README.md").read_text()
    assert "split train, 4 images, fingerprint" in card
    assert "- Decoder: ownnet.Join\n" in card
    assert "This run is finished" in run("train", *RUN, cwd=trained).stdout
    typed = (*RUN[1:5], *RUN[6:12])  # conf/ names the data; nothing the augmentation
    done = run("train", f"resume={folder}", *typed, cwd=trained, ok=False)
    assert "names code that this command would import: ownaugment.Dark (" in done.stderr
    check_evaluations_with_edited_code(trained, folder)
    (trained / "ownhelp.py").write_text("def mean(values):\n    return values.sum() / 9\n")
    done = run("train", f"resume={folder}", "trust_remote_code=true", cwd=trained, ok=False)
    assert "the code of loss._target_=ownloss.Mean (then sha256:" in done.stderr
    run("train", *RUN, cwd=trained)
    assert len(run_folders(trained)) == 2


def check_evaluations_with_edited_code(project, folder):
    """Weights with another version of their class are said, and are no result of a table."""
    module = project / "ownnet.py"
    source = module.read_text()
    keys = (f"run={folder}", "trust_remote_code=true", "strategies=[flip]", *CPU)
    result = folder / "evaluations/val-weights-os16-flip/result.json"
    (index,) = (run for run in known_runs(folder.parent) if run.folder.path == folder)
    row = SimpleNamespace(name_of=lambda config: result.parent.name)
    versions = []
    (result.parent / "gallery-mine").mkdir()
    for text in (source, f"{source}\n# edited\n"):
        module.write_text(text)
        done = run("evaluate", *keys, cwd=project)
        warned = "decoder._target_=ownnet.Join (then sha256:" in done.stderr
        assert warned == (text != source)
        assert warned == ("has changed since this run was trained" in done.stderr)
        assert warned != ("existed already" in done.stdout)
        versions.append(json.loads(result.read_text())["own_code"])
        vars(index).pop("_evaluations", None)
        assert bool(index.evaluation(row)) != warned
        compared = run("compare", "runs=[.]", "output=compared", cwd=result.parent).stdout
        assert ("other code of the network's own classes" in compared) == warned
    module.write_text(source)
    assert versions[0].keys() == {"backbone", "aspp", "decoder"}
    (moved,) = result.parent.parent.glob(f"{result.parent.name}.2*")  # nothing was lost
    assert "Moved the existing result, which has other code of the network's own" in done.stdout
    assert json.loads((moved / "result.json").read_text())["own_code"] == versions[0]
    assert (moved / "gallery-mine").is_dir()
    assert versions[0]["decoder"] != versions[1]["decoder"]


def test_code_of_a_run_that_is_not_here_is_not_to_be_trusted():
    with pytest.raises(UserError, match="there is no module nosuch") as raised:
        check_trusted(["nosuch.Name"], "config.yaml")
    assert "trust_remote_code" not in str(raised.value)
    assert "PYTHONPATH" in str(raised.value)


def test_runs_of_others_import_nothing(trained, tmp_path):
    (folder, *_) = run_folders(trained)
    write_project(tmp_path, conf=False)
    shutil.copytree(folder, tmp_path / "runs" / "theirs")
    (tmp_path / "image.png").write_bytes((folder / "validation.png").read_bytes())
    commands = (
        ("train", "resume=runs/theirs"),
        ("evaluate", "run=runs/theirs"),
        ("predict", "run=runs/theirs", "input=image.png"),
        ("export", "run=runs/theirs", "format=torch_export"),
    )
    for command in commands:
        done = run(*command, cwd=tmp_path, ok=False)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        for name in ("Convs", "Head", "Join"):
            assert f"ownnet.{name} ({tmp_path}/ownnet.py)" in done.stderr
    run("ablations", "report", "stage.lr=0.1,0.2", cwd=tmp_path, ok=False)
    run("train", "init_from=runs/theirs", cwd=tmp_path, ok=False)
    assert not (tmp_path / "imported").exists()
    done = run(*commands[2], "trust_remote_code=true", *CPU, cwd=tmp_path)
    assert (tmp_path / "imported").read_text() == "ownnet "


JOIN = ("decoder._target_=ownnet.Join",)

BAD = [
    (["loss._target_=nosuch.Name"], "there is no module nosuch, neither in"),
    (["loss._target_=ownloss.Meen"], "has no Meen. Did you mean Mean?"),
    (["loss._target_=Mean"], "loss._target_=Mean: expected the path of a class"),
    (["loss._target_=ownloss.Mean", "loss.size=2"], "keyword argument 'size'. Its arguments: fact"),
    (["loss._target_=ownloss.Vector"], "returns torch.float32 of shape (2,); expected a scalar"),
    (["loss._target_=ownloss.Labels", "loss.label=a"], "missing a required argument: 'function'"),
    (
        ["loss._target_=ownloss.Labels", "loss.label={_target_: torch}", "loss.function=b"],
        "loss.label._target_: expected the path of a class",
    ),
    (["data=halves", "data.split=train"], "the program sets its argument split. Leave it out"),
    (["loss._target_=ownloss.Nan"], "it is nan for random logits"),
    (["loss._target_=ownloss.Raises"], "it raises ValueError: no such luck ("),
    (["loss._target_=ownoptim.Signs"], "missing a required argument: 'params'"),
    (["loss._target_=statistics.Loss"], "statistics.py is hidden by Python's standard module"),
    (["loss._target_=collections.Counter"], "a module of Python's standard library, not yours"),
    (["loss._target_=brokenmodule.Loss"], "importing it fails: ModuleNotFoundError: No module"),
    (["callbacks={a:{_target_:owncallback.Steps}}"], "own is callbacks.NAME._target_=module.Name"),
    (["data=halves", "data.missing=9"], "it raises ValueError: __len__() should return >= 0"),
    (["loss=cross_entropy", "loss._target_=ownloss.Mean"], "Leave out loss=..."),
    (["optimizer._target_=ownloss.function"], "this function is no subclass of torch.optim"),
    (["optimizer._target_=ownoptim.Signs", "optimizer.lr=1"], "Set stage.lr=1 instead"),
    (["lr_scheduler._target_=ownoptim.Signs"], "no subclass of torch.optim.lr_scheduler"),
    (["callbacks.a._target_=ownloss.Mean"], "expected lightning.pytorch.callbacks"),
    (["backbone._target_=ownloss.Mean"], "Mean has no out_channels"),
    (["backbone._target_=ownnet.Convs", "backbone.wrong=true"], "Convs: the feature map output of"),
    (["backbone._target_=ownnet.Broken"], "dimension 3 (OWNNET, line "),
    (["loss._target_=ownloss.Fails"], "ownloss.py, line "),
    (["data=own", "data._target_=owndata.Halves", "data.random=true"], "another sample each time"),
    (
        ["data=own", "data._target_=owndata.Halves", "data.val_channels=4"],
        "the training images have 3 channels, those for validation 4",
    ),
    (["data=own", "data._target_=owndata.One"], "neither the dataset nor the config names two"),
    (["data._target_=ownloss.Mean"], "unexpected keyword argument 'split'"),
    (["stage._target_=ownloss.Mean"], "Classes of your own are for loss,"),
    (["aspp._target_=ownloss.Mean"], "unexpected keyword argument 'in_channels'"),
    (["aspp._target_=ownnet.Head", "aspp.kept=true"], "raises KeyError: 16 (OWNNET, line "),
    (["aspp._target_=ownnet.Head", "aspp.in_channels=8"], "sets its argument in_channels"),
    (["decoder._target_=ownnet.Head"], "unexpected keyword argument 'features'"),
    ([*JOIN, "decoder.fault=size"], "(OWNNET, line "),
    ([*JOIN, "decoder.fault=stride"], "its result is (2, 4, 5, 5); expected (2, 4, 17, 17)"),
    ([*JOIN, "decoder.fault=odd"], "on maps of an image of 97 x 49 pixels"),
    ([*JOIN, "decoder.fault=gradient"], "65 x 65 pixels: its result has no gradient"),
    ([*JOIN, "decoder.fault=list"], "forward returns list; expected a tensor"),
    ([*JOIN, "decoder.feature=3"], "argument 'feature'. Did you mean features? Its arguments: in_"),
    ([*JOIN, "decoder.size=3"], "keyword argument 'size'. Its arguments: in_channels, features, f"),
    (
        ["backbone._target_=ownnet.Convs", "backbone.pretrained=imagenet"],
        "no published weights of this backbone (_target_=ownnet.Convs) can be read",
    ),
    (["data.augmentations=[{_target_: ownloss.Mean}]", "+data.x=1"], "data.x: no such key"),
]  # fmt: skip


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return the folder of a project with two faulty modules."""
    folder = tmp_path_factory.mktemp("faulty")
    write_project(folder)
    (folder / "statistics.py").write_text("")
    (folder / "brokenmodule.py").write_text("import nosuchmodule\n")
    return folder


@pytest.mark.parametrize(("overrides", "words"), BAD, ids=lambda value: value[0][:40])
def test_what_is_wrong_is_one_line(overrides, words, faulty, monkeypatch):
    monkeypatch.chdir(faulty)
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in MODULES:  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    groups = [o.partition("._target_")[0] for o in overrides]
    small = [f"{g}=tiny" for g in ("aspp", "decoder") if g not in groups] + ["stage=shapes"]
    with pytest.raises(UserError) as error, composed("train", [*small, *overrides]) as config:
        check_train(config)
    assert words.replace("OWNNET", f"{faulty}/ownnet.py") in str(error.value)
    assert "\n" not in str(error.value)


def test_parts_of_one_s_own_in_python(faulty, monkeypatch):
    monkeypatch.chdir(faulty)
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    part = {"_target_": "ownnet.Join"}
    model = create_model("resnet_tiny", decoder=part, aspp="tiny", num_classes=3)
    assert model(torch.zeros(1, 3, 49, 97)).shape == (1, 3, 13, 25)
    assert model.logits_stride == 4


def test_a_backbone_has_the_same_keys_by_a_file_and_by_its_class(tmp_path, monkeypatch):
    write_project(tmp_path)
    (tmp_path / "conf/backbone").mkdir()
    (tmp_path / "conf/backbone/mine.yaml").write_text("_target_: ownnet.Convs\n")
    monkeypatch.chdir(tmp_path)
    configs = []
    for override in ("backbone=mine", "backbone._target_=ownnet.Convs"):
        with composed("train", [override]) as config:
            configs.append(dict(config.backbone))
    assert configs[0] == configs[1]


def test_the_images_of_an_export_are_those_of_the_dataset(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    keys = ("backbone.pretrained=null", "aspp=tiny", "decoder=tiny")
    with composed("train", ["data=halves", *keys]) as config:
        checked = check_train(config)
    samples = sample_images(checked, (40, 48), 2, required=True)
    assert samples.source == "2 images of split val"
    assert [image.shape for image in samples.images] == [(40, 48, 3)] * 2


def test_data_without_files_is_refused_where_files_are_needed(tmp_path):
    write_project(tmp_path)
    done = run("prepare", "data=halves", "check=true", cwd=tmp_path, ok=False)
    assert "a dataset of your own has no files to prepare" in done.stderr
    done = run("cost", "data=halves", cwd=tmp_path, ok=False)
    assert "Set data.classes=[a,b]" in done.stderr
    assert not (tmp_path / "imported").exists()


def test_labels_out_of_range_name_index_and_value(tmp_path):
    write_project(tmp_path)
    done = run("train", *RUN, "data.highest=7", cwd=tmp_path, ok=False)
    assert "owndata.Halves/train/0: label 7, but data.classes names 2 classes" in done.stderr


def test_the_version_is_that_of_all_local_modules_that_are_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "versioned"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loss.py").write_text("from . import inner\nclass A: pass\n")
    (package / "inner.py").write_text("import torch, versioned.deep\n")
    (package / "deep.py").write_text("x = 1\n")
    (package / "other.py").write_text("x = 1\n")

    def version():
        from deeplab.utils.own_code import version

        version._spec_version.cache_clear()
        return code_version("versioned.loss.A", "loss")

    first = version()
    assert first.startswith("sha256:")
    (package / "other.py").write_text("x = 2\n")
    assert version() == first
    (package / "deep.py").write_text("x = 2\n")
    assert version() != first
    assert code_version("torch.optim.SGD", "optimizer").startswith("torch==2.")
    assert code_version("statistics.NormalDist", "loss").startswith("python==3.")
    assert not Path("imported").exists()


def test_arguments_may_have_the_names_of_a_node_s_fields():
    values = {"_target_": "ownloss.Labels", "_version_": "1.5", "version": "2", "target": "x"}
    node = OwnCode(**values)
    assert node.arguments == {"version": "2", "target": "x"}
    assert node.model_dump() == values
    assert OwnCode(**node.model_dump()) == node
