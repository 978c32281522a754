"""Overrides as text."""

import shlex

import pytest

from deeplab.config.command_line import parse_overrides
from deeplab.config.compose import composed
from deeplab.config.overrides import quote_value, to_hydra_override, typed_override

NAMES = (
    "a b", "it's", 'a"b', "a\\b", "a\\", "a\\'b", 'a\\"', "Ställe", "李", "x=y", "a,b", "[a]",
    "{a}", "(a)", "~/x", "2024", "1e5", "1_000", "-1", "null", "True", "a#b", "a;b", "a!b", "a.c+d",
    "/a/b@c%d", "choice(a)",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_the_value_of_a_quoted_override(name):
    (quoted,) = parse_overrides([f"run={quote_value(name)}"])
    assert quoted.value() == name
    (word,) = shlex.split(typed_override("run", name))
    (typed,) = parse_overrides([word])
    assert typed.value() == name
    assert to_hydra_override(word) == word


def test_a_plain_path_is_typed_without_quotes():
    assert typed_override("run", "runs/voc-os16-a1b2") == "run=runs/voc-os16-a1b2"


@pytest.mark.parametrize("value", ["~/photos", "Ställe/李", "runs/name=x", "a#b;c!", "~a b"])
def test_values_that_have_one_reading_need_no_quotes(value):
    with composed("train", ["data=folder", f"data.root={value}"]) as config:
        assert config.data.root == value


def test_classes_of_any_language_need_no_quotes():
    argument = to_hydra_override("data.classes=[Straße, wet road,人]")
    assert argument == 'data.classes=["Straße", wet road,"人"]'
    assert parse_overrides([argument])[0].value() == ["Straße", "wet road", "人"]


@pytest.mark.parametrize(
    "argument",
    ["run=a b", "-m", "~stage", "a=[b, c d]", "a={b:~}", "a='ä'", "a=f(ä)", "=~", "a", "~a=ä"],
)
def test_other_arguments_stay_as_they_are(argument):
    assert to_hydra_override(argument) == argument
