"""Ablation tables and presets as they stand in ``conf/ablation`` and ``conf/preset``.

A table has rows; a row says how a network is trained and how it is looked at, and what the paper
measured. A preset changes what all rows of all tables are run with, such as for minutes on a CPU.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, model_validator

from deeplab.config.parsing import validate
from deeplab.config.paths import CONF
from deeplab.config.schema.types import Bool, Float, Natural, Positive, Schema, Text
from deeplab.inference.strategy import parse_strategy
from deeplab.utils.errors import UserError

S = TypeVar("S", bound=Schema)

Score = Literal["mIoU", "top1_error", "top5_error"]

TITLES: dict[Score, str] = {
    "mIoU": "mIoU",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
}

ERRORS: tuple[Score, ...] = ("top1_error", "top5_error")
"""Scores of which less is better; those of classifiers."""
Overrides = tuple[Annotated[Text, Field(pattern=r"^[+~]{0,2}[\w./@]+=")], ...]
"""As on the command line of ``train.py``."""


class Paper(Schema):
    """What the paper prints: percent, points, or 10^9 multiply-adds."""

    mIoU: Float | None = None  # noqa: N815 (the field's name in every result)
    top1_error: Float | None = None
    top5_error: Float | None = None
    multiply_adds: Float | None = None
    narrowest_band_gain: Float | None = None
    """mIoU above that of the row's reference in the narrowest band around object borders."""


class Pretraining(Schema):
    """A training that rows, or other such trainings, start from."""

    train: Overrides
    """On top of the table's, as a row's."""
    init_from: Text | None = None
    external_weights: Text | None = None
    """The weights of this name, which the user has, are where it starts."""


class Row(Schema):
    """One row of a table."""

    cells: Annotated[tuple[bool | Natural | Text | Literal[""], ...], Field(min_length=1)]
    """What stands in the table's columns."""
    train: Overrides = ()
    """On top of the table's."""
    init_from: Text | None = None
    """The name of the training it starts from."""
    strategy: Text | None = None
    """Of inference; none: the table's."""
    reference: Positive | None = None
    """The number of the row it is tested against; none: the table's."""
    paper: Paper = Paper()
    cited: Bool = False
    """Somebody else's method, which is not run here."""
    unavailable: Text | None = None
    """Why it cannot be run."""

    @property
    def runnable(self) -> bool:
        """Whether it stands for a training here."""
        return not self.cited and self.unavailable is None


class Table(Schema):
    """An ablation table."""

    title: Text
    setting: Text
    """What holds for all rows."""
    columns: Annotated[tuple[Text, ...], Field(min_length=1)]
    scores: Annotated[tuple[Score, ...], Field(min_length=1)] = ("mIoU",)
    train: Overrides = ()
    strategy: Text = "single-scale"
    split: Text | None = None
    """To evaluate on; none: the run's validation split."""
    submission: Literal["voc", "cityscapes"] | None = None
    """The archive to make for a test server."""
    reference: Positive | None = None
    boundary_plot: Bool = False
    """Whether its picture is the curve around object borders."""
    external_weights: dict[Text, Text] = Field(default_factory=dict)
    """Weights that the user would have to have: what they are, by name."""
    pretraining: dict[Text, Pretraining] = Field(default_factory=dict)
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        wide = len(self.columns)
        for number, row in enumerate(self.rows, 1):
            if len(row.cells) != wide:
                raise ValueError(f"row {number} has {len(row.cells)} cells for {wide} columns")
            reference = row.reference or self.reference
            if reference and reference > len(self.rows):
                raise ValueError(f"row {number}: there is no row {reference} to refer to")
            try:
                parse_strategy(row.strategy or self.strategy, output_stride=16)
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from None
            self._check_start(f"row {number}", row.init_from, ())
        for name, start in self.pretraining.items():
            if start.external_weights and start.external_weights not in self.external_weights:
                raise ValueError(
                    f"pretraining.{name}: external_weights does not say what {start.external_weights} is"
                )
        return self

    def _check_start(self, where: str, name: str | None, before: tuple[str, ...]) -> None:
        if name is None:
            return
        if name not in self.pretraining:
            raise ValueError(f"{where}: pretraining does not say what {name} is")
        if name in before:
            raise ValueError(f"{where}: {name} starts from itself")
        self._check_start(where, self.pretraining[name].init_from, (*before, name))


class Preset(Schema):
    """What the rows of all tables are run with."""

    title: Text
    note: Text | None = None
    """What a reader of its numbers is to know; it stands on top of the report."""
    replace: dict[Text, Overrides] = Field(default_factory=dict)
    """Overrides of rows, and what stands in their place."""
    train: Overrides = ()
    """Of every row; what a row itself says counts more."""
    external_weights: dict[Text, Text] = Field(default_factory=dict)
    """Weights that the user would have to have for what stands in the place of others: what they
    are, by name, as in ``backbone.pretrained=external_weights.NAME``."""
    use_val_split: Bool = False
    """Whether rows that are scored by a test server are scored on the validation split instead."""


def choices(group: str) -> list[str]:
    """The files of a group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def is_file(name: str) -> bool:
    """Whether a table or a preset is named by its path."""
    return name.endswith((".yaml", ".yml"))


def read_table(name: str) -> Table:
    """A table by its name, which is that of a file of ``conf/ablation``, or by the path of a file.

    Raises:
        UserError: there is none, or something in it is wrong.
    """
    return _read(Table, "ablation", name)


def read_preset(name: str) -> Preset:
    """A preset of ``conf/preset``, or of a file; raises as ``read_table`` does."""
    return _read(Preset, "preset", name)


def _read(schema: type[S], group: str, name: str) -> S:
    path = Path(name).expanduser() if is_file(name) else CONF / group / f"{name}.yaml"
    if is_file(name) and not path.is_file():
        raise UserError(f"{group}={name}: there is no such file.")
    if not path.is_file():
        known = ", ".join(choices(group))
        raise UserError(f"{group}={name}: there is no such choice. Choices: {known}.")
    try:
        values: Any = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path}: this is not YAML ({error}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a mapping of keys to values is wanted.")
    try:
        return validate(schema, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
