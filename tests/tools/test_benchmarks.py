"""Tests of the benchmarks: functions are timed in turn, and every script runs, with small sizes."""

import gc
import json
import re
import time
from functools import cache, partial
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from deeplab.models.backbones import MobileNetV2
from deeplab.tools.benchmarks import (
    atrous,
    auto_settings,
    growth,
    loading,
    loss,
    machine,
    operations,
    pipeline,
    startup,
    strategies,
    training_step,
)
from deeplab.tools.benchmarks.cli import run_benchmark
from deeplab.tools.benchmarks.learning import Learner, compare_learning
from deeplab.tools.benchmarks.machine import Machine
from deeplab.tools.benchmarks.networks import TrainingStep
from deeplab.tools.benchmarks.timing import compare
from deeplab.utils.errors import UserError
from support.scripts import run


def test_functions_alternate_and_the_ratio_is_that_of_their_times(capsys):
    calls = []

    def work(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    works = {"slow": partial(work, "slow", 0.006), "fast": partial(work, "fast", 0.002)}
    (comparison,) = compare("sleeping", works, repeats=4)
    assert [name for name, before in zip(calls, ["", *calls], strict=False) if name != before] == [
        "slow",
        "fast",
    ] * 4
    assert (comparison.name, comparison.alternative) == ("fast", "slow")
    assert comparison.alternative_seconds >= 0.006
    assert comparison.seconds >= 0.002
    assert comparison.speedup == comparison.alternative_seconds / comparison.seconds
    title, baseline, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["sleeping", "milliseconds", "times", "as", "fast"]
    assert baseline.split()[::2] == ["slow", "1.00"]
    assert line.split()[::2] == ["fast", f"{comparison.speedup:.2f}"]


def test_loss(monkeypatch):
    for name, value in (("BATCH", 2), ("CLASSES", 3), ("SMALL", 9), ("LARGE", 33)):
        monkeypatch.setattr(loss, name, value)
    comparisons = loss.compare_losses(repeats=1)
    assert [c.title for c in comparisons] == ["loss, float32", "loss, bfloat16, channels_last"]


def test_atrous(monkeypatch):
    monkeypatch.setattr(atrous, "SHAPES", {"small": (16, 9, 2)})
    comparisons = atrous.compare_atrous(repeats=1)
    assert [c.title.rsplit(", ")[-1] for c in comparisons] == ["bfloat16", "float32"]


@pytest.mark.processes
def test_pipeline(monkeypatch, capsys):
    pytest.importorskip("albumentations")
    for name, value in (("IMAGES", 4), ("BATCH", 2), ("CROP", 65)):
        monkeypatch.setattr(pipeline, name, value)
    threads = torch.get_num_threads()
    comparisons = pipeline.compare_pipelines(repeats=1)
    assert torch.get_num_threads() == threads
    assert {c.alternative for c in comparisons} == {"Pillow, stock albumentations, Normalize"}
    assert len(comparisons) == 3
    assert "decode the JPEG" in capsys.readouterr().out


def test_strategies(monkeypatch):
    monkeypatch.setattr(strategies, "BACKBONES", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(strategies, "SIZE", (40, 50))
    monkeypatch.setattr(strategies, "PADDED", (65, 65))
    (comparison,) = strategies.compare_strategies(repeats=1)
    assert (comparison.name, comparison.alternative) == ("this project", "plain loop")


def test_settings_of_auto_are_compared_with_all_others(monkeypatch):
    monkeypatch.setattr(auto_settings, "BACKBONES", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(auto_settings, "SHAPES", dict.fromkeys(("cpu", "mps", "cuda"), (2, 33)))
    (comparison,) = auto_settings.compare_settings(repeats=1)
    count = int(re.search(r"best other of (\d+)", comparison.alternative)[1])
    if not torch.cuda.is_available():
        assert count == 3 + (torch.get_num_threads() > 1)
    assert comparison.name.split("(")[1] not in comparison.alternative


def test_startup(monkeypatch, capsys):
    """Each process starts once; what ``deeplab`` prints is tested with the scripts."""
    start = cache(startup._start)
    monkeypatch.setattr(startup, "_start", lambda *line: "-m" in line or start(*line))
    comparisons = startup.compare_startup(repeats=1)
    assert [c.title for c in comparisons] == ["--help"] * 3 + ["--cfg job"]
    assert {c.alternative for c in comparisons} == {"bare Hydra"}
    assert re.findall(r"^deeplab (\w+)", capsys.readouterr().out, re.MULTILINE) == [
        "train", "evaluate", "cost", "train",
    ]  # fmt: skip


def test_operations_take_the_whole_time(monkeypatch, capsys):
    monkeypatch.setattr(operations, "NETWORKS", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(operations, "SHAPES", dict.fromkeys(("cpu", "mps", "cuda"), (2, 33)))
    monkeypatch.setattr(operations, "NUM_OPERATIONS", 1000)
    operations.print_operations(repeats=2)
    shares = re.findall(r"(?m) (\d+\.\d)$", capsys.readouterr().out)
    assert len(shares) > 20
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.05 * len(shares))


def test_loading(monkeypatch, capsys):
    for name, value in (("IMAGES", 4), ("BATCH", 2), ("CROP", 33)):
        monkeypatch.setattr(pipeline, name, value)
    monkeypatch.setattr(loading, "NETWORKS", {"MobileNetV2": MobileNetV2})
    monkeypatch.setattr(loading, "NUM_BATCHES", 2)
    (comparison,) = loading.compare_loading(repeats=1)
    printed = capsys.readouterr().out
    for seconds in (comparison.seconds, comparison.alternative_seconds):
        assert f"{1 / seconds:.1f}" in printed


@pytest.mark.extras
def test_training_steps(monkeypatch):
    monkeypatch.setattr(training_step, "SHAPES", dict.fromkeys(("cpu", "mps", "cuda"), (2, 65)))
    others = []

    def count_networks(build):
        others.append(sum(type(value) is TrainingStep for value in gc.get_objects()))

    monkeypatch.setattr(training_step, "_peak_memory", count_networks)
    comparisons = training_step.compare_training(repeats=1)
    assert set(others) == {0}
    assert [c.title.split(", ")[1] for c in comparisons] == [*training_step.PAIRS]
    assert all(c.alternative == "smp" for c in comparisons)


def test_results_are_kept_part_by_part(monkeypatch, tmp_path, capsys):
    """A benchmark that is run again measures what is missing; other conditions are refused."""
    for name, value in (("BATCH", 2), ("CLASSES", 3), ("SMALL", 9), ("LARGE", 33)):
        monkeypatch.setattr(loss, name, value)
    monkeypatch.setattr(atrous, "SHAPES", {"small": (16, 9, 2)})
    folder = tmp_path / "results"
    arguments = ["--repeats", "1", "--output-dir", str(folder)]
    run_benchmark(["loss", *arguments])
    first = json.loads((folder / "results.json").read_text())
    assert [*first["parts"]] == ["loss"]
    monkeypatch.setattr(machine, "_seconds", lambda work: 1.0)
    run_benchmark(["atrous", *arguments])
    run_benchmark(["loss", *arguments])
    assert "loss: measured before" in capsys.readouterr().out
    record = json.loads((folder / "results.json").read_text())
    assert [*record["parts"]] == ["loss", "atrous"]
    assert record["parts"]["loss"] == first["parts"]["loss"]
    assert record["machine"] == first["machine"]
    head, empty, *table = (folder / "results.md").read_text().splitlines()
    assert (head, empty) == (str(Machine(**record["machine"])), "")
    assert [line.split(" | ")[0] for line in table[2:]] == ["| loss"] * 2 + ["| atrous"] * 2
    record["machine"]["torch"] = "1.0"
    (folder / "results.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="another machine, version or commit"):
        run_benchmark(["loss", *arguments])


@pytest.mark.extras
def test_learning(tmp_path, capsys, monkeypatch):
    """Both networks learn drawn scenes from the same weights, which smp's names fit."""
    import segmentation_models_pytorch as smp

    encoder = smp.encoders.get_encoder("mobilenet_v2", weights=None)
    save_file(encoder.state_dict(), tmp_path / "weights.safetensors")
    threads, train = set(), Learner.train

    def note_threads(learner, batch):
        threads.add(torch.get_num_threads())
        train(learner, batch)

    monkeypatch.setattr(Learner, "train", note_threads)
    compare_learning(
        [
            *("data=shapes", "data.num_train=8", "data.num_val=4", "data.crop_size=65"),
            *("stage.max_steps=3", "stage.warmup_steps=1", "stage.batch_size=2"),
            *(f"backbone.pretrained={tmp_path}/weights.safetensors", "seed=3"),
            *("trainer.num_threads=3", "trainer.compile=true"),
        ],
        repeats=2,
    )
    printed = capsys.readouterr().out
    for seed in (3, 4):
        title = f"Seed {seed}: 8 training and 4 validation images; 3 steps of 2 crops of 65 pixels"
        assert title in printed
    assert "not compiled" in printed
    assert threads == {3}
    scores = re.findall(r"(this project|smp): (\d+\.\d\d) mIoU after (\d) steps", printed)
    assert [(name, step) for name, _, step in scores] == 2 * [
        (name, step) for step in "123" for name in ("this project", "smp")
    ]
    rows = re.findall(
        r"(?m)^(this project|smp) +(\d\.\d\d) +(\d+\.\d{3})((?: +\d+\.\d\d ± \d+\.\d\d){3})$",
        printed,
    )
    assert [row[0] for row in rows] == ["this project", "smp"]
    ratio = float(re.search(r"this project: (\S+) times as fast as smp", printed)[1])
    assert ratio == pytest.approx(float(rows[1][2]) / float(rows[0][2]), rel=0.02)
    with pytest.raises(UserError, match=r"trainer\.precision=16-mixed: "):
        compare_learning(["data=shapes", "trainer.precision=16-mixed"], repeats=1)


@pytest.mark.skipif(find_spec("segmentation_models_pytorch") is not None, reason="smp is installed")
def test_learning_names_the_package_that_it_compares_with():
    with pytest.raises(UserError, match=r"segmentation_models_pytorch is not installed. Run pip"):
        compare_learning([], repeats=1)


def test_only_learning_takes_settings(tmp_path):
    done = run("benchmark", "loss", "data=voc", cwd=tmp_path, ok=False)
    assert "only benchmark learning has settings" in done.stderr


def test_growth_is_what_each_further_part_adds(monkeypatch, capsys):
    usages = {2: (5.0, 10**9), 1002: (7.0, 10**9 + 4 * 10**6)}
    calls = []

    def measure(folder, size):
        calls.append(folder.name)
        slow = "-1" in folder.name
        return {"deeplab train": growth.Usage(usages[size][0] + slow, usages[size][1])}

    case = growth.Case("Images", "image", (2, 1002), measure)
    missing = case._replace(title="Other", package="no_such_package")
    monkeypatch.setattr(growth, "CASES", (case, missing))
    assert growth.print_growth(repeats=2) is None
    assert calls == ["2-0", "2-1", "1002-0", "1002-1"]
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if "1,002" in line)
    assert line.split()[2:] == ["1,002", "7.0", "1.00", "2e+03", "4,000"]
    assert "Other: left out, because no_such_package is not installed" in printed


@pytest.mark.processes
@pytest.mark.parametrize(("index", "size"), [(1, 70), (3, 70), (4, 70), (6, 40)])
def test_commands_whose_growth_is_measured(tmp_path, index, size):
    usages = growth.CASES[index].measure(tmp_path / "work", size)
    assert all(name.startswith("deeplab ") for name in usages)
    assert all(0.5 < usage.seconds < 600 for usage in usages.values())
    assert all(5e7 < usage.peak_bytes < 2e10 for usage in usages.values())


def test_the_memory_of_a_command_is_not_that_of_its_parent(tmp_path):
    taken = torch.ones(250_000_000)  # 1 GB
    assert growth.run_measured(tmp_path, "runs", "--help").peak_bytes < 5e8 < taken.nbytes


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cost nothing=1: it has failed \(Error: nothing: no such"):
        growth.run_measured(tmp_path, "cost", "nothing=1")
