"""Progress of an evaluation, which an interrupted one goes on from."""

from collections import Counter

import numpy as np
import pytest

from deeplab.evaluation.accumulator import RankAccumulator
from deeplab.evaluation.loop import Progress
from deeplab.evaluation.task import PredictedImage


def progress_in(folder):
    accumulators = {"a": RankAccumulator(), "b": RankAccumulator()}
    return Progress(folder, accumulators, examples=["0"], skipped=Counter())


def saved(folder):
    """Return the file of an evaluation that was interrupted after three images."""
    progress = progress_in(folder)
    for i in range(3):
        logits = [np.full(4, i), np.full(4, -i)]
        progress.add(PredictedImage(str(i), (), np.array([0]), logits), [i, 2 * i])
    progress.save()
    return progress.path


def rewrite(path, changes):
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "empty": lambda path: path.write_bytes(b""),
    "no archive": lambda path: path.write_bytes(b"\0" * 500),
    "changed byte": lambda path: path.write_bytes(path.read_bytes().replace(b"NUMPY", b"NUMPX")),
    "no counts": lambda path: rewrite(path, {"counts": None}),
    "no number": lambda path: rewrite(path, {"counts": np.array('{"images": "x", "skipped": {}}')}),
    "half of a job": lambda path: rewrite(path, {"accumulator/b/ranks": None}),
}


def test_progress_is_restored(tmp_path):
    saved(tmp_path)
    progress = progress_in(tmp_path)
    assert progress.images == 3
    assert [a.ranks for a in progress.accumulators.values()] == [[0, 1, 2], [0, 2, 4]]
    assert [list(output) for output in progress.examples["0"]] == [[0] * 4, [0] * 4]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_progress_is_named_and_nothing_of_it_counts(tmp_path, kind, capsys):
    path = saved(tmp_path)
    DAMAGE[kind](path)
    progress = progress_in(tmp_path)
    assert progress.images == 0
    assert [a.ids for a in progress.accumulators.values()] == [[], []]
    assert progress.examples == {"0": None}
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: cannot be read (")
    assert printed.endswith("All images are evaluated again.\n")
