"""Schemas of ablation tables and presets (``conf/ablation``, ``conf/preset``).

A table has rows; a row defines a training job, an inference strategy and the paper's scores. A
preset changes the settings of all rows of all tables, for example so that they take minutes on a
CPU.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from deeplab.config.messages import unknown_choice
from deeplab.config.parsing import validate
from deeplab.config.paths import find_choice
from deeplab.inference.strategy import SINGLE_SCALE, parse_strategy
from deeplab.utils.errors import UserError
from deeplab.utils.reading import read_values, report_damage
from deeplab.utils.settings import Bool, Float, Natural, Positive, Settings, Text

S = TypeVar("S", bound=Settings)

DEFAULT_PRESET = "quick"
"""Preset of the paper's tables."""

Score = Literal["mIoU", "top1_error", "top5_error"]

SEGMENTATION_SCORES: tuple[Score, ...] = ("mIoU",)

ERRORS: tuple[Score, ...] = ("top1_error", "top5_error")
"""Scores of classifiers, where lower is better."""

Overrides = tuple[Annotated[Text, Field(pattern=r"^[+~]{0,2}[\w./@]+=")], ...]
"""Overrides as on the command line of ``deeplab train``."""


class Paper(Settings):
    """Values that the paper prints: percent, points, or 10^9 multiply-adds."""

    mIoU: Float | None = None  # noqa: N815 (the field's name in every result)
    top1_error: Float | None = None
    top5_error: Float | None = None
    multiply_adds: Float | None = None
    narrowest_band_gain: Float | None = None
    """Gain in mIoU over the row's reference in the narrowest band around object borders."""


class Pretraining(Settings):
    """Training that provides the initial weights of rows or of other pretraining."""

    train: Overrides
    """Overrides on top of the table's, as in a row."""
    init_from: Text | None = None
    external_weights: Text | None = None
    """Name of the external weights that it starts from."""


class Row(Settings):
    """One row of a table."""

    cells: Annotated[tuple[bool | Natural | Text | Literal[""], ...], Field(min_length=1)]
    """Cells under the table's columns."""
    train: Overrides = ()
    """Overrides on top of the table's."""
    init_from: Text | None = None
    """Name of the pretraining that it starts from."""
    strategy: Text | None = None
    """Inference strategy; None: the table's."""
    reference: Positive | None = None
    """Number of the row that it is tested against; None: the table's."""
    paper: Paper = Paper()
    cited: Bool = False
    """True for a method of other authors, which is not run here."""
    unavailable: Text | None = None
    """Reason why the row cannot be run."""

    @property
    def runnable(self) -> bool:
        """True if the row has a training job."""
        return not self.cited and self.unavailable is None


class Table(Settings):
    """An ablation table."""

    title: Text
    setting: Text
    """Setting that all rows share."""
    preset: Text = DEFAULT_PRESET
    """Preset that it is run with unless the command line names one."""
    columns: Annotated[tuple[Text, ...], Field(min_length=1)]
    scores: Annotated[tuple[Score, ...], Field(min_length=1)] = SEGMENTATION_SCORES
    train: Overrides = ()
    strategy: Text = SINGLE_SCALE
    split: Text | None = None
    """Split to evaluate on; None: the run's validation split."""
    submission: Literal["voc", "cityscapes"] | None = None
    """Archive to write for a test server."""
    reference: Positive | None = None
    boundary_plot: Bool = False
    """True if the main figure is the accuracy around object borders."""
    external_weights: dict[Text, Text] = Field(default_factory=dict)
    """Descriptions, by name, of weights that the user must provide."""
    pretraining: dict[Text, Pretraining] = Field(default_factory=dict)
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        num_columns = len(self.columns)
        for number, row in enumerate(self.rows, 1):
            if len(row.cells) != num_columns:
                raise ValueError(
                    f"row {number} has {len(row.cells)} cells for {num_columns} columns"
                )
            reference = row.reference or self.reference
            if reference and reference > len(self.rows):
                raise ValueError(
                    f"row {number}: reference={reference}: the table has no row {reference}"
                )
            try:
                parse_strategy(row.strategy or self.strategy, output_stride=16)
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from None
            self._check_init_from(f"row {number}", row.init_from, ())
        for name, pretraining in self.pretraining.items():
            weights = pretraining.external_weights
            if weights and weights not in self.external_weights:
                raise ValueError(
                    f"pretraining.{name}: external_weights={weights}: not described in the table's "
                    "external_weights"
                )
            self._check_init_from(f"pretraining.{name}", pretraining.init_from, (name,))
        return self

    def _check_init_from(self, where: str, name: str | None, visited: tuple[str, ...]) -> None:
        if name is None:
            return
        if name not in self.pretraining:
            raise ValueError(f"{where}: init_from={name}: not defined in the table's pretraining")
        if name in visited:
            raise ValueError(f"{where}: init_from={name}: this pretraining starts from itself")
        self._check_init_from(where, self.pretraining[name].init_from, (*visited, name))


class Preset(Settings):
    """Settings for the rows of all tables."""

    title: Text
    note: Text | None = None
    """Note for readers of the results, at the top of the report."""
    replace: dict[Text, Overrides] = Field(default_factory=dict)
    """Replacements of the rows' overrides."""
    train: Overrides = ()
    """Overrides for every row; a row's own overrides take precedence."""
    external_weights: dict[Text, Text] = Field(default_factory=dict)
    """Descriptions, by name, of weights that the user must provide for the replacements.

    A replacement uses them as ``backbone.pretrained=external_weights.NAME``.
    """
    use_val_split: bool = False
    """True if rows that a test server would score are scored on the validation split."""


def is_yaml_path(name: str) -> bool:
    """Return True if a table or a preset is given by its path."""
    return name.endswith((".yaml", ".yml"))


def read_table(name: str) -> Table:
    """Read a table by the name of its file in ``conf/ablation`` or by its path.

    Raises:
        UserError: the file does not exist or is invalid.
    """
    return _read(Table, "ablation", name)


def read_preset(name: str) -> Preset:
    """Read a preset of ``conf/preset`` or of a file; raises as ``read_table`` does."""
    return _read(Preset, "preset", name)


def _read(schema: type[S], group: str, name: str) -> S:
    path = Path(name).expanduser() if is_yaml_path(name) else find_choice(group, name)
    if path is None:
        raise UserError(unknown_choice(group, name))
    if not path.is_file():
        raise UserError(f"{group}={name}: no such file. Check the path.")
    values = read_values(path, "Correct the file.")
    try:
        with report_damage(path, "Correct the file."):
            return validate(schema, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def row_numbers(numbers: Sequence[int]) -> str:
    """Return the numbers of rows as a text: ``Rows 2, 3``."""
    return f"{'Row' if len(numbers) == 1 else 'Rows'} {', '.join(map(str, numbers))}"
