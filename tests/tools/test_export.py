"""Exported files against PyTorch, their metadata, and the export script."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, metadata_load
from PIL import Image
from safetensors.torch import load_file

from deeplab.checkpoints.matching import load_backbone
from deeplab.checkpoints.trained_run import TrainedRun
from deeplab.config.schema.scripts import ExportConfig
from deeplab.data.image_io import read_image
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy
from deeplab.models.backbones import MobileNetV2, Xception
from deeplab.tools.export.export import _add_to_record, run_export
from deeplab.tools.export.exportable import MIN_SIZE, ImageToClasses
from deeplab.tools.export.formats import EXPORTERS, trace
from deeplab.tools.export.metadata import build_metadata
from deeplab.tools.export.model_card import model_card
from deeplab.tools.export.parity_check import Agreement, compare, reference_probabilities
from deeplab.tools.export.sample_images import open_images
from deeplab.tracking.console import format_percent
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder, read_config
from deeplab.utils.errors import UserError
from deeplab.utils.files import _temporary_path
from deeplab.utils.reading import read_values
from support.configs import train_config
from support.hub_server import hub_server
from support.networks import (
    TORCHVISION_RESNET,
    build,
    randomize_logits,
    randomize_norms,
    tiny_model,
    tiny_resnet,
)
from support.real_data import real
from support.scripts import CPU, SMALL, run, run_folders

CLASSES = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Provide a finished run whose network predicts all classes, and its working directory."""
    cwd = tmp_path_factory.mktemp("trained")
    run("train", *SMALL, cwd=cwd)
    (folder,) = run_folders(cwd)
    randomize_logits(folder)
    run("evaluate", f"run={folder}", "strategies=[single-scale,os8-flip]", *CPU, cwd=cwd)
    return cwd, folder


def noise(*shape, seed=0):
    """Return random squares of color ``(..., H, W, 3)``."""
    height, width = shape[-2:]
    small = (*shape[:-2], -(-height // 5), -(-width // 5), 3)
    blobs = np.random.default_rng(seed).integers(0, 256, small, np.uint8)
    return np.ascontiguousarray(blobs.repeat(5, -3).repeat(5, -2)[..., :height, :width, :])


NETWORKS = {
    "full": lambda: tiny_model(),
    "naive": lambda: build(tiny_resnet(), num_classes=5, naive=True, channels=8),
    "conv2_conv3": lambda: tiny_model(low_level=("conv2", "conv3"), convs=((3, 8),)),
    "torchvision": lambda: build(tiny_resnet(**TORCHVISION_RESNET), num_classes=5, channels=8),
    "xception": lambda: build(Xception(41, width_mult=0.125), separable=True, channels=16),
    "mobilenetv2": lambda: build(MobileNetV2(0.25), separable=True, channels=16),
}
SIZES = ((1, 97, 64), (3, 33, 50), (2, 66, 129), (1, 31, 20), (1, 1, 90), (1, 1, 1))
"""Batch, height and width: odd, even, smaller than the padding, only a few pixels."""


def network(name: str, output_stride: int) -> Predictor:
    """Return a network whose batch norms are not the identity and whose logits differ."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    randomize_norms(model)
    torch.nn.init.normal_(model.logits.weight, std=0.3)
    return Predictor(model.eval(), [Strategy(output_stride)])


def exported(predictor: Predictor, format: str, padding: EvalTransform, tmp_path):
    exportable = ImageToClasses(
        predictor.model, padded_to=padding.size, fill=padding.fill, probabilities=True
    )
    path = tmp_path / f"network{EXPORTERS[format].suffix}"
    EXPORTERS[format].write(trace(exportable), path, {"key": "value"})
    return path


def check_all_sizes(path, format, predictor, padding):
    """Compare a file with PyTorch at all sizes and batches."""
    run_file = EXPORTERS[format].open_file(path)
    agreement = Agreement("noise")
    for size in SIZES:
        images = noise(*size)
        outputs = run_file(images)
        assert [a.dtype for a in outputs] == [np.uint8, np.float32]
        references = [reference_probabilities(predictor, padding, image) for image in images]
        agreement.add(outputs, np.stack(references))
    agreement.check()
    assert agreement.sizes == list(SIZES)
    assert agreement.same >= 0.999 * agreement.pixels
    assert agreement.probabilities < 1e-4


PADDED = EvalTransform(size=(65, 73), fill=(124, 116, 104))
MIN_PADDED = EvalTransform(size=MIN_SIZE, fill=(128, 128, 128))
CASES = [
    ("full", 16, PADDED),
    ("full", 8, MIN_PADDED),
    ("naive", 32, PADDED),
    ("conv2_conv3", 8, MIN_PADDED),
    ("torchvision", 16, MIN_PADDED),
    ("xception", 8, PADDED),
    ("mobilenetv2", 16, MIN_PADDED),
]
"""Network, output stride and padding."""


def skip_without_packages(format):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")


@pytest.mark.processes
@pytest.mark.parametrize(("name", "output_stride", "padding"), CASES[1:3])
def test_programs(tmp_path, name, output_stride, padding):
    predictor = network(name, output_stride)
    path = exported(predictor, "torch_export", padding, tmp_path)
    check_all_sizes(path, "torch_export", predictor, padding)


@pytest.mark.extras
@pytest.mark.parametrize("format", EXPORTERS)
@pytest.mark.parametrize(("name", "output_stride", "padding"), CASES)
def test_networks(tmp_path, name, output_stride, padding, format):
    skip_without_packages(format)
    predictor = network(name, output_stride)
    path = exported(predictor, format, padding, tmp_path)
    check_all_sizes(path, format, predictor, padding)


@pytest.mark.extras
def test_onnx_inputs_outputs_and_metadata(tmp_path):
    onnx = pytest.importorskip("onnx")
    skip_without_packages("onnx")
    path = exported(network("full", 16), "onnx", PADDED, tmp_path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # the weights are inside
    signature = {
        value.name: (
            onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    assert signature == {
        "image": ("UINT8", ["batch", "height", "width", 3]),
        "classes": ("UINT8", ["batch", "height", "width"]),
        "probabilities": ("FLOAT", ["batch", 5, "height", "width"]),
    }
    assert {p.key: p.value for p in model.metadata_props} == {"key": "value"}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


@pytest.mark.extras
@pytest.mark.parametrize("format", EXPORTERS)
def test_real_photographs(tmp_path, format):
    """Use a backbone with ImageNet weights, whose feature maps are like a trained network's."""
    skip_without_packages(format)
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
    agreement = compare(
        EXPORTERS[format].open_file(path), predictor, padding, images, "photographs"
    )
    assert agreement.probabilities < 1e-4
    assert agreement.same > 0.9999 * agreement.pixels
    assert len(set(agreement.sizes)) > 2


def test_an_error_of_tracing_without_text_is_named(monkeypatch):
    def fail(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(torch.export, "export", fail)
    model = network("naive", 16).model
    exportable = ImageToClasses(model, padded_to=MIN_SIZE, fill=(0, 0, 0), probabilities=False)
    with pytest.raises(UserError, match=r"NotImplementedError: NotImplementedError\)"):
        trace(exportable)


@pytest.mark.processes
def test_files_that_differ_are_rejected(tmp_path):
    predictor, padding = network("full", 16), PADDED
    path = exported(predictor, "torch_export", padding, tmp_path)
    run_file, images = EXPORTERS["torch_export"].open_file(path), [noise(50, 60), noise(120, 80)]
    agreement = compare(run_file, predictor, padding, images, "noise")
    assert agreement.same
    pieces = 3 * 33 * 30 + 31 * 20  # three corners and a small piece of the first image
    assert agreement.pixels == 50 * 60 + 120 * 80 + pieces
    assert "(in the images and in pieces of the first)" in str(agreement)
    other_padding = EvalTransform(size=(80, 80), fill=padding.fill)
    with pytest.raises(
        UserError, match=r"differ: .* % of .* pixels have the same class.*Nothing was written"
    ):
        compare(run_file, predictor, other_padding, images, "noise")
    bias = predictor.model.logits.bias
    bias[0] += 0.1
    with pytest.raises(UserError, match="differ"):
        compare(run_file, predictor, padding, images, "noise")
    with torch.inference_mode():
        bias.fill_(float("nan"))
    with pytest.raises(UserError, match="nan or inf"):
        compare(run_file, predictor, padding, images, "noise")


STANDALONE = """
import json, sys
import numpy, torch
from PIL import Image
files = {"metadata.json": ""}
network = torch.export.load(sys.argv[1], extra_files=files).module()
for path in sys.argv[3:]:
    image = torch.from_numpy(numpy.array(Image.open(path).convert("RGB")))[None]
    numpy.save(f"{path}.npy", network(image)[0][0].numpy())
assert not any(name.startswith("deeplab") for name in sys.modules)
print(files["metadata.json"])
"""
"""Script that runs a program without this project."""


@pytest.mark.processes
def test_a_program_gives_the_same_label_maps_as_predict(tmp_path, trained):
    _, folder = trained
    done = run("export", f"run={folder}", "format=torch_export", cwd=folder.parent.parent)
    (path,) = (folder / "export").glob("*.pt2")
    assert path.name == f"{folder.name}.pt2"
    assert re.search(r"Compared: .* % of [\d,]+ pixels have the same class", done.stdout)
    assert "4 random images" not in done.stdout
    assert f'torch.export.load("{path.relative_to(folder.parent.parent)}")' in done.stdout
    images = tmp_path / "images"
    images.mkdir()
    for size in ((50, 60), (97, 41), (20, 30), (129, 130)):
        Image.fromarray(noise(*size)).save(images / "{}x{}.png".format(*size))
    run("predict", f"run={folder}", f"input={images}", "output=out", *CPU, cwd=tmp_path)
    script = tmp_path / "standalone.py"
    script.write_text(STANDALONE)
    paths = sorted(map(str, images.iterdir()))
    command = [sys.executable, str(script), str(path), "--", *paths]
    standalone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert standalone.returncode == 0, standalone.stderr
    predicted = set()
    for image in images.glob("*.png"):
        label_map = np.load(f"{image}.npy")
        with Image.open(tmp_path / "out" / image.name) as label:
            assert (label_map == np.array(label)).mean() > 0.999
        predicted |= set(np.unique(label_map))
    assert len(predicted) > 2
    metadata = json.loads(standalone.stdout)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert json.loads(metadata["classes"]) == config["data"]["classes"]
    assert json.loads(metadata["palette"])[1] == [128, 0, 0]
    assert metadata["output_stride"] == "16"
    assert metadata["run"] == folder.name
    commit = json.loads((folder / "run.json").read_text())["sessions"][0]["commit"]
    assert metadata["commit"] == commit
    record = json.loads((folder / "export/export.json").read_text())[path.name]
    assert record["compared"]["source"] == "3 images of split val"
    assert record["sha256"] == sha256(path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.processes
def test_another_output_stride_and_checkpoint_without_images(tmp_path, trained):
    _, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    checkpoint = f"run={folder}/checkpoints/best.ckpt"
    settings = ("format=torch_export", "output_stride=8", "probabilities=true", "output=out")
    done = run("export", checkpoint, *settings, cwd=tmp_path)
    assert "4 random images, since the run's images are not available" in done.stdout
    assert "probabilities differ by" in done.stdout
    path = tmp_path / "out" / f"{folder.name}-best-os8.pt2"
    classes, probabilities = EXPORTERS["torch_export"].open_file(path)(noise(2, 40, 70))
    assert probabilities.shape == (2, CLASSES, 40, 70)
    assert np.array_equal(classes, probabilities.argmax(1))
    assert not (tmp_path / "data").exists()  # no scenes were drawn for the comparison
    done = run("export", checkpoint, *settings, "data.root=nowhere", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "data.root=nowhere: no such folder" in done.stderr


@pytest.mark.extras
def test_onnx_through_the_script(tmp_path, trained):
    skip_without_packages("onnx")
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
    (classes,) = session.run(["classes"], {"image": image[None]})
    run("predict", f"run={folder}", "input=photo.png", *CPU, cwd=tmp_path)
    with Image.open(tmp_path / "predictions/photo.png") as label:
        assert (classes[0] == np.array(label)).mean() > 0.999


@pytest.mark.extras
@pytest.mark.parametrize(("precision", "smaller"), [("float16", 0.6), ("int8", 0.45)])
def test_smaller_files_are_scored_beside_float32(tmp_path, trained, precision, smaller):
    skip_without_packages("onnx")
    onnx = pytest.importorskip("onnx")
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / "runs" / original.name)
    arguments = (f"run={folder}", f"data.root={cwd}/data/shapes", f"precision={precision}")
    done = run("export", *arguments, cwd=tmp_path)
    (path,) = (folder / "export").glob("*.onnx")
    assert path.name == f"{folder.name}-{precision}.onnx"
    assert f"Scored:     {precision} on 3 images of val" in done.stdout
    record = json.loads((folder / "export/export.json").read_text())[path.name]
    scored = record["scored"]
    assert (scored["images"], record["precision"]) == (3, precision)
    assert scored["same_class"] > 0.9
    assert scored["mIoU"]["this_file"] == pytest.approx(scored["mIoU"]["float32"], abs=3)
    sizes = scored["megabytes"]
    assert path.stat().st_size / 1e6 == pytest.approx(sizes["this_file"])
    assert sizes["this_file"] < smaller * sizes["float32"]
    assert record["compared"]["same"] == record["compared"]["pixels"]  # of the float32 file

    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["precision"], metadata["run"]) == (precision, folder.name)
    operations = {node.op_type for node in model.graph.node}
    assert ("QuantizeLinear" in operations) == (precision == "int8")
    image = noise(50, 60)
    Image.fromarray(image).save(tmp_path / "photo.png")
    run("predict", f"run={folder}", "input=photo.png", *CPU, cwd=tmp_path)
    with Image.open(tmp_path / "predictions/photo.png") as label:
        classes = EXPORTERS["onnx"].open_file(path)(image[None])[0][0]
        assert (classes == np.array(label)).mean() > 0.8

    moved = run("export", f"run={folder}", f"precision={precision}", cwd=tmp_path, ok=False)
    assert moved.returncode == 2
    assert f"precision={precision}: needs images of the run with their masks" in moved.stderr
    assert "data/shapes: no such folder" in moved.stderr


def test_precision_is_for_onnx(tmp_path):
    wrong = ("run=any", "format=torch_export", "precision=int8")
    done = run("export", *wrong, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "precision=int8: only for format=onnx" in done.stderr


def test_weights_config_and_card(tmp_path, trained):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / "runs" / original.name)
    shutil.copytree(cwd / "data", tmp_path / "data")
    arguments = (f"run={folder}", "format=safetensors", "output=exported")
    run("export", *arguments, "license=cc-by-4.0", cwd=tmp_path)
    output = tmp_path / "exported"
    names = {"weights.safetensors", "config.yaml", "README.md", "export.json"}
    assert {p.name for p in output.iterdir()} == names
    weights = (folder / "weights.safetensors").read_bytes()
    assert (output / "weights.safetensors").read_bytes() == weights
    run("evaluate", f"run={output}/weights.safetensors", *CPU, cwd=tmp_path)
    exported_result, result = (
        json.loads((f / "evaluations/val-weights-os16/result.json").read_text())
        for f in (output, folder)
    )
    assert exported_result["class_IoU"] == result["class_IoU"]
    assert exported_result["protocol"] == result["protocol"]
    card = (output / "README.md").read_text()
    metadata = ModelCard.load(output / "README.md").data
    assert metadata.license == "cc-by-4.0"
    assert metadata.pipeline_tag == "image-segmentation"
    assert metadata.model_name == folder.name
    flipped = json.loads((folder / "evaluations/val-weights-os8-flip/result.json").read_text())
    for score, expected in zip(metadata.eval_results, (result, flipped), strict=True):
        assert score.metric_value == pytest.approx(expected["mIoU"], abs=1e-4)
        label = expected["protocol"]["strategy"]["label"]
        assert score.metric_name == f"mIoU in percent ({label})"
        assert (score.dataset_type, score.dataset_split) == ("shapes", "val")
    assert f"| val, output stride 16 | 3 | {result['mIoU']:.2f} |" in card
    for name, iou in result["class_IoU"].items():
        assert f"| {name} | {format_percent(iou)} |" in card
    assert "split train, 8 images, fingerprint" in card
    assert result["protocol"]["content"] in card
    assert result["weights_sha256"] in card
    assert str(tmp_path) not in card
    run("export", *arguments, cwd=tmp_path)  # replaces its own files
    assert "license" not in metadata_load(output / "README.md")


@pytest.mark.parametrize(
    ("data", "datasets", "title"),
    [("voc", ["pascal-voc-2012"], "PASCAL VOC 2012"), ("shapes", None, "shapes")],
)
def test_data_set_of_a_card(trained, data, datasets, title):
    folder = RunFolder(trained[1])
    names = ("a|b", "<i>", "_c_", *(f"class {i}" for i in range(4)))
    config = train_config(f"data={data}", "data.root=nowhere", "logger=csv")
    config = config.model_copy(update={"data": config.data.model_copy(update={"classes": names})})
    run = TrainedRun(folder, config, folder.weights)
    seen = config.model_copy(update={"data": config.data.model_copy(update={"channels": 1})})
    options = {"parameters": 1, "hub_id": "a_b/c_d", "license": None}
    card = model_card(run, seen, graph=Path("_.pt2"), **options)
    assert card.data.datasets == datasets
    assert {(r.dataset_type, r.dataset_name) for r in card.data.eval_results} == {
        ((datasets or [data])[0], title)
    }
    assert r"- Classes: a\|b, \<i\>, \_c\_, class 0" in card.text
    assert "deeplab predict run=hf://a_b/c_d input=" in card.text
    assert "`_.pt2` runs without this project" in card.text
    assert "is image: uint8 (batch, height, width, 1), gray, 0 to 255." in card.text


def test_a_card_tells_the_conditions_of_each_evaluation(tmp_path, trained):
    folder = RunFolder(shutil.copytree(trained[1], tmp_path / "run"))
    config = read_config(folder)
    result = Result.read(folder.evaluations / "val-weights-os8-flip/result.json", "")
    changes = {"split": "test", "precision": "bf16-mixed", "padded_to": (77, 99), "content": "c0de"}
    protocol = result.protocol.model_copy(update=changes)
    result.model_copy(update={"protocol": protocol}).write(
        folder.evaluations / "test-weights-os8-flip/result.json"
    )
    run = TrainedRun(folder, config, folder.weights)
    options = {"parameters": 1, "hub_id": "a/b", "graph": None, "license": None}
    rows = model_card(run, config, **options).text.splitlines()
    (row,) = (row for row in rows if row.startswith("| test, "))
    assert row.endswith("| bf16-mixed | 77 x 99 | c0de |")
    for row in (row for row in rows if row.startswith("| val, ")):
        assert row.endswith(f"| 32-true | 65 x 65 | {result.protocol.content} |")


def test_a_run_without_a_commit_names_none(tmp_path, trained):
    """As one of a program that was installed without its repository."""
    folder = RunFolder(shutil.copytree(trained[1], tmp_path / "run"))
    record = json.loads(folder.record.read_text())
    for session in record["sessions"]:
        session["commit"] = None
    folder.record.write_text(json.dumps(record))
    run = TrainedRun(folder, read_config(folder), folder.weights)
    graph = {"output_stride": 16, "padded_to": (65, 65), "probabilities": False}
    assert "commit" not in build_metadata(run, **graph)
    options = {"parameters": 1, "hub_id": "a/b", "graph": None, "license": None}
    (code,) = re.findall("- Code: (.*)", model_card(run, run.config, **options).text)
    assert "commit" not in code
    assert "torch" in code


def test_exports_at_the_same_time_are_all_recorded(tmp_path, monkeypatch):
    def read_slowly(*arguments):
        values = read_values(*arguments)
        time.sleep(0.05)
        return values

    monkeypatch.setattr("deeplab.tools.export.export.read_values", read_slowly)
    paths = [tmp_path / f"{number}.onnx" for number in range(4)]
    for path in paths:
        path.touch()
    _add_to_record(tmp_path, paths[0], {})
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda path: _add_to_record(tmp_path, path, {}), paths[1:]))
    assert {*json.loads((tmp_path / "export.json").read_text())} == {path.name for path in paths}
    assert not (tmp_path / ".lock").exists()


def test_a_damaged_record_ends_an_export_before_anything_is_written(tmp_path, trained):
    folder = RunFolder(shutil.copytree(trained[1], tmp_path / "run"))
    (folder.evaluations / "val-weights-os8-flip/result.json").write_text("{")
    options = {"format": "safetensors", "output": str(tmp_path / "out")}
    config = ExportConfig(run=str(folder.path), data={}, **options)
    with pytest.raises(UserError, match="cannot be read"):
        run_export(config)
    assert not (tmp_path / "out").exists()


def test_the_draft_of_a_killed_export_does_not_stop_the_next(tmp_path, trained, monkeypatch):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: killed.pid)
        draft = _temporary_path(tmp_path / "out/weights.safetensors")
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    options = {"format": "safetensors", "output": str(draft.parent)}
    assert len(run_export(ExportConfig(run=str(trained[1]), data={}, **options))) == 3
    assert not draft.exists()


def test_images_are_read_without_the_packages_of_augmentations(trained, monkeypatch):
    cwd, folder = trained
    monkeypatch.chdir(cwd)
    config = read_config(RunFolder(folder))
    data = config.data.model_copy(update={"augmentations": ({"Missing": {}},)})
    images = open_images(config.model_copy(update={"data": data}))
    image, label = images.val_set.read(images.val_set.items[0])
    assert image.shape == (*label.shape, 3)


def test_a_card_leaves_out_results_of_other_weights(tmp_path, trained):
    _, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["root"], config["init_from"] = "/home/alice/images", "/home/alice/run"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = f"run={folder}/checkpoints/best.ckpt"
    run("export", checkpoint, "format=safetensors", "output=out", cwd=tmp_path)
    card = (tmp_path / "out/README.md").read_text()
    assert "These weights have not been evaluated" in card
    assert "model-index" not in metadata_load(tmp_path / "out/README.md")
    assert "alice" not in card + (tmp_path / "out/config.yaml").read_text()
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=False)["state_dict"]
    exported_weights = load_file(tmp_path / "out/weights.safetensors")
    assert all(
        torch.equal(tensor, best[f"model.{name}"]) for name, tensor in exported_weights.items()
    )


def test_a_folder_with_other_files_is_left_alone(tmp_path, trained):
    (tmp_path / "README.md").write_text("not an export")
    arguments = (f"run={trained[1]}", "format=safetensors", "output=.")
    done = run("export", *arguments, cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "output=.: this folder holds other files" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


@pytest.fixture
def hub():
    with hub_server() as server:
        yield server


@pytest.mark.processes
def test_pushing(tmp_path, trained, hub):
    cwd, original = trained
    folder = shutil.copytree(original, tmp_path / original.name)
    variables = hub.environment(tmp_path / "home")
    arguments = (f"run={folder}", "format=torch_export", "num_check_images=0", "output=out")
    arguments = (*arguments, "push_to_hub=somebody/shapes", "private=true")
    done = run("export", *arguments, cwd=cwd, variables=variables)
    assert f"{hub.url}/somebody/shapes" in done.stdout
    (repository,) = hub.repositories.values()
    assert repository.private
    assert repository.messages == [f"Weights of {folder.name}"]
    names = {"weights.safetensors", "config.yaml", "README.md", f"{folder.name}.pt2"}
    assert set(repository.files) == names
    for name, content in repository.files.items():
        assert content == (cwd / "out" / name).read_bytes(), name
    pushed = hashlib.sha256(repository.files["weights.safetensors"]).hexdigest()
    assert pushed == sha256(folder / "weights.safetensors")
    card = repository.files["README.md"].decode()
    assert "run=hf://somebody/shapes" in card
    assert f"`{folder.name}.pt2` runs without this project" in card
    run("export", f"run={folder}", "format=safetensors", "push_to_hub=somebody/shapes", cwd=cwd,
        variables=variables)  # fmt: skip
    assert len(repository.messages) == 2  # into the existing repository
    Image.new("RGB", (50, 40), "red").save(tmp_path / "a.png")
    options = ("input=a.png", "trainer.accelerator=cpu", "trainer.precision=32-true")
    for name in (str(folder), "hf://somebody/shapes"):  # download it again
        output = f"output={name.rpartition('/')[2]}"
        run("predict", f"run={name}", *options, output, cwd=tmp_path, variables=variables)
    label_map = (tmp_path / folder.name / "a.png").read_bytes()
    assert (tmp_path / "shapes" / "a.png").read_bytes() == label_map


@pytest.mark.processes
def test_failed_pushes(tmp_path, trained, hub):
    cwd, folder = trained
    home = tmp_path / "home"
    no_token, wrong_token = hub.environment(home, None), hub.environment(home, "hf_wrong")
    unreachable = {**hub.environment(home), "HF_ENDPOINT": "http://127.0.0.1:1"}
    offline = {**hub.environment(home), "HF_HUB_OFFLINE": "1"}
    for name, variables, words in (
        ("somebody/shapes", no_token, "you are not logged in. Run hf auth login, or set HF_TOKEN"),
        ("somebody/shapes", wrong_token, "the hub refused (401, "),
        ("somebody/shapes", unreachable, "the request to http://127.0.0.1:1 failed"),
        ("somebody/shapes", offline, "failed"),
        ("another/shapes", hub.environment(home), "You have no right to create a model"),
    ):
        out = tmp_path / "out"
        arguments = (f"run={folder}", "format=safetensors", f"output={out}", f"push_to_hub={name}")
        done = run("export", *arguments, cwd=cwd, variables=variables, ok=False)
        assert done.returncode == 2, done.stderr
        assert f"push_to_hub={name}: " in done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert out.exists() == (name == "another/shapes")  # created only after the login check
    assert not hub.repositories
