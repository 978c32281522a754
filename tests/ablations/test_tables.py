"""Tables of the paper as data: what their rows are, and which trainings they stand for."""

import re
from types import SimpleNamespace

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.torch import save_file

from deeplab.ablations.estimate import estimate_job
from deeplab.ablations.jobs import RANDOM_WEIGHTS, SweepRequest, RowEvaluation, collect_jobs
from deeplab.ablations.request import parse_request
from deeplab.ablations.sweep import overrides, table_tag, wanted
from deeplab.ablations.tables import choices, read_preset, read_table
from deeplab.config.build_model import check_classifier, check_model
from deeplab.config.hydra_app import to_sweep_override
from deeplab.config.paths import CONF
from deeplab.config.schema.run import ClassifierConfig
from deeplab.evaluation.cost import strategy_cost
from deeplab.inference.strategy import parse_strategy
from deeplab.models.normalization import IMAGENET
from deeplab.training.compose import compose_train
from deeplab.utils.errors import UserError
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


def request(*names, preset="paper", **more):
    tables = {name: read_table(name) for name in names}
    return SweepRequest(tables, preset, read_preset(preset), **more)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The authors' ResNet-101, as far as composing looks at it."""
    path = tmp_path_factory.mktemp("converted") / "it's.safetensors"
    save_file({"backbone.stem.0.conv.weight": torch.zeros(1)}, path)
    return str(path)


@pytest.fixture(scope="module")
def of_the_paper(converted):
    return collect_jobs(request(*ROWS, external_weights={"resnet101": converted}), compose_train)


def check_network(config):
    """Whether it can be built."""
    if isinstance(config, ClassifierConfig):
        check_classifier(config, num_classes=1000)
    else:
        check_model(config, num_classes=len(config.data.classes))


def test_all_tables_are_there():
    assert {name: len(read_table(name).rows) for name in choices("ablation")} == ROWS


def test_the_paper_s_scores_rise_with_what_is_added():
    """Slips in copying show here: in Table 5 each addition gains, and so does a finer stride."""
    rows = {tuple(row.cells): row.paper.mIoU for row in read_table("table5").rows}
    for cells, miou in rows.items():
        for i in (2, 3, 5, 6):  # multi-scale, flip, COCO, JFT
            without = (*cells[:i], False, *cells[i + 1 :])
            if cells[i] and without in rows:
                assert rows[without] < miou
        if cells[0] == 16:
            assert miou < rows[(8, *cells[1:])]


def test_49_rows_are_18_trainings(converted):
    tables = ("table1", "table2", "table3", "table5")
    found = collect_jobs(request(*tables, external_weights={"resnet101": converted}), compose_train)
    assert sum(len(training.row_evaluations) for training in found) == 49
    runnable = [training for training in found if not training.missing_weights_in_chain]
    assert len(runnable) == 18
    (coco,) = (t for t in runnable if t.config.data.name == "coco")
    assert not coco.row_evaluations
    assert [t.pretraining for t in runnable if t.pretraining] == [coco]
    assert sum(len(training.row_evaluations) for training in runnable) == 49 - 4  # JFT-300M


def test_what_the_paper_s_trainings_start_from(of_the_paper, converted):
    """ImageNet weights, once in a chain."""
    for training in of_the_paper:
        backbone = training.config.backbone
        named = [o for o in training.overrides if o.startswith("backbone.pretrained")]
        if isinstance(training.config, ClassifierConfig):  # Table 4 makes such weights
            assert training.origin == RANDOM_WEIGHTS
        elif training.pretraining or training.missing_weights_in_chain:
            assert not named
        elif backbone.family == "xception":
            assert named == ["backbone.pretrained=imagenet"]
            assert training.origin == (
                f"ImageNet weights (hf://timm/xception{backbone.depth}.tf_in1k/model.safetensors)"
            )
        else:
            assert (backbone.pretrained, training.origin) == (converted, converted)
    lacking = [t for t in collect_jobs(request("table3", "table5"), compose_train) if t.missing_weights_in_chain]
    assert {t.missing_weights_in_chain.partition(":")[0] for t in lacking} == {"resnet101", "jft"}
    assert {use.table for t in lacking if "resnet" in t.missing_weights_in_chain for use in t.row_evaluations} == {"table3"}
    (line,) = wanted(t for t in lacking if "resnet" in t.missing_weights_in_chain)
    assert line.startswith("4 want external_weights.resnet101=FILE: ")
    null = collect_jobs(request("table3", overrides=["backbone.pretrained=null"]), compose_train)
    assert {(t.missing_weights_in_chain, t.origin) for t in null} == {(None, RANDOM_WEIGHTS)}


def test_rows_may_differ_in_what_they_start_from(tmp_path):
    path, rows = tmp_path / "mine.yaml", []
    for start in ("null", "imagenet", "external_weights.mine", "external_weights.nobodys"):
        rows.append({"cells": [start], "train": [f"backbone.pretrained={start}"]})
    table = {"title": "M", "setting": "s", "columns": ["a"], "external_weights": {"mine": "a file"}}
    table |= {"train": ["backbone=xception41"], "rows": rows[:3]}
    path.write_text(yaml.safe_dump(table))
    found = collect_jobs(request(str(path), preset="quick"), compose_train)
    assert len({t.key for t in found}) == 3
    assert [t.missing_weights_in_chain for t in found] == [None, None, "mine: a file"]
    path.write_text(yaml.safe_dump(table | {"rows": rows}))
    with pytest.raises(
        UserError, match=r"row 4: neither table nor preset .* external_weights.nobodys"
    ):
        collect_jobs(request(str(path), preset="quick"), compose_train)


def test_a_chain_keeps_what_its_first_weights_want(tmp_path):
    """The input normalization of public weights, which the run that follows will have too."""
    path = tmp_path / "mine.yaml"
    table = {
        "title": "M", "setting": "s", "columns": ["a"], "rows": [{"cells": [1], "init_from": "a"}],
        "train": ["backbone=mobilenetv2", "backbone.pretrained=imagenet"],
        "pretraining": {"a": {"train": ["seed=1"]}},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(table))
    first, second = collect_jobs(request(str(path), preset="quick"), compose_train)
    assert first.config.backbone.mean == IMAGENET.mean
    assert second.config.backbone.mean == IMAGENET.mean
    assert second.config.backbone.bn_eps == 1e-5


def test_rows_that_are_trained_alike_share_a_training(of_the_paper):
    row_evaluations = [{(use.table, use.row) for use in training.row_evaluations} for training in of_the_paper]
    full = {("table2", 2), ("figure5", 2), *(("table3", row) for row in range(5, 11))}
    assert full in row_evaluations
    assert {("table1", 4), ("table2", 1)} in row_evaluations


def test_what_others_start_from_comes_first(of_the_paper):
    for place, training in enumerate(of_the_paper):
        assert training.pretraining is None or training.pretraining in of_the_paper[:place]
    (test,) = (t for t in of_the_paper if t.depth == 2 and not t.missing_weights_in_chain)  # Table 6
    assert test.config.output_stride == 8
    assert test.config.stage.batch_norm == "frozen"
    assert test.config.data.train_split == "trainval"
    voc = test.pretraining
    assert (voc.config.output_stride, voc.config.data.train_split) == (16, "trainaug")
    assert {use.table for use in voc.row_evaluations} == {"table5"}  # it is Table 5's


def test_every_row_can_be_built(of_the_paper):
    for training in of_the_paper:
        check_network(training.config)


@pytest.mark.parametrize(("name", "copied"), [("table3", paper.TABLE_3), ("table5", paper.TABLE_5)])
def test_rows_have_the_paper_s_multiply_adds(name, copied, of_the_paper):
    rows, counted = read_table(name).rows, {}
    assert [row.paper.multiply_adds for row in rows] == copied
    for training in of_the_paper:
        for use in training.row_evaluations:
            if use.table == name:
                strategy = parse_strategy(use.strategy, output_stride=16)
                key = (repr(training.config.decoder), repr(training.config.aspp), strategy)
                if key not in counted:
                    cost = strategy_cost(training.config, strategy, classes=21, size=(513, 513))
                    counted[key] = cost.paper / 1e9
                expected = rows[use.row - 1].paper.multiply_adds
                if expected == paper.PRINTED_BUT_INCONSISTENT:
                    expected = 102.78
                assert counted[key] == pytest.approx(expected, rel=2e-4)


def test_the_quick_profile_has_the_same_rows(of_the_paper):
    quick = collect_jobs(request(*ROWS, preset="quick"), compose_train)
    assert {t.config.data.name for t in quick} == {"shapes", "shape_classes"}
    assert {u for t in quick for u in t.row_evaluations} == {
        use._replace(split=None, export=None) for t in of_the_paper for use in t.row_evaluations
    }
    assert len({t.key for t in quick}) == len({t.key for t in of_the_paper})  # none falls together
    for training in quick:
        check_network(training.config)


def test_weights_that_the_user_supplies(tmp_path):
    weights = tmp_path / "it's, jft.safetensors"
    weights.touch()
    found = collect_jobs(request("table5", external_weights={"jft": str(weights)}), compose_train)
    assert not any(training.missing_weights_in_chain for training in found)
    (coco,) = (t for t in found if t.config.init_from)
    assert coco.initial_weights == str(weights)
    assert [t.pretraining for t in found if t.pretraining] != [coco, coco]
    with pytest.raises(UserError, match="they ask for jft, resnet101"):
        collect_jobs(request("table5", external_weights={"jtf": "x"}), compose_train)


def test_a_command_line():
    found = parse_request(
        [
            "ablation=table1,table2",
            "preset=paper",
            "num_seeds=3",
            "stage.max_steps=10",
            "data.root=/x",
        ]
    )
    assert list(found.tables) == ["table1", "table2"]
    assert found.preset_name == "paper"
    assert found.seeds == [0, 1, 2]
    assert found.overrides == ["stage.max_steps=10", "data.root=/x"]
    assert parse_request(["ablation=table1", "seed=4,7"]).seeds == [4, 7]
    assert parse_request(["ablation=table1", "seed=range(2)"]).seeds == [0, 1]
    assert list(parse_request(["ablation=all"]).tables) == sorted(ROWS)


def test_files_and_folders_that_are_named(tmp_path):
    folder, weights = tmp_path / "it's mine", tmp_path / "b.safetensors"
    folder.mkdir()
    save_file({"backbone.x": torch.zeros(1)}, weights)
    named = [
        f"external_weights.jft={weights}",
        f'+data_roots.voc="{folder}"',
        f"data_roots.coco={tmp_path}",
    ]
    found = parse_request(["ablation=table5", "preset=paper", *named])
    assert found.external_weights == {"jft": str(weights)}
    assert found.roots == {"voc": str(folder), "coco": str(tmp_path)}
    of = {t.config.data.name: t.config.data.root for t in collect_jobs(found, compose_train)}
    assert of == found.roots
    for wrong in (
        f"external_weights.jft={tmp_path}/c",
        f"data_roots.voc={tmp_path}/c",
        f"data_roots.vox={tmp_path}",
    ):
        with pytest.raises(UserError, match=f"^{wrong.partition('=')[0]}.*there is no such"):
            parse_request(["ablation=table5", wrong])
    both = ["ablation=table5", "preset=paper", "data.root=/x"]
    with pytest.raises(UserError, match=re.escape("data_roots.voc=... data_roots.coco=...")):
        collect_jobs(parse_request(both), compose_train)


def own_table(path, **keys):
    """A table of one's own, as a file."""
    values = {"title": "Mine", "setting": "here", "columns": ["a"], **keys}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def test_rows_that_differ_in_their_first_weights_only(tmp_path):
    """They have the same settings, and are different trainings."""
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "b.safetensors").touch()
    added = ([], *([f"init_from={tmp_path}/{name}.safetensors"] for name in "ab"))
    rows = [{"cells": [number], "train": train} for number, train in enumerate(added)]
    name = own_table(tmp_path / "mine.yaml", train=["data=shapes"], rows=rows)
    found = collect_jobs(request(name), compose_train)
    assert [len(training.row_evaluations) for training in found] == [1, 1, 1]
    assert [training.initial_weights for training in found] == [
        None, *(str(tmp_path / f"{name}.safetensors") for name in "ab")
    ]  # fmt: skip


def test_what_follows_a_training_is_normalized_as_that(tmp_path):
    """Weights go with the normalization that they were trained with, in later stages too."""
    rows = [{"cells": [1], "train": ["stage.lr=0.01"], "init_from": "before"}]
    starts = {"before": {"train": ["backbone.mean=[1,2,3]"]}}
    name = own_table(tmp_path / "mine.yaml", train=["data=shapes"], rows=rows, pretraining=starts)
    before, after = collect_jobs(request(name), compose_train)
    assert after.pretraining is before
    assert after.config.backbone.mean == before.config.backbone.mean == (1, 2, 3)


@pytest.mark.parametrize("file", ["räten & more.yaml", "a,b (1).yaml", "it's [a] = b.yml"])
def test_files_with_any_name(tmp_path, file):
    path = own_table(tmp_path / file, rows=[{"cells": [1]}])
    for typed in (f"ablation={path}", f'ablation="{path}"'):
        if "," in path and '"' not in typed:
            continue  # two names
        found = parse_request([to_sweep_override(typed)])
        assert list(found.tables) == [path.rsplit("/", 1)[1].rpartition(".")[0]]
    preset = tmp_path / f"p {file}"
    preset.write_text("title: p", encoding="utf-8")
    typed = to_sweep_override(f'preset="{preset}"')
    assert parse_request(["ablation=table1", typed]).preset.title == "p"


def test_labels_of_tables_with_any_name():
    """As they are typed, Hydra reads them back; W&B takes 64 characters."""
    table = "räten, [1] & it's " + 60 * "x"
    made = collect_jobs(request("table1"), compose_train)[0]
    made.row_evaluations = [RowEvaluation(table, 12, "single-scale", None, None)]
    typed = overrides(made, None, "ablation-it's mine")
    read = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(typed)}
    assert read["logger.group"] == "ablation-it's mine"
    tags = read["logger.tags"]
    assert [str(tag) for tag in tags] == [table_tag(table), f"{table_tag(table)}-row12"]
    assert table.startswith(tags[0])
    assert max(map(len, tags)) <= 64


def test_what_is_left_to_do_of_a_training():
    """Strategies share their passes, and what is done costs nothing."""

    class Done:
        folder = SimpleNamespace(finished=True)
        step = 1

        def __init__(self, *strategies):
            self.strategies = strategies

        def evaluation(self, use):
            return use.strategy in self.strategies

    found = collect_jobs(request("table3"), compose_train)
    (training,) = (t for t in found if len(t.row_evaluations) == 6)
    ways = [use.strategy for use in training.row_evaluations]
    whole = estimate_job(training, None)
    evaluations = estimate_job(training, Done()).multiply_adds
    counted = [16, 8]
    both = sum(
        1449 * strategy_cost(
            training.config, parse_strategy(f"os{s}-ms-flip", output_stride=16), classes=21,
            size=(513, 513),
        ).conv
        for s in counted
    )  # fmt: skip
    assert evaluations == pytest.approx(both, rel=0.02)  # sizes are rounded
    assert estimate_job(training, Done(*ways)).multiply_adds == 0
    assert estimate_job(training, Done(*ways)).disk == whole.disk
    assert estimate_job(training, Done("os8", "os8-ms", "os8-ms-flip")).multiply_adds == pytest.approx(
        evaluations / (1 + 297.92 / 102.78), rel=0.03
    )
    step = strategy_cost(
        training.config, parse_strategy("os16", output_stride=16), classes=21, size=(513, 513)
    )
    assert whole.multiply_adds - evaluations == pytest.approx(3 * step.conv * 16 * 30_000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ablation=table9"], "Choices: figure5, table1"),
        (["ablation=table1", "preset=fast"], "Choices: paper, quick"),
        (["ablation=table1", "num_seeds=0"], "whole numbers"),
        (["ablation=table1", "seeds=three"], "whole numbers"),
        (["ablation=table1", "num_seeds=2", "seed=1"], "say one of them"),
        (["ablation=table1", "num_seeds=2,3"], "one value"),
        (["ablation=table1", "num_seeds=00"], "whole numbers"),
        (["ablation=table1", "seeds="], "whole numbers"),
        (["ablation=table1", "preset=quick,paper"], "one value"),
        (["ablation=glob(table*)"], "to be listed"),
        (["ablation=table1", "stage.lr=0.1,0.2"], "only seed may have several values"),
        (["ablation=table1", "stage.lr=[0.1"], "cannot be read as key=value"),
    ],
)
def test_a_wrong_command_line(arguments, said):
    with pytest.raises(UserError, match=said):
        parse_request(arguments)


FROM_A = {"cells": [1], "init_from": "a"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": []}, "rows"),
        ({"colums": ["a"]}, "colums: no such key"),
        ({"reference": 9}, "there is no row 9"),
        ({"rows": [{"cells": [1, 2]}]}, "row 1 has 2 cells for 1 columns"),
        ({"rows": [{"cells": [1], "strategy": "os9"}]}, "os9"),
        ({"rows": [{"cells": [1], "init_from": "coco"}]}, "pretraining does not say what coco is"),
        ({"pretraining": {"a": {"train": [], "init_from": "a"}}, "rows": [FROM_A]}, "itself"),
        ({"pretraining": {"a": {"train": [], "external_weights": "b"}}}, "external_weights does not say what b is"),
        ({"train": ["decoder full"]}, "train"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_named(tmp_path, change, said):
    table = {
        "title": "Mine", "setting": "here", "columns": ["a"], "rows": [{"cells": [1]}], **change
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(UserError, match=said) as raised:
        read_table(str(path))
    assert str(path) in str(raised.value)


def test_a_row_that_cannot_be_composed_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    rows = [{"cells": [1], "train": ["decoder=ful"]}]
    path.write_text(yaml.safe_dump({"title": "M", "setting": "s", "columns": ["a"], "rows": rows}))
    with pytest.raises(UserError, match=r"row 1: decoder=ful: .* Did you mean full"):
        collect_jobs(request(str(path)), compose_train)


def test_tables_hold_no_key_twice():
    """YAML takes the last one without a word."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key) for key, _ in node.value]
            assert len(set(keys)) == len(keys), keys
            return super().construct_mapping(node, deep)

    for path in (*CONF.glob("ablation/*.yaml"), *CONF.glob("preset/*.yaml")):
        yaml.load(path.read_text(), Strict)
