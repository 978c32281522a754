"""Tests of reports on synthetic runs, so that every number can be computed independently."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from statistics import mean, stdev
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deeplab.ablations.distinct_jobs import collect_jobs
from deeplab.ablations.report.latex import escape_latex
from deeplab.ablations.report.print_report import print_sheets
from deeplab.ablations.report.provenance import describe_initial_weights
from deeplab.ablations.report.row_results import TableResult
from deeplab.ablations.report.statistics import (
    SampledScores,
    bootstrap_difference,
    image_draws,
    mean_iou,
    seed_draws,
)
from deeplab.ablations.report.write_report import write_report
from deeplab.ablations.run_index import known_runs, make_run_finder
from deeplab.ablations.run_tables import _label_runs, compose_offline
from deeplab.ablations.sweep import JobError, run_jobs
from deeplab.ablations.sweep_request import SweepRequest, parse_request
from deeplab.ablations.tables import Paper, Preset, Row, Table, read_preset, read_table
from deeplab.checkpoints.initialization import init_record
from deeplab.config.own_nodes import own_nodes
from deeplab.config.paths import project_choices
from deeplab.data.layouts.base import check_data, data_fingerprint, open_layout
from deeplab.evaluation.evaluation_folder import (
    EvaluationFolder,
    evaluation_name,
    write_images,
    write_ranks,
)
from deeplab.inference.strategy import parse_strategy
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder, lock_run_folder, write_config
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.training.compose_config import compose_seeds, compose_train
from deeplab.utils.constants import PAGE_FILE
from deeplab.utils.files import file_hash, write_json, write_text
from deeplab.utils.own_code.version import _spec_version
from support.browser import (
    Page,
    brightness,
    check_logs,
    needs_browser,
    open_browser,
    open_page,
)
from support.pairs import write_pairs
from support.results import make_protocol
from support.scripts import check_imports, run

IMAGES = 40
STEM = "custom"


def literal_miou(matrix):
    """Compute the mIoU class by class; the last class is absent and left out."""
    ious = []
    for k in range(len(matrix)):
        union = matrix[k, :].sum() + matrix[:, k].sum() - matrix[k, k]
        if union:
            ious.append(matrix[k, k] / union)
    return sum(ious) / len(ious)


def counts(seed, wrong=0.3, classes=4):
    """Return confusion matrices of images with the given fraction of wrong pixels."""
    rng = np.random.default_rng(seed)
    matrices = np.zeros((IMAGES, classes, classes), np.int64)
    for matrix in matrices:
        for truth in range(classes - 1):
            pixels = int(rng.integers(20, 200))
            bad = int(rng.binomial(pixels, wrong))
            matrix[truth, truth], matrix[truth, (truth + 1) % (classes - 1)] = pixels - bad, bad
    return matrices


def percent(confusion):
    return 100 * literal_miou(confusion.sum(0))


def write_evaluation(
    folder, config, strategy, confusion, *, ids=None, sha="abc", split=None, **changes
):
    """Write an evaluation of a run's weights.

    ``changes`` replace values of the result, ``stamp`` those of its protocol.
    """
    strategy = parse_strategy(strategy, output_stride=config.output_stride)
    split = split or config.data.val_split
    evaluation = EvaluationFolder(
        folder.evaluations / evaluation_name(split, folder.weights, strategy.name)
    )
    ids = ids or [f"i{i}" for i in range(len(confusion))]
    write_images(evaluation, ids, ImageConfusions.stack(confusion, 4))
    conditions = {
        "split": split, "images": len(confusion), "content": "c0ffee", "classes": tuple("abcd"),
        "padded_to": (513, 513), "strategy": strategy,
    } | changes.pop("stamp", {})  # fmt: skip
    score = literal_miou(confusion.sum(0))
    bands = [{"width": w, "mIoU": 100 * score * part} for w, part in ((5.0, 0.9), (1.0, 0.5))]
    adds = int(changes.pop("multiply_adds", 3e9))
    result = {
        "run": folder.path.name, "weights_sha256": sha, "protocol": make_protocol(**conditions),
        "scored": True, "scores": {"mIoU": 100 * score},
        "boundary": {"images_with_borders": 1, "bands": bands},
        "cost": {
            "parameters": 41_055_413, "multiply_adds": {"conv": adds, "paper": adds},
            "input_size": [513, 513],
            "measured": {"latency": 0.125, "peak_memory_bytes": 250_000_000},
        },
        "machine": {"accelerator": "cpu", "precision": "32-true"},
        "started": "2026-01-02T03:04:05+00:00", "commit": "0123456789abcdef", "python": "3.11.7",
        "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
    }  # fmt: skip
    Result(**(result | changes)).write(evaluation.result)
    return evaluation


def create_run(
    root, config, name, *, finished=True, init_hash=None, data_fingerprint="", seconds=4500.0,
    **result,
):  # fmt: skip
    """Create the folder of a run, finished or not."""
    folder = RunFolder(root / "runs" / name)
    write_config(folder.config, config)
    write_json(
        folder.record,
        {
            **VERSION_STAMP,
            "wandb_id": "x",
            "sessions": [{}],
            "init_weights_sha256": init_hash,
            "data_fingerprint": data_fingerprint,
        },
    )
    if finished:
        conditions = make_protocol(
            split="val", images=9, content="c", classes=("a", "b"), padded_to=(129, 129),
            strategy=parse_strategy("os16", output_stride=16),
        )  # fmt: skip
        fields = {"run": name, "protocol": conditions, "weights_sha256": "abc", "seconds": seconds}
        Result(**(fields | result)).write(folder.result)
    else:
        write_text(folder.metrics_csv, "step,loss\n10,1.5\n30,1.25\n")
    return folder


SMALL = ("data=shapes", "stage.max_steps=400", "logger=csv")
ROWS = (
    Row(cells=("8 & 16_%", True), paper=Paper(mIoU=70.0, multiply_adds=3.0)),
    Row(
        cells=("[a|b]", False),
        train=("decoder.low_level_channels=16",),
        paper=Paper(mIoU=71.5, multiply_adds=3.1),
    ),
    Row(cells=("<c>", True), train=("decoder.low_level_channels=24",)),
)


def make_table(rows=ROWS, **keys):
    """Return a table that is not one of the paper's."""
    return Table(**{
        "title": "Rates & <more>", "setting": "a_b", "columns": ("what", "on"), "train": SMALL,
        "strategy": "os16", "reference": 1, "rows": rows,
    } | keys)  # fmt: skip


class Report:
    """Report on tables, in a folder next to the runs."""

    def __init__(
        self, root, tables, *, seeds=(0,), preset=None, external_weights=None, overrides=()
    ):
        self.root, self.folder = root, root / "out"
        self.request = SweepRequest(
            tables if isinstance(tables, dict) else {STEM: tables}, "x",
            preset or Preset(title="test"), overrides, seeds=seeds,
            external_weights=external_weights or {},
        )  # fmt: skip
        self.jobs = collect_jobs(self.request, compose_seeds)

    def job_of(self, row, seed=0, table=STEM):
        """Return the job of a row."""
        return next(
            job
            for job in self.jobs
            if job.config.seed == seed
            and any((e.table, e.row) == (table, row) for e in job.row_evaluations)
        )

    def run(self, row, confusion=None, seed=0, table=STEM, **keys):
        """Write the run of a row and the evaluations that rows need."""
        job = self.job_of(row, seed, table)
        init_hash = init_record(job.config, download=False)[0]
        folder = create_run(self.root, job.config, f"run-{table}-{row}-{seed}", init_hash=init_hash)
        for row_evaluation in job.row_evaluations if confusion is not None else ():
            write_evaluation(folder, job.config, row_evaluation.strategy, confusion, **keys)
        return folder

    def write(self):
        runs = known_runs(self.root / "runs")
        finders = make_run_finder(runs), make_run_finder(runs, any_version=True)
        write_report(self.request, self.jobs, *finders, self.folder)
        self.page = (self.folder / PAGE_FILE).read_text()
        self.text = unescape(self.page)
        self.markdown = (self.folder / "report.md").read_text()
        return self

    def rows(self, name=STEM):
        with (self.folder / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


# statistics


@pytest.mark.parametrize("seed", range(3))
def test_mean_iou_equals_literal_loop(seed):
    total = counts(seed).sum(0)
    correct = np.diag(total).astype(float)
    union = total.sum(0) + total.sum(1) - correct
    assert mean_iou(correct, union) == pytest.approx(literal_miou(total))
    assert math.isnan(mean_iou(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("paired", [False, True])
def test_bootstrap_equals_literal_loop(tmp_path, paired):
    """Draw the same images for both rows, and the same seeds only if the rows are paired."""
    confusions = [counts(1), counts(2)], [counts(3, wrong=0.32), counts(4, wrong=0.32)]
    draws = 60
    weights, seeds = image_draws(IMAGES, draws), [seed_draws(2, draws, group) for group in (0, 1)]
    assert set(weights.sum(1)) == {IMAGES}
    scores = np.zeros((2, 2, draws))
    for a, s, b in np.ndindex(scores.shape):
        drawn = sum(int(weights[b, i]) * confusions[a][s][i] for i in range(IMAGES))
        scores[a, s, b] = literal_miou(drawn)
    differences = []
    for b in range(draws):
        chosen = [seeds[0 if paired else group][:, b] for group in (0, 1)]
        means = [mean(scores[group, s, b] for s in chosen[group]) for group in (0, 1)]
        differences.append(means[0] - means[1])
    whole = [np.array([literal_miou(c.sum(0)) for c in group]) for group in confusions]
    interval = bootstrap_difference(
        *(SampledScores(w, s) for w, s in zip(whole, scores, strict=True)), paired=paired
    )
    assert interval[1:] == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))
    assert interval.measured == pytest.approx(whole[0].mean() - whole[1].mean())


def test_report_interval_matches_counts(tmp_path):
    """The order of the images in a file does not matter."""
    report = Report(tmp_path, make_table(), seeds=(0, 1))
    confusions = {row: [counts(10 * row + seed) for seed in (0, 1)] for row in (1, 2)}
    ids = [f"i{i:02}" for i in range(IMAGES)]
    order = np.random.default_rng(0).permutation(IMAGES)
    for seed in (0, 1):
        report.run(1, confusions[1][seed], seed, ids=ids)
        report.run(2, confusions[2][seed][order], seed, ids=[ids[i] for i in order])
    row = report.write().rows()[1]
    weights = image_draws(IMAGES, 1000).astype(int)
    drawn = np.zeros((2, 2, 1000))
    for group, seed in np.ndindex(2, 2):
        for b, weight in enumerate(weights):
            drawn[group, seed, b] = literal_miou(
                np.tensordot(weight, confusions[group + 1][seed], 1)
            )
    means = [
        np.take_along_axis(drawn[group], seed_draws(2, 1000, 1 - group), 0).mean(0)
        for group in (0, 1)
    ]
    low, high = 100 * np.quantile(means[1] - means[0], [0.025, 0.975])
    assert float(row["mIoU vs. row 1, low"]) == pytest.approx(low)
    assert float(row["mIoU vs. row 1, high"]) == pytest.approx(high)
    assert "fewer than 5 seeds" in report.page


# figures


def test_row_values(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1, 2))
    confusions = {(row, seed): counts(10 * row + seed) for row in (1, 2) for seed in range(3)}
    for (row, seed), confusion in confusions.items():
        report.run(row, confusion, seed)
    rows = report.write().rows()
    for number, printed in ((1, 70.0), (2, 71.5)):
        seeds = [percent(confusions[number, seed]) for seed in range(3)]
        row = rows[number - 1]
        assert float(row["mIoU here"]) == pytest.approx(mean(seeds))
        assert float(row["mIoU here, deviation"]) == pytest.approx(stdev(seeds))
        assert float(row["mIoU minus paper"]) == pytest.approx(mean(seeds) - printed)
        assert (row["seeds"], row["one image, ms"]) == ("3", "125.0")
        assert f"{mean(seeds):.2f} ± {stdev(seeds):.2f}" in report.page
    assert float(rows[0]["training time, s"]) == 4500
    assert "1 h 15 min" in report.page
    assert "41.06" in report.page
    assert rows[2]["mIoU here"] == ""
    assert rows[2]["remark"] == "missing"


def test_multiply_adds_that_differ_from_paper_are_marked(tmp_path):
    report = Report(tmp_path, make_table())
    report.run(1, counts(1), multiply_adds=3.002e9)  # of 3.0: 0.07 %
    report.run(2, counts(2), multiply_adds=3.106e9)  # of 3.1: 0.19 %
    report.write()
    assert "3.00<" in report.page
    assert "3.11 ≠<" in report.page
    assert "more than 0.1 % from the paper's" in report.text


def test_formula_in_cell_stays_text(tmp_path):
    """The legend of a figure shows the text literally."""
    report = Report(tmp_path, make_table((Row(cells=(r"$\frac$ or $5", True)),)))
    report.run(1, counts(1))
    assert report.write().rows()[0]["what"] == r"$\frac$ or $5"
    assert (report.folder / "custom-boundary.png").is_file()


def test_decoder_gain_in_narrowest_band(tmp_path):
    report = Report(tmp_path, {"figure5": read_table("figure5")}, preset=read_preset("quick"))
    without_decoder, with_decoder = counts(5), counts(5, wrong=0.2)
    for row, confusion in enumerate((without_decoder, with_decoder) * 2, 1):
        report.run(row, confusion, table="figure5", multiply_adds=row * 1e9)
    rows = report.write().rows("figure5")
    gain = (percent(with_decoder) - percent(without_decoder)) * 0.5
    assert [float(row["band gain here"] or "nan") for row in rows] == pytest.approx(
        [math.nan, gain, math.nan, gain], nan_ok=True
    )
    assert [row["band gain paper"] for row in rows] == ["", "4.8", "", "5.4"]
    assert report.page.index("figure5-boundary.png") < report.page.index("figure5-cost.png")
    assert "In the paper: VOC 2012 val" in report.page
    assert report.page.count("<span>row 1: +") == report.page.count("<span>row 3: +") == 1


def test_differences_of_each_class_equal_a_literal_computation(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1))
    confusions = {(row, seed): counts(10 * row + seed) for row in (1, 2) for seed in (0, 1)}
    for (row, seed), confusion in confusions.items():
        report.run(row, confusion, seed, ids=[f"i{i:02}" for i in range(IMAGES)])
    report.write()
    assert (report.folder / "custom-classes.png").is_file()
    assert '<a href="custom-classes.csv">CSV</a>' in report.page
    with (report.folder / "custom-classes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["class"]) for line in lines] == [
        (r, c) for r in "12" for c in "abcd"
    ]

    def iou(matrix, k):
        union = matrix[k, :].sum() + matrix[:, k].sum() - matrix[k, k]
        return 100 * matrix[k, k] / union if union else math.nan

    weights = image_draws(IMAGES, 1000).astype(int)
    for k in range(3):
        values, drawn = {}, []
        for row in (1, 2):
            values[row] = mean(iou(confusions[row, seed].sum(0), k) for seed in (0, 1))
            assert float(lines[4 * (row - 1) + k]["IoU"]) == pytest.approx(values[row])
            runs = [
                [iou(np.tensordot(weight, confusions[row, seed], 1), k) for weight in weights]
                for seed in (0, 1)
            ]
            drawn.append(np.take_along_axis(np.array(runs), seed_draws(2, 1000, 2 - row), 0))
        line = lines[4 + k]
        low, high = np.quantile(drawn[1].mean(0) - drawn[0].mean(0), [0.025, 0.975])
        measured = [float(line[key]) for key in ("difference", "low", "high")]
        assert measured == pytest.approx([values[2] - values[1], low, high])
    absent = lines[3], lines[7]  # in no image
    assert all(line[key] == "" for line in absent for key in ("IoU", "difference", "low", "high"))


# significance


def cell_classes(report, text):
    """Return the CSS classes of the cells that begin with a text."""
    return re.findall(
        rf'<td class="([^"]*)"[^>]*><span>(?:<strong>)?{re.escape(text)}', report.page
    )


def test_differences_within_noise_are_gray_and_not_ranked(tmp_path):
    report = Report(tmp_path, make_table())
    for row in (1, 2, 3):
        report.run(row, counts(row))  # of the same quality
    rows = report.write().rows()
    assert {row["mIoU vs. row 1, within noise"] for row in rows[1:]} == {"True"}
    assert all("faint" in classes for classes in cell_classes(report, "within noise"))
    assert len(cell_classes(report, "within noise")) == 2
    assert "<strong>" not in report.page
    assert "**" not in report.markdown.split("| --: |")[1]
    assert "their intervals do not include the noise between training runs" in report.page


def test_significant_differences_have_intervals(tmp_path):
    report = Report(tmp_path, make_table())
    for row, wrong in ((1, 0.3), (2, 0.2), (3, 0.4)):
        report.run(row, counts(row, wrong))
    rows = report.write().rows()
    low, high = (float(rows[1][f"mIoU vs. row 1, {end}"]) for end in ("low", "high"))
    assert 0 < low < percent(counts(2, 0.2)) - percent(counts(1)) < high
    assert f"({low:+.2f} to {high:+.2f})" in report.page
    assert rows[2]["mIoU vs. row 1, within noise"] == "False"
    assert rows[2]["mIoU vs. row 1, high"].startswith("-")
    assert "<strong>" not in report.page  # another run could have another score


def test_best_row_with_several_seeds_is_bold(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1))
    for row, wrong in ((1, 0.3), (2, 0.2), (3, 0.4)):
        for seed in (0, 1):
            report.run(row, counts(10 * row + seed, wrong), seed)
    report.write()
    values = [percent(counts(20 + seed, 0.2)) for seed in (0, 1)]
    best = f"{mean(values):.2f} ± {stdev(values):.2f}"
    assert re.findall(r"<strong>(.*?)</strong>", report.page) == [best]


def test_two_evaluations_of_same_run_are_paired(tmp_path):
    rows = (Row(cells=("a", True)), Row(cells=("b", True), strategy="os8"))
    report = Report(tmp_path, make_table(rows), seeds=(0, 1))
    for seed in (0, 1):
        folder = report.run(1, None, seed)
        quality = 0.2 + 0.2 * seed  # far apart
        for strategy, more in (("os16", 0.0), ("os8", 0.05)):
            confusion = counts(seed, quality + more)
            write_evaluation(folder, report.job_of(1, seed).config, strategy, confusion)
    row = report.write().rows()[1]
    assert row["mIoU vs. row 1, within noise"] == "False"
    assert "rows with the same R number are evaluations of the same run" in report.page


def test_different_images_are_not_comparable(tmp_path):
    report = Report(tmp_path, make_table())
    report.run(1, counts(1))
    report.run(2, counts(2), ids=[f"j{i}" for i in range(IMAGES)])
    row = report.write().rows()[1]
    assert not any(key.startswith("mIoU vs. row 1, low") and row[key] for key in row)
    assert "not comparable" in report.page
    assert "not the same images: 80 are in one only (i0, i1, i10, and 77 more)" in report.page


# conditions


def test_different_conditions_have_separate_columns(tmp_path):
    report = Report(tmp_path, make_table())
    report.run(1, counts(1))
    report.run(2, counts(2), stamp={"content": "other"})
    report.run(3, counts(3))
    rows = report.write().rows()
    assert "mIoU here" not in rows[0]
    filled = [(bool(r["mIoU under A here"]), bool(r["mIoU under B here"])) for r in rows]
    assert filled == [(True, False), (False, True), (True, False)]
    assert rows[2]["mIoU under A vs. row 1, low"]
    for text in (report.page, report.markdown, (report.folder / "custom.tex").read_text()):
        assert "content of the images and masks: c0ffee against other" in text
    assert "Row 2 under B: not comparable, row 1 was measured under other" in report.page
    assert {p.name for p in report.folder.glob("*.png")} == {
        "custom-boundary-A.png",
        "custom-boundary-B.png",
        "custom-classes-A.png",
    }
    shutil.rmtree(tmp_path / "runs/run-custom-2-0")
    report.write()
    assert {p.name for p in report.folder.glob("*.png")} == {
        "custom-boundary.png",
        "custom-classes.png",
    }
    assert {p.name for p in report.folder.glob("*.csv")} == {"custom.csv", "custom-classes.csv"}


def test_any_number_of_conditions_has_letters():
    result = SimpleNamespace(conditions=[[]] * 60)
    letters = [TableResult.letter(result, index) for index in range(60)]
    assert letters[0] == "A"
    assert letters[25:28] == ["Z", "A1", "B1"]
    assert len({*letters}) == 60


def test_seeds_under_different_conditions_are_not_averaged(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1, 2))
    for seed in (0, 1):
        report.run(1, counts(seed), seed)
    report.run(1, counts(2), 2, stamp={"precision": "bf16-mixed"})
    for path in tmp_path.glob("runs/*/evaluations/*/result.json"):
        result = json.loads(path.read_text())
        accuracy = 90.0 if result["protocol"]["precision"] == "32-true" else 50.0
        path.write_text(json.dumps(result | {"pixel_accuracy": accuracy}))
    row = report.write().rows()[0]
    assert float(row["pixel accuracy under A"]) == 90
    assert float(row["pixel accuracy under B"]) == 50
    assert "pixel accuracy" not in (report.folder / "custom.tex").read_text()
    assert float(row["mIoU under A here"]) == pytest.approx(
        mean(percent(counts(seed)) for seed in (0, 1))
    )
    assert float(row["mIoU under B here"]) == pytest.approx(percent(counts(2)))
    assert (row["seeds under A"], row["seeds under B"]) == ("2", "1")
    assert "precision: 32-true against bf16-mixed" in report.page


# missing results


def test_rows_without_runs(tmp_path):
    names = ("table4", "table5", "table6")
    report = Report(tmp_path, {n: read_table(n) for n in names}, preset=read_preset("paper"))
    report.write()
    four, five, six = (report.rows(name) for name in names)
    assert [row["top-1 error paper"] for row in four] == ["22.4", "20.19"]
    assert [row["top-5 error paper"] for row in four] == ["6.02", "5.17"]
    assert {row["remark"] for row in four} == {"missing"}
    assert {row["remark"] for row in five[:20]} == {"missing"}
    assert all("pretrained on JFT-300M" in row["remark"] for row in five[20:])
    assert all(row["remark"].endswith(": external_weights.jft=FILE") for row in five[20:])
    assert [row["remark"] for row in six[:11]] == ["cited"] * 11
    assert five[0]["multiply-adds by the paper's rule, 10⁹ paper"] == "68.0"
    assert "No run of these tables has results yet" in report.page
    assert "started from random weights" not in report.page
    assert "from ImageNet weights (hf://timm/xception65.tf_in1k/model.safetensors)" in report.page


def write_classification(folder, ranks):
    """Write the evaluation of a classifier, given the ranks of its images' labels."""
    evaluation = EvaluationFolder(
        folder.evaluations / evaluation_name("val", folder.weights, "single-scale")
    )
    write_ranks(evaluation, [f"i{i:03}" for i in range(len(ranks))], ranks)
    stamp = Protocol(
        split="val", images=len(ranks), content="c0ffee", classes=tuple("abcdefgh"),
        crop="central 87.5 % at 65 x 65", precision="32-true",
        strategy={"name": "single-scale", "label": "one crop"},
    )  # fmt: skip
    errors = {f"top{k}_error": 100 * float(np.mean(ranks >= k)) for k in (1, 5)}
    fields = {"run": "x", "weights_sha256": "abc", "protocol": stamp, "scores": errors}
    Result(**fields).write(evaluation.result)


def test_classifier_errors(tmp_path):
    """Lower is better; the intervals equal a literal bootstrap over images and seeds."""
    report = Report(
        tmp_path, {"table4": read_table("table4")}, seeds=(0, 1), preset=read_preset("quick")
    )
    rng = np.random.default_rng(0)
    all_ranks = {
        (row, seed): np.where(rng.random(400) < right, 0, rng.integers(1, 8, 400))
        for row, right in ((1, 0.3), (2, 0.7))
        for seed in (0, 1)
    }
    for (row, seed), ranks in all_ranks.items():
        write_classification(report.run(row, seed=seed, table="table4"), ranks)
    rows = report.write().rows("table4")
    weights = image_draws(400, 1000)
    for k in (1, 5):
        means = {row: 100 * mean(np.mean(all_ranks[row, s] >= k) for s in (0, 1)) for row in (1, 2)}
        drawn = []
        for group, row in enumerate((2, 1)):
            errors = np.stack([weights @ (all_ranks[row, s] >= k) / 400 for s in (0, 1)])
            drawn.append(np.take_along_axis(errors, seed_draws(2, 1000, group), 0).mean(0))
        low, high = 100 * np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
        name = f"top-{k} error"
        for row, values in zip((1, 2), rows, strict=True):
            assert float(values[f"{name} here"]) == pytest.approx(means[row])
        assert float(rows[1][f"{name} vs. row 1"]) == pytest.approx(means[2] - means[1])
        assert float(rows[1][f"{name} vs. row 1, low"]) == pytest.approx(low)
        assert float(rows[1][f"{name} vs. row 1, high"]) == pytest.approx(high)
        assert f"**{means[2]:.2f} ±" in report.markdown  # the lower error is the better
        assert f"**{means[1]:.2f} ±" not in report.markdown
    assert "Bold: the lowest error" in report.text
    assert "random weights" not in report.page  # like the paper's


def test_state_of_unfinished_runs(tmp_path):
    report = Report(tmp_path, make_table())
    states = ((1, "failed"), (2, "interrupted"), (3, "running"))
    folders = {
        s: create_run(tmp_path, report.job_of(r).config, s, finished=False) for r, s in states
    }
    write_text(folders["failed"].failure, "Traceback ...\n  File\nRuntimeError: <no> memory\n\n")
    with lock_run_folder(folders["running"]):
        rows = report.write().rows()
    assert [row["remark"] for row in rows] == [
        "failed after step 30 of 400: RuntimeError: <no> memory",
        "interrupted after step 30 of 400",
        "running at step 30 of 400",
    ]
    assert "RuntimeError: &lt;no&gt; memory" in report.page
    assert "mIoU here" not in rows[0]


def test_run_that_was_set_aside_is_ignored(tmp_path):
    report = Report(tmp_path, make_table())
    old = report.run(1, counts(1)).set_aside()
    assert report.write().rows()[0]["remark"] == "missing"
    assert old.is_dir()


def test_truncated_metrics_file(tmp_path):
    """A process that is killed may leave half a line."""
    report = Report(tmp_path, make_table())
    folder = create_run(tmp_path, report.job_of(1).config, "cut", finished=False)
    write_text(folder.metrics_csv, "step,loss\n10,1.5\n30,1.25\n,")
    assert report.write().rows()[0]["remark"] == "interrupted after step 30 of 400"


@pytest.mark.parametrize("in_other_process", [True, False])
def test_run_in_progress_in_other_sweep(tmp_path, capsys, in_other_process):
    """The run is trained and has no result yet."""
    job = Report(tmp_path, make_table()).job_of(1)
    create_run(tmp_path, job.config, "one")
    status = run_jobs(
        [job],
        runs=str(tmp_path / "runs"),
        group="",
        check=lambda overrides: None,
        launch=lambda jobs: [JobError("busy", in_other_process=in_other_process)],
    )
    assert status == (0 if in_other_process else 1)
    assert (
        "In progress in another process" if in_other_process else "busy"
    ) in capsys.readouterr().out


class Sweep:
    """Sweep whose jobs run into another process."""

    def __init__(self, root, jobs):
        self.root, self.jobs = root, jobs
        self.launched = []

    def __call__(self, *problems):
        """Launch jobs that have these problems in turn, and then none."""
        remaining = iter(problems)

        def launch(jobs):
            self.launched += jobs
            return [next(remaining, None) for _ in jobs]

        return run_jobs(
            self.jobs, runs=str(self.root / "runs"), group="", check=lambda _: None,
            launch=launch,
        )  # fmt: skip


def test_run_trained_by_other_sweep_is_evaluated(tmp_path):
    """The other sweep may need other evaluations, so this one launches the job again."""
    report = Report(tmp_path, make_table(ROWS[:1]))
    report.run(1)
    sweep = Sweep(tmp_path, report.jobs)
    sweep(JobError("busy", in_other_process=True))
    assert len(sweep.launched) == 2


def test_pretraining_in_progress_in_other_sweep(tmp_path, capsys):
    report = Report(tmp_path, {"table5": read_table("table5")}, preset=read_preset("quick"))
    after = report.job_of(17, table="table5")
    folder = create_run(tmp_path, after.pretraining.config, "coco", finished=False)
    sweep = Sweep(tmp_path, [after.pretraining, after])
    with lock_run_folder(folder):
        assert sweep(JobError("busy", in_other_process=True)) == 0
    assert len(sweep.launched) == 1
    assert "it starts from is in progress in another process" in capsys.readouterr().out
    assert sweep(JobError("it has failed", status=2)) == 2
    assert "the run that it starts from has not finished" in capsys.readouterr().out


def test_overwrite_runs_all_jobs_again(tmp_path, capsys):
    report = Report(tmp_path, make_table(), overrides=("overwrite=true",))
    for row in (1, 2, 3):
        report.run(row, counts(row))
    sweep = Sweep(tmp_path, report.jobs)
    assert sweep() == 0
    assert "3 distinct runs, 3 to run" in capsys.readouterr().out
    assert len(sweep.launched) == 3
    assert all("overwrite=true" in job.overrides for job in sweep.launched)


def test_row_with_external_weights_is_found(tmp_path):
    """The run has the settings that the weights were trained with."""
    config = compose_train([*SMALL, "backbone.mean=[1,2,3]"])
    weights = tmp_path / "runs/given/weights.safetensors"
    weights.parent.mkdir(parents=True)
    save_file({"weight": torch.zeros(1)}, weights)
    weights_hash = file_hash(weights)
    create_run(tmp_path, config, "given", weights_sha256=weights_hash)
    external_weights = {"mine": str(tmp_path / "runs/given")}
    rows = (Row(cells=("a", True), init_from="first"),)
    pretraining = {"first": {"train": (), "external_weights": "mine"}}
    table = make_table(rows, pretraining=pretraining, external_weights={"mine": "weights"})
    report = Report(tmp_path, table, external_weights=external_weights)
    first, after = report.jobs
    assert first.config.backbone.mean == after.config.backbone.mean == (1, 2, 3)
    folder = create_run(tmp_path, first.config, "first", init_hash=weights_hash)
    assert make_run_finder(known_runs(tmp_path / "runs"))(first).folder.path == folder.path


def test_runs_with_values_chosen_on_another_machine_are_not_done(tmp_path):
    """A report finds them, since it does not know the values that would be chosen here."""
    request = parse_request(["seed=0,1", *SMALL, "stage.batch_size=auto"])
    (job, _) = collect_jobs(request, compose_seeds)
    stage = job.config.stage.model_copy(update={"batch_size": job.config.stage.batch_size + 1})
    folder = create_run(tmp_path, job.config.model_copy(update={"stage": stage}), "other")
    runs = known_runs(tmp_path / "runs")
    assert make_run_finder(runs, chosen=True)(job) is None
    (requested, _) = collect_jobs(request, compose_offline)
    assert make_run_finder(runs)(requested).folder.path == folder.path
    here = create_run(tmp_path, job.config, "here")
    os.utime(here.config, (0, 0))
    runs = known_runs(tmp_path / "runs")
    assert make_run_finder(runs, chosen=True)(job).folder.path == here.path


def test_runs_on_several_folders_of_images_are_told_apart(tmp_path, monkeypatch):
    """They differ by their images alone, and tags go to the run of their folder."""
    monkeypatch.chdir(tmp_path)
    keys = ["data=folder", "data.crop_size=33", "stage=shapes", "backbone=resnet_tiny"]
    for root, stems in (("one", "abc"), ("two", "abcd")):
        write_pairs(Path(root), "train/{}.jpg", "train_labels/{}.png", list(stems))
        write_pairs(Path(root), "val/{}.jpg", "val_labels/{}.png", ["x"])
    jobs = collect_jobs(parse_request([*keys, "data.root=one,two"]), compose_seeds)
    for job in jobs:
        data = check_data(job.config.data)
        fingerprint = data_fingerprint(data, open_layout(data))
        config = job.config.model_copy(update={"data": data})
        create_run(tmp_path, config, data.root, data_fingerprint=fingerprint)
    tagged = {}
    monkeypatch.setattr(
        "deeplab.ablations.run_tables.label_run",
        lambda logger, folder, group, tags: tagged.update({folder.path.name: tags[-1]}),
    )
    _label_runs(jobs, "runs", "group")
    assert tagged == {root: f"data.root={root}" for root in ("one", "two")}


def test_failed_pretraining(tmp_path):
    """The remark names the failure; it is gone once external weights are given."""
    report = Report(tmp_path, {"table5": read_table("table5")}, preset=read_preset("quick"))
    before = report.job_of(17, table="table5").pretraining
    folder = create_run(tmp_path, before.config, "coco", finished=False)
    write_text(folder.failure, "OSError: disk full")
    rows = report.write().rows("table5")
    failed = f"failed after step 30 of {before.config.stage.max_steps}: OSError: disk full"
    assert rows[16]["remark"] == f"missing; the run that it starts from: {failed}"
    save_file({}, tmp_path / "jft.safetensors")
    external_weights = {"jft": str(tmp_path / "jft.safetensors")}
    report = Report(
        tmp_path,
        report.request.tables,
        preset=report.request.preset,
        external_weights=external_weights,
    )
    assert report.write().rows("table5")[20]["remark"] == "missing"


def test_missing_seeds(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1, 2))
    report.run(1, counts(1), 0)
    report.run(1, None, 1)
    rows = report.write().rows()
    remark = "1 of 3 seeds; seed 1: trained, but this evaluation is missing; seed 2: missing"
    assert rows[0]["remark"] == remark
    assert f"Row 1: {remark}." in report.page
    assert rows[0]["seeds"] == "1"


def test_test_server_rows_link_the_archive(tmp_path):
    report = Report(tmp_path, make_table(ROWS[:1], split="test", submission="voc", reference=None))
    folder = report.run(1)
    evaluation = write_evaluation(
        folder, report.job_of(1).config, "os16", counts(1), split="test", scored=False, mIoU=None
    )
    write_text(evaluation.archive("voc", "test"), "packed")
    (row,) = report.write().rows()
    assert row["remark"] == "scored by the test server; upload voc_test.tgz there"
    assert (report.folder / row["files"]).read_text() == "packed"


def test_note_on_result_shared_by_tables(tmp_path):
    names = ("table1", "table2")
    tables = {name: read_table(name) for name in names}
    report = Report(tmp_path, tables, preset=read_preset("quick"))
    report.run(4, counts(1), table="table1")
    report.write()
    assert "row 4 = table2, row 1." in report.page
    assert "table1, row 4 = row 1." in report.page
    assert report.rows("table1")[3]["run"] == report.rows("table2")[0]["run"]
    assert "These numbers are not VOC's." in report.text
    # the differences from the paper are gray
    assert all("faint" in classes for classes in cell_classes(report, "\N{MINUS SIGN}"))


def test_results_from_several_commits(tmp_path):
    report = Report(tmp_path, make_table())
    report.run(1, counts(1))
    report.run(2, counts(2), commit="fedcba98765", started="2026-02-03", uncommitted_changes=True)
    report.write()
    assert "from 2026-01-02 to 2026-02-03 with code of 2 commits or versions" in report.page
    assert "several states of the code (commit 012345678, commit fedcba987)" in report.page
    assert "torch 2.13.0" in report.page


@pytest.mark.parametrize(
    ("override", "gray"),
    [("stage.max_steps=100", True), ("data.root=elsewhere", False), ("trainer.devices=1", False)],
)
def test_rows_that_differ_from_paper_are_gray(tmp_path, override, gray):
    weights = tmp_path / "imagenet.safetensors"
    save_file({"backbone.x": torch.zeros(1)}, weights)
    table = make_table(train=("data=voc", f"backbone.pretrained={weights}"), rows=ROWS[:1])
    report = Report(tmp_path, table, overrides=(override,))
    report.run(1, counts(1))
    report.write()
    (shared,) = re.findall(r"<p>All rows with (.*)\.</p>", report.page)
    assert "data=voc" in shared.split()
    assert (override in shared.split()) == (override != "trainer.devices=1")
    difference = f"{percent(counts(1)) - 70:+.2f}".replace("-", "\N{MINUS SIGN}")
    assert [("faint" in classes) for classes in cell_classes(report, difference)] == [gray]
    assert ("the difference does not say how well" in report.page) == gray


def test_settings_of_the_preset_and_own_code_are_named(tmp_path, monkeypatch):
    (tmp_path / "ownloss.py").write_text("class Loss: ...")
    monkeypatch.syspath_prepend(tmp_path)
    preset = Preset(title="test", train=("stage.batch_size=3",))
    own = make_table(rows=(Row(cells=("own", True), train=("loss._target_=ownloss.Loss",)),))
    page = Report(tmp_path, own, preset=preset).write().markdown
    assert "stage.batch_size=3" in re.search("All rows with (.*)", page)[1].split()
    assert re.search(r"Own code: loss\..*=ownloss\.Loss, ownloss\.py, sha256:\w{16}\.", page)


def test_a_run_with_another_version_of_own_code_is_no_result_and_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    own = make_table(rows=(Row(cells=("own", True), train=("loss._target_=ownloss.Loss",)),))
    (tmp_path / "ownloss.py").write_text("class Loss: ...")
    report = Report(tmp_path, own)
    report.run(1, counts(1))
    (before,) = (node.version for _, node in own_nodes(report.jobs[0].config))
    (tmp_path / "ownloss.py").write_text("class Loss: pass")
    _spec_version.cache_clear()
    report = Report(tmp_path, own).write()
    assert f"finished with another version of ownloss.Loss ({before}; now sha256:" in report.text
    assert report.rows()[0].get("mIoU here", "") == ""


def test_one_class_everywhere_is_noted(tmp_path):
    report = Report(tmp_path, make_table(), seeds=(0, 1))
    background = np.zeros((IMAGES, 4, 4), np.int64)
    background[:, :3, 0] = 5
    for row, seed, confusion in [(1, 0, counts(1)), (1, 1, background), (2, 0, counts(2))]:
        report.run(row, confusion, seed=seed)
    assert (
        "One class is predicted everywhere in 1 of 3 results, which the means contain: row 1, seed "
        "1." in report.write().text
    )


def test_a_printed_table_leaves_out_the_last_columns_that_do_not_fit(tmp_path, capsys, monkeypatch):
    table = make_table(title="T", setting="s", train=(*SMALL, "stage.batch_size=2"))
    report = Report(tmp_path, table)
    for row in (1, 2, 3):
        report.run(row, counts(row))
    runs = known_runs(tmp_path / "runs")
    find_run = make_run_finder(runs)
    sheets = write_report(report.request, report.jobs, find_run, find_run, report.folder)
    printed = {}
    for width in (200, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        print_sheets(sheets, of_variants=False)
        printed[width] = capsys.readouterr().out.partition("\n- ")[0]
        assert max(map(len, printed[width].splitlines())) <= width
        assert "1: what=8 & 16_%, on" in printed[width]  # a tick is the column's name
        assert f"{percent(counts(1)):.2f}" in printed[width]
    assert "1 h 15 min" in printed[200]
    assert "1 h 15 min" not in printed[60]


def test_initial_weights_are_described(tmp_path):
    jobs = Report(tmp_path, make_table()).jobs
    assert describe_initial_weights(jobs, of_paper=True)[0].startswith(
        "All runs here started from random weights; the paper"
    )
    assert describe_initial_weights(jobs, of_paper=False) == [
        "All runs here started from random weights."
    ]
    changed = [
        replace(job, config=job.config.model_copy(update={"init_from": "x"})) for job in jobs
    ]
    assert describe_initial_weights([*changed[:2], jobs[2]], of_paper=True)[0].startswith(
        "1 of 3 runs started from random"
    )
    assert describe_initial_weights(changed, of_paper=True) == [
        "Initial weights of the runs: 3 from x."
    ]
    weights = tmp_path / "public.safetensors"
    save_file({"weight": torch.zeros(1)}, weights)
    jobs = Report(tmp_path, make_table(), overrides=(f"backbone.pretrained={weights}",)).jobs
    assert describe_initial_weights(jobs, of_paper=True) == [
        f"Initial weights of the runs: 3 from {weights}."
    ]


# formats


@pytest.fixture(scope="module")
def full_report(tmp_path_factory):
    """Return a report that contains everything a report can contain."""
    root = tmp_path_factory.mktemp("a report & more")
    rows = (*ROWS, Row(cells=("ä, αλΔ ≤ $_^ €", False), cited=True))
    tables = {STEM: make_table(rows), "figure5": read_table("figure5")}
    preset = Preset(title="ours <&>", note="Not <VOC>'s & nobody's.")
    report = Report(root, tables, seeds=(0, 1), preset=preset)
    for row, seed in ((1, 0), (1, 1), (2, 0), (2, 1), (3, 0)):
        folder = report.run(row, counts(10 * row + seed, 0.1 * row), seed, multiply_adds=row * 2e9)
    for path in folder.evaluations.iterdir():
        write_text(path / "gallery" / "index.html", "<title>gallery</title>")
    return report.write()


def test_markdown_can_be_parsed(full_report):
    lines = [line for line in full_report.markdown.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[:6]]
    assert {len(line) for line in cells} == {len(cells[0])}
    assert [line[1].strip() for line in cells[2:]] == [
        "8 \\& 16\\_%", r"\[a\|b\]", r"\<c\>", r"ä, αλΔ ≤ \$\_^ €"
    ]  # fmt: skip
    header = [text.strip() for text in cells[0]]
    here = [line[header.index("mIoU, %: here")].strip(" *") for line in cells[2:]]
    means = [float(row["mIoU here"] or "nan") for row in full_report.rows()]
    assert [float(text.split(" ±")[0]) for text in here[:3]] == pytest.approx(means[:3], abs=0.005)
    assert here[3] == "cited"
    titles = ["8 & 16_%", "[a|b]", "<c>", "ä, αλΔ ≤ $_^ €"]
    assert [row["what"] for row in full_report.rows()] == titles


def test_csv_columns_are_unique(full_report):
    for name in (STEM, "figure5"):
        with (full_report.folder / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert len(set(header)) == len(header)
        assert {len(row) for row in rows} == {len(header)}
    assert "training time, s" in full_report.rows()[0]
    assert "training time" not in full_report.rows()[0]


def test_latex_escapes():
    assert escape_latex(r"50 % of $a_b & {c} # ~^\ x") == (
        r"50 \% of \$a\_b \& \{c\} \# \textasciitilde{}\textasciicircum{}\textbackslash{} x"
    )
    assert escape_latex("two\n\nparagraphs\n") == "two paragraphs"  # not in a caption
    alpha = "\N{GREEK SMALL LETTER ALPHA}"
    assert escape_latex(f"{alpha} ≤ λ, Δ") == r"$\alpha$ $\leq$ $\lambda$, $\Delta$"
    assert escape_latex("✓ 1 ± 2 \N{MINUS SIGN}3") == r"$\checkmark$ 1 $\pm$ 2 $-$3"


def test_latex_rows_have_equal_width(full_report):
    text = (full_report.folder / "custom.tex").read_text()
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    widths = set()
    for line in filter(None, map(str.strip, body.splitlines())):
        assert line.endswith(r"\\")
        spanned = [int(number) - 1 for number in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        widths.add(len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spanned))
    (layout,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert widths == {len(layout)}


def test_latex_keeps_setting_columns(tmp_path):
    """Their names may equal those of omitted columns."""
    rows = (Row(cells=("a long one", "b")),)
    report = Report(tmp_path, make_table(rows, columns=("run", "files")))
    report.run(1, counts(1))
    report.write()
    text = (report.folder / "custom.tex").read_text()
    assert "a long one & b &" in text
    assert "R1" not in text


def latex_has(file):
    """Return whether LaTeX is installed with a package."""
    if not shutil.which("pdflatex") or not shutil.which("kpsewhich"):
        return False
    return subprocess.run(["kpsewhich", file], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not latex_has("booktabs.sty"), reason="no LaTeX with booktabs here")
@pytest.mark.parametrize("name", [STEM, "figure5"])
def test_latex_compiles(full_report, tmp_path, name):
    shutil.copy(full_report.folder / f"{name}.tex", tmp_path / "table.tex")
    packages = (tmp_path / "table.tex").read_text().splitlines()[0].removeprefix("% ")
    write_text(
        tmp_path / "all.tex",
        rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}",
    )
    process = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-2000:]


def test_links_resolve(full_report):
    page = Page(full_report.page)
    assert "script" not in page.tags
    files = page.check_links(full_report.folder)
    in_markdown = re.findall(r"\]\(([^)]*)\)", full_report.markdown)
    assert set(in_markdown) == set(files)
    assert sum(file.endswith("gallery/index.html") for file in files) == 1


def test_links_to_runs_with_special_characters(tmp_path):
    report = Report(tmp_path, make_table(ROWS[:1]))
    config = report.job_of(1).config
    folder = create_run(tmp_path, config, 'a"b <i>&#%?')
    write_evaluation(folder, config, "os16", counts(1))
    addresses = Page(report.write().page).urls
    (address,) = [address for address in addresses if "runs/" in address]
    assert (report.folder / unquote(address)).resolve() == folder.path.resolve()
    assert f"[R1]({address})" in report.markdown


@needs_browser
def test_page_in_browser(full_report, tmp_path):
    url = (full_report.folder / "index.html").as_uri()
    with open_browser(tmp_path) as browser:
        for width, scheme in ((1280, "light"), (400, "dark")):
            open_page(browser, url, width=width, scheme=scheme)
            broken = "return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
            assert browser.execute_script(broken) == []
            scales = "return [...document.images].map(i => i.width / i.naturalWidth)"
            shown = browser.execute_script(scales)
            assert len(shown) == 3
            assert max(shown) < 0.75  # a figure of few columns is not enlarged to a column's width
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert brightness(browser) > 600 if scheme == "light" else brightness(browser) < 150
            check_logs(browser)


def test_report_is_reproducible(full_report, tmp_path):
    before = {path: path.read_bytes() for path in full_report.folder.iterdir()}
    assert len(before) == 2 + 2 * 2 + 4  # pages, tables, figures and the numbers of one
    full_report.write()
    assert {path: path.read_bytes() for path in full_report.folder.iterdir()} == before


def test_report_needs_no_torch(tmp_path):
    folder = create_run(tmp_path, compose_train(SMALL), "one", mIoU=50.0)
    write_evaluation(folder, compose_train(SMALL), "os16", counts(1))
    check_imports(
        "from deeplab.ablations.cli import run_ablations\n"
        "run_ablations(['report', 'ablation=table1'])",
        cwd=tmp_path,
    )
    assert (tmp_path / "runs/ablations/quick/index.html").is_file()


@pytest.mark.processes
def test_report_without_table_covers_latest_or_all(tmp_path):
    def report(*arguments):
        run("ablations", "report", *arguments, cwd=tmp_path)
        return sorted(path.stem for path in tmp_path.glob("runs/ablations/quick/*.csv"))

    create_run(tmp_path, compose_train(SMALL), "one", mIoU=50.0)
    shutil.copytree(tmp_path / "runs", tmp_path / "other")
    run("ablations", "report", "ablation=table2", "runs_dir=other", cwd=tmp_path)
    assert report("runs_dir=other") == []  # the report is in the other folder
    assert sorted(p.stem for p in tmp_path.glob("other/ablations/quick/*.csv")) == ["table2"]
    assert report("ablation=table1") == ["table1"]
    assert report() == ["table1"]
    of_paper = [name for name in project_choices("ablation") if "_" not in name]
    assert report("num_seeds=2") == of_paper
    for words, about_all in ((["plan"], True), (["plan", "ablation=table4"], False)):
        done = run("ablations", *words, "decoder=tiny", cwd=tmp_path, ok=False)
        assert "an image classifier has no decoder" in done.stderr
        assert ("This is about all tables" in done.stderr) == about_all
