"""Keys of ``trainer``: each argument of Lightning's trainer is one, or has a replacement."""

import inspect

import pytest
from lightning import Trainer

from deeplab.config.schema.lightning import MANAGED_ARGUMENTS
from deeplab.config.schema.trainer import EXECUTION_ARGUMENTS, TrainerSettings
from deeplab.utils.settings import to_dict
from support.scripts import check_imports

ARGUMENTS = inspect.signature(Trainer.__init__).parameters.keys() - {"self"}


def test_every_argument_of_the_trainer_is_a_key_or_has_a_replacement():
    keys = set(TrainerSettings.model_fields)
    assert keys | MANAGED_ARGUMENTS.keys() >= ARGUMENTS
    assert not keys & MANAGED_ARGUMENTS.keys()
    passed = TrainerSettings().lightning_arguments.keys()
    assert MANAGED_ARGUMENTS.keys() | passed <= ARGUMENTS  # nothing is left over
    assert keys >= EXECUTION_ARGUMENTS


def test_lightning_takes_what_is_passed_on_to_it(tmp_path):
    settings = TrainerSettings(
        deterministic="warn", detect_anomaly=True, gradient_clip_algorithm="value"
    )
    Trainer(accelerator="cpu", logger=False, **settings.lightning_arguments)


def test_the_keys_need_no_torch():
    check_imports("from deeplab.config.schema.trainer import TrainerSettings; TrainerSettings()")


def test_records_have_only_the_arguments_that_are_set():
    """A later version of Lightning may lack others."""
    assert "deterministic" not in to_dict(TrainerSettings())
    changed = TrainerSettings(deterministic=True, overfit_batches=0.5)
    assert to_dict(changed) == {
        **to_dict(TrainerSettings()),
        "deterministic": True,
        "overfit_batches": 0.5,
    }
    assert TrainerSettings(**to_dict(changed)) == changed


@pytest.mark.parametrize(
    ("given", "parsed"),
    [("2", 2), ("-1", "auto"), (-1, "auto"), ("0,1", (0, 1)), ([1], (1,)), ("3,", (3,))],
)
def test_devices_are_written_as_in_lightning(given, parsed):
    assert TrainerSettings(devices=given).devices == parsed


@pytest.mark.parametrize(
    ("given", "parsed"), [(16, "16-mixed"), ("bf16", "bf16-mixed"), (64, "64-true")]
)
def test_precisions_have_lightnings_short_names(given, parsed):
    assert TrainerSettings(precision=given).precision == parsed
