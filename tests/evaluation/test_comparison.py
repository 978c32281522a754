"""``compare.py`` on evaluations that are written here."""

import csv
import json

import pytest
from PIL import Image

from deeplab.evaluation.comparison import group_comparable
from deeplab.evaluation.evaluation_folder import read_evaluation
from deeplab.evaluation.plots import pareto_front, split_common_prefix
from deeplab.inference.strategy import Strategy
from deeplab.tracking.protocol import protocol
from support.scripts import run


def evaluation(root, name, strategy, *, miou=0.5, content="abc", bands=True, scored=True):
    folder = root / name / "evaluations" / f"val-weights-{strategy.name}"
    folder.mkdir(parents=True)
    stamp = protocol(
        split="val", images=2, content=content, classes=("a", "b"), padded_to=(65, 65),
        strategy=strategy, precision="32-true",
    )  # fmt: skip
    band = {"width": 1.0, "mIoU": miou and miou / 2, "pixel_accuracy": 0.5}
    scores = {
        "mIoU": miou,
        "pixel_accuracy": 0.9,
        "boundary": {"boundary_IoU": None, "F": 0.25, "bands": [band] if bands else []},
    }
    cost = {"parameters": 1_500_000, "multiply_adds": {"conv": 10**9, "paper": 2 * 10**9}}
    record = {"run": name, "protocol": stamp, "scored": scored, "cost": cost}
    (folder / "result.json").write_text(json.dumps(record | (scores if scored else {})))
    return folder


def test_a_table_with_its_pictures(tmp_path):
    evaluation(tmp_path, "A", Strategy(16))
    evaluation(tmp_path, "A", Strategy(8, flip=True), miou=0.75)
    other = evaluation(tmp_path, "B", Strategy(16), miou=0.625, bands=False)
    printed = run("compare", f"runs=[A,{other}]", "output=side", cwd=tmp_path).stdout
    assert "A/val-weights-os8-flip" in printed
    assert "62.50" in printed
    assert "seconds" not in printed
    rows = list(csv.DictReader((tmp_path / "side/table.csv").open()))
    assert [row["mIoU"] for row in rows] == ["0.5", "0.75", "0.625"]
    assert rows[0]["multiply-adds"] == str(2 * 10**9)
    for picture in ("boundary.png", "cost.png"):
        assert Image.open(tmp_path / "side" / picture).width > 500


def test_other_conditions_are_kept_apart(tmp_path):
    evaluation(tmp_path, "A", Strategy(16))
    evaluation(tmp_path, "B", Strategy(16), content="other")
    printed = run("compare", "runs=[A,B]", cwd=tmp_path).stdout
    assert "Not in one table with the above: content of the images and masks: abc" in printed
    assert sorted(p.name for p in (tmp_path / "comparison").iterdir()) == ["group1", "group2"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    for place, miou in (("here", 0.5), ("there", 0.75)):
        (tmp_path / place).mkdir()
        evaluation(tmp_path / place, "A", Strategy(16), miou=miou)
    run("compare", "runs=[here/A,there/A/evaluations,'*/A']", cwd=tmp_path)
    rows = list(csv.DictReader((tmp_path / "comparison/table.csv").open()))
    assert [row["mIoU"] for row in rows] == ["0.5", "0.75"]
    assert [row["evaluation"].split("/")[0] for row in rows] == ["here", "there"]


def test_an_evaluation_without_a_labeled_pixel(tmp_path):
    evaluation(tmp_path, "A", Strategy(16))
    evaluation(tmp_path, "B", Strategy(16), miou=None, bands=False)
    printed = run("compare", "runs=[A,B]", cwd=tmp_path).stdout
    assert len(list(csv.DictReader((tmp_path / "comparison/table.csv").open()))) == 2
    assert "boundary.png" in printed


def test_nothing_of_an_earlier_comparison_is_left(tmp_path):
    evaluation(tmp_path, "A", Strategy(16))
    evaluation(tmp_path, "B", Strategy(16), content="other")
    run("compare", "runs=[A,B]", cwd=tmp_path)
    (tmp_path / "comparison/group2/mine.txt").write_text("mine")
    run("compare", "runs=A", cwd=tmp_path)
    left = {str(p.relative_to(tmp_path / "comparison")) for p in tmp_path.glob("comparison/**/*.*")}
    assert left == {"table.csv", "boundary.png", "cost.png", "group2/mine.txt"}


def test_nobody_else_s_file_is_removed(tmp_path):
    """The folder of an evaluation holds files of the same names."""
    folder = evaluation(tmp_path, "A", Strategy(16))
    mine = folder / "boundary.png"
    mine.write_text("mine")
    done = run("compare", "runs=A", f"output={folder}", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "boundary.png is there, and compare.py has not made it" in done.stderr
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("titles", "common", "rest"),
    [
        (["A/os16"], "", ["A/os16"]),
        (["A/os16", "A/os16-flip"], "A", ["os16", "os16-flip"]),
        (["A/os16", "AB/os16"], "", ["A/os16", "AB/os16"]),
        (["x/A/os16", "x/B/os16"], "x", ["A/os16", "B/os16"]),
    ],
)
def test_legends_name_a_common_run_once(titles, common, rest):
    assert split_common_prefix(titles) == (common, rest)


def test_mistakes(tmp_path):
    evaluation(tmp_path, "A", Strategy(16), scored=False)
    evaluation(tmp_path, "B", Strategy(16))
    (tmp_path / "A/evaluations/x").write_text("a file")
    for arguments, words in (
        (["runs=nothing"], "does not exist"),
        (["runs=."], "no evaluation"),
        (["runs=B", "output=A/evaluations/x/y"], "cannot be written"),
        (["runs=A"], "no masks"),
        ([], "runs"),
    ):
        done = run("compare", *arguments, cwd=tmp_path, ok=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "comparison").exists()


def test_groups_hold_what_compares(tmp_path):
    folders = [
        evaluation(tmp_path, name, Strategy(16), content=content)
        for name, content in (("A", "x"), ("B", "y"), ("C", "x"))
    ]
    groups = group_comparable([read_evaluation(folder) for folder in folders])
    assert [[e.result["run"] for e in group] for group in groups] == [["A", "C"], ["B"]]


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(1, 5)], [(1, 5)]),
        ([(2, 5), (1, 5)], [(1, 5)]),
        ([(1, 5), (1, 6), (2, 6), (3, 7), (4, 1)], [(1, 6), (3, 7)]),
    ],
)
def test_pareto(points, best):
    assert pareto_front(points) == best
