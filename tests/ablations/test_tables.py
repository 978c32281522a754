"""Ablation tables: their files, the jobs of their rows, and the command line."""

import re
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.torch import save_file

from deeplab.ablations.distinct_jobs import (
    RANDOM_WEIGHTS,
    RowEvaluation,
    collect_jobs,
    describe_rows,
)
from deeplab.ablations.estimate import estimate_job
from deeplab.ablations.print_plan import _print_missing_data
from deeplab.ablations.report.collect_tables import collect_table_results
from deeplab.ablations.run_tables import report_tables
from deeplab.ablations.sweep import job_overrides, missing_weights_lines, table_tag
from deeplab.ablations.sweep_request import SweepRequest, parse_request
from deeplab.ablations.tables import read_preset, read_table
from deeplab.config.build_model import check_classifier, check_model
from deeplab.config.overrides import to_hydra_override
from deeplab.config.paths import project_choices
from deeplab.config.schema.optimizer import AdamWSettings
from deeplab.config.schema.run import ClassifierConfig
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.strategy import parse_strategy
from deeplab.models.normalization import IMAGENET
from deeplab.training.compose_config import compose_seeds
from deeplab.training.segmentation import untrained_rates
from deeplab.utils.errors import UserError
from deeplab.utils.program import CONF
from support import paper

ROWS = {
    "figure5": 4,
    "table1": 5,
    "table2": 6,
    "table3": 14,
    "table4": 2,
    "table5": 24,
    "table6": 13,
    "table7": 9,
}


def make_request(*names, preset="paper", **keys):
    tables = {name: read_table(name) for name in names}
    return SweepRequest(tables, preset, read_preset(preset), **keys)


def write_table(path, **keys):
    """Write a table of the user's own and return its path."""
    values = {"title": "Mine", "setting": "here", "columns": ["a"], **keys}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def mine(tmp_path, preset="quick", **keys):
    """Return the jobs of a table of the user's own."""
    request = make_request(write_table(tmp_path / "mine.yaml", **keys), preset=preset)
    return collect_jobs(request, compose_seeds)


@pytest.fixture(scope="module")
def resnet101_weights(tmp_path_factory):
    """Write the part of the authors' ResNet-101 weights that composing reads; return the path."""
    path = tmp_path_factory.mktemp("converted") / "it's.safetensors"
    save_file({"backbone.stem.0.conv.weight": torch.zeros(1)}, path)
    return str(path)


@pytest.fixture(scope="module")
def paper_jobs(resnet101_weights):
    """Return the jobs of all tables with the paper's preset."""
    return collect_jobs(
        make_request(*ROWS, external_weights={"resnet101": resnet101_weights}), compose_seeds
    )


def check_network(config):
    """Raise an error if the network of a config cannot be built."""
    if isinstance(config, ClassifierConfig):
        check_classifier(config, num_classes=1000)
    else:
        check_model(config, num_classes=len(config.data.classes))


def test_tables_and_their_row_counts():
    rows = {name: len(read_table(name).rows) for name in project_choices("ablation")}
    assert rows == {**ROWS, "rare_classes": 11, "voc_small": 14}


def test_all_are_the_tables_of_the_paper():
    request = parse_request(["ablation=all"])
    assert list(request.tables) == list(ROWS)
    assert request.preset_name == "quick"


def test_tables_name_their_preset_and_the_command_line_another_one():
    assert parse_request(["ablation=voc_small"]).preset_name == "voc_small"
    assert parse_request(["ablation=voc_small", "preset=quick"]).preset_name == "quick"
    mixed = ["ablation=table1,voc_small"]
    assert parse_request([*mixed, "preset=paper"]).preset_name == "paper"
    with pytest.raises(UserError, match=r"preset=quick \(table1\) or preset=voc_small"):
        parse_request(mixed)


def test_voc_small_trains_five_networks_from_imagenet_weights():
    request = make_request("voc_small", preset="voc_small")
    jobs = collect_jobs(request, partial(compose_seeds, download=False))
    assert len(jobs) == 5
    assert {job.config.backbone.family for job in jobs} == {"mobilenetv2"}
    assert {job.config.backbone.pretrained for job in jobs} == {"imagenet"}
    assert {job.config.stage.lr for job in jobs} == {3e-4}
    assert not [warning for job in jobs for warning in untrained_rates(job.config)]
    names = [(job.config.decoder.low_level_channels, job.config.output_stride) for job in jobs]
    assert len(jobs[0].config.decoder.low_level) == 0
    assert names == [(48, 16), (48, 16), (None, 16), (48, 16), (48, 32)]
    assert [job.config.aspp.image_pooling for job in jobs] == [True, True, True, False, True]


def test_paper_scores_rise_with_each_addition():
    """Find slips in copying: in Table 5 each addition and a finer stride raise the score."""
    rows = {tuple(row.cells): row.paper.mIoU for row in read_table("table5").rows}
    for cells, miou in rows.items():
        for i in (2, 3, 5, 6):  # multi-scale, flip, COCO, JFT
            without = (*cells[:i], False, *cells[i + 1 :])
            if cells[i] and without in rows:
                assert rows[without] < miou
        if cells[0] == 16:
            assert miou < rows[(8, *cells[1:])]


def test_49_rows_share_18_jobs(resnet101_weights):
    tables = ("table1", "table2", "table3", "table5")
    jobs = collect_jobs(
        make_request(*tables, external_weights={"resnet101": resnet101_weights}), compose_seeds
    )
    assert sum(len(job.row_evaluations) for job in jobs) == 49
    runnable = [job for job in jobs if not job.missing_weights_in_chain]
    assert len(runnable) == 18
    (coco,) = (t for t in runnable if t.config.data.name == "coco")
    assert not coco.row_evaluations
    assert [t.pretraining for t in runnable if t.pretraining] == [coco]
    assert sum(len(job.row_evaluations) for job in runnable) == 49 - 4  # JFT-300M


def test_initial_weights_of_paper_jobs(paper_jobs, resnet101_weights):
    """Only the first job of a chain starts from ImageNet weights."""
    for job in paper_jobs:
        backbone = job.config.backbone
        pretrained = [o for o in job.overrides if o.startswith("backbone.pretrained")]
        if isinstance(job.config, ClassifierConfig):  # Table 4 trains these weights
            assert job.origin == RANDOM_WEIGHTS
        elif job.pretraining or job.missing_weights_in_chain:
            assert not pretrained
        elif backbone.family == "xception":
            assert pretrained == ["backbone.pretrained=imagenet"]
            assert job.origin == (
                f"ImageNet weights (hf://timm/xception{backbone.depth}.tf_in1k/model.safetensors)"
            )
        else:
            assert (backbone.pretrained, job.origin) == (resnet101_weights, resnet101_weights)
    all_jobs = collect_jobs(make_request("table3", "table5"), compose_seeds)
    blocked = [job for job in all_jobs if job.missing_weights_in_chain]
    assert {job.missing_weights_in_chain.name for job in blocked} == {
        "resnet101",
        "jft",
    }
    resnet_jobs = [job for job in blocked if "resnet" in job.missing_weights_in_chain.name]
    assert {e.table for job in resnet_jobs for e in job.row_evaluations} == {"table3"}
    (line,) = missing_weights_lines(resnet_jobs)
    assert line.startswith("4 runs need external_weights.resnet101=FILE: ")
    random = collect_jobs(
        make_request("table3", overrides=["backbone.pretrained=null"]), compose_seeds
    )
    assert {(job.missing_weights_in_chain, job.origin) for job in random} == {
        (None, RANDOM_WEIGHTS)
    }


def test_rows_with_different_pretrained_weights(tmp_path):
    names = ("null", "imagenet", "external_weights.mine", "external_weights.unknown")
    rows = [{"cells": [n], "train": [f"backbone.pretrained={n}"]} for n in names]
    table = {"train": ["backbone=xception41"], "external_weights": {"mine": "a file"}}
    jobs = mine(tmp_path, **table, rows=rows[:3])
    assert len({t.key for t in jobs}) == 3
    assert [t.missing_weights_in_chain for t in jobs] == [None, None, ("mine", "a file")]
    with pytest.raises(
        UserError, match=r"row 4: neither the table nor the preset .* external_weights.unknown"
    ):
        mine(tmp_path, **table, rows=rows)


@pytest.mark.parametrize(
    ("first", "mean", "bn_eps"),
    [
        (["backbone=mobilenetv2", "backbone.pretrained=imagenet"], IMAGENET.mean, 1e-5),
        (["backbone.mean=[1,2,3]"], (1, 2, 3), 1e-5),
    ],
)
def test_a_chain_has_the_normalization_of_its_first_weights(tmp_path, first, mean, bn_eps):
    """Weights keep the normalization that they were trained with, in later stages too."""
    same_network = [text for text in first if text.startswith("backbone=")]
    rows = [{"cells": [1], "train": [*same_network, "stage.lr=0.01"], "init_from": "before"}]
    pretraining = {"before": {"train": first}}
    before, after = mine(tmp_path, rows=rows, pretraining=pretraining)
    assert after.pretraining is before
    assert after.config.backbone.mean == before.config.backbone.mean == mean
    assert after.config.backbone.bn_eps == bn_eps


def test_rows_with_the_same_training_share_a_job(paper_jobs):
    row_evaluations = [{(e.table, e.row) for e in job.row_evaluations} for job in paper_jobs]
    full = {("table2", 2), ("figure5", 2), *(("table3", row) for row in range(5, 11))}
    assert full in row_evaluations
    assert {("table1", 4), ("table2", 1)} in row_evaluations


def test_pretraining_comes_before_its_dependents(paper_jobs):
    for i, job in enumerate(paper_jobs):
        assert job.pretraining is None or job.pretraining in paper_jobs[:i]
    (test,) = (t for t in paper_jobs if t.depth == 2 and not t.missing_weights_in_chain)  # Table 6
    assert test.config.output_stride == 8
    assert test.config.stage.batch_norm == "frozen"
    assert test.config.data.train_split == "trainval"
    voc = test.pretraining
    assert (voc.config.output_stride, voc.config.data.train_split) == (16, "trainaug")
    assert {e.table for e in voc.row_evaluations} == {"table5"}  # Table 6 shares the job of Table 5


def test_every_network_can_be_built(paper_jobs):
    for job in paper_jobs:
        check_network(job.config)


@pytest.mark.parametrize(
    ("name", "copied"),
    [
        ("table3", paper.TABLE_3),
        pytest.param("table5", paper.TABLE_5, marks=pytest.mark.processes),  # 18 s of counting
    ],
)
def test_multiply_adds_equal_the_paper_s(name, copied, paper_jobs):
    rows = read_table(name).rows
    assert [row.paper.multiply_adds for row in rows] == copied
    for job in paper_jobs:
        for row_evaluation in job.row_evaluations:
            if row_evaluation.table == name:
                strategy = parse_strategy(row_evaluation.strategy, output_stride=16)
                cost = strategy_cost(job.config, strategy, classes=21, size=(513, 513))
                expected = rows[row_evaluation.row - 1].paper.multiply_adds
                if expected == paper.PRINTED_BUT_INCONSISTENT:
                    expected = 102.78
                assert cost.paper / 1e9 == pytest.approx(expected, rel=2e-4)


def test_quick_preset_has_the_same_rows(paper_jobs):
    quick = collect_jobs(make_request(*ROWS, preset="quick"), compose_seeds)
    assert {job.config.data.name for job in quick} == {"shapes", "shape_classes"}
    assert {e for job in quick for e in job.row_evaluations} == {
        e._replace(split=None, submission=None) for job in paper_jobs for e in job.row_evaluations
    }
    assert len({job.key for job in quick}) == len({t.key for t in paper_jobs})  # none is merged
    for job in quick:
        check_network(job.config)


def test_external_weights(tmp_path):
    weights = tmp_path / "it's, jft.safetensors"
    save_file({}, weights)
    jobs = collect_jobs(
        make_request("table5", external_weights={"jft": str(weights)}), compose_seeds
    )
    assert not any(job.missing_weights_in_chain for job in jobs)
    (coco,) = (t for t in jobs if t.config.init_from)
    assert coco.initial_weights == str(weights)
    assert [t.pretraining for t in jobs if t.pretraining] != [coco, coco]
    with pytest.raises(UserError, match="Names that the tables use: jft, resnet101"):
        collect_jobs(make_request("table5", external_weights={"jtf": "x"}), compose_seeds)


def test_command_line():
    request = parse_request(
        [
            "ablation=table1,table2",
            "preset=paper",
            "num_seeds=3",
            "stage.max_steps=10",
            "data.root=/x",
        ]
    )
    assert list(request.tables) == ["table1", "table2"]
    assert request.preset_name == "paper"
    assert request.seeds == [0, 1, 2]
    assert request.overrides == ["stage.max_steps=10", "data.root=/x"]
    assert parse_request(["ablation=table1", "seed=4,7"]).seeds == [4, 7]
    assert parse_request(["ablation=table1", "seed=range(2)"]).seeds == [0, 1]
    assert list(parse_request(["ablation=all"]).tables) == sorted(ROWS)


def test_paths_of_data_sets_and_weights(tmp_path):
    folder, weights = tmp_path / "it's mine", tmp_path / "b.safetensors"
    folder.mkdir()
    save_file({"backbone.x": torch.zeros(1)}, weights)
    paths = [
        f"external_weights.jft={weights}",
        f'+data_roots.voc="{folder}"',
        f"data_roots.coco={tmp_path}",
    ]
    request = parse_request(["ablation=table5", "preset=paper", *paths])
    assert request.external_weights == {"jft": str(weights)}
    assert request.data_roots == {"voc": str(folder), "coco": str(tmp_path)}
    jobs = collect_jobs(request, compose_seeds)
    roots = {job.config.data.name: job.config.data.root for job in jobs}
    assert roots == request.data_roots
    for invalid in (
        f"external_weights.jft={tmp_path}/c",
        f"data_roots.voc={tmp_path}/c",
        f"data_roots.vox={tmp_path}",
    ):
        with pytest.raises(UserError, match=f"^{invalid.partition('=')[0]}.*no such"):
            parse_request(["ablation=table5", invalid])
    both = ["ablation=table5", "preset=paper", "data.root=/x"]
    with pytest.raises(UserError, match=re.escape("data_roots.voc=... data_roots.coco=...")):
        collect_jobs(parse_request(both), compose_seeds)


def test_rows_with_different_initial_weights(tmp_path):
    """Rows with the same settings but different initial weights are different jobs."""
    for name in "ab":
        save_file({}, tmp_path / f"{name}.safetensors")
    overrides = ([], *([f"init_from={tmp_path}/{name}.safetensors"] for name in "ab"))
    rows = [{"cells": [number], "train": train} for number, train in enumerate(overrides)]
    jobs = mine(tmp_path, "paper", train=["data=shapes"], rows=rows)
    assert [len(job.row_evaluations) for job in jobs] == [1, 1, 1]
    assert [job.initial_weights for job in jobs] == [
        None, *(str(tmp_path / f"{name}.safetensors") for name in "ab")
    ]  # fmt: skip


@pytest.mark.parametrize("file", ["räten & more.yaml", "a,b (1).yaml", "it's [a] = b.yml"])
def test_table_files_with_unusual_names(tmp_path, file):
    path = write_table(tmp_path / file, rows=[{"cells": [1]}])
    for typed in (f"ablation={path}", f'ablation="{path}"'):
        if "," in path and '"' not in typed:
            continue  # two tables for Hydra
        request = parse_request([to_hydra_override(typed)])
        assert list(request.tables) == [path.rsplit("/", 1)[1].rpartition(".")[0]]
    preset = tmp_path / f"p {file}"
    preset.write_text("title: p", encoding="utf-8")
    argument = to_hydra_override(f'preset="{preset}"')
    assert parse_request(["ablation=table1", argument]).preset.title == "p"


def test_tags_of_tables_with_unusual_names():
    """Hydra parses the tags unchanged; W&B allows 64 characters."""
    table = "räten, [1] & it's " + 60 * "x"
    job = collect_jobs(make_request("table1"), compose_seeds)[0]
    job.row_evaluations = [RowEvaluation(table, 12, "single-scale", None, None)]
    overrides = job_overrides(job, None, "ablation-it's mine")
    parsed = OverridesParser.create().parse_overrides(overrides)
    values = {override.key_or_group: override.value() for override in parsed}
    assert values["logger.group"] == "ablation-it's mine"
    tags = values["logger.tags"]
    assert [str(tag) for tag in tags] == [table_tag(table), f"{table_tag(table)}-row12"]
    assert table.startswith(tags[0])
    assert max(map(len, tags)) <= 64


def test_estimate_of_the_remaining_work(paper_jobs):
    """Strategies share their passes, and finished work costs nothing."""

    class FinishedRun:
        folder = SimpleNamespace(finished=True)
        step = 1

        def __init__(self, *strategies):
            self.strategies = strategies

        def evaluation(self, row_evaluation):
            return row_evaluation.strategy in self.strategies

    (job,) = (t for t in paper_jobs if sum(e.table == "table3" for e in t.row_evaluations) == 6)
    strategies = [e.strategy for e in job.row_evaluations]
    total = estimate_job(job, None)
    evaluations = estimate_job(job, FinishedRun()).multiply_adds
    output_strides = [16, 8]
    expected = sum(
        1449 * strategy_cost(
            job.config, parse_strategy(f"os{s}-ms-flip", output_stride=16), classes=21,
            size=(513, 513),
        ).conv
        for s in output_strides
    )  # fmt: skip
    assert evaluations == pytest.approx(expected, rel=0.02)  # sizes are rounded
    assert estimate_job(job, FinishedRun(*strategies)).multiply_adds == 0
    assert estimate_job(job, FinishedRun(*strategies)).disk == 0
    stage = job.config.stage.model_copy(update={"ema_decay": 0.999})
    averaged = job.config.model_copy(update={"stage": stage, "optimizer": AdamWSettings()})
    more = estimate_job(replace(job, config=averaged), None).disk - total.disk
    assert estimate_job(
        job, FinishedRun("os8", "os8-ms", "os8-ms-flip")
    ).multiply_adds == pytest.approx(evaluations / (1 + 297.92 / 102.78), rel=0.03)
    step = strategy_cost(
        job.config, parse_strategy("os16", output_stride=16), classes=21, size=(513, 513)
    )
    assert more == 2 * 2 * 4 * step.with_bn_statistics  # in two checkpoints, of four bytes
    assert total.multiply_adds - evaluations == pytest.approx(3 * step.conv * 16 * 30_000)


@pytest.mark.parametrize(("table", "steps"), [("table1", 800), ("table4", 800)])
def test_a_measured_step_tells_how_long_a_job_takes(table, steps):
    """Both for segmentation networks and for classifiers."""
    (job, *_) = collect_jobs(make_request(table, preset="quick"), compose_seeds)
    assert estimate_job(job, None).seconds is None
    start = time.monotonic()
    estimate = estimate_job(job, None, measure_speed=True)
    assert 0 < estimate.step_seconds < time.monotonic() - start
    training = steps * estimate.step_seconds
    assert training < estimate.seconds < 2 * training  # evaluations take the rest
    assert estimate_job(job, None, measure_speed=True) == estimate  # measured once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablation=table9"], "Choices: table1, table2"),
        (["ablation=table1", "preset=fast"], "Choices: none, paper, quick"),
        (["ablation=table1", "num_seeds=0"], "whole numbers"),
        (["ablation=table1", "num_seeds=three"], "whole numbers"),
        (["ablation=table1", "num_seeds=2", "seed=1"], "keep one of the two"),
        (["ablation=table1", "num_seeds=2,3"], "only one value"),
        (["ablation=table1", "num_seeds=00"], "whole numbers"),
        (["ablation=table1", "num_seeds="], "whole numbers"),
        (["ablation=table1", "preset=quick,paper"], "only one value"),
        (["ablation=glob(table*)"], "List the values"),
        (["ablation=table1", "stage.lr=0.1,0.2"], "only seed may have several values"),
        (["ablation=table1", "stage.lr=[0.1"], "a bracket without its other one"),
        (["ablation=table1", "data_roots.voc=.,.."], "only one value"),
        (["ablation=table1", "data_roots.voc=[]"], "no such file or folder"),
    ],
)
def test_invalid_command_line(arguments, message):
    with pytest.raises(UserError, match=message):
        parse_request(arguments)


STARTS_FROM_A = {"cells": [1], "init_from": "a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "rows"),
        ({"colums": ["a"]}, "colums: no such key"),
        ({"reference": 9}, "reference=9: the table has no row 9"),
        ({"rows": [{"cells": [1, 2]}]}, "row 1 has 2 cells for 1 columns"),
        ({"rows": [{"cells": [1], "strategy": "os9"}]}, "os9"),
        (
            {"rows": [{"cells": [1], "init_from": "coco"}]},
            "init_from=coco: not defined in the table's pretraining",
        ),
        (
            {"pretraining": {"a": {"train": [], "init_from": "a"}}, "rows": [STARTS_FROM_A]},
            "itself",
        ),
        (
            {"pretraining": {"a": {"train": [], "external_weights": "b"}}},
            "external_weights=b: not described in the table's external_weights",
        ),
        (
            {"pretraining": {"a": {"train": [], "init_from": "b"}}},  # which no row uses
            "pretraining.a: init_from=b: not defined",
        ),
        (
            {"pretraining": {"a": {"train": [], "init_from": "a"}}},
            "pretraining.a: init_from=a: this pretraining starts from itself",
        ),
        ({"train": ["decoder full"]}, "train"),
    ],
)
def test_error_of_an_invalid_table_names_its_file(tmp_path, change, message):
    path = write_table(tmp_path / "mine.yaml", **{"rows": [{"cells": [1]}], **change})
    with pytest.raises(UserError, match=message) as raised:
        read_table(path)
    assert path in str(raised.value)


def test_a_plan_does_not_look_for_a_bucket_on_the_disk(tmp_path, capsys):
    keys = ["data=webdataset", "data.root=s3://bucket/shards", "stage=imagenet"]
    jobs = collect_jobs(parse_request([*keys, "seed=0,1"]), compose_seeds)
    _print_missing_data(jobs)
    assert capsys.readouterr().out == ""


def test_a_report_has_any_number_of_arguments(tmp_path):
    arguments = ["ablation=table1", f"runs_dir={tmp_path}", *["stage.lr=0.01"] * 300]
    assert report_tables(arguments).is_file()


def test_error_of_composing_names_the_row(tmp_path):
    with pytest.raises(UserError, match=r"row 1: decoder=ful: .* Did you mean full"):
        mine(tmp_path, rows=[{"cells": [1], "train": ["decoder=ful"]}])


def test_tables_have_no_duplicate_keys():
    """YAML silently takes the last one."""

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key) for key, _ in node.value]
            assert len(set(keys)) == len(keys), keys
            return super().construct_mapping(node, deep)

    for path in (*CONF.glob("ablation/*.yaml"), *CONF.glob("preset/*.yaml")):
        yaml.load(path.read_text(), StrictLoader)


def test_rows_of_several_runs_and_seeds_are_named_once():
    request = parse_request(["ablation=voc_small,figure5", "preset=voc_small", "num_seeds=2"])
    jobs = collect_jobs(request, compose_seeds)
    naive = [job for job in jobs if "decoder=naive" in job.overrides]
    assert len(naive) == 2
    assert describe_rows(*naive) == "voc_small rows 1, 5, 7; figure5 rows 1, 3"
    assert describe_rows(*jobs) == (
        f"voc_small rows {', '.join(map(str, range(1, 15)))}; figure5 rows 1, 2, 3, 4"
    )


def test_the_setting_names_what_a_preset_replaces():
    request = parse_request(["ablation=figure5", "preset=voc_small", "num_seeds=1"])
    jobs = collect_jobs(request, compose_seeds)
    (table,) = collect_table_results(request, jobs, *[lambda job: None] * 2)
    assert table.setting.startswith("In the paper: VOC 2012 val")
    assert table.setting.endswith(
        "here: backbone=mobilenetv2 backbone.pretrained=imagenet for backbone=resnet101 and "
        "backbone=xception"
    )
    request = parse_request(["ablation=figure5", "preset=paper", "num_seeds=1"])
    (table,) = collect_table_results(
        request, collect_jobs(request, compose_seeds), *[lambda job: None] * 2
    )
    assert table.setting == read_table("figure5").setting


@pytest.mark.parametrize(
    ("table", "arguments", "as_paper"),
    [
        ("table1", ["preset=paper"], True),
        ("table5", ["preset=paper"], True),  # its weights of other data are missing
        ("table4", ["preset=none"], True),  # trains classifiers from random weights
        ("table1", ["preset=none"], False),
        ("table1", ["preset=paper", "backbone.pretrained=null"], False),
        ("table1", ["preset=gpu_week"], False),  # another ResNet-101
        ("table5", ["preset=gpu_week"], True),
        ("table1", ["preset=quick"], False),
        ("table1", ["preset=paper", "augmentation=strong"], False),
        ("table1", ["preset=paper", "stage.max_steps=10"], False),
        ("table1", ["preset=paper", "trainer.overfit_batches=3"], False),
        ("table1", ["preset=paper", "trainer.accumulate_grad_batches=2"], False),
        ("table1", ["preset=paper", "trainer.precision=32-true", "data.root=/x"], True),
    ],
)
def test_a_table_is_as_in_the_paper_unless_a_result_may_differ(table, arguments, as_paper):
    request = parse_request([f"ablation={table}", *arguments])
    jobs = collect_jobs(request, partial(compose_seeds, download=False))
    (result,) = collect_table_results(request, jobs, *[lambda job: None] * 2)
    assert result.as_paper == as_paper
