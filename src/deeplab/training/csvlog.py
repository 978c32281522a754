"""``metrics.csv``: a row for every logged step, in a file that a continued run appends to.

(Lightning's own CSV logger deletes the file of the run that it continues.)
"""

import csv
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only


class MetricsCSV(Logger):
    """Writes ``path`` with the columns ``step`` and ``columns``; other metrics are left out.

    Args:
        path: the file; rows that it has already stay, up to the step that a run continues from.
        columns: names of the metrics.
        first_step: rows from this step on are dropped: the run will write them again.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, first_step: int = 0) -> None:
        super().__init__()
        self.path, self.columns = path, ["step", *columns]
        self.first_step = first_step
        self._open = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Nothing: the run folder has the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if not self._open:
            self._start()
        row = {name: metrics[name] for name in self.columns if name in metrics}
        if row:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow({"step": (step or 0) + 1, **row})

    def _start(self) -> None:
        """Write the header and the rows that stay."""
        rows = []
        if self.first_step and self.path.exists():
            with self.path.open(newline="", errors="replace") as file:
                readable = (r for r in csv.DictReader(file) if (r.get("step") or "").isdigit())
                rows = [r for r in readable if int(r["step"]) <= self.first_step]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        self._open = True
