"""Published weights and runs of the hub, downloaded from local servers."""

import hashlib
import json
import random
import re
import subprocess
import sys

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save

from deeplab.checkpoints import hub as hub_module
from deeplab.checkpoints.hub import HubId, NotDownloadedError, fetch_published_weights, hub_id
from deeplab.checkpoints.key_mapping import find_key_mapping
from deeplab.checkpoints.pretrained import PUBLISHED_WEIGHTS, TORCHVISION, PublishedWeights
from deeplab.models.backbones import MobileNetV2, ResNet, Xception
from deeplab.utils import download as download_module
from deeplab.utils.errors import UserError
from support.hubs import COMMIT, hub
from support.networks import TORCHVISION_RESNET
from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders
from support.servers import Response, serving

BODY = random.Random(0).randbytes(300_000)
TIMM = "timm/xception41.tf_in1k/model.safetensors"
STILL = ("stage.batch_norm=frozen", "stage.lr=1e-9")
"""Overrides under which no weight changes, so the final weights show the initial ones."""


def published_state(backbone):
    """Return a backbone's weights by the names of their publisher, with a classifier."""
    mapping = find_key_mapping(backbone)
    state = {}
    for name, tensor in backbone.state_dict().items():
        part, _, kind = name.rpartition(".")
        state[f"{mapping.parts[part]}.{kind}"] = tensor
    return state | {f"{mapping.unused[-1]}.weight": torch.zeros(10, 4)}


# the list of published weights


@pytest.mark.extras
def test_the_list_of_published_weights_equals_the_publishers():
    models, timm = pytest.importorskip("torchvision.models"), pytest.importorskip("timm")
    torchvision_weights = {
        f"resnet{depth}_torchvision": models.get_model_weights(f"resnet{depth}").IMAGENET1K_V1
        for depth in (50, 101)
    } | {"mobilenetv2": models.MobileNet_V2_Weights.IMAGENET1K_V1}
    for known in PUBLISHED_WEIGHTS:
        if known.family == "xception":
            name = f"xception{known.settings['depth']}.tf_in1k"
            assert timm.get_pretrained_cfg(name).hf_hub_id == f"timm/{name}"
            assert known.address == f"hf://timm/{name}/model.safetensors"
        else:
            weights = torchvision_weights[known.choice]
            assert known.address == weights.url
            assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] == pytest.approx(
                known.top1, abs=0.005
            )
            digits = known.checksum.removeprefix("sha256:")
            assert known.address.endswith(f"-{digits}.pth")


# PyTorch's server


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "RETRY_DELAY", 0.001)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(hub_module.MIRROR_VARIABLE, "http://127.0.0.1:9")  # no server
    return tmp_path / "hub" / "checkpoints"


def weights_of(body: bytes) -> PublishedWeights:
    digits = hashlib.sha256(body).hexdigest()[:8]
    return PublishedWeights("x", "x", {}, f"{TORCHVISION}/file", f"sha256:{digits}", 0.0)


def fetch_weights(weights, *, download=True):
    return fetch_published_weights(weights, setting="x=y", download=download, progress=False)


def test_a_cached_file_of_torch_hub_is_used(torch_home):
    torch_home.mkdir(parents=True)
    (torch_home / "file").write_bytes(BODY)
    local = fetch_weights(weights_of(BODY))
    assert local == (torch_home / "file", f"{TORCHVISION}/file")


def test_a_download_resumes_and_is_verified(torch_home, monkeypatch):
    with serving(BODY, Response(cut=100_000), Response()) as site:
        monkeypatch.setenv(hub_module.MIRROR_VARIABLE, site.url.removesuffix("/file"))
        with pytest.raises(NotDownloadedError, match="must be downloaded"):
            fetch_weights(weights_of(BODY), download=False)
        assert site.requested_ranges == []
        assert fetch_weights(weights_of(BODY)).path.read_bytes() == BODY
        assert site.requested_ranges == [None, "bytes=100000-"]
        assert fetch_weights(weights_of(BODY)).path.read_bytes() == BODY
        assert len(site.requested_ranges) == 2
    assert [path.name for path in torch_home.iterdir()] == ["file"]


def test_a_damaged_file_is_downloaded_again(torch_home, monkeypatch):
    torch_home.mkdir(parents=True)
    (torch_home / "file").write_bytes(BODY[:-1])
    with serving(BODY) as site:
        monkeypatch.setenv(hub_module.MIRROR_VARIABLE, site.url.removesuffix("/file"))
        assert fetch_weights(weights_of(BODY)).path.read_bytes() == BODY


def test_a_file_with_another_checksum_is_refused(torch_home, monkeypatch):
    with serving(b"a login page") as site:
        monkeypatch.setenv(hub_module.MIRROR_VARIABLE, site.url.removesuffix("/file"))
        with pytest.raises(UserError, match=r"x=y: .*its checksum is sha256:.*login page"):
            fetch_weights(weights_of(BODY))
    assert list(torch_home.iterdir()) == []


def test_without_a_network_the_error_names_the_folder_for_the_file(torch_home):
    with pytest.raises(UserError, match=f"x=y: .*ownload file by other means into {torch_home}"):
        fetch_weights(weights_of(BODY))


def test_two_processes_at_once(torch_home):
    """The file is downloaded once, completely."""
    code = (
        "import sys\n"
        "from deeplab.checkpoints.pretrained import PublishedWeights\n"
        "from deeplab.checkpoints.hub import fetch_published_weights\n"
        "weights = PublishedWeights('x', 'x', {}, sys.argv[1], sys.argv[2], 0.0)\n"
        "options = {'setting': 'x', 'download': True, 'progress': False}\n"
        "print(fetch_published_weights(weights, **options).path)\n"
    )
    weights = weights_of(BODY)
    with serving(BODY, Response(pause=0.02, piece=1 << 14)) as site:
        variables = environment() | {
            "PYTHONPATH": str(ROOT / "src"),
            hub_module.MIRROR_VARIABLE: site.url.removesuffix("/file"),
        }
        command = [sys.executable, "-c", code, weights.address, weights.checksum]
        both = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) for _ in "ab"]
        outputs = [process.communicate()[0].decode() for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert all(output.endswith(f"{torch_home / 'file'}\n") for output in outputs)
        assert site.requested_ranges == [None]
    assert (torch_home / "file").read_bytes() == BODY


def test_a_damaged_file_of_the_hub_is_downloaded_again_once_it_is_deleted(tmp_path, monkeypatch):
    weights = PublishedWeights("x", "x", {}, "hf://a/b/file", None, 0.0)
    content = tmp_path / "blobs" / hashlib.sha256(BODY).hexdigest()
    content.parent.mkdir()
    (tmp_path / COMMIT).mkdir()
    link = tmp_path / COMMIT / "file"
    link.symlink_to(content)

    def download(repository, name, revision):
        content.write_bytes(bodies.pop())
        return str(link)

    bodies = [BODY, b"damaged"]
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(hub_module, "_cached_file", lambda *_: None)
    with pytest.raises(UserError, match="Delete the file, then run this again"):
        fetch_weights(weights)
    content.unlink()
    assert fetch_weights(weights).path.read_bytes() == BODY


# published weights in train.py


@pytest.fixture(scope="module")
def xception():
    """Return random weights of Xception-41: a state dict, and a file with timm's names."""
    torch.manual_seed(3)
    backbone = Xception(41, weight_init="variance_scaling")
    return backbone.state_dict(), save(published_state(backbone))


@pytest.mark.processes
def test_training_starts_from_published_weights(xception, tmp_path):
    state, content = xception
    backbone = ("backbone=xception41", "backbone.pretrained=imagenet", "backbone.bn_eps=0.01")
    arguments = [*SMALL, *STILL, *backbone, "aspp=tiny", "decoder=tiny", "stage.max_steps=1"]
    with hub({TIMM: content}) as site:
        variables = site.variables(tmp_path)
        run("train", *arguments, "--cfg", "job", cwd=tmp_path, variables=variables)
        assert site.requests == []
        site.cut = 1_000_000  # the connection breaks once
        done = run("train", *arguments, cwd=tmp_path, variables=variables)
        num_requests = len(site.requests)
    sha, source = hashlib.sha256(content).hexdigest(), f"hf://{TIMM}".replace("/m", f"@{COMMIT}/m")
    assert f"Weights:    {source}\n            SHA-256 {sha}, ImageNet top-1 78.5 %" in done.stdout
    assert "by timm's names; left out: head (1)" in done.stdout
    (folder,) = run_folders(tmp_path)
    after = load_file(folder / "weights.safetensors")
    for name, tensor in state.items():
        assert torch.allclose(after[f"backbone.{name}"].float(), tensor.float(), atol=1e-4), name
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["backbone"]["pretrained"] == "imagenet"
    assert config["backbone"]["bn_eps"] == 0.001  # the weights' own
    record = json.loads((folder / "run.json").read_text())
    assert (record["init_weights_sha256"], record["init_source"]) == (sha, source)
    variables["HF_ENDPOINT"] = "http://127.0.0.1:9"
    again = run("train", *arguments, cwd=tmp_path, variables=variables)
    assert "This run is finished" in again.stdout
    file = next((tmp_path / "hf").rglob("model.safetensors"))
    by_path = [a.replace("=imagenet", f"={file}") for a in arguments]
    assert "This run is finished" in run("train", *by_path, cwd=tmp_path).stdout  # same content
    assert num_requests > 1
    file.resolve().write_bytes(content[:-1])
    damaged = run("train", *arguments, cwd=tmp_path, variables=variables, ok=False)
    assert "is damaged" in damaged.stderr


@pytest.mark.parametrize(
    ("arguments", "offline", "words"),
    [
        (["backbone=xception41"], True, ["hf download timm/xception41.tf_in1k model.safetensors"]),
        (["backbone=xception71"], False, ["no such repository", "/timm/xception71.tf_in1k"]),
    ],
)
def test_weights_that_cannot_be_downloaded(arguments, offline, words, tmp_path):
    """There is one message, and nothing is written to the working folder."""
    (tmp_path / "work").mkdir()
    with hub({}) as site:
        variables = site.variables(tmp_path)
        if offline:
            variables["HF_HUB_OFFLINE"] = "1"
        overrides = [*SMALL, *arguments, "backbone.pretrained=imagenet"]
        done = run("train", *overrides, cwd=tmp_path / "work", variables=variables, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: backbone.pretrained=imagenet: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("choice", "backbone"),
    [
        ("resnet50_torchvision", lambda: ResNet(50, **TORCHVISION_RESNET, bn_eps=1e-5)),
        ("mobilenetv2", lambda: MobileNetV2(bn_eps=1e-5)),
    ],
)
def test_a_file_with_torchvision_s_names(choice, backbone, tmp_path):
    torch.save(published_state(backbone()), tmp_path / "w.pth")
    overrides = [*SMALL, f"backbone={choice}", "aspp=tiny", "decoder=tiny", "stage.max_steps=1"]
    done = run("train", *overrides, "backbone.pretrained=w.pth", cwd=tmp_path)
    assert "by torchvision's names; left out: " in done.stdout


# runs of the hub


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf://user/name", HubId("user/name")),
        ("hf://user/name-1.0@v2", HubId("user/name-1.0", "v2")),
        ("user/name", None),
        ("runs/name@v2", None),
        ("hf://runs/name", HubId("runs/name")),
        ("user/weights.pth", None),
        ("a/b/c", None),
        ("name", None),
        ("/user/name", None),
        ("~/name", None),
        ("../name", None),
    ],
)
def test_hub_ids(name, expected):
    assert hub_id(name, "run") == expected


@pytest.mark.parametrize("name", ["hf://", "hf://name", "hf://a/b/c", "hf:///user/name"])
def test_wrong_hub_ids(name):
    with pytest.raises(UserError, match=f"init_from={name}: not the name of a repository"):
        hub_id(name, "init_from")


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory):
    """Train a run; return the files of its repository."""
    cwd = tmp_path_factory.mktemp("uploaded")
    run("train", *SMALL, "backbone.mean=[1.0,2.0,3.0]", cwd=cwd)
    (folder,) = run_folders(cwd)
    names = ("weights.safetensors", "config.yaml")
    return {f"somebody/scenes/{name}": (folder / name).read_bytes() for name in names}


def test_a_run_of_the_hub(uploaded, tmp_path):
    with hub(uploaded) as site:
        variables = site.variables(tmp_path / "caches")
        options = {"cwd": tmp_path, "variables": variables}
        init_from = "init_from=hf://somebody/scenes"
        done = run("train", *SMALL, *STILL, init_from, "seed=1", **options)
        assert f"Weights:    hf://somebody/scenes@{COMMIT}/weights.safetensors" in done.stdout
        (folder,) = run_folders(tmp_path)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["init_from"] == "hf://somebody/scenes"
        assert config["backbone"]["mean"] == [1.0, 2.0, 3.0]  # the weights' normalization
        trainer = [s for s in SMALL if s.startswith("trainer.a")]
        run("evaluate", f"run=hf://somebody/scenes@{COMMIT}", *trainer, **options)
        Image.new("RGB", (50, 40), "red").save(tmp_path / "a.png")
        run("predict", "run=hf://somebody/scenes", "input=a.png", *trainer, **options)
        assert (tmp_path / "predictions" / "a.png").is_file()
    evaluated = tmp_path / "runs" / f"somebody--scenes-{COMMIT[:8]}"
    assert (evaluated / "evaluations/val-weights-os16/result.json").is_file()
    variables["HF_HUB_OFFLINE"] = "1"
    assert "finished" in run("train", *SMALL, *STILL, init_from, "seed=1", **options).stdout


def test_runs_that_are_not_on_the_hub(uploaded, tmp_path):
    weights = {name: body for name, body in uploaded.items() if name.endswith("safetensors")}
    with hub(weights) as site:
        options = {"cwd": tmp_path, "variables": site.variables(tmp_path / "c"), "ok": False}
        for name, words in (
            ("hf://somebody/scenes", "has no config.yaml"),
            ("hf://somebody/scenes@v7", "has no revision v7"),
            ("hf://somebody/other", "no such repository"),
        ):
            done = run("evaluate", f"run={name}", **options)
            assert done.returncode == 2
            assert done.stderr.startswith(f"Error: run={name}: "), done.stderr
            assert words in done.stderr
            assert "Traceback" not in done.stderr


def test_a_corrupt_download_from_the_hub(uploaded, tmp_path):
    with hub(uploaded) as site:
        site.corrupt = True
        options = {"cwd": tmp_path, "variables": site.variables(tmp_path / "c"), "ok": False}
        done = run("evaluate", "run=hf://somebody/scenes", **options)
    assert done.returncode == 2
    assert "Error: run=hf://somebody/scenes: " in done.stderr
    assert "Traceback" not in done.stderr


# sweeps


def test_a_plan_downloads_nothing(tmp_path):
    with hub({}) as site:
        variables = site.variables(tmp_path)
        arguments = ("plan", "ablation=table3,table5", "preset=paper")
        output = run("ablations", *arguments, cwd=tmp_path, variables=variables).stdout
        assert site.requests == []
        random_weights = run(
            "ablations", *arguments, "backbone.pretrained=null", cwd=tmp_path, variables=variables
        ).stdout
        refused = run(
            "train", "-m", "ablation=table3", "preset=paper", cwd=tmp_path, variables=variables,
            ok=False,
        )  # fmt: skip
    assert "no row of these tables can run" in refused.stderr
    missing = r"\b4 .*external_weights\.resnet101=FILE: the authors' ImageNet ResNet-101"
    assert re.search(missing, refused.stderr)
    assert not list(tmp_path.glob("runs/voc*"))
    xception = "initial weights: ImageNet weights (hf://timm/xception65.tf_in1k/model.safetensors)"
    assert output.count(f"{xception}, to be downloaded") == 4
    assert output.count("initial weights: another run") == 2
    assert output.count("initial weights: external_weights.resnet101") == 4
    assert "resnet_v1_101_2018_05_04.tar.gz" in output
    assert "initial weights: random weights" not in output
    assert random_weights.count("initial weights: random weights") == 8
    assert "ImageNet weights" not in random_weights
