"""Values of ``auto``: what is chosen from the images and the machine, and the runs that have it."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import deeplab
from deeplab.checkpoints.hub import MIRROR_VARIABLE
from deeplab.config.compose import composed
from deeplab.config.execution import choose_execution
from deeplab.config.implied_overrides import implied_overrides
from deeplab.config.parsing import PLACEHOLDERS
from deeplab.data.split_error import SplitError
from deeplab.training import automatic, describe_choices, train
from deeplab.training.automatic import CROP, MAX_STEPS, MIN_STEPS, RULES
from deeplab.training.compose_config import compose_train
from deeplab.utils import download
from deeplab.utils.errors import UserError
from support.scripts import CPU, SMALL, run, run_folders

RANDOM = "backbone.pretrained=null"


def write_folder(root, sizes, classes=2):
    """Write images of these widths and heights, with masks."""
    for number, (width, height) in enumerate(sizes):
        for folder, values in (("images", 255), ("masks", classes)):
            path = root / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (height, width, 3) if folder == "images" else (height, width)
            array = np.random.default_rng(number).integers(0, values, shape, dtype=np.uint8)
            Image.fromarray(array).save(path)
    return root


def compose(root, *overrides):
    return compose_train(["data=folder", f"data.root={root}", *CPU, RANDOM, *overrides])


def test_every_automatic_key_has_a_rule():
    assert RULES.keys() == PLACEHOLDERS.keys()


@pytest.mark.parametrize("size", [(20, 30), (128, 96), (200, 256), (500, 375), (600, 600)])
def test_crops_hold_an_image_or_are_as_large_as_a_cpu_trains(size, tmp_path):
    config = compose(write_folder(tmp_path, [size] * 6))
    crop, longer = config.data.crop_size, max(size)
    assert crop % 16 == 1
    assert longer <= crop < longer + 32 or crop == CROP["cpu"] < longer
    assert config.data.eval_size % 16 == 1
    assert config.data.eval_size >= min(longer, 513)
    largest = config.data.scales.max
    assert 1 <= largest <= 2
    assert largest in (1, 2) or crop / largest == pytest.approx(longer / 2, rel=0.01)
    side = automatic.usual_side(config)
    assert side is None if largest == 1 else longer - 5 <= side < longer + 32
    assert automatic.usual_side(config.model_copy(update={"automatic": ()})) is None


def test_one_odd_image_does_not_decide(tmp_path):
    config = compose(write_folder(tmp_path, [(128, 96)] * 9 + [(900, 400)]))
    assert config.data.crop_size == 129


@pytest.mark.parametrize(("count", "batch"), [(3, 8), (100, 8), (100, 2), (400, 8)])
def test_steps_follow_the_number_of_images(count, batch, tmp_path):
    root = write_folder(tmp_path, [(16, 16)] * count)
    steps = compose(root, f"stage.batch_size={batch}").stage.max_steps
    wanted = 60 * (count - round(0.2 * count)) / batch  # the others are val
    assert MIN_STEPS <= steps <= MAX_STEPS["cpu"]
    if MIN_STEPS < wanted < MAX_STEPS["cpu"]:
        assert abs(steps - wanted) <= 50
    else:
        assert steps in (MIN_STEPS, MAX_STEPS["cpu"])


def test_a_split_that_does_not_exist_is_named_with_its_key(tmp_path):
    """Also where values are chosen from its images, and from another process."""
    write_folder(tmp_path, [(60, 80)] * 4)
    with pytest.raises(UserError, match=r"^data\.train_split=foo: no such split") as error:
        compose(tmp_path, "data.train_split=foo")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    wrong = SplitError("foo", "it has no images. Add some.")
    assert str(pickle.loads(pickle.dumps(wrong))) == "split 'foo': it has no images. Add some."


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_the_machine_decides_the_size_of_the_training(machine, tmp_path, monkeypatch):
    write_folder(tmp_path, [(60, 80)] * 10)
    for module in (automatic, describe_choices):
        monkeypatch.setattr(module, "machine_kind", lambda config: machine)
    data = deeplab.create_datamodule("folder", root=tmp_path)
    config = compose(tmp_path).model_copy(update={"data": data.settings})
    for typed in (config, config.model_copy(update={"automatic": ()})):
        lines = describe_choices.describe_choices(typed, data)
        assert any("backbone=resnet50_torchvision" in line for line in lines) == (machine == "gpu")
    assert config.stage.batch_size == automatic.BATCH[machine]


def test_a_class_of_few_images_is_named_with_the_images_that_have_it(tmp_path):
    write_folder(tmp_path, [(60, 80), (30, 40)] * 10)
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    data = deeplab.create_datamodule("folder", root=tmp_path)
    for item in (*data.train_set.items[:2], data.val_set.items[0]):
        label = np.array(Image.open(item.mask))
        label[0, 0] = 2
        Image.fromarray(label).save(item.mask)
    config = compose(tmp_path).model_copy(update={"data": data.settings})
    lines = describe_choices.describe_choices(config, data)
    assert lines[0] == "16 images of about 30 to 60 x 40 to 80 pixels, 3 classes"
    assert lines[1] == "rarest class: dog, in 2 of 16 images, 0.0045 % of the pixels"
    assert "dog: in 2 of 16 training images, 1 of 4 validation images" in lines
    assert not any(line.startswith("cat") for line in lines)


LARGER = "backbone=resnet50_torchvision"


@pytest.mark.parametrize(
    ("script", "arguments", "implied"),
    [
        ("train", ["data=folder"], [LARGER]),
        ("tune", ["data=huggingface", "data.path=a/b"], [LARGER]),
        ("train", ["data._target_=my.Data"], ["data=own", LARGER]),
        ("train", ["-m", "data=folder", "seed=0,1"], [LARGER]),
        ("train", ["data=folder", "trainer.accelerator=cpu"], []),
        ("train", ["data=folder", "backbone=xception"], []),
        ("train", ["data=folder", "backbone.pretrained=mobilenetv2.safetensors"], []),
        ("train", ["data=folder", "backbone.pretrained=null"], [LARGER]),
        ("train", ["data=folder", "backbone._target_=my.Backbone"], ["backbone=own"]),
        ("train", ["data=folder", "init_from=runs/a"], []),
        ("train", ["-m", "data=folder", "preset=voc_small", "ablation=table2"], []),
        ("train", ["data=voc"], []),  # the paper's network on any machine
        ("train", [], []),
        ("prepare", ["data=folder"], []),  # has no network
    ],
)
def test_a_gpu_trains_a_larger_network_on_ones_own_images(script, arguments, implied, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for has_gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        expected = implied if has_gpu else [text for text in implied if text != LARGER]
        assert implied_overrides(script, arguments) == expected


def test_choices_for_a_gpu_do_not_initialize_cuda(tmp_path, monkeypatch):
    """Each job of a sweep selects its GPU later."""
    initialized = []
    monkeypatch.setattr(torch.cuda, "_device_count_nvml", lambda: 2)
    monkeypatch.setattr(
        torch._C, "_cuda_getDeviceCount", lambda: initialized.append(True) or 2, raising=False
    )
    root = write_folder(tmp_path, [(60, 80)] * 10)
    data = ["data=folder", f"data.root={root}"]
    assert implied_overrides("train", data) == [LARGER]
    assert compose_train([*data, RANDOM]).stage.batch_size == automatic.BATCH["gpu"]
    assert not initialized


def test_the_larger_network_composes(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with composed("train", ["data=folder", f"data.root={tmp_path}"]) as config:
        assert (config.backbone.family, config.backbone.depth) == ("resnet", 50)


def test_typed_values_win_and_others_follow_them(tmp_path):
    root = write_folder(tmp_path, [(500, 375)] * 4)
    config = compose(root, "data.crop_size=129", "stage.max_steps=10", "data.scales.max=1.5")
    assert (config.data.crop_size, config.stage.max_steps) == (129, 10)
    assert (config.stage.warmup_steps, config.data.scales.max) == (0, 1.5)
    assert config.aspp.atrous_rates[-1] < 129 / 16
    assert "data.crop_size" not in config.automatic


def test_other_data_can_use_them_too():
    config = compose_train(["data=voc", "data.crop_size=257", "aspp.atrous_rates=auto", *CPU])
    assert config.aspp.atrous_rates == (4, 8, 12)
    paper = compose_train(["data=voc", "aspp.atrous_rates=auto", *CPU])
    assert paper.aspp.atrous_rates == (6, 12, 18)


def test_a_classifier_has_no_images_to_choose_from():
    with pytest.raises(UserError, match=r"stage\.max_steps=auto: .*needs a number"):
        compose_train(["data=shape_classes", "stage.max_steps=auto"])


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        ([], "imagenet"),
        (["backbone=resnet50_torchvision"], "imagenet"),
        (["backbone.pretrained=null"], None),
        (["backbone=resnet_tiny", "aspp=tiny", "decoder=tiny"], None),
        (["backbone.width_mult=0.5"], None),
    ],
)
def test_ones_own_images_start_from_published_weights(overrides, source, tmp_path):
    root = write_folder(tmp_path, [(40, 40)] * 4)
    config = compose_train(["data=folder", f"data.root={root}", *CPU, *overrides])
    assert config.backbone.pretrained == source


def test_other_data_starts_from_random_weights_unless_it_says_otherwise():
    assert compose_train(["data=voc", "backbone=xception"]).backbone.pretrained is None


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRY_DELAY", 0.001)
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    root = write_folder(tmp_path / "mine", [(40, 40)] * 4)
    with pytest.raises(UserError) as failed:
        deeplab.train("folder", root=root, overrides=[*CPU, f"runs_dir={tmp_path}/runs"])
    assert not list(tmp_path.glob("runs/*"))
    for part in (
        "mobilenet_v2-b0353104.pth by other means into",
        str(tmp_path / "home"),
        "backbone.pretrained=FILE",
        "backbone.pretrained=null trains from random ones",
    ):
        assert part in str(failed.value)


QUICK = (
    *CPU, RANDOM, "backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "stage.max_steps=2",
    "stage.batch_size=2", "trainer.num_workers=0", "logger=csv",
)  # fmt: skip


def test_the_time_is_that_of_the_remaining_steps_of_each_device(tmp_path, monkeypatch):
    config = compose(write_folder(tmp_path, [(16, 16)] * 10), "stage.batch_size=8")
    execution = choose_execution(config.trainer)
    measured = []

    def measure(config, **_):
        measured.append(config.stage.batch_size)
        if measured[-1] == 8:
            raise torch.OutOfMemoryError
        return 2.0

    monkeypatch.setattr(train, "measure_step", measure)
    assert train._estimate(config, execution, 0) == []  # does not fit
    (line,) = train._estimate(config, replace(execution, devices=2), config.stage.max_steps - 60)
    assert line.startswith("about 2.0 min")
    assert measured == [8, 4]
    test = config.trainer.model_copy(update={"fast_dev_run": 1})
    assert train._estimate(config.model_copy(update={"trainer": test}), execution, 0) == []


def test_the_same_command_finds_its_run(tmp_path):
    root = write_folder(tmp_path / "mine", [(72, 56)] * 5)
    command = ("data=folder", f"data.root={root}", *QUICK)
    done = run("train", *command, cwd=tmp_path)
    chosen = "data.crop_size=81 data.scales.max=2.0 data.eval_size=81 stage.warmup_steps=0"
    assert "Chosen:     4 images of about 72 x 56 pixels, 2 classes\n" in done.stdout
    assert chosen in done.stdout
    (folder,) = run_folders(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["data"]["crop_size"], config["data"]["eval_size"]) == (81, 81)
    assert "data.crop_size" in config["automatic"]
    again = run("train", *command, cwd=tmp_path)
    assert "This run is finished" in again.stdout
    typed = run("train", *command, *chosen.split(), cwd=tmp_path)
    assert "This run is finished" in typed.stdout


def test_where_nothing_is_chosen_nothing_is_said(tmp_path):
    started = run("train", *SMALL, cwd=tmp_path).stdout
    assert "Chosen:" not in started
    assert "Weights:    random weights" in started


def test_a_sweep_and_its_report_find_the_runs(tmp_path):
    root = write_folder(tmp_path / "mine", [(72, 56)] * 5)
    run("train", "-m", "data=folder", f"data.root={root}", *QUICK, "seed=0,1", cwd=tmp_path)
    assert len(run_folders(tmp_path)) == 2
    root.rename(tmp_path / "elsewhere")
    report = run("ablations", "report", cwd=tmp_path)
    row = next(line for line in report.stdout.splitlines() if line.startswith("1: seed=0, 1"))
    assert row.split()[6] == "2", row  # seeds with a result


def test_a_datamodule_needs_no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPLAB_TORCH_MIRROR", "http://127.0.0.1:9")
    root = write_folder(tmp_path, [(72, 56)] * 5)
    data = deeplab.create_datamodule("folder", root=root, batch_size=2)
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["image"].shape == (2, 3, 81, 81)


def test_class_weights_are_chosen_from_the_label_maps(tmp_path):
    """They are recorded like a list that was typed, which is the same run."""
    done = run("train", *SMALL, "loss.class_weights=auto", cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    weights = config["loss"]["class_weights"]
    assert "loss.class_weights" in config["automatic"]
    assert len(weights) == 7
    assert weights[0] == min(weights) < 1 < max(weights)
    assert "loss.class_weights=[" in done.stdout
    assert "1 / sqrt(its share of the pixels)" in done.stdout
    typed = f"loss.class_weights={weights}".replace(" ", "")
    again = run("train", *SMALL, typed, cwd=tmp_path)
    assert "This run is finished" in again.stdout


@pytest.mark.parametrize(("side", "advised"), [(4, True), (30, False), (0, False)])
def test_what_helps_a_rare_class_is_said(tmp_path, side, advised):
    (tmp_path / "classes.txt").write_text("ground\nthing\n")
    for number in range(10):
        label = np.zeros((64, 64), np.uint8)
        label[:side, :side] = 1
        for folder, array in (("images", np.repeat(label[..., None], 3, 2) * 99), ("masks", label)):
            path = tmp_path / folder / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(array).save(path)
    arguments = ["data=folder", f"data.root={tmp_path}", RANDOM, *CPU, "trainer.fast_dev_run=true"]
    small = ["stage.batch_size=2", "trainer.limit_val_batches=1", "logger=csv"]
    small += ["backbone=resnet_tiny", "aspp=tiny", "decoder=tiny"]
    done = run("train", *arguments, *small, f"runs_dir={tmp_path}/runs", cwd=tmp_path)
    assert ("for so rare a class: loss.class_weights=auto" in done.stdout) == advised
    assert ("no training image has it" in done.stdout) == (not side)
    if advised:
        done = run("train", *arguments, *small, "loss.class_weights=auto", cwd=tmp_path)
        assert "for so rare a class" not in done.stdout


def test_a_report_keeps_chosen_and_default_values_apart(tmp_path):
    """The report reads no image: what was chosen is that of the run where it was automatic."""
    table = {
        "title": "Weights", "setting": "drawn scenes", "columns": ["weights"], "preset": "none",
        "train": ["data=shapes"], "reference": 1,
        "rows": [{"cells": ["equal"]}, {"cells": ["auto"], "train": ["loss.class_weights=auto"]}],
    }  # fmt: skip
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump(table))
    sweep = ("-m", "ablation=weights.yaml", *SMALL, "data.num_val=2")
    run("train", *sweep, cwd=tmp_path)
    assert len(run_folders(tmp_path)) == 2
    page = next(tmp_path.glob("runs/ablations/*/report.md")).read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    names = [re.search(r"\]\(\.\./\.\./([\w.-]+)/\)", row)[1] for row in rows]
    assert len(set(names)) == 2
    for name, chosen in zip(names, (False, True), strict=True):
        config = yaml.safe_load((tmp_path / "runs" / name / "config.yaml").read_text())
        assert (config["loss"]["class_weights"] is not None) == chosen
    plan = run("ablations", "plan", "ablation=weights.yaml", *SMALL, "data.num_val=2", cwd=tmp_path)
    assert "2 distinct runs: 2 done, 0 to run" in plan.stdout
