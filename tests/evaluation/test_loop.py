"""Progress of an evaluation, which an interrupted one goes on from."""

import numpy as np
import pytest

from deeplab.evaluation.accumulator import RankAccumulator
from deeplab.evaluation.progress import Progress, new_progress_files
from deeplab.evaluation.task import PredictedImage


def progress_in(folder, *, restore=True):
    accumulators = {"a": RankAccumulator(), "b": RankAccumulator()}
    (path,) = new_progress_files(folder, 1)
    progress = Progress(accumulators, ["0"], path)
    if restore:
        progress.restore(folder)
    return progress


def saved(folder, numbers=range(3)):
    """Return the file of a process that was interrupted after some images."""
    progress = progress_in(folder, restore=False)
    for i in numbers:
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
    "no number": lambda path: rewrite(path, {"counts": np.array('{"done": 3, "skipped": {}}')}),
    "half of a job": lambda path: rewrite(path, {"accumulator/b/ranks": None}),
}


def test_progress_is_restored(tmp_path):
    saved(tmp_path)
    progress = progress_in(tmp_path)
    assert progress.done == ["0", "1", "2"]
    assert [a.ranks for a in progress.accumulators.values()] == [[0, 1, 2], [0, 2, 4]]
    assert [list(output) for output in progress.examples["0"]] == [[0] * 4, [0] * 4]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_progress_is_named_and_nothing_of_it_counts(tmp_path, kind, capsys):
    path = saved(tmp_path)
    DAMAGE[kind](path)
    progress = progress_in(tmp_path)
    assert progress.done == []
    assert [a.ids for a in progress.accumulators.values()] == [[], []]
    assert progress.examples == {"0": None}
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: cannot be read (")
    assert printed.endswith("Its images are evaluated again.\n")


def test_files_of_several_processes_add_up_in_the_order_of_the_split(tmp_path):
    saved(tmp_path, [0, 3])
    saved(tmp_path, [1, 4])
    damaged = saved(tmp_path, [5])
    damaged.write_bytes(b"")
    saved(tmp_path, [2])
    saved(tmp_path, [4, 2, 6])  # of a process that has outlived its session
    progress = progress_in(tmp_path)
    progress.sort([str(i) for i in range(7)])
    assert sorted(progress.done) == ["0", "1", "2", "3", "4"]
    assert [a.ids for a in progress.accumulators.values()] == [["0", "1", "2", "3", "4"]] * 2
    assert [a.ranks for a in progress.accumulators.values()] == [[0, 1, 2, 3, 4], [0, 2, 4, 6, 8]]
