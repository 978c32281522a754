"""Tests of ``compare.py`` on evaluations that the tests write."""

import csv

import pytest
from PIL import Image

from deeplab.config.schema.scripts import CompareConfig
from deeplab.evaluation.comparison import group_comparable, run_comparison
from deeplab.evaluation.evaluation_folder import read_evaluation
from deeplab.evaluation.plots import pareto_front, split_common_prefix
from deeplab.inference.strategy import Strategy
from deeplab.tracking.result import Band, BoundaryResult, Cost, MultiplyAdds, Result
from support.results import make_protocol
from support.scripts import run


def write_evaluation(root, name, strategy, *, miou=50.0, content="abc", bands=True, scored=True):
    """Write the ``result.json`` of an evaluation and return its folder."""
    folder = root / name / "evaluations" / f"val-weights-{strategy.name}"
    folder.mkdir(parents=True)
    conditions = make_protocol(
        split="val", images=2, content=content, classes=("a", "b"), padded_to=(65, 65),
        strategy=strategy,
    )  # fmt: skip
    band = Band(width=1.0, scores={"mIoU": miou and miou / 2, "pixel_accuracy": 50.0})
    boundary = BoundaryResult(
        images_with_borders=2 if bands else 0,
        bands=(band,) if bands else (),
        scores={"boundary_IoU": float("nan"), "boundary_F": 25.0},
    )
    scores = {"scores": {"mIoU": miou, "pixel_accuracy": 90.0}, "boundary": boundary}
    multiply_adds = MultiplyAdds(conv=10**9, paper=2 * 10**9)
    cost = Cost(parameters=1_500_000, multiply_adds=multiply_adds, input_size=(65, 65))
    fields = {"run": name, "protocol": conditions, "scored": scored, "cost": cost}
    Result(**fields, **(scores if scored else {})).write(folder / "result.json")
    return folder


def test_table_and_figures(tmp_path):
    write_evaluation(tmp_path, "A", Strategy(16))
    write_evaluation(tmp_path, "A", Strategy(8, flip=True), miou=75.0)
    second = write_evaluation(tmp_path, "B", Strategy(16), miou=62.5, bands=False)
    printed = run("compare", f"runs=[A,{second}]", "output=side", cwd=tmp_path).stdout
    assert "A/val-weights-os8-flip" in printed
    assert "62.50" in printed
    assert "seconds" not in printed
    rows = list(csv.DictReader((tmp_path / "side/table.csv").open()))
    assert [row["mIoU"] for row in rows] == ["50.0", "75.0", "62.5"]
    assert rows[0]["multiply-adds"] == str(2 * 10**9)
    for figure in ("boundary.png", "cost.png"):
        assert Image.open(tmp_path / "side" / figure).width > 500


def test_different_conditions_are_in_separate_tables(tmp_path):
    write_evaluation(tmp_path, "A", Strategy(16))
    write_evaluation(tmp_path, "B", Strategy(16), content="other")
    printed = run("compare", "runs=[A,B]", cwd=tmp_path).stdout
    assert "Not comparable with the table above: content of the images and masks: abc" in printed
    assert sorted(p.name for p in (tmp_path / "comparison").iterdir()) == ["group1", "group2"]


def test_runs_with_the_same_name_are_distinguished(tmp_path):
    for folder, miou in (("here", 50.0), ("there", 75.0)):
        (tmp_path / folder).mkdir()
        write_evaluation(tmp_path / folder, "A", Strategy(16), miou=miou)
    run("compare", "runs=[here/A,there/A/evaluations,'*/A']", cwd=tmp_path)
    rows = list(csv.DictReader((tmp_path / "comparison/table.csv").open()))
    assert [row["mIoU"] for row in rows] == ["50.0", "75.0"]
    assert [row["evaluation"].split("/")[0] for row in rows] == ["here", "there"]


def test_evaluation_without_a_labeled_pixel(tmp_path):
    write_evaluation(tmp_path, "A", Strategy(16))
    write_evaluation(tmp_path, "B", Strategy(16), miou=None, bands=False)
    printed = run("compare", "runs=[A,B]", cwd=tmp_path).stdout
    assert len(list(csv.DictReader((tmp_path / "comparison/table.csv").open()))) == 2
    assert "boundary.png" in printed


def test_files_of_a_previous_comparison_are_removed(tmp_path):
    write_evaluation(tmp_path, "A", Strategy(16))
    write_evaluation(tmp_path, "B", Strategy(16), content="other")
    run("compare", "runs=[A,B]", cwd=tmp_path)
    (tmp_path / "comparison/group2/mine.txt").write_text("mine")
    run("compare", "runs=A", cwd=tmp_path)
    output = tmp_path / "comparison"
    files = {str(path.relative_to(output)) for path in output.glob("**/*.*")}
    assert files == {"table.csv", "boundary.png", "cost.png", "group2/mine.txt"}


def test_an_interrupted_removal_of_a_comparison_goes_on(tmp_path, monkeypatch):
    output, removed = tmp_path / "comparison", []
    run_folder = str(write_evaluation(tmp_path, "A", Strategy(16)))
    config = CompareConfig(runs=(run_folder,), output=str(output))
    run_comparison(config)

    def remove_one(path):
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        path.rename(tmp_path / "removed")

    monkeypatch.setattr("pathlib.Path.unlink", remove_one)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(config)
    monkeypatch.undo()
    assert len(list(output.iterdir())) == 2
    run_comparison(config)
    assert len(list(output.iterdir())) == 3


def test_files_of_other_programs_are_not_removed(tmp_path):
    """An evaluation folder holds files with the same names."""
    folder = write_evaluation(tmp_path, "A", Strategy(16))
    mine = folder / "boundary.png"
    mine.write_text("mine")
    done = run("compare", "runs=A", f"output={folder}", cwd=tmp_path, ok=False)
    assert done.returncode == 2
    assert "boundary.png exists and was not written by deeplab compare" in done.stderr
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
def test_common_prefix_of_titles(titles, common, rest):
    assert split_common_prefix(titles) == (common, rest)


def test_error_messages(tmp_path):
    write_evaluation(tmp_path, "A", Strategy(16), scored=False)
    write_evaluation(tmp_path, "B", Strategy(16))
    (tmp_path / "A/evaluations/x").write_text("a file")
    for arguments, words in (
        (["runs=nothing"], "no such folder"),
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


def test_group_comparable(tmp_path):
    folders = [
        write_evaluation(tmp_path, name, Strategy(16), content=content)
        for name, content in (("A", "x"), ("B", "y"), ("C", "x"))
    ]
    groups = group_comparable([read_evaluation(folder) for folder in folders])
    assert [[e.result.run for e in group] for group in groups] == [["A", "C"], ["B"]]


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(1, 5)], [(1, 5)]),
        ([(2, 5), (1, 5)], [(1, 5)]),
        ([(1, 5), (1, 6), (2, 6), (3, 7), (4, 1)], [(1, 6), (3, 7)]),
    ],
)
def test_pareto_front(points, best):
    assert pareto_front(points) == best
