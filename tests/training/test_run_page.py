"""Tests of the figures and the page of a run."""

import re
import types

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from deeplab.metrics.definitions import CLASS_IOU, SEGMENTATION
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.tracking.run_folder import RunFolder
from deeplab.training.callbacks.example_figure import WorstFigure
from deeplab.training.confusion_plot import plot_confusion
from deeplab.training.curves import better_validation, plot_curves
from deeplab.training.loggers import log_examples
from deeplab.training.segmentation import SegmentationModule, SegmentationTask
from deeplab.utils.constants import IGNORE
from deeplab.utils.visualization import Example
from support.batches import NAMES, batch
from support.networks import tiny_model
from support.scripts import SMALL, run, run_folders


def test_the_iou_of_an_image_is_that_of_galleries():
    """The classes of its truth and of its prediction count."""
    module = SegmentationModule(tiny_model(), None, NAMES).eval()
    data = batch(3)
    data["label"][0] = IGNORE
    data["label"][1] = 2
    predictions = module.validation_step(data, 0)
    matrices = np.zeros((3, 6, 5), np.int64)
    rows = data["label"].clamp(max=5)  # the last one of ignored pixels
    np.add.at(matrices, (np.arange(3)[:, None, None], rows, predictions), 1)
    confusions = ImageConfusions.stack(matrices[:, :5], 5)
    np.testing.assert_allclose(module.image_iou, confusions.image_iou)
    assert np.isnan(module.image_iou).tolist() == [True, False, False]
    assert module.confusion.compute().tolist() == confusions.total.tolist()


def test_the_curve_of_a_class_has_the_color_of_its_overlay(tmp_path):
    """One that can be seen on white: bright ones are darker, and black is the metric's."""
    colors = {"background": (0, 0, 0), "cat": (200, 40, 60), "lemon": (255, 255, 0)}
    names = ["step", SEGMENTATION[0].logged_as, *(f"{CLASS_IOU}{name}" for name in colors)]
    lines = [",".join(names), "1,50,80,30,10", "2,60,90,40,20"]
    folder = RunFolder(tmp_path)
    folder.metrics_csv.write_text("\n".join(lines))
    image = np.array(Image.open(plot_curves(folder, SEGMENTATION[0], colors)).convert("RGB"))
    drawn, count = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    seen = {tuple(map(int, color)) for color, n in zip(drawn, count, strict=True) if n >= 30}
    assert {(200, 40, 60), (127, 127, 127)} <= seen
    assert (255, 255, 0) not in seen
    assert any(r == g > 150 > b for r, g, b in seen)


@pytest.mark.parametrize(
    ("scores", "better"),
    [
        (["20", "54.5", "54.5", "43"], (2, 54.5)),
        (["20", "30"], None),
        (["nan", "30", "nan"], None),
        (["", ""], None),
    ],
)
def test_a_validation_with_a_better_score_than_the_last_one(tmp_path, scores, better):
    folder, metric = RunFolder(tmp_path), SEGMENTATION[0]
    lines = [f"{step},{score}" for step, score in enumerate(scores, start=1)]
    folder.metrics_csv.write_text("\n".join([f"step,{metric.logged_as}", *lines]))
    assert better_validation(folder, metric) == better


def test_the_worst_images_are_drawn_from_worst_to_best(tmp_path):
    """One validation after the other, each with batches of its own."""
    drawn, made = [], []

    def make(batch, i, output):
        made.append(float(output))
        return made[-1]

    def draw(examples):
        drawn.append(examples)
        return Image.new("RGB", (4, 4))

    figure = WorstFigure(2, tmp_path / "worst.png", make_example=make, draw=draw)
    trainer = types.SimpleNamespace(
        is_global_zero=True, sanity_checking=False, should_stop=False, global_step=1, max_steps=2
    )
    for scores in ([[0.5, 0.9], [0.1, float("nan")], [0.3]], [[0.8], [0.7, 0.9]]):
        figure.on_validation_start(trainer, None)
        for batch_scores in scores:
            module = types.SimpleNamespace(image_iou=np.array(batch_scores))
            figure.on_validation_batch_end(trainer, module, batch_scores, None)
        figure.on_validation_end(trainer, module)
    assert [np.round(d, 3).tolist() for d in drawn] == [[0.1, 0.3], [0.7, 0.8]]
    assert made == [0.5, 0.9, 0.1, 0.3, 0.8, 0.7]  # not those that are not among them
    assert (tmp_path / "worst.png").exists()


def test_a_network_that_predicts_one_class_is_said(capsys):
    module = SegmentationModule(tiny_model(num_classes=3), None, ["sky", "road", "car"])
    truth = torch.tensor([[0, 1, 2, IGNORE]])
    for predicted, warned in (([1, 1, 1, 0], True), ([1, 1, 2, 0], False)):
        module.confusion.update(torch.tensor([predicted]), truth)
        module.log_scores = lambda *_: None
        module.on_validation_epoch_end()
        SegmentationTask.check_result(None, module)
        assert ("was predicted as road" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_any_channels_are_logged(channels, tmp_path):
    logged = {}
    logger = WandbLogger(experiment=types.SimpleNamespace(log=logged.update))
    Image.new("RGB", (4, 4)).save(tmp_path / "figure.png")
    label = np.zeros((4, 4), np.uint8)
    shown = Example("a", np.zeros((4, 4, channels), np.uint8), label, label)
    log_examples([logger], ["sky"], [shown], tmp_path / "figure.png", step=3)
    assert logged["examples/a"].image.mode == "RGB"
    assert logged["trainer/global_step"] == 3


def test_what_to_type_next_can_be_typed(tmp_path):
    """Each printed command of a finished run works as it is, with a photo for predict."""
    printed = run("train", *SMALL, cwd=tmp_path).stdout
    (folder,) = run_folders(tmp_path)
    commands = [line.split() for line in printed.partition("Next:\n")[2].splitlines() if line]
    assert [command[:2] for command in commands] == [
        ["deeplab", name] for name in ("evaluate", "gallery", "predict", "export")
    ]
    for _, script, *arguments in commands[:3]:
        place = f"input={folder / 'validation.png'}"
        run(script, *(re.sub("input=.*", place, a) for a in arguments), cwd=tmp_path)
    assert list(folder.glob("evaluations/*/gallery/index.html"))


def test_the_confusion_matrix_is_drawn_by_rows(tmp_path):
    """The darkest cell of each row is the class that most of its pixels are taken for."""
    counts = np.array([[900, 100, 0, 0], [0, 0, 50, 0], [1, 0, 0, 3], [0, 0, 0, 0]])
    plot_confusion(counts, [r"a $\frac$", "b", "c" * 80, "d"], tmp_path / "confusion.png")
    pixels = np.asarray(Image.open(tmp_path / "confusion.png").convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels.sum(-1) < 500)  # cells of many pixels
    columns = np.flatnonzero(np.diff(blue.any(0).astype(int), prepend=0) > 0)
    assert len(columns) == 2  # a for a; b for c and c for d, side by side
    plot_confusion(np.zeros((60, 60), int), [str(k) for k in range(60)], tmp_path / "large.png")
    assert Image.open(tmp_path / "large.png").width > 500


def test_a_module_keeps_the_matrix_of_its_last_validation():
    module = SegmentationModule(tiny_model(num_classes=3), None, ["sky", "road", "car"])
    module.log_scores = lambda *_: None
    for predicted in ([1, 1, 2, 0], [0, 1, 1, 0]):
        module.confusion.update(torch.tensor([predicted]), torch.tensor([[0, 1, 2, IGNORE]]))
        module.on_validation_epoch_end()
    assert module.matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
