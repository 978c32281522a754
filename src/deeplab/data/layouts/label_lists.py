"""Lists of labeled images, as text or as tables of columns.

    SPLIT.csv       path,labels       several labels are separated by spaces
    SPLIT.parquet   columns path and labels: a name, several in a text or list, or class indices

Text is read line by line, Parquet in columns, in a quarter of the time (ten seconds for ten million
images); it needs the package pyarrow.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab.data.labeled_images import LabeledPaths
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.paths import relative_path
from deeplab.utils.text_array import Texts

if TYPE_CHECKING:
    import pyarrow as pa

CSV, PARQUET = ".csv", ".parquet"
LABEL_SUFFIXES = (CSV, PARQUET)
"""Ends of the names of lists of labels."""

COLUMNS = ["path", "labels"]
UNUSUAL_PATH = r"^(?:[A-Za-z]:)?/|\x00|\\|(?:^|/)\.{0,2}(?:/|$)|[^/]{200}"
"""Pattern of paths that are looked at one by one; the others are plain."""


class LabelList(NamedTuple):
    """A list, and what its labels may be."""

    file: Path
    classes: Mapping[str, int]
    """Index of each class by its name."""
    multi_label: bool
    """True if an image may have several labels."""

    def read(self) -> LabeledPaths:
        """Return the paths and labels.

        Raises:
            UserError: the file cannot be read, a line is wrong, or a path is repeated.
        """
        try:
            if self.file.suffix == PARQUET:
                labeled = LabeledPaths.join([*self._read_parquet()])
            else:
                with self.file.open(newline="", encoding="utf-8-sig") as lines:
                    rows = (row for row in csv.reader(lines) if row and row != COLUMNS)
                    labeled = LabeledPaths.of(map(self._parse_row, rows))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{self.file}: this file cannot be read ({error}). Check it and its permissions."
            ) from None
        if (repeated := labeled.paths.find_repeated()) is not None:
            raise UserError(
                f"{self.file}: {repeated} is listed more than once. Remove the repeated lines."
            )
        return labeled

    def _parse_row(self, row: Sequence[str]) -> tuple[str, list[int]]:
        if len(row) != 2 or not row[0].strip() or not row[1].split():
            raise UserError(
                f"{self.file}: the line {','.join(row)!r} is not a path, a comma and labels. "
                "Correct the line."
            )
        names = list(dict.fromkeys(row[1].split()))
        if len(names) > 1 and not self.multi_label:
            raise self._several_labels(row[0], len(names))
        try:
            labels = [self.classes[name] for name in names]
        except KeyError as unknown:
            raise self._unknown_class(row[0], unknown.args[0]) from None
        return self._check_path(row[0].strip()), labels

    def _check_path(self, path: str) -> str:
        try:
            return relative_path(path)
        except ValueError as error:
            raise UserError(
                f"{self.file}: the path {path[:100]!r} {error}. Write the path of the image below "
                "data.root."
            ) from None

    def _several_labels(self, path: str, count: int) -> UserError:
        return UserError(
            f"{self.file}: {path} has {count} labels. For images with several labels set "
            "data.labels=multi_label."
        )

    def _unknown_class(self, path: str, name: object) -> UserError:
        return UserError(
            f"{self.file}: {path}: the class {name} is not in classes.txt. Add it or correct the "
            "line."
        )

    def _read_parquet(self) -> Iterator[LabeledPaths]:
        """Yield the rows of a table, some ten thousand at a time."""
        require_extra("parquet", "pyarrow", setting=f"{self.file}")
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.file, memory_map=True) as table:
                missing = [name for name in COLUMNS if name not in table.schema_arrow.names]
                if missing:
                    raise UserError(
                        f"{self.file}: it has no column {missing[0]} "
                        f"(but {', '.join(table.schema_arrow.names)}). Name its columns path and "
                        "labels."
                    )
                yield LabeledPaths.of([])
                for batch in table.iter_batches(columns=COLUMNS):
                    yield self._read_batch(batch)
        except pa.ArrowException as error:
            problem = str(error).splitlines()[0]
            raise UserError(
                f"{self.file}: this file cannot be read ({problem}). Check that it is a Parquet "
                "file with a column of paths, as text, and one of labels."
            ) from None

    def _read_batch(self, batch: "pa.RecordBatch") -> LabeledPaths:
        import pyarrow as pa
        import pyarrow.compute as pc

        paths = pc.cast(batch["path"], pa.large_string())
        lists = _as_lists(batch["labels"])
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        if paths.null_count or lists.null_count or not lengths.all():
            empty = np.flatnonzero((lengths == 0) | paths.is_null().to_numpy(zero_copy_only=False))
            raise UserError(
                f"{self.file}: a row has no path or no label ({paths[int(empty[0])].as_py()!r}). "
                "Remove it or complete it."
            )
        values, owners = lists.flatten(), np.repeat(np.arange(len(paths)), lengths)
        labels = self._indices(values, owners, paths)
        if lengths.max(initial=1) > 1:
            _, kept = np.unique(owners * len(self.classes) + labels, return_index=True)
            kept.sort()  # the first of repeated labels
            labels, owners = labels[kept], owners[kept]
        counts = np.bincount(owners, minlength=len(paths))
        if counts.max(initial=1) > 1 and not self.multi_label:
            first = int(counts.argmax())
            raise self._several_labels(paths[first].as_py(), int(counts[first]))
        if pc.any(pc.match_substring_regex(paths, UNUSUAL_PATH)).as_py():
            texts = Texts.of(map(self._check_path, paths.to_pylist()))
        else:
            _, ends, data = paths.buffers()
            offsets = np.frombuffer(ends, np.int64)[paths.offset : paths.offset + len(paths) + 1]
            joined = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
            texts = Texts(joined, offsets[1:] - offsets[0])
        return LabeledPaths(texts, labels.astype(np.int32), np.cumsum(counts, dtype=np.int64))

    def _indices(self, values: Any, owners: Any, paths: Any) -> Any:
        """Return the class index of each name or number."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_integer(values.type):
            indices = pc.fill_null(values, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            wrong = (indices < 0) | (indices >= len(self.classes))
        else:
            names = pa.array(self.classes, values.type)
            found = pc.fill_null(pc.index_in(values, value_set=names), -1)
            indices = found.to_numpy(zero_copy_only=False).astype(np.int64)
            wrong = indices < 0
        if wrong.any():
            first = int(wrong.argmax())
            path = paths[int(owners[first])].as_py()
            raise self._unknown_class(path, values[first].as_py())
        return indices


def _as_lists(labels: Any) -> Any:
    """Return the labels of each row as a list: those of a text are separated by spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(labels.type):
        labels = labels.dictionary_decode()
    if pa.types.is_list(labels.type) or pa.types.is_large_list(labels.type):
        return labels
    if pa.types.is_integer(labels.type):
        return pa.ListArray.from_arrays(np.arange(len(labels) + 1, dtype=np.int32), labels)
    texts = pc.utf8_trim_whitespace(labels)
    return pc.utf8_split_whitespace(pc.if_else(pc.equal(texts, ""), None, texts))
