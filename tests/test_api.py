"""The framework from Python, in one process, as in a notebook."""

import io
import pickle
import shutil
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from PIL import Image
from safetensors.torch import save_file

import deeplab
from deeplab.config.build_model import rebuild_model
from deeplab.config.schema.scripts import PredictConfig
from deeplab.evaluation.segmentation import SegmentationEvaluation
from deeplab.models import DeepLabV3Plus
from deeplab.models.layers import batch_norms
from deeplab.tools.predict.predict import run_prediction
from deeplab.utils.errors import UserError
from support.hubs import hub
from support.networks import randomize_logits, tiny_model
from support.repository import ROOT
from support.scripts import SMALL, environment

OTHER_DEVICE = "cuda" if sys.platform == "darwin" else "mps"
"""One that this machine does not have."""

TINY = {"aspp": "tiny", "decoder": "tiny"}


def test_import_is_light_and_shows_the_names():
    code = (
        "import deeplab, sys; print(dir(deeplab)); assert not {'torch', 'hydra'} & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True
    ).stdout
    for name in deeplab.__all__:
        assert repr(name) in shown


def test_a_created_model_is_a_plain_module_that_trains(tmp_path):
    model = deeplab.create_model("resnet_tiny", **TINY, num_classes=3, output_stride=8)
    assert type(model) is DeepLabV3Plus
    assert model.output_stride == 8
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images = torch.randint(0, 256, (2, 3, 65, 65), dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 17, 17))
    losses = []
    for _ in range(8):
        losses.append(torch.nn.functional.cross_entropy(model(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    other = deeplab.create_model("resnet_tiny", **TINY, num_classes=3)
    other.load_state_dict(torch.load(tmp_path / "mine.pt", weights_only=True))
    other.set_output_stride(8)
    assert torch.equal(other.eval()(images), model.eval()(images))


def test_values_of_a_group_are_keyword_arguments():
    model = deeplab.create_model(
        "resnet_tiny",
        base_width=4,
        aspp={"channels": 8, "atrous_rates": (6, 12)},
        decoder={"low_level": ["conv3", "conv2"], "low_level_channels": 4, "convs": [(3, 8)]},
        num_classes=5,
    )
    parts = {"low_level": ("conv3", "conv2"), "convs": ((3, 8),), "atrous_rates": (6, 12)}
    same = tiny_model(**parts).state_dict()
    assert {k: t.shape for k, t in model.state_dict().items()} == {
        k: t.shape for k, t in same.items()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet_tyni"}, "Did you mean resnet_tiny"),
        (
            {"backbone": "resnet_tiny", "dephth": 3},
            "^dephth: create_model has no such argument. Did you mean depth",
        ),
        ({"backbone": 101}, "backbone=101: expected the name"),
        ({"decoder": "niave"}, "Did you mean naive"),
        ({"decoder": {"low_levle": ["conv2"]}}, "decoder.low_levle: no such key"),
        ({"output_stride": 4}, "output_stride=4: must be 8, 16 or 32"),
        ({"output_stride": "16"}, "output_stride='16': must be 8, 16 or 32"),
        ({"num_classes": 0}, "num_classes=0: expected an integer"),
        ({"num_classes": "3"}, "num_classes='3': expected an integer"),
        ({"backbone": "resnet_tiny", "pretrained": True}, "^pretrained=imagenet: no published"),
        ({"pretrained": "missing.pth"}, "^pretrained=missing.pth: no such file"),
        ({"in_channels": 4, "mean": [1, 2]}, "expected 4 values"),
        ({"logits_init": "large"}, "logits_init=large: must be"),
        ({"bn_momentum": 2}, "bn_momentum=2: must be"),
    ],
)
def test_a_mistake_is_one_exception(arguments, message):
    with pytest.raises(deeplab.UserError, match=message):
        deeplab.create_model(**arguments)


def test_the_momentum_is_that_of_all_batch_norms():
    for momentum, expected in ((None, {3e-4, 3e-3}), (0.1, {0.1})):
        model = deeplab.create_model("mobilenetv2", **TINY, bn_momentum=momentum)
        again = rebuild_model(model.settings)  # as a checkpoint of Lightning does
        for network in (model, again):
            assert {norm.momentum for norm in batch_norms(network)} == expected


@pytest.mark.parametrize(("logits_init", "std"), [(0.01, 0.0088), ("xavier", (2 / 277) ** 0.5)])
def test_initial_weights_of_the_logits(logits_init, std):
    """A normal that is truncated at two standard deviations; 256 channels and 21 classes."""
    model = deeplab.create_model("mobilenetv2", logits_init=logits_init)
    assert model.logits.weight.detach().std() == pytest.approx(std, rel=0.05)


def test_models_are_listed_by_pattern():
    assert "xception" in deeplab.list_models()
    tiny = deeplab.list_models("*_tiny")
    assert {*tiny} >= {"resnet_tiny", "xception_tiny"}
    assert tiny == sorted(name for name in deeplab.list_models() if name.endswith("_tiny"))
    names = ["mobilenetv2", "resnet101_torchvision", "resnet50_torchvision", "timm", "xception"]
    assert deeplab.list_models(pretrained=True) == [*names, "xception41", "xception71"]


@pytest.mark.parametrize("in_channels", [1, 6])
def test_pretrained_weights_fit_other_channels(in_channels, tmp_path):
    """Gray images give what they give as RGB, and so do two equal images one after the other."""
    rgb = deeplab.create_model("resnet_tiny", **TINY)
    torch.save(rgb.backbone.state_dict(), tmp_path / "backbone.pth")
    model = deeplab.create_model(
        "resnet_tiny", **TINY, in_channels=in_channels, pretrained=tmp_path / "backbone.pth"
    )
    gray = torch.randint(0, 256, (2, 1, 65, 65)).float()
    image = gray if in_channels == 1 else torch.randint(0, 256, (2, 3, 65, 65)).float()
    features = [
        network.backbone.eval()(network.normalize(images))["output"]
        for network, images in (
            (rgb, image.expand(-1, 3, -1, -1)),
            (model, image.repeat(1, max(1, in_channels // 3), 1, 1)),
        )
    ]
    torch.testing.assert_close(*features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_an_own_network_bring_their_constants(tmp_path, suffix):
    """As those of a run do, whose config has them."""
    constants = {"mean": [9.0, 8.0, 7.0], "std": [6.0, 5.0, 4.0], "bn_eps": 0.02}
    trained = deeplab.create_model("resnet_tiny", **TINY, num_classes=3, **constants)
    path = tmp_path / f"mine{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(trained.state_dict(), path)
    model = deeplab.create_model("resnet_tiny", **TINY, num_classes=5, pretrained=path)
    assert torch.equal(model.get_extra_state(), trained.get_extra_state())
    assert model.settings["backbone"]["mean"] == constants["mean"]


def test_a_hydra_application_of_the_caller_stays_as_it_is(tmp_path):
    (tmp_path / "stage").mkdir()
    (tmp_path / "train.yaml").write_text("defaults: [{stage: voc}]\nmine: 1\n")
    (tmp_path / "stage" / "voc.yaml").write_text("own: 2\n")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = compose("train", return_hydra_config=True)
        HydraConfig.instance().set_config(before)
        deeplab.create_model("resnet_tiny", **TINY)
        assert HydraConfig.get() == before.hydra
        assert str(VersionBase.instance().getbase()) == "1.2"
        assert compose("train") == {"stage": {"own": 2}, "mine": 1}
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert compose("train") == {"stage": {"own": 2}, "mine": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run whose network predicts all classes, made from Python in a thread."""
    folder, runs = tmp_path_factory.mktemp("api"), []
    settings = [*SMALL, f"runs_dir='{folder / 'runs'}'"]

    def make():
        runs.append(deeplab.train("shapes", root=folder / "my data", overrides=settings))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (run,) = runs
    again = deeplab.train("shapes", root=folder / "my data", overrides=settings)
    assert again == run
    randomize_logits(run.folder)
    return run


@pytest.fixture(scope="module")
def images(trained):
    return sorted((trained.folder.parents[1] / "my data").rglob("val_*.jpg"))


def test_a_run_has_its_result_and_is_evaluated(trained, capsys):
    assert 0 <= trained.result.miou <= 100
    assert trained.config.data.num_val == 3
    results = deeplab.evaluate(
        trained, strategies=["os16", "os8-flip"], overrides=["trainer.precision=32-true"]
    )
    assert [r.protocol.strategy.name for r in results] == ["os16", "os8-flip"]
    assert f"{results[1].miou:.2f}" in capsys.readouterr().out


def test_a_run_that_is_removed_ends_its_evaluation_in_a_message(tmp_path, trained, monkeypatch):
    folder = shutil.copytree(trained.folder, tmp_path / "run")

    def open_data(task):
        shutil.rmtree(folder)
        open_images(task)

    open_images = SegmentationEvaluation.open_data
    monkeypatch.setattr(SegmentationEvaluation, "open_data", open_data)
    with pytest.raises(deeplab.UserError, match=r"weights.safetensors: cannot be read \(No such"):
        deeplab.evaluate(folder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: deeplab.train("shpes"), "Did you mean shapes"),
        (lambda run: deeplab.train(overrides="seed=1"), "expected a list of strings"),
        (lambda run: deeplab.train(overrides=["seed=a"]), "seed=a: must be a valid integer"),
        (
            lambda run: deeplab.train("folder", root="/missing"),
            "^root=/missing: this folder does not exist. Set root to",
        ),
        (lambda run: deeplab.create_datamodule(batch_size=0), "^batch_size=0: must be"),
        (lambda run: deeplab.evaluate("missing"), "run=missing: does not exist"),
        (lambda run: deeplab.evaluate(run, strategies="os9"), "unknown part 'os9'"),
        (
            lambda run: deeplab.load("x"),
            "^source=x: does not exist in .* Set source to a folder .*; a run on .* source=hf://",
        ),
        (lambda run: deeplab.load(run.folder, device="gpuu"), "^device=gpuu: must be"),
        (lambda run: deeplab.load(run.folder, device=OTHER_DEVICE), f"^device={OTHER_DEVICE}: not"),
        (lambda run: run.load().predict("x.jpg", window=0), "^window=0: must be greater"),
    ],
)
def test_a_mistake_in_a_call_is_one_exception(trained, call, message):
    with pytest.raises(deeplab.UserError, match=message):
        call(trained)


@pytest.mark.parametrize("options", [{}, {"strategy": "os8-x0.5+1-flip", "window": 49}])
def test_predictions_are_those_of_the_script(tmp_path, trained, images, options):
    """Paths, images of Pillow and arrays give predict.py's label maps."""
    keys = {{"window": "window_size"}.get(key, key): value for key, value in options.items()}
    rotated = Image.open(images[0])
    rotated.getexif()[274] = 6  # upright after a turn
    rotated.save(tmp_path / "rotated.jpg", exif=rotated.getexif(), quality=100)
    gray = Image.open(images[1]).convert("L")
    gray.save(tmp_path / "gray.png")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    paths = [*images, *(tmp_path / name for name in ("rotated.jpg", "gray.png", "deep.png"))]
    config = {"run": str(trained.folder), "input": list(map(str, paths)), **keys}
    config |= {"output": str(tmp_path / "out"), "save_probabilities": True}
    run_prediction(PredictConfig(**config, trainer={"precision": "32-true"}))

    model = trained.load(precision="32-true")
    predictions = model.predict(paths, **options)
    for path, prediction in zip(paths, predictions, strict=True):
        label_map = np.asarray(Image.open(tmp_path / "out" / f"{path.stem}.png"))
        assert np.array_equal(prediction.label_map, label_map)
        stored = np.load(tmp_path / "out" / f"{path.stem}.npz")["probabilities"]
        assert np.array_equal(prediction.probabilities.astype(np.float16), stored)
        assert np.array_equal(prediction.probabilities.argmax(0), label_map)
        assert prediction.probabilities.dtype == np.float32
    pillow = [Image.open(path) for path in paths[3:]]
    arrays = [
        prediction.image if prediction.image.ndim == 3 else None for prediction in predictions[3:]
    ]
    values = np.asarray(deep)
    for inputs in (pillow, arrays, [arrays[0], np.asarray(gray), values / np.float32(65535)]):
        for prediction, other in zip(
            predictions[3:], model.predict(inputs, **options), strict=True
        ):
            assert np.array_equal(prediction.label_map, other.label_map)


def test_the_bytes_of_a_file_and_every_iterable_are_predicted(trained, images):
    loaded, content = trained.load(), images[0].read_bytes()
    label_map = loaded.predict(images[0]).label_map
    written = io.BytesIO()
    written.write(content)
    with images[0].open("rb") as file:
        for image in (content, written, file):
            assert np.array_equal(loaded.predict(image).label_map, label_map)
    for several in ((path for path in images[:1]), {images[0]}, iter([written])):
        (prediction,) = loaded.predict(several)
        assert np.array_equal(prediction.label_map, label_map)


def test_the_only_device_of_its_kind_has_index_0(trained, images):
    label_map = trained.load(device="cpu").predict(images[0]).label_map
    prediction = trained.load(device="cpu:0").predict(images[0], device="cpu:0")
    assert np.array_equal(prediction.label_map, label_map)
    share = float((label_map == np.bincount(label_map.ravel()).argmax()).mean())
    assert f" {100 * share:.1f} %" in repr(prediction)
    with pytest.raises(deeplab.UserError, match="device=cpu:1: this machine has 1 devices"):
        trained.load(device="cpu:1")


def test_a_prediction_shows_and_saves_itself(tmp_path, trained, images):
    prediction = trained.load().predict(images[0])
    height, width = prediction.label_map.shape
    assert prediction.classes == trained.config.data.classes
    assert prediction.overlay(legend=False).size == (width, height)
    assert prediction._repr_png_().startswith(b"\x89PNG")
    prediction.save(tmp_path / "label.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "label.png")), prediction.label_map)
    with pytest.raises(deeplab.UserError, match="saved as PNG"):
        prediction.save(tmp_path / "label.jpg")
    prediction.save(buffer := io.BytesIO())
    assert buffer.getvalue() == (tmp_path / "label.png").read_bytes()


LIBRARY = """
import cv2, io, warnings
from PIL import Image

Image.MAX_IMAGE_PIXELS = 1000
cv2.setNumThreads(2)
before = cv2.getNumThreads(), len(warnings.filters)
import deeplab
from deeplab.tools.predict.trained_model import TrainedModel

before = before[0], len(warnings.filters)
model = deeplab.create_model("resnet_tiny", num_classes=2, aspp="tiny", decoder="tiny")
trained = TrainedModel.from_network(model, ["background", "thing"])
Image.new("RGB", (60, 50)).save(file := io.BytesIO(), format="PNG")
try:
    trained.predict(file.getvalue())
except deeplab.BadFileError as error:
    print(error)
Image.MAX_IMAGE_PIXELS = 1500
trained.predict(file.getvalue())
assert (Image.MAX_IMAGE_PIXELS, cv2.getNumThreads(), len(warnings.filters)) == (1500, *before)
"""


def test_a_program_keeps_its_settings_of_pillow_and_opencv(tmp_path):
    (tmp_path / "program.py").write_text(LIBRARY)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "(3000 pixels) exceeds limit of 2000 pixels, which is PIL.Image.MAX" in done.stdout


def test_a_damaged_image_of_pillow_is_a_bad_file(tmp_path, trained, images):
    Image.open(images[0]).convert("RGB").resize((300, 200)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(deeplab.BadFileError, match=r"half\.jpg: this image cannot be decoded"):
        trained.load().predict(Image.open(tmp_path / "half.jpg"))


def test_weights_of_a_whole_network_as_those_of_a_backbone(tmp_path):
    """A backbone's are taken, and a warning says what is left out."""
    network = deeplab.create_model("resnet_tiny", **TINY)
    torch.save(network.state_dict(), tmp_path / "all.pt")
    torch.save(network.backbone.state_dict(), tmp_path / "backbone.pt")
    with pytest.warns(
        UserWarning, match=r"left out: aspp \(\d+\), decoder.*load_state_dict"
    ) as seen:
        deeplab.create_model("resnet_tiny", **TINY, pretrained=tmp_path / "all.pt")
    assert seen[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        deeplab.create_model("resnet_tiny", **TINY, pretrained=tmp_path / "backbone.pt")


def test_predictions_follow_the_weights_of_the_model(trained, images):
    loaded = trained.load()
    before = loaded.predict(images[0])
    with torch.no_grad():
        loaded.model.logits.bias[3] = 1000.0
    assert (loaded.predict(images[0]).label_map == 3).all()
    assert not (before.label_map == 3).all()
    assert np.array_equal(before.probabilities.argmax(0), before.label_map)


def test_a_loaded_network_goes_through_pickle(trained, images):
    """As it does into the workers of a pool."""
    loaded = trained.load(precision="32-true")
    before = loaded.predict(images[0])
    again = pickle.loads(pickle.dumps(loaded))
    assert again.config == loaded.config
    after = again.predict(images[0])
    assert np.array_equal(after.label_map, before.label_map)
    assert np.array_equal(after.probabilities, before.probabilities)


@pytest.mark.parametrize("options", [{}, {"strategy": "os8-x0.5+1-flip", "window": 49}])
def test_a_network_in_memory_predicts_as_its_run(trained, images, options):
    run = trained.load(precision="32-true")
    model = deeplab.create_model("resnet_tiny", **TINY, num_classes=7).train()
    model.load_state_dict(run.model.state_dict())
    data = trained.config.data
    own = deeplab.TrainedModel.from_network(
        model, data.classes, palette=data.palette, eval_size=data.eval_size
    )
    assert model.training
    for expected, prediction in zip(
        run.predict(images, **options), own.predict(images, **options), strict=True
    ):
        assert np.array_equal(prediction.label_map, expected.label_map)
        assert np.array_equal(prediction.probabilities, expected.probabilities)
        assert prediction.overlay().tobytes() == expected.overlay().tobytes()


def test_a_prediction_keeps_its_image_when_the_array_is_used_again(trained):
    model = trained.load()
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (40, 50, 3), np.uint8)
    before = model.predict(frame.copy())
    kept = model.predict(frame)
    frame[...] = 255 - frame
    assert np.array_equal(kept.image, before.image)
    assert np.array_equal(kept.probabilities, before.probabilities)
    assert kept.overlay().tobytes() == before.overlay().tobytes()


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.full((9, 9, 3), np.nan, np.float32), {}, "243 values of nan"),
        ({"a": 1}, {}, "image=dict: expected a path, the bytes"),
        (np.zeros((9, 9, 3), np.uint8), {"strategy": None}, "strategy=None: expected the name"),
        (np.zeros((9, 9, 3), np.uint8), {"strategy": ["os8"]}, "strategy=.*: expected the name"),
    ],
)
def test_images_and_strategies_that_are_none(image, options, message):
    own = deeplab.TrainedModel.from_network(tiny_model(2), ["a", "b"])
    with pytest.raises(UserError, match=message):
        own.predict(image, **options)


def test_content_of_a_file_in_any_buffer(images):
    own = deeplab.TrainedModel.from_network(tiny_model(7).eval(), tuple("abcdefg"))
    content = images[0].read_bytes()
    expected = own.predict(images[0]).label_map
    for buffer in (content, bytearray(content), memoryview(content)):
        assert np.array_equal(own.predict(buffer).label_map, expected)


def test_predictions_follow_the_output_stride_of_a_network_in_memory(images):
    model = tiny_model(7).eval()
    own = deeplab.TrainedModel.from_network(model, tuple("abcdefg"))
    before = own.predict(images[0])
    model.set_output_stride(8)
    after = own.predict(images[0])
    assert not np.array_equal(after.probabilities, before.probabilities)
    assert np.array_equal(after.probabilities, own.predict(images[0], strategy="os8").probabilities)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: torch.nn.Identity(), {}, "model=Identity: expected a network of"),
        (lambda: deeplab.SegmentationModule(tiny_model(2)), {}, "it is eval_model"),
        (lambda: tiny_model(3), {}, "classes: 2 names, but the network has num_classes=3"),
        (lambda: tiny_model(2), {"palette": [(0, 0, 0)]}, "palette has 1 entries"),
        (lambda: tiny_model(2), {"eval_size": 5}, "eval_size=5: must be"),
        (lambda: tiny_model(2), {"device": "gpuu"}, "device=gpuu"),
    ],
)
def test_a_mistake_with_a_network_in_memory_is_one_exception(model, options, message):
    with pytest.raises(deeplab.UserError, match=message):
        deeplab.TrainedModel.from_network(model(), ["ground", "water"], **options)


@pytest.mark.parametrize("name", ["mine.pt", "module.ckpt", "weights.safetensors"])
def test_weights_of_no_run_are_named_with_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(deeplab.UserError, match=r"predict with TrainedModel\.from_network"):
        deeplab.load(tmp_path / name)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            "missing.jpg",
            r"missing.jpg: the image does not exist. Add the file, or correct the path\.$",
        ),
        ("", "image='': expected the path"),
        ("http://a/b.jpg", "image='http://a/b.jpg': expected the path .* Download it"),
        ("/", "this is a folder, not a file. Name a file instead"),
        (b"abc", "image of 3 bytes: this file cannot be decoded"),
        (io.BytesIO(), "image of 0 bytes: this file is empty"),
        (io.StringIO("abc"), "image=StringIO: expected a path"),
        (5, "image=int: expected a path"),
        (
            torch.zeros(3, 8, 8),
            r"image=Tensor: .* Pass image.permute\(1, 2, 0\).numpy\(force=True\)",
        ),
        (torch.zeros(8, 8), r"image=Tensor: .* Pass image.numpy\(force=True\)"),
        (np.zeros((3, 40, 50), np.uint8), "Move the channels to the end"),
        (np.zeros((0, 5, 3), np.uint8), "it has no pixels"),
        (np.full((4, 4), 2.0), "must be from 0 to 1"),
        (np.full((4, 4), np.inf), "must be from 0 to 1"),
        (np.zeros((4, 4), int), "expected uint8"),
        (np.full((4, 4), 9, np.uint16), "uint16 values up to 9"),
        (Image.new("F", (3, 3)), "floating-point images are not read"),
    ],
)
def test_an_image_that_is_none_is_refused(trained, image, message):
    with pytest.raises(deeplab.UserError, match=message):
        trained.load().predict([image])


@pytest.mark.processes
def test_a_run_of_the_hub_is_loaded_without_a_copy(tmp_path, trained, images):
    names = ("weights.safetensors", "config.yaml")
    files = {f"someone/scenes/{name}": (trained.folder / name).read_bytes() for name in names}
    code = f"""
import deeplab
loaded = deeplab.load("hf://someone/scenes", precision="32-true")
loaded.predict({str(images[0])!r}).save("label.png")
for name in ("someone/scenes", "hf://someone/missing"):
    try:
        deeplab.load(name)
    except deeplab.UserError as error:
        print(error)
"""
    with hub(files) as site:
        variables = environment() | site.variables(tmp_path / "home")
        shown = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=variables | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert "source=someone/scenes: does not exist" in shown
    assert "the hub has no such repository" in shown
    label_map = trained.load(precision="32-true").predict(images[0]).label_map
    assert np.array_equal(np.asarray(Image.open(tmp_path / "label.png")), label_map)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "label.png"}


def test_numbers_of_numpy_are_numbers():
    model = deeplab.create_model(
        "resnet_tiny", aspp="tiny", decoder="tiny", num_classes=np.int64(4),
        output_stride=np.int64(8), base_width=np.int32(4),
    )  # fmt: skip
    assert (model.num_classes, model.output_stride) == (4, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 5}, r"classes: create_model has no such argument\. Did you mean num_classes"),
        ({"n_classes": 5}, "Did you mean num_classes"),
        ({"data": "voc"}, "data: create_model has no such argument"),
        ({"stage.lr": 1}, r"stage\.lr: create_model has no such argument"),
        ({"backbone": "own"}, "backbone=own: a class of your own is named by _target_="),
    ],
)
def test_arguments_that_no_network_has(arguments, message):
    with pytest.raises(UserError, match=message):
        deeplab.create_model(**{"backbone": "resnet_tiny", **arguments})
    assert "own" not in deeplab.list_models()


@pytest.mark.parametrize("shape", [(1, 33, 33, 3), (3, 33, 33), (1, 4, 33, 33)])
def test_images_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\), with values from 0 to 255"):
        tiny_model()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (torch.nn.Conv2d(3, 21, 1), {}, "model=Conv2d: expected a network"),
        (tiny_model(3), {"loss": "dice"}, "loss=dice: expected keys"),
        (tiny_model(3), {"loss": {"name": "dise"}}, "loss.name=dise: no such choice"),
    ],
)
def test_wrong_arguments_of_a_module(model, options, message):
    with pytest.raises(UserError, match=message):
        deeplab.SegmentationModule(model, **options)
