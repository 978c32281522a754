"""The authors' released networks, converted, against TensorFlow, LiteRT and onnxruntime.

These packages are not locked; ``make test-extras`` runs these tests.
"""

import json
import tarfile

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from deeplab.checkpoints.loading import load_weights
from deeplab.checkpoints.matching import load_backbone
from deeplab.checkpoints.trained_run import find_trained_run
from deeplab.config.build_model import build_backbone, build_model
from deeplab.models.layers import resize
from deeplab.tracking.run_folder import RunFolder, read_config
from support import slim_variables as slim
from support.real_data import VOC, real
from support.scripts import run

pytestmark = pytest.mark.extras

LITE = "weights/deeplabv3_257_mv_gpu.tflite"
GRAPH = "weights/portrait_dm05_513_frozen_inference_graph.pb"


def read_image(path, side=None):
    """Read an RGB image (H, W, 3), stretched to a square if a side is given."""
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return cv2.resize(pixels, (side, side)) if side else pixels


def voc_images(count, side):
    real("voc2012/VOCdevkit/VOC2012/JPEGImages")
    ids = (VOC / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:count]
    return [read_image(VOC / "JPEGImages" / f"{name}.jpg", side) for name in ids]


def network(weights):
    """Build the network from the file and the config in its folder, as the scripts do."""
    trained = find_trained_run(str(weights))
    model = build_model(trained.config, num_classes=len(trained.config.data.classes))
    load_weights(model, trained.weights)
    return model.eval()


@torch.no_grad()
def logits(model, image):
    """Return the logits (h, w, classes) of an image (H, W, 3)."""
    return model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()


@torch.no_grad()
def upsampled(model, image):
    grid = torch.from_numpy(logits(model, image)).permute(2, 0, 1)[None]
    return resize(grid, image.shape[:2])[0].permute(1, 2, 0).numpy()


# The released MobileNetV2 of TensorFlow Lite


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    pytest.importorskip("ai_edge_litert")
    cwd = tmp_path_factory.mktemp("lite")
    run("convert", str(real(LITE)), cwd=cwd)
    return cwd / "runs" / "deeplabv3_257_mv_gpu" / "weights.safetensors"


def test_the_golden_image_gives_the_golden_mask(lite):
    image = read_image(real("weights/golden_257_input.jpg"))
    golden = cv2.imread(str(real("weights/golden_257_mask_x10.png")), cv2.IMREAD_UNCHANGED) // 10
    labels = upsampled(network(lite), image).argmax(-1)
    assert set(np.unique(golden)) > {0}
    assert (labels == golden).mean() >= 0.999


def test_logits_of_the_interpreter(lite, record_property):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(real(LITE)))
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    model, differences = network(lite), []
    for image in voc_images(20, 257):
        interpreter.set_tensor(inputs["index"], (image[None] / 127.5 - 1).astype(np.float32))
        interpreter.invoke()
        reference = interpreter.get_tensor(outputs["index"])[0]
        differences.append(float(np.abs(upsampled(model, image) - reference).max()))
        assert np.abs(reference).max() > 5  # the differences are small against these logits
    record_property("largest difference of logits", max(differences))
    print(f"\nLiteRT: largest difference of logits on 20 images {max(differences):.1e}")
    assert max(differences) < 1e-3


def test_config_and_record_of_the_conversion(lite):
    config = yaml.safe_load(lite.with_name("config.yaml").read_text())
    assert config["output_stride"] == 8
    assert config["aspp"]["atrous_rates"] is None
    assert (config["backbone"]["width_mult"], config["backbone"]["divisor"]) == (0.5, 1)
    record = json.loads(lite.with_name("conversion.json").read_text())
    assert record["variables"] == 110
    assert record["left_out"] == []


def write_quantized(path, *, simulated):
    """Write the network with 8-bit weights, with the names of one trained for integers or not.

    Returns:
        The weights that the integers stand for, by the names in the float file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(real(LITE).read_bytes(), 0))
    (graph,) = model.subgraphs
    expected = {}
    for tensor in graph.tensors:
        name = tensor.name.decode()
        last = name.rpartition("/")[2]
        if last not in ("weights", "depthwise_weights"):
            continue
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
        values = values.reshape(tensor.shape)
        axis = 3 if last == "depthwise_weights" else 0
        others = tuple(i for i in range(4) if i != axis)
        scales = np.abs(values).max(axis=others, keepdims=True) / 127
        scales = np.maximum(scales, 1e-12).astype(np.float32)
        integers = np.rint(values / scales).astype(np.int8)
        expected[name] = integers * scales
        model.buffers[tensor.buffer].data = integers.view(np.uint8).ravel()
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales.ravel().tolist()
        tensor.quantization.zeroPoint = [0] * scales.size
        tensor.quantization.quantizedDimension = axis
        if simulated:
            scope = name.rpartition("/")[0]
            tensor.name = f"{scope}/weights_quant/FakeQuantWithMinMaxVars".encode()
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return expected


@pytest.mark.parametrize("simulated", [False, True])
def test_weights_of_a_quantized_network(simulated, tmp_path, lite):
    pytest.importorskip("ai_edge_litert")
    expected = write_quantized(tmp_path / "small.tflite", simulated=simulated)
    output = run("convert", "small.tflite", cwd=tmp_path).stdout
    assert "int8 made float32 by their scales" in output
    weights = tmp_path / "runs/small/weights.safetensors"
    converted, originals = load_file(weights), load_file(lite)
    assert converted.keys() == originals.keys()
    values = [value.transpose(0, 3, 1, 2) for value in expected.values()]
    convolutions = [tensor.numpy() for tensor in converted.values() if tensor.ndim == 4]
    assert len(convolutions) == len(values)
    for value in values:
        shapes = value, value.transpose(1, 0, 2, 3)  # depthwise ones have the channels second
        assert any(
            c.shape == v.shape and np.allclose(c, v, atol=1e-7)
            for v in shapes
            for c in convolutions
        )
    image = read_image(real("weights/golden_257_input.jpg"))
    golden = cv2.imread(str(real("weights/golden_257_mask_x10.png")), cv2.IMREAD_UNCHANGED) // 10
    labels = upsampled(network(weights), image).argmax(-1)
    assert (labels == golden).mean() > 0.95


# A graph of the authors' code with its batch norms


def test_logits_of_a_frozen_graph(tmp_path):
    pytest.importorskip("tensorflow")
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    overrides = ("data.classes=[nobody,person]", "data.eval_size=257")
    run("convert", str(real(GRAPH)), "output=mine/weights.safetensors", *overrides, cwd=tmp_path)
    config = read_config(RunFolder(tmp_path / "mine"))
    assert config.data.classes == ("nobody", "person")
    assert config.data.eval_size == 257
    model = network(tmp_path / "mine" / "weights.safetensors")
    # The same network as ONNX, cut before its resizes, which do not align corners.
    graph = onnx.load(real("weights/portrait_dm05_513.onnx"))
    (cut,) = [n.output[0] for n in graph.graph.node if "logits/semantic/weights:0" in n.input]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(cut, 1, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    differences = []
    for image in voc_images(4, 513):
        x = (image / 127.5 - 1).astype(np.float32).transpose(2, 0, 1)[None]
        reference = session.run([cut], {session.get_inputs()[0].name: x})[0][0]
        assert reference.shape == (2, 65, 65)
        differences.append(float(np.abs(logits(model, image) - reference.transpose(1, 2, 0)).max()))
        assert np.abs(reference).max() > 1
    print(f"\nonnxruntime: largest difference of logits {max(differences):.1e}")
    assert max(differences) < 1e-3


# A checkpoint with the variables of deeplabv3_pascal_train_aug, written by TensorFlow

SHAPES = dict([*slim.xception(65), *slim.head(2048, low_level=256, separable=True)])


def drawn(shapes):
    """Draw values that keep activations from vanishing or exploding."""
    generator, values = np.random.default_rng(0), {}
    for name, shape in shapes.items():
        kind = name.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            values[name] = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        elif kind in ("beta", "moving_mean", "biases"):
            values[name] = generator.uniform(-0.5, 0.5, shape).astype(np.float32)
        else:
            fan_in = np.prod(shape[:2]) * (1 if kind == "depthwise_weights" else shape[2])
            scale = np.sqrt(1.5 / fan_in)
            values[name] = (scale * generator.standard_normal(shape)).astype(np.float32)
    return values


def write_checkpoint(prefix, variables):
    import tensorflow as tf

    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )


def test_a_checkpoint_of_the_whole_network(tmp_path):
    """Convert an archive with training state, and compare with a second implementation.

    The second implementation applies TensorFlow operations to the same variables.
    """
    pytest.importorskip("tensorflow")
    from support import slim_network

    variables = drawn(SHAPES)
    momentum = {f"{n}/Momentum": v for n, v in variables.items() if n.endswith("weights")}
    counter = {"global_step": np.int64(30000)}
    folder = "deeplabv3_pascal_train_aug"
    write_checkpoint(tmp_path / folder / "model.ckpt", variables | momentum | counter)
    with tarfile.open(tmp_path / f"{folder}_2018_01_04.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(tmp_path / folder, folder)
    done = run("convert", f"{folder}_2018_01_04.tar.gz", "enable_progress_bar=false", cwd=tmp_path)
    assert f"{len(variables)} variables, all used" in done.stdout
    assert "41,055,413 parameters" in done.stdout
    weights = tmp_path / "runs" / f"{folder}_2018_01_04" / "weights.safetensors"
    model = network(weights)
    image = np.random.default_rng(1).integers(0, 256, (129, 161, 3), dtype=np.uint8)
    converted, reference = logits(model, image), slim_network.logits(variables, image)
    assert converted.shape == reference.shape == (33, 41, 21)
    assert reference.std() > 0.01
    assert np.abs(converted - reference).max() < 1e-4 * max(1, np.abs(reference).max())


def test_a_checkpoint_of_a_classifier(tmp_path):
    """Convert by the checkpoint's prefix; the result initializes a backbone."""
    pytest.importorskip("tensorflow")
    shapes = dict(slim.resnet(50, beta=True))
    classifier = {"resnet_v1_50/logits/weights": (1, 1, 2048, 1001)}
    variables = drawn(shapes | classifier)
    write_checkpoint(tmp_path / "resnet_v1_50" / "model.ckpt", variables)
    done = run("convert", "resnet_v1_50/model.ckpt", cwd=tmp_path)
    weights = tmp_path / "runs" / "resnet_v1_50" / "backbone.safetensors"
    assert "Left out: resnet_v1_50/logits/weights, not part of the network" in done.stdout
    assert f"backbone=resnet50 backbone.pretrained={weights.relative_to(tmp_path)}" in done.stdout
    backbone = build_backbone(read_config(RunFolder(weights.parent)))
    load_backbone(backbone, weights)
    stem = variables["resnet_v1_50/conv1_3/weights"].transpose(3, 2, 0, 1)
    assert np.array_equal(backbone.state_dict()["stem.2.conv.weight"].numpy(), stem)
    assert load_file(weights).keys() == backbone.state_dict().keys()
    failed = run("evaluate", f"run={weights.parent}", cwd=tmp_path, ok=False)
    assert failed.returncode == 2
    assert "neither weights nor a checkpoint" in failed.stderr
