"""Reports on runs that are written here, so that every figure can be computed again."""

import csv
import os
import subprocess
import sys
from html.parser import HTMLParser
from statistics import stdev
from urllib.parse import unquote

import numpy as np
import pytest

from deeplab.ablations.compose import compose_train
from deeplab.ablations.report.command import write_grid_report, write_report
from deeplab.ablations.report.statistics import difference, mean_iou
from deeplab.ablations.runs import finder, known_runs
from deeplab.ablations.tables import read_profile, read_table
from deeplab.ablations.trainings import Asked, trainings
from deeplab.cli import ROOT
from deeplab.errors import UserError
from deeplab.evaluation.folder import EvaluationFolder, evaluation_name, write_images
from deeplab.files import write_json
from deeplab.inference.strategy import parse_strategy
from deeplab.protocol import protocol
from deeplab.records import RunFolder, write_config

IMAGES = 40


def literal_miou(matrix):
    found = []
    for k in range(len(matrix)):
        union = matrix[k, :].sum() + matrix[:, k].sum() - matrix[k, k]
        if union:
            found.append(matrix[k, k] / union)
    return sum(found) / len(found)


def counts(seed, wrong=0.3, classes=3):
    """Confusion matrices of images with a part of the pixels wrong; the last class is absent."""
    rng = np.random.default_rng(seed)
    found = np.zeros((IMAGES, classes, classes), np.int64)
    for image in found:
        for truth in range(classes - 1):
            pixels = int(rng.integers(50, 200))
            bad = int(rng.binomial(pixels, wrong))
            image[truth, truth], image[truth, 1 - truth] = pixels - bad, bad
    return found


def test_mean_iou_against_a_literal_one():
    for seed in range(5):
        total = counts(seed).sum(0)
        assert mean_iou(total) == pytest.approx(literal_miou(total))


def test_bootstrap_against_a_literal_one():
    ours, theirs = [counts(1), counts(2)], [counts(3, wrong=0.32)]
    found = difference(ours, theirs, draws=50)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=50)
    taken = rng.integers(0, 2, size=(2, 50)), rng.integers(0, 1, size=(1, 50))
    drawn = []
    for draw, weight in enumerate(weights):
        arms = []
        for seeds, which in zip((ours, theirs), taken, strict=True):
            chosen = [seeds[s] for s in which[:, draw]]
            arms.append(np.mean([literal_miou((weight[:, None, None] * c).sum(0)) for c in chosen]))
        drawn.append(arms[0] - arms[1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    mean = np.mean([literal_miou(c.sum(0)) for c in ours]) - literal_miou(theirs[0].sum(0))
    assert found.mean == pytest.approx(mean)


def test_noise():
    same = difference([counts(1)], [counts(1)])
    assert (same.mean, same.low, same.high, same.noise) == (0, 0, 0, True)
    assert difference([counts(1)], [counts(2)]).noise
    assert not difference([counts(1, wrong=0.2)], [counts(2)]).noise


def fake_run(root, training, confusion, content="abc"):
    """A finished run that was evaluated as its rows want."""
    config = training.config
    digits = f"{abs(hash((training.key, config.seed))) % 10**8:08d}"
    folder = RunFolder(root / "runs" / f"{config.name}-{digits}")
    write_config(folder.config, config)
    write_json(folder.record, {"wandb_id": "x", "starts": [{}], "start_weights": None})
    score = literal_miou(confusion.sum(0))
    write_json(folder.result, {"mIoU": score, "weights_sha256": digits, "seconds": 90.0})
    for use in training.uses:
        strategy = parse_strategy(use.strategy, output_stride=config.output_stride)
        name = evaluation_name(config.data.val_split, folder.weights, strategy.name)
        found = EvaluationFolder(folder.evaluations / name)
        write_images(found, [f"i{i}" for i in range(IMAGES)], confusion)
        stamp = protocol(
            split="val", images=IMAGES, content=content, classes=("a", "b", "c"),
            padded_to=(129, 129), strategy=strategy, precision="32-true",
        )  # fmt: skip
        result = {
            "run": folder.path.name, "weights_sha256": digits, "scored": True, "mIoU": score,
            "boundary": {"bands": [{"width": 1, "mIoU": score / 2}, {"width": 5, "mIoU": score}]},
            "cost": {"parameters": 2_000_000, "multiply_adds": {"paper": 3e9}, "measured": None},
            "protocol": stamp, "started": "2026-01-02T03:04:05", "commit": "0123456789",
            "versions": {"torch": "2.13"}, "machine": {"accelerator": "cpu", "precision": "32"},
        }  # fmt: skip
        write_json(found.result, result)
    return folder


def reported(root, *names, profile="paper", seeds=(0,), made=lambda training: counts(1), **more):
    """The rows of each table's CSV, after runs were made by ``made``."""
    tables = {name: read_table(name) for name in names}
    asked = Asked(tables, profile, read_profile(profile), seeds=seeds)
    found = trainings(asked, compose_train)
    for training in found:
        confusion = made(training)
        if confusion is not None:
            fake_run(root, training, confusion, **more)
    target = root / "runs/ablations/x"
    write_report(asked, found, finder(known_runs(root / "runs")), target)
    return {name: list(csv.DictReader((target / f"{name}.csv").open())) for name in names}


def channels(training):
    return training.config.decoder.low_level_channels


def test_a_row_beside_the_paper_s(tmp_path):
    rows = reported(tmp_path, "table1", made=lambda t: counts(channels(t) + t.config.seed),
                    seeds=(0, 1, 2))["table1"]  # fmt: skip
    assert [row["channels"] for row in rows] == ["8", "16", "32", "48", "64"]
    for row in rows:
        seeds = [literal_miou(counts(int(row["channels"]) + s).sum(0)) for s in range(3)]
        mean = 100 * sum(seeds) / 3
        assert row["mIoU, %"] == f"{mean:.2f} ± {100 * stdev(seeds):.2f}"
        assert float(row["difference"]) == pytest.approx(
            mean - float(row["mIoU paper, %"]), abs=0.01
        )
        assert (row["seeds"], row["training"], row["parameters, M"]) == ("3", "1.5 min", "2.00")
    assert rows[3]["against reference"] == "the reference"
    assert "within noise" in rows[0]["against reference"]
    target = tmp_path / "runs/ablations/x"
    assert "±" not in (target / "table1.tex").read_text()
    text = (target / "report.md").read_text()
    assert "started from random weights" in text
    assert "Version 012345678" in text
    lines = [line for line in text.splitlines() if line.startswith("| 8 ")]
    assert len(lines) == 1
    assert (target / "table1-boundary.png").is_file()


def test_other_conditions_are_not_in_one_column(tmp_path):
    made = {8: counts(8), 16: counts(16), 48: counts(48)}
    reported(tmp_path, "table1", made=lambda t: made.get(channels(t)))
    made = {32: counts(32)}
    rows = reported(tmp_path, "table1", made=lambda t: made.get(channels(t)), content="other")
    rows = rows["table1"]
    assert "mIoU, %" not in rows[0]
    filled = [(bool(row["mIoU A, %"]), bool(row["mIoU B, %"])) for row in rows]
    assert filled == [(True, False), (True, False), (False, True), (True, False), (False, False)]
    assert "content of the images" in rows[2]["against reference"]
    text = (tmp_path / "runs/ablations/x/report.md").read_text()
    assert "mIoU B was measured under other conditions: content of the images and masks" in text


def test_what_is_not_there_is_said(tmp_path):
    rows = reported(tmp_path, "table4", "table5", "table6", made=lambda t: None)
    assert all("stages yet" in row[""] for row in rows["table4"])
    assert rows["table4"][0]["model"] == "ResNet-101"
    assert {row[""] for row in rows["table5"][:16]} == {"missing"}
    assert all("supplies.jft=FILE" in row[""] for row in rows["table5"][20:])
    assert [row[""] for row in rows["table6"][:11]] == ["cited"] * 11
    assert rows["table5"][0]["mult-adds paper, B"] == "68.00"
    assert "Nothing of it has been run yet" in (tmp_path / "runs/ablations/x/report.md").read_text()


def test_a_run_that_failed_says_why(tmp_path):
    asked = Asked({"table1": read_table("table1")}, "paper", read_profile("paper"))
    found = trainings(asked, compose_train)
    folder = fake_run(tmp_path, found[0], counts(1))
    folder.result.unlink()
    folder.failure.write_text("Traceback ...\nRuntimeError: no memory\n")
    write_report(asked, found, finder(known_runs(tmp_path / "runs")), tmp_path)
    (first, *_) = csv.DictReader((tmp_path / "table1.csv").open())
    assert first[""] == "failed at step 0 of 30000 (RuntimeError: no memory)"
    assert first.get("mIoU, %", "") == ""


def test_gain_of_the_decoder_near_borders(tmp_path):
    def made(training):
        return counts(5, wrong=0.3 if training.config.decoder.convs == () else 0.2)

    rows = reported(tmp_path, "figure5", made=made)["figure5"]
    with_it, without = (literal_miou(counts(5, wrong=w).sum(0)) for w in (0.2, 0.3))
    assert float(rows[1]["gain in narrowest band"]) == pytest.approx(
        100 * (with_it - without) / 2, abs=0.01
    )
    assert [row["paper's gain there"] for row in rows] == ["", "+4.8", "", "+5.4"]
    page = (tmp_path / "runs/ablations/x/index.html").read_text()
    assert page.index("figure5-boundary.png") > 0


class Page(HTMLParser):
    """Addresses of a page, and whether its elements close."""

    def __init__(self):
        super().__init__()
        self.addresses, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [
            v for k, v in attrs if k in ("href", "src") and not v.startswith("data:")
        ]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_opens_from_disk(tmp_path):
    reported(tmp_path, "table2", profile="quick")
    target = tmp_path / "runs/ablations/x"
    text = (target / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert len(page.addresses) >= 6 + 2
    for address in page.addresses:
        assert not address.startswith(("http", "/"))
        assert (target / unquote(address)).exists(), address
    assert "These numbers are not VOC" in text
    assert "difference" not in text.split("<tbody>")[0].split("<thead>")[1]


def test_the_same_report_every_time(tmp_path):
    reported(tmp_path, "table1")
    target = tmp_path / "runs/ablations/x"
    before = {p: p.read_bytes() for p in target.iterdir() if p.suffix != ".png"}
    reported(tmp_path, "table1", made=lambda t: None)
    assert {p: p.read_bytes() for p in before} == before


def test_report_does_without_torch(tmp_path):
    reported(tmp_path, "table1", profile="quick")
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from deeplab.ablations.script import run_ablations\n"
        "run_ablations(['report', 'ablation=table1'])\n"
        "assert not {'torch', 'lightning', 'wandb', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/ablations/quick/table1.csv").is_file()


def grid(root, *lines):
    """Finished runs of overrides, seeds among them, without evaluations."""
    for number, line in enumerate(lines):
        config = compose_train(line)
        folder = RunFolder(root / "runs" / f"{config.name}-{number:08d}")
        write_config(folder.config, config)
        write_json(folder.record, {"wandb_id": "x", "starts": [{}], "start_weights": None})
        write_json(folder.result, {"mIoU": 0.5 + number / 100, "seconds": 1.0})
    return known_runs(root / "runs")


def test_a_grid_of_one_s_own(tmp_path):
    runs = grid(
        tmp_path,
        *(
            [f"decoder.low_level_channels={c}", f"seed={s}"]
            for c in (16, 8)
            for s in (0, 1)
        ),
    )  # fmt: skip
    write_grid_report(runs, ["decoder.low_level_channels"], tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.csv")
    rows = list(csv.DictReader(path.open()))
    assert [row["decoder.low_level_channels"] for row in rows] == ["8", "16"]
    assert [row["mIoU, %"] for row in rows] == ["52.50 ± 0.71", "50.50 ± 0.71"]
    assert [row["seeds"] for row in rows] == ["2", "2"]


def test_a_grid_that_differs_in_more(tmp_path):
    runs = grid(tmp_path, ["stage.lr=0.1"], ["stage.lr=0.2", "stage.power=0.5"])
    with pytest.raises(UserError, match=r"differ in stage.power too .* add it to rows="):
        write_grid_report(runs, ["stage.lr"], tmp_path / "out")
    with pytest.raises(UserError, match=r"rows=stage.lrr: .* Did you mean stage.lr"):
        write_grid_report(runs, ["stage.lrr"], tmp_path / "out")
    write_grid_report(runs, ["stage.lr", "stage.power"], tmp_path / "out")
    with pytest.raises(UserError, match="none of these runs is finished"):
        write_grid_report([], ["stage.lr"], tmp_path / "out")
