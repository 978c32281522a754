"""Exported files against PyTorch, and what they say of themselves; through the real entry point."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from deeplab.checkpoints.loading import load_backbone
from deeplab.data.image_io import read_image
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.models.backbones import MobileNetV2, Xception
from deeplab.tools.export.exportable import LEAST, ImageToClasses
from deeplab.tools.export.formats import SUFFIXES, open_file, trace, write
from deeplab.tools.export.parity_check import Agreement, compare, expected
from deeplab.tracking.console import format_percent
from deeplab.utils.errors import UserError
from support.hub_server import hub_server
from support.networks import build, randomize_norms, see_all_classes, tiny_model, tiny_resnet
from support.real_data import real
from support.scripts import SMALL, run, run_folders

MACHINE = (
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
)
CLASSES = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run whose network sees all classes, if wrongly, and the folder of its start."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    see_all_classes(folder)
    run("evaluate", f"run={folder}", "strategies=[single-scale,os8-flip]", *MACHINE, cwd=cwd)
    return cwd, folder


def noise(*shape, seed=0):
    """Blobs of color ``(..., H, W, 3)``."""
    height, width = shape[-2:]
    small = (*shape[:-2], -(-height // 5), -(-width // 5), 3)
    blobs = np.random.default_rng(seed).integers(0, 256, small, np.uint8)
    return np.ascontiguousarray(blobs.repeat(5, -3).repeat(5, -2)[..., :height, :width, :])


NETWORKS = {
    "full": lambda: tiny_model(),
    "naive": lambda: build(tiny_resnet(), num_classes=5, naive=True, channels=8),
    "conv2_conv3": lambda: tiny_model(low_level=("conv2", "conv3"), convs=((3, 8),)),
    "torchvision": lambda: build(tiny_resnet(layout="torchvision"), num_classes=5, channels=8),
    "xception": lambda: build(Xception(41, width_mult=0.125), separable=True, channels=16),
    "mobilenetv2": lambda: build(MobileNetV2(0.25), separable=True, channels=16),
}
SIZES = ((1, 97, 64), (3, 33, 50), (2, 66, 129), (1, 31, 20), (1, 1, 90), (1, 1, 1))
"""Batch, height and width: odd, even, smaller than the network's padding, hardly an image."""


def network(name: str, output_stride: int) -> Predictor:
    """One with batch norms that do something, and logits that differ."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    randomize_norms(model)
    torch.nn.init.normal_(model.logits.weight, std=0.3)
    return Predictor(model.eval(), [Strategy(output_stride)])


def exported(predictor: Predictor, format: str, padding: EvalTransform, tmp_path):
    graph = ImageToClasses(
        predictor.model, padded_to=padding.size, fill=padding.fill, probabilities=True
    )
    path = tmp_path / f"network{SUFFIXES[format]}"
    write(trace(graph), format, path, {"words": "about it"})
    return path


def check_everywhere(path, format, predictor, padding):
    """One file at all sizes and batches."""
    run_file = open_file(format, path)
    agreement = Agreement("noise")
    for size in SIZES:
        images = noise(*size)
        found = run_file(images)
        assert [a.dtype for a in found] == [np.uint8, np.float32]
        agreement.add(found, np.stack([expected(predictor, padding, image) for image in images]))
    agreement.check()
    assert agreement.sizes == list(SIZES)
    assert agreement.same >= 0.999 * agreement.pixels
    assert agreement.probabilities < 1e-4


PADDED = EvalTransform(size=(65, 73), fill=(124, 116, 104))
HARDLY = EvalTransform(size=LEAST, fill=(128, 128, 128))
CASES = [
    ("full", 16, PADDED),
    ("full", 8, HARDLY),
    ("naive", 32, PADDED),
    ("conv2_conv3", 8, HARDLY),
    ("torchvision", 16, HARDLY),
    ("xception", 8, PADDED),
    ("mobilenetv2", 16, HARDLY),
]
"""Network, output stride and padding."""


def need(format):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")


@pytest.mark.processes
@pytest.mark.parametrize(("name", "output_stride", "padding"), CASES[1:3])
def test_programs(tmp_path, name, output_stride, padding):
    predictor = network(name, output_stride)
    path = exported(predictor, "torch_export", padding, tmp_path)
    check_everywhere(path, "torch_export", predictor, padding)


@pytest.mark.extras
@pytest.mark.parametrize("format", ["onnx", "torch_export"])
@pytest.mark.parametrize(("name", "output_stride", "padding"), CASES)
def test_networks(tmp_path, name, output_stride, padding, format):
    need(format)
    predictor = network(name, output_stride)
    path = exported(predictor, format, padding, tmp_path)
    check_everywhere(path, format, predictor, padding)


@pytest.mark.extras
def test_what_an_onnx_file_says(tmp_path):
    onnx = pytest.importorskip("onnx")
    need("onnx")
    path = exported(network("full", 16), "onnx", PADDED, tmp_path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # weights are inside
    said = {
        value.name: (
            onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    assert said == {
        "image": ("UINT8", ["batch", "height", "width", 3]),
        "classes": ("UINT8", ["batch", "height", "width"]),
        "probabilities": ("FLOAT", ["batch", 5, "height", "width"]),
    }
    assert {p.key: p.value for p in model.metadata_props} == {"words": "about it"}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


@pytest.mark.extras
@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_real_photographs(tmp_path, format):
    """A backbone of ImageNet weights, whose maps are as those of a trained network."""
    need(format)
    folder = real("voc2012/VOCdevkit/VOC2012")
    weights = real("weights/mobilenetv2_imagenet_features.safetensors")
    torch.manual_seed(0)
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    model = build(MobileNetV2(bn_eps=1e-5, mean=mean, std=std)).eval()
    load_backbone(model.backbone, weights)
    torch.nn.init.normal_(model.logits.weight, std=0.3)
    predictor = Predictor(model, [Strategy(8)])
    padding = EvalTransform(size=(513, 513), fill=(124, 116, 104))
    path = exported(predictor, format, padding, tmp_path)
    ids = (folder / "ImageSets/Segmentation/val.txt").read_text().split()[:3]
    images = [read_image(folder / f"JPEGImages/{image_id}.jpg") for image_id in ids]
    agreement = compare(open_file(format, path), predictor, padding, images, "photographs")
    assert agreement.probabilities < 1e-4
    assert agreement.same > 0.9999 * agreement.pixels
    assert len(set(agreement.sizes)) > 2


def test_files_that_differ_are_refused(tmp_path):
    predictor, padding = network("full", 16), PADDED
    path = exported(predictor, "torch_export", padding, tmp_path)
    run_file, images = open_file("torch_export", path), [noise(50, 60), noise(120, 80)]
    assert compare(run_file, predictor, padding, images, "noise").same
    other = EvalTransform(size=(80, 80), fill=padding.fill)
    with pytest.raises(UserError, match=r"differ: .* % of .* pixels alike.*Nothing was written"):
        compare(run_file, predictor, other, images, "noise")
    bias = predictor.model.logits.bias
    bias[0] += 0.1
    with pytest.raises(UserError, match="differ"):
        compare(run_file, predictor, padding, images, "noise")
    with torch.inference_mode():
        bias.fill_(float("nan"))
    with pytest.raises(UserError, match="differ"):
        compare(run_file, predictor, padding, images, "noise")


OUTSIDE = """
import json, sys
import numpy, torch
from PIL import Image
said = {"metadata.json": ""}
network = torch.export.load(sys.argv[1], extra_files=said).module()
for path in sys.argv[3:]:
    image = torch.from_numpy(numpy.array(Image.open(path).convert("RGB")))[None]
    numpy.save(f"{path}.npy", network(image)[0][0].numpy())
assert not any(name.startswith("deeplab") for name in sys.modules)
print(said["metadata.json"])
"""
"""A program that knows nothing of this project."""


@pytest.mark.processes
def test_a_program_gives_what_predict_gives(tmp_path, trained):
    _, folder = trained
    done = run("export", f"run={folder}", "format=torch_export", cwd=folder.parent.parent)
    (path,) = (folder / "export").glob("*.pt2")
    assert path.name == f"{folder.name}.pt2"
    assert re.search(r"Compared: .* % of [\d,]+ pixels alike", done.stdout)
    assert "4 random images" not in done.stdout
    assert f'torch.export.load("{path}")' in done.stdout
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for size in ((50, 60), (97, 41), (20, 30), (129, 130)):
        Image.fromarray(noise(*size)).save(pictures / "{}x{}.png".format(*size))
    run("predict", f"run={folder}", f"input={pictures}", "output=out", *MACHINE, cwd=tmp_path)
    code = tmp_path / "outside.py"
    code.write_text(OUTSIDE)
    found = sorted(map(str, pictures.iterdir()))
    outside = [sys.executable, str(code), str(path), "--", *found]
    said = subprocess.run(outside, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    seen = set()
    for picture in pictures.glob("*.png"):
        ours = np.load(f"{picture}.npy")
        with Image.open(tmp_path / "out" / picture.name) as label:
            assert (ours == np.array(label)).mean() > 0.999
        seen |= set(np.unique(ours))
    assert len(seen) > 2
    about = json.loads(said.stdout)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert json.loads(about["classes"]) == config["data"]["classes"]
    assert json.loads(about["palette"])[1] == [128, 0, 0]
    assert about["output_stride"] == "16"
    assert about["run"] == folder.name
    commit = json.loads((folder / "run.json").read_text())["sessions"][0]["commit"]
    assert about["commit"] == commit
    record = json.loads((folder / "export/export.json").read_text())[path.name]
    assert record["compared"]["source"] == "3 images of split val"
    assert record["sha256"] == sha256(path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.processes
def test_another_output_stride_another_checkpoint_and_no_images(tmp_path, trained):
    _, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    named = f"run={folder}/checkpoints/best.ckpt"
    settings = ("format=torch_export", "output_stride=8", "probabilities=true", "output=out")
    done = run("export", named, *settings, cwd=tmp_path)
    assert "4 random images, for those of the run are not here" in done.stdout
    assert "probabilities differ by" in done.stdout
    path = tmp_path / "out" / f"{folder.name}-best-os8.pt2"
    classes, probabilities = open_file("torch_export", path)(noise(2, 40, 70))
    assert probabilities.shape == (2, CLASSES, 40, 70)
    assert np.array_equal(classes, probabilities.argmax(1))
    assert not (tmp_path / "data").exists()  # no scenes were drawn for it
    done = run("export", named, *settings, "data.root=nowhere", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "data.root=nowhere: this folder does not exist" in done.stderr


@pytest.mark.skipif(find_spec("onnxscript") is not None, reason="the extra is installed")
def test_a_missing_extra_is_named(trained):
    done = run("export", f"run={trained[1]}", cwd=trained[0], ok=False)
    assert done.returncode == 2
    assert "format=onnx: onnx, onnxscript, onnxruntime are not installed" in done.stderr
    assert 'pip install ".[export]"' in done.stderr


@pytest.mark.extras
def test_onnx_through_the_script(tmp_path, trained):
    need("onnx")
    import onnxruntime

    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / "runs" / original.name)
    done = run("export", f"run={folder}", f"data.root={cwd}/data/shapes", cwd=tmp_path)
    (path,) = (folder / "export").glob("*.onnx")
    assert "3 images of split val" in done.stdout
    assert {p.name for p in path.parent.iterdir()} == {path.name, "export.json"}
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["run"] == folder.name
    image = noise(50, 60)
    Image.fromarray(image).save(tmp_path / "photo.png")
    (found,) = session.run(["classes"], {"image": image[None]})
    run("predict", f"run={folder}", "input=photo.png", *MACHINE, cwd=tmp_path)
    with Image.open(tmp_path / "predictions/photo.png") as label:
        assert (found[0] == np.array(label)).mean() > 0.999


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_weights_config_and_card(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / "runs" / original.name)
    shutil.copytree(cwd / "data", tmp_path / "data")
    asked = (f"run={folder}", "format=safetensors", "output=made")
    run("export", *asked, "license=cc-by-4.0", cwd=tmp_path)
    made = tmp_path / "made"
    names = {"weights.safetensors", "config.yaml", "README.md", "export.json"}
    assert {p.name for p in made.iterdir()} == names
    weights = (folder / "weights.safetensors").read_bytes()
    assert (made / "weights.safetensors").read_bytes() == weights
    run("evaluate", f"run={made}/weights.safetensors", *MACHINE, cwd=tmp_path)
    ours, theirs = (
        json.loads((f / "evaluations/val-weights-os16/result.json").read_text())
        for f in (made, folder)
    )
    assert ours["class_IoU"] == theirs["class_IoU"]
    assert ours["protocol"] == theirs["protocol"]
    card = (made / "README.md").read_text()
    head = front_matter(card)
    assert head["license"] == "cc-by-4.0"
    assert head["pipeline_tag"] == "image-segmentation"
    (index,) = head["model-index"]
    values = [result["metrics"][0]["value"] for result in index["results"]]
    flipped = json.loads((folder / "evaluations/val-weights-os8-flip/result.json").read_text())
    assert values == [pytest.approx(r["mIoU"], abs=1e-6) for r in (theirs, flipped)]
    assert f"| val, output stride 16 | 3 | {100 * theirs['mIoU']:.2f} |" in card
    for name, iou in theirs["class_IoU"].items():
        assert f"| {name} | {format_percent(iou)} |" in card
    assert "split train, 8 images, fingerprint" in card
    assert theirs["protocol"]["content"] in card
    assert theirs["weights_sha256"] in card
    assert str(tmp_path) not in card
    run("export", *asked, cwd=tmp_path)  # replaces its own files
    assert "license" not in front_matter((made / "README.md").read_text())


def test_a_card_claims_nothing_of_other_weights(tmp_path, trained):
    _, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["root"], config["init_from"] = "/home/somebody/images", "/home/somebody/run"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    named = f"run={folder}/checkpoints/best.ckpt"
    run("export", named, "format=safetensors", "output=out", cwd=tmp_path)
    card = (tmp_path / "out/README.md").read_text()
    assert "Nothing has been measured with these weights" in card
    assert "model-index" not in front_matter(card)
    assert "somebody" not in card + (tmp_path / "out/config.yaml").read_text()
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=False)["state_dict"]
    kept = load_file(tmp_path / "out/weights.safetensors")
    assert all(torch.equal(kept[name], best[f"model.{name}"]) for name in kept)


def test_somebody_s_folder_is_left_alone(tmp_path, trained):
    (tmp_path / "README.md").write_text("mine")
    named = (f"run={trained[1]}", "format=safetensors", "output=.")
    done = run("export", *named, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "output=.: there are other files in this folder" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


@pytest.fixture
def hub():
    with hub_server() as server:
        yield server


@pytest.mark.processes
def test_pushing(tmp_path, trained, hub):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    there = hub.environment(tmp_path / "home")
    asked = (f"run={folder}", "format=torch_export", "num_check_images=0", "output=out")
    asked = (*asked, "push_to_hub=somebody/shapes", "private=true")
    done = run("export", *asked, cwd=cwd, variables=there)
    assert f"{hub.url}/somebody/shapes" in done.stdout
    (repository,) = hub.repositories.values()
    assert repository.private
    assert repository.messages == [f"Weights of {folder.name}"]
    names = {"weights.safetensors", "config.yaml", "README.md", f"{folder.name}.pt2"}
    assert set(repository.files) == names
    for name, content in repository.files.items():
        assert content == (cwd / "out" / name).read_bytes(), name
    kept = hashlib.sha256(repository.files["weights.safetensors"]).hexdigest()
    assert kept == sha256(folder / "weights.safetensors")
    card = repository.files["README.md"].decode()
    assert "run=somebody/shapes" in card
    assert f"`{folder.name}.pt2` runs without this project" in card
    run("export", f"run={folder}", "format=safetensors", "push_to_hub=somebody/shapes", cwd=cwd,
        variables=there)  # fmt: skip
    assert len(repository.messages) == 2  # into the repository that is there
    Image.new("RGB", (50, 40), "red").save(tmp_path / "a.png")
    pictures = ("input=a.png", "trainer.accelerator=cpu", "trainer.precision=32-true")
    for name in (str(folder), "somebody/shapes"):  # and back again
        output = f"output={name.rpartition('/')[2]}"
        run("predict", f"run={name}", *pictures, output, cwd=tmp_path, variables=there)
    mine = (tmp_path / folder.name / "a.png").read_bytes()
    assert (tmp_path / "shapes" / "a.png").read_bytes() == mine


@pytest.mark.processes
def test_pushing_that_cannot_work(tmp_path, trained, hub):
    cwd, folder = trained
    home = tmp_path / "home"
    nobody, wrong = hub.environment(home, None), hub.environment(home, "hf_wrong")
    nowhere = {**hub.environment(home), "HF_ENDPOINT": "http://127.0.0.1:1"}
    offline = {**hub.environment(home), "HF_HUB_OFFLINE": "1"}
    for name, variables, words in (
        ("somebody/shapes", nobody, "nobody is logged in. Type hf auth login, or set HF_TOKEN"),
        ("somebody/shapes", wrong, "the hub refuses (401, "),
        ("somebody/shapes", nowhere, "http://127.0.0.1:1 cannot be used"),
        ("somebody/shapes", offline, "cannot be used"),
        ("another/shapes", hub.environment(home), "You have no right to create a model"),
    ):
        out = tmp_path / "out"
        asked = (f"run={folder}", "format=safetensors", f"output={out}", f"push_to_hub={name}")
        done = run("export", *asked, cwd=cwd, variables=variables, ok=False)
        assert done.returncode == 2, done.stderr
        assert f"push_to_hub={name}: " in done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert out.exists() == (name == "another/shapes")  # it is made when somebody is known
    assert not hub.repositories
