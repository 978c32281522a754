"""Results of benchmarks: one table of all ratios, kept in a folder as the parts are measured."""

from collections.abc import Mapping
from pathlib import Path

from deeplab.tools.benchmarks.machine import Machine
from deeplab.tools.benchmarks.timing import Comparison
from deeplab.utils.errors import UserError
from deeplab.utils.files import check_writable, write_json, write_text
from deeplab.utils.reading import read_typed
from deeplab.utils.settings import Settings
from deeplab.utils.text_table import Column, TextTable, number_column

JSON_FILE, TABLE_FILE = "results.json", "results.md"


class _Record(Settings):
    machine: Machine
    parts: Mapping[str, tuple[Comparison, ...]]


class Results:
    """Comparisons by part, on one machine.

    Args:
        machine: where they are measured.
        folder: where they are kept; None: nowhere. Parts that it has are taken over.

    Raises:
        UserError: the folder has results of another machine, version or commit.
    """

    def __init__(self, machine: Machine, folder: Path | None) -> None:
        self.machine, self.folder = machine, folder
        self.parts: dict[str, tuple[Comparison, ...]] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder, "--output-dir")
        path = folder / JSON_FILE
        if path.exists():
            record = read_typed(path, _Record, "Delete it, or choose another folder.")
            if not record.machine.same_conditions(machine):
                raise UserError(
                    f"--output-dir={folder}: it has results of another machine, version or commit "
                    f"({record.machine.device}, torch {record.machine.torch}, commit "
                    f"{record.machine.commit}). Choose another folder."
                )
            self.machine, self.parts = record.machine, dict(record.parts)

    def add(self, part: str, comparisons: tuple[Comparison, ...]) -> None:
        """Add the comparisons of a part, and write the files."""
        self.parts[part] = comparisons
        if self.folder is None:
            return
        record = _Record(machine=self.machine, parts=self.parts)
        write_json(self.folder / JSON_FILE, record.model_dump())
        write_text(self.folder / TABLE_FILE, f"{self.machine}\n\n{self.table().as_markdown()}\n")

    def table(self) -> TextTable:
        """Return the table of all comparisons."""
        columns = [
            Column("benchmark", identifies_row=True),
            Column("what"),
            Column("against"),
            number_column("seconds", ".3g"),
            number_column("against", ".3g", group="seconds"),
            number_column("GiB", ".1f", unit=2**30),
            number_column("against", ".1f", unit=2**30, group="GiB"),
            number_column("times as fast", ".2f"),
        ]
        rows = [
            (
                part, f"{c.title}: {c.name}", c.alternative, c.seconds, c.alternative_seconds,
                c.peak_bytes, c.alternative_peak_bytes, c.speedup,
            )
            for part, comparisons in self.parts.items()
            for c in comparisons
        ]  # fmt: skip
        return TextTable.from_values(columns, rows).without_empty_columns()
