"""Tests of the reference of all keys."""

import subprocess
import sys

from deeplab.config.reference import as_markdown, find_keys, print_keys, sections
from support.repository import ROOT


def test_the_page_is_that_of_the_settings():
    """``PYTHONPATH=src python -m deeplab.config.reference > docs/keys.md`` makes it anew."""
    assert (ROOT / "docs/keys.md").read_text() == as_markdown()


def test_every_key_has_a_meaning():
    without = [key.name for section in sections() for key in section.keys if not key.meaning]
    assert without == []


def test_a_key_is_found_by_its_name_and_by_its_meaning():
    keys = find_keys("stage.ema_decay", "train")
    (decay,) = (key for key in keys if key.name == "stage.ema_decay")
    assert decay.type == "null or float > 0, < 1"
    assert decay.default == "null"
    assert "stage.ema_decay" in [key.name for key in find_keys("moving average", "train")]
    assert "data.crop_size" in [key.name for key in find_keys("size crop", "train")]  # any order


def test_keys_are_those_of_the_script_and_below_their_sections(capsys):
    assert "stage.lr" not in [key.name for key in find_keys("lr", "evaluate")]
    assert {"data.root", "trainer.num_workers"} <= {k.name for k in find_keys("", "evaluate")}
    print_keys("width_mult", "train")
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("# backbone (family: mobilenetv2)") == 1
    assert not find_keys("width_mult", "predict")


def test_keys_are_looked_up_on_the_command_line():
    command = [sys.executable, "src/train.py", "--keys", "hard_pixel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "loss.hard_pixel_fraction=0.2   float > 0, <= 1\n" in done.stdout
    assert "loss.hard_pixel_steps=0   int >= 0\n" in done.stdout
