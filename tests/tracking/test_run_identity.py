from typing import Annotated

import pytest
from pydantic import Field

from deeplab.tracking.run_identity import UNHASHED_KEYS, flat_result_settings, run_hash
from deeplab.utils.settings import ADDED, Settings, added_keys, to_dict
from support.configs import train_config


@pytest.mark.parametrize(
    "change",
    [
        "backbone.base_width=8",
        "backbone.bn_momentum=0.5",
        "aspp.atrous_rates=[6,12]",
        "decoder=naive",
        "output_stride=8",
        "stage.lr=0.05",
        "stage.ema_decay=0.9",
        "seed=1",
        "data.hflip_prob=0.0",
        "data.scene_seed=1",
        "data.cutmix_prob=0.5",  # a key that earlier versions did not have
        "data.val_split=train",
        "init_strict=false",
        "trainer.overfit_batches=1",
        "trainer.limit_val_batches=2",
        "trainer.accumulate_grad_batches=2",  # batch norms see fewer images
    ],
)
def test_hash_changes_with_settings_that_determine_the_result(change):
    assert run_hash(train_config(change), "x") != run_hash(train_config(), "x")


@pytest.mark.parametrize(
    "change",
    [
        "trainer.num_workers=3",
        "trainer.devices=2",
        "trainer.num_validations=3",
        "trainer.deterministic=true",
        "logger=csv",
        "data.root=/elsewhere",
        "data.eval_batch_size=1",
        "runs_dir=/elsewhere",
        "name=other",
        "overwrite=true",
        "resume_with_other_code=true",
        "strategies=[os16]",
        "data.on_error=skip",
    ],
)
def test_hash_does_not_depend_on_other_keys(change):
    assert run_hash(train_config(change), "x") == run_hash(train_config(), "x")


def test_hash_depends_on_the_validations_if_they_may_end_the_training():
    early, often = "stage.early_stopping=2", "trainer.num_validations=5"
    assert run_hash(train_config(early, often), "x") != run_hash(train_config(early), "x")


def test_hash_does_not_depend_on_the_parts_of_a_batch_if_batch_norms_are_frozen():
    frozen, parts = "stage.batch_norm=frozen", "trainer.accumulate_grad_batches=2"
    assert run_hash(train_config(frozen, parts), "x") == run_hash(train_config(frozen), "x")


def test_runs_of_versions_without_a_key_are_found():
    """A key at a default that changes nothing is as if it did not exist."""

    class Old(Settings):
        lr: float = 0.1

    class New(Old):
        cutmix_prob: Annotated[float, ADDED] = 0.0

    class Run(Settings):
        stage: Settings = New()
        terms: dict[str, Settings] = Field({})

    assert added_keys(Run()) == {"stage": {"cutmix_prob": True}}
    assert added_keys(Run(stage=New(cutmix_prob=0.5))) == {}
    terms = Run(stage=Old(), terms={"a": New(), "b": New(cutmix_prob=0.5), "c": Old()})
    assert added_keys(terms) == {"terms": {"a": {"cutmix_prob": True}}}
    assert Run().stage.model_dump(exclude=added_keys(New())) == Old().model_dump()


def test_hash_changes_with_the_images():
    assert run_hash(train_config(), "x") != run_hash(train_config(), "y")


def test_hash_changes_with_the_content_of_the_initial_weights_and_their_use():
    files = ("/here/a.safetensors", "/there/b.safetensors")
    backbone, moved = (train_config(f"backbone.pretrained={file}") for file in files)
    assert run_hash(backbone, "x", "1") == run_hash(moved, "x", "1") != run_hash(backbone, "x", "2")
    network = backbone.model_copy(update={"init_from": "runs/other"})
    hashes = {run_hash(c, "x", sha) for c in (backbone, network) for sha in ("1", None)}
    assert len(hashes) == 3


def dotted_keys(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from dotted_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


@pytest.mark.parametrize("data", ["shapes", "voc", "cityscapes", "shape_classes"])
def test_all_keys_are_hashed_but_those_of_the_list(data):
    """Also keys with default values, except those that earlier versions did not have."""
    config = train_config(f"data={data}")
    added = dotted_keys(added_keys(config))
    unhashed = tuple(f"{key}." for key in (*UNHASHED_KEYS, *added))
    keys, hashed = set(dotted_keys(to_dict(config))), set(flat_result_settings(config))
    assert hashed == {key for key in keys if not f"{key}.".startswith(unhashed)}
    assert {f"stage.{name}" for name in type(config.stage).model_fields} <= hashed | set(added)
