"""Plain sweeps, whose variants are the rows of a table."""

import csv
import json
import re
from statistics import mean, stdev

import pytest

from deeplab.ablations.distinct_jobs import collect_jobs, describe_rows, with_scores
from deeplab.ablations.print_plan import print_plan
from deeplab.ablations.report.collect_tables import collect_table_results
from deeplab.ablations.report.columns import format_signed
from deeplab.ablations.report.print_report import _more_seeds
from deeplab.ablations.report.significance import Comparison
from deeplab.ablations.report.statistics import Difference
from deeplab.ablations.report.table_notes import table_notes
from deeplab.ablations.run_tables import _group, compose_offline
from deeplab.ablations.sweep import job_overrides, job_titles
from deeplab.ablations.sweep_request import parse_request, sweeps_over_variants
from deeplab.ablations.untyped_differences import untyped_differences
from deeplab.ablations.variants import run_name
from deeplab.training.compose_config import compose_seeds, compose_train
from deeplab.utils.errors import UserError
from support.pairs import write_pairs
from support.scripts import SMALL, run, run_folders

FIXED = ("data=shapes", "logger=csv", "backbone=resnet_tiny")


def rows_of(*arguments):
    """Return columns, cells and overrides of the first table of a command line."""
    table = next(iter(parse_request(arguments).tables.values()))
    return table.columns, [row.cells for row in table.rows], [row.train for row in table.rows]


def test_every_combination_is_a_row_as_typed():
    columns, cells, overrides = rows_of(
        "decoder=full,naive", "stage.lr=0.01,0.1", "aspp=tiny", "seed=0,1"
    )
    assert columns == ("decoder", "stage.lr")
    assert cells == [("full", "0.01"), ("full", "0.1"), ("naive", "0.01"), ("naive", "0.1")]
    assert overrides[1] == ("decoder=full", "stage.lr=0.1")


@pytest.mark.parametrize(
    ("argument", "cells", "overrides"),
    [
        ("aspp.atrous_rates=[3,6],[6,12]", ["[3,6]", "[6,12]"], ["[3,6]", "[6,12]"]),
        ("decoder=choice(tiny,naive)", ["tiny", "naive"], ["tiny", "naive"]),
        ("decoder=glob(n*)", ["naive"], ["naive"]),
        ("decoder=glob(*,exclude=[full,l*,s*,c*])", ["tiny", "naive"], ["tiny", "naive"]),
        ("stage.max_steps=range(1,4)", ["1", "2", "3"], ["1", "2", "3"]),
        ("init_from=null,'a b/c.ckpt'", ["null", "a b/c.ckpt"], ["null", "'a b/c.ckpt'"]),
        ("backbone.mean=[1,2,3],[{a:1}]", ["[1,2,3]", "[{a:1}]"], ["[1,2,3]", "[{a:1}]"]),
    ],
)
def test_forms_of_values(argument, cells, overrides):
    key = argument.partition("=")[0]
    columns, found, typed = rows_of(argument)
    assert columns == (key,)
    assert found == [(cell,) for cell in cells]
    assert typed == [(f"{key}={value}",) for value in overrides]


def test_seeds_alone_are_one_row():
    assert rows_of("decoder=full", "seed=0,2")[:2] == (("seed",), [("0, 2",)])
    assert parse_request(["decoder=full,naive", "num_seeds=3"]).seeds == [0, 1, 2]


def test_a_table_for_each_strategy():
    request = parse_request(["decoder=full,naive", "strategies=[os16,{strategy:os8,split:test}]"])
    assert {name: (t.strategy, t.split) for name, t in request.tables.items()} == {
        "os16": ("os16", None),
        "test-os8": ("os8", "test"),
    }
    assert list(parse_request(["decoder=full,naive"]).tables) == ["single-scale"]
    listed = parse_request(["decoder=full,naive", "strategies=os16,os8"])  # without brackets
    assert list(listed.tables) == ["os16", "os8"]


@pytest.mark.parametrize(
    ("typed", "advised"),
    [
        (["num_seeds=3"], "num_seeds=5 instead of num_seeds=3"),
        (["seed=0,2"], "seed=0,2,1,3 instead of seed=0,2"),
        ([], "num_seeds=3"),
    ],
)
def test_more_seeds_are_advised_in_the_form_that_was_typed(typed, advised):
    request = parse_request(["decoder=tiny,naive", *typed])
    assert _more_seeds(request) == advised
    others = [argument for argument in ["decoder=tiny,naive", *typed] if argument not in typed]
    more = parse_request([*others, advised.split()[0]])
    assert {*request.seeds} < {*more.seeds}
    assert len(more.seeds) == len(request.seeds) + 2


def test_every_job_is_named_by_its_variant_and_seed():
    """Also where one variant is left to run: the names are those of the whole sweep."""
    request = parse_request(["decoder=tiny,naive", *FIXED])
    assert [*job_titles(collect_jobs(request, compose_seeds)).values()] == [
        "decoder=tiny seed=0",
        "decoder=naive seed=0",
    ]


def test_a_plan_names_each_run_once_and_what_evaluations_take(capsys):
    arguments = ["decoder=tiny,naive", *FIXED, "data.num_val=7", "trainer.limit_val_batches=1"]
    request = parse_request(arguments)
    jobs = collect_jobs(request, compose_seeds)
    print_plan(request, jobs, lambda job: None, lambda job: None)
    printed = capsys.readouterr().out
    assert printed.count("decoder=naive seed=0") == 1
    assert "Evaluations take all 7 images of val: trainer.limit_val_batches" in printed


def test_variants_are_told_from_tables():
    assert sweeps_over_variants(["decoder=full,naive", "seed=0,1"])
    for others in (["seed=0,1"], ["ablation=table1,table2"], ["stage.lr=0.1"], []):
        assert not sweeps_over_variants(others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage.lr=interval(0,1)"], "no values to list"),
        (["stage.lr=shuffle(0.1,0.2)"], "Leave out shuffle"),
        (["decoder=glob(x*)"], "no choice matches. Choices: full"),
        (["stage.max_steps=range(3,3)"], "no value"),
        (["runs_dir=a,b"], "all runs of a sweep share this key"),
        (["resume=runs/a"], "a sweep resumes its runs by itself"),
        (["stage.lr=0.1,0.2", "stage.lr=0.3"], "set more than once"),
        (["stage.lr=0.1,0.2", "strategies=[os9]"], "strategies: strategy 'os9'"),
        (["stage.lr=range(0,1001)"], "at most 1000"),
        (["ablation=table1", "strategies=[os8]"], "each row of a table names its inference"),
    ],
)
def test_invalid_sweeps(arguments, message):
    with pytest.raises(UserError, match=message):
        parse_request(arguments)


def test_variants_that_are_the_same_run_are_refused():
    request = parse_request([*FIXED, "decoder=full,naive", "trainer.precision=32-true,bf16-mixed"])
    with pytest.raises(UserError, match=r"are the same run, whose result .* trainer.precision"):
        collect_jobs(request, compose_seeds)


def test_settings_that_nobody_typed_are_named():
    request = parse_request(["data=shapes", "logger=csv", "backbone=mobilenetv2,resnet_tiny",
                             "stage.lr=0.1,0.2"])  # fmt: skip
    lines = untyped_differences("single-scale", collect_jobs(request, compose_seeds))
    assert lines == (
        "Rows 3, 4, beside what was typed: stage.weight_decay is 0.0001 (row 1: 4e-05).",
    )
    (results,) = collect_table_results(
        request, collect_jobs(request, compose_seeds), *[lambda _: None] * 2
    )
    assert lines[0] in table_notes(results, {}, [results])
    typed = parse_request([*FIXED, "stage.weight_decay=0,1"])
    assert untyped_differences("single-scale", collect_jobs(typed, compose_seeds)) == ()


def test_folders_of_images_are_variants(tmp_path):
    """Runs on them have the same settings and differ by their images alone."""
    for name, stems in (("one", "abc"), ("two", "abcd")):
        write_pairs(tmp_path / name, "train/{}.jpg", "train_labels/{}.png", list(stems))
        write_pairs(tmp_path / name, "val/{}.jpg", "val_labels/{}.png", ["x"])
    size = ("data.crop_size=33", "data.eval_size=65", "stage=shapes", "decoder=tiny", "aspp=tiny")
    small = [s for s in SMALL if not s.startswith("data.")]
    sweep = ("-m", "data=folder", "data.root=one,two", "backbone=resnet_tiny", *size, *small)
    run("train", *sweep, cwd=tmp_path)
    (table,) = tmp_path.glob("runs/sweeps/*/single-scale.csv")
    with table.open(newline="") as file:
        runs = [row["run"] for row in csv.DictReader(file)]
    assert [re.search("root_(one|two)", path)[1] for path in runs] == ["one", "two"]
    assert "2 distinct runs, 0 to run" in run("train", *sweep, cwd=tmp_path).stdout


def test_variants_without_a_common_score_are_refused():
    request = parse_request(["data=shapes,shape_classes", "logger=csv"])
    with pytest.raises(UserError, match="have no score in common"):
        with_scores(request, collect_jobs(request, compose_seeds))
    classifiers = parse_request(["data=shape_classes", "seed=0,1", "strategies=[ms]"])
    with pytest.raises(UserError, match="strategies: 'ms': a classifier has one strategy"):
        with_scores(classifiers, collect_jobs(classifiers, compose_seeds))


def test_jobs_have_group_tags_and_name_of_their_variant():
    request = parse_request(
        [*FIXED, "decoder=full,naive", "stage.lr=0.5,1.5", "seed=1,2", "logger.tags=[mine]"]
    )
    jobs = collect_jobs(request, compose_seeds)
    assert [describe_rows(job) for job in jobs][:3] == [
        "decoder=full stage.lr=0.5 seed=1",
        "decoder=full stage.lr=0.5 seed=2",
        "decoder=full stage.lr=1.5 seed=1",
    ]
    overrides = job_overrides(jobs[-1], None, "sweep-x")
    assert 'name="shapes-resnet_tiny-aspp_tiny-decoder_naive-os16-lr1.5-seed2"' in overrides
    assert "strategies=[{strategy:single-scale,split:null,submission:null}]" in overrides
    assert '++logger.tags=["mine","single-scale","decoder=naive","stage.lr=1.5"]' in overrides
    assert '++logger.group="sweep-x"' in overrides
    composed = compose_train(overrides)
    assert composed.logger.group == "sweep-x"
    typed = parse_request([*FIXED, "decoder=full,naive", "logger.group=mine"])
    (job, _) = collect_jobs(typed, compose_seeds)
    assert '++logger.group="mine"' in job_overrides(job, None, "sweep-x")
    (job, _) = collect_jobs(
        parse_request([*FIXED, "decoder=full,naive", 'name="Ställe李"']), compose_seeds
    )
    assert compose_train(job_overrides(job, None, "x")).name.startswith("Ställe李-decoder_full")


def test_the_group_of_a_sweep_does_not_depend_on_values_that_are_chosen():
    """A view, which reads no image, shows the runs of the group."""
    request = parse_request([*FIXED, "decoder=full,naive", "stage.batch_size=auto"])
    trained, shown = (collect_jobs(request, c) for c in (compose_seeds, compose_offline))
    assert trained[0].config.stage.batch_size != shown[0].config.stage.batch_size
    assert _group(request, trained) == _group(request, shown)


@pytest.mark.parametrize(
    ("variant", "part"),
    [
        (["stage.lr=0.01"], "-lr0.01"),
        (["stage.lr=-1e-05"], "-lr_-1e-05"),
        (["aspp.atrous_rates=[3,6,9]"], "-atrous_rates3_6_9"),
        (["loss=dice"], "-loss_dice"),
        (["decoder=naive", "output_stride=16"], ""),  # in the name already
        (["init_from='/a/b c/w,1.safetensors'"], "-init_from_w_1.safetensors"),
        (["loss._target_=my.mod.Loss"], "-loss_my.mod.Loss"),
        (["data.augmentations=[]"], "-augmentations"),
        (["+a.b={x: 'ä/../$(rm)'}"], "-b_rm"),
        (["stage.lr=" + "9" * 300], "-lr" + "9" * 38),
    ],
)
def test_names_of_runs_show_what_differs(variant, part):
    name = run_name("voc-xception-aspp_full-decoder_naive-os16-seed3", variant, 3)
    assert name == f"voc-xception-aspp_full-decoder_naive-os16{part}-seed3"
    assert re.fullmatch(r"\w[\w.+=-]*", name)
    for name in ("x" * 90, "x" * 100, "李" * 33, "李" * 60):
        long = run_name(f"{name}-seed12", ["stage.lr=0.123456789"], 12)
        assert len(long.encode()) <= 100
        assert long.startswith(name[:30])
        assert long.endswith("-seed12")


def test_small_and_missing_differences_are_told_in_words():
    assert Comparison(1, Difference(0.0, 0.0, 0.0)).is_equal
    assert not Comparison(1, Difference(0.0, 0.0, 1e-5)).is_equal
    assert not Comparison(1, problem="other images").is_equal
    assert format_signed(-0.001234, 3) == "\N{MINUS SIGN}0.001"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Run a sweep of two variants and two seeds; return the working folder and its output."""
    cwd = tmp_path_factory.mktemp("swept")
    return cwd, run("train", *SWEEP, cwd=cwd).stdout


SWEEP = ("-m", "decoder=tiny,naive", "stage.lr=0.05", "seed=0,1", *SMALL)


def test_a_sweep_ends_with_its_table(swept):
    cwd, output = swept
    (folder,) = cwd.glob("runs/sweeps/*")
    assert {p.suffix for p in folder.iterdir()} >= {".csv", ".tex", ".html", ".md", ".json"}
    assert {p.name for p in (cwd / "runs").iterdir()} == {
        "sweeps",
        *(f.name for f in run_folders(cwd)),
    }  # no folder of Hydra
    assert [f.name.rpartition("-")[0] for f in run_folders(cwd)] == [
        f"shapes-resnet_tiny-aspp_tiny-decoder_{decoder}-os16-seed{seed}"
        for decoder in ("naive", "tiny")
        for seed in (0, 1)
    ]
    with (folder / "single-scale.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["decoder"], row["seeds"]) for row in rows] == [
        ("1", "tiny", "2"),
        ("2", "naive", "2"),
    ]
    for row in rows:
        results = [
            json.loads((f / "evaluations/val-weights-os16/result.json").read_text())
            for f in run_folders(cwd)
            if f"decoder_{row['decoder']}-" in f.name
        ]
        scores = [result["mIoU"] for result in results]
        assert float(row["mIoU"]) == pytest.approx(mean(scores))
        assert float(row["mIoU, deviation"]) == pytest.approx(stdev(scores))
        assert row["parameters, M"]
        assert float(row["training time, s"]) > 0
    table = output[output.rindex("decoder (inference") :]
    assert re.search(r"^1: decoder=tiny\b", table, re.MULTILINE)
    assert re.search(r"^2: decoder=naive\b", table, re.MULTILINE)
    assert f"Report: runs/sweeps/{folder.name}/index.html" in table
    assert "more seeds: seed=0,1,2,3 instead of seed=0,1 in the same command" in table
    assert re.search(
        r"row 2 against row 1, seed 0: deeplab gallery run=runs/\S+decoder_naive-os16-seed0-\w+ "
        r"compare_with=runs/\S+decoder_tiny-os16-seed0-",
        table,
    )


def test_the_same_command_prints_the_table_again(swept):
    cwd, output = swept
    before = {p: p.stat().st_mtime_ns for f in run_folders(cwd) for p in f.rglob("*.json")}
    again = run("train", *SWEEP, cwd=cwd).stdout
    assert "4 distinct runs, 0 to run" in again
    assert again[again.index("decoder (") :] == output[output.rindex("decoder (inference") :]
    assert {p: p.stat().st_mtime_ns for f in run_folders(cwd) for p in f.rglob("*.json")} == before
    reported = run("ablations", "report", cwd=cwd).stdout
    assert "1: decoder=tiny" in reported
    assert len(list(cwd.glob("runs/sweeps/*"))) == 1


def test_a_run_of_a_sweep_is_found_under_its_default_name(swept):
    """The name shows a swept value; by hand the same run has the default name."""
    cwd, _ = swept
    names = [f.name for f in run_folders(cwd)]
    sweep = run("train", "-m", "stage.lr=0.05,0.06", "decoder=tiny", *SMALL, cwd=cwd).stdout
    assert "2 distinct runs, 1 to run" in sweep
    (new,) = {f.name for f in run_folders(cwd)} - set(names)
    assert "-lr0.06-seed0-" in new
    by_hand = run("train", "stage.lr=0.06", "decoder=tiny", *SMALL, cwd=cwd).stdout
    assert "This run is finished" in by_hand
    assert new in by_hand
    assert len(run_folders(cwd)) == len(names) + 1


def test_text_for_the_terminal(swept):
    cwd, _ = swept
    wide = run("train", *SWEEP, cwd=cwd, variables={"COLUMNS": "200"}).stdout
    narrow = run("train", *SWEEP, cwd=cwd, variables={"COLUMNS": "80"}).stdout
    assert re.search(r"^1: decoder=tiny +\d", wide, re.MULTILINE)
    lines = narrow[narrow.index("decoder (") : narrow.index("Report:")].splitlines()
    assert max(map(len, lines)) <= 80
    assert "not comparable" not in narrow
