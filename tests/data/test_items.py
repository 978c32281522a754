"""Items in arrays, against lists of the same items."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from deeplab.data import items as items_module
from deeplab.data.items import (
    Item,
    Items,
    fingerprint,
    item_ids,
    join_items,
    make_table,
    shared_images,
)
from deeplab.utils.text_array import Texts

TEXTS = ["", "a", "ä/ß.png", "", "x" * 1000, "bytes\udcff that are no text", "日本"]
ROOT = Path("some/root")
PATHS = ["images/a.png", "images/b.png", "masks/a.png"]
A = Item("a", ROOT / "images/a.png", ROOT / "masks/a.png")
B = Item("ä", ROOT / "images/b.png", ROOT / "masks/missing.png")
C = Item("c", Path("/elsewhere/c.png"), Path("/elsewhere/masks/c.png"))


@pytest.fixture
def parts():
    return make_table(ROOT, PATHS, [[A, B, C], [C, A], [], [B, B]])[1]


def test_texts_are_those_of_a_list():
    texts = Texts.of(TEXTS)
    assert list(texts) == TEXTS
    assert [texts[i] for i in range(-len(TEXTS), len(TEXTS))] == TEXTS + TEXTS
    assert texts[1:6:2] == TEXTS[1:6:2]
    assert list(Texts.of([])) == []
    with pytest.raises(IndexError):
        texts[len(TEXTS)]


def test_items_are_those_of_lists(parts):
    assert [list(part) for part in parts] == [[A, B, C], [C, A], [], [B, B]]
    assert [parts[0][i] for i in (-1, 0, 2)] == [C, A, C]
    assert list(parts[0][1:]) == [B, C]
    assert list(item_ids(parts[0])) == ["a", "ä", "c"] == list(item_ids([A, B, C]))
    with pytest.raises(IndexError):
        parts[1][2]
    assert list(pickle.loads(pickle.dumps(parts[0]))) == [A, B, C]  # for workers that are spawned


def test_joined_items(parts):
    joined = join_items([parts[0], parts[2], parts[1]])
    assert isinstance(joined, Items)
    assert list(joined) == [A, B, C, C, A]
    assert join_items([parts[0], [A]]) == [A, B, C, A]
    other = make_table(ROOT, PATHS, [[A]])[1][0]
    assert list(join_items([other, parts[1]])) == [A, C, A]


def test_large_sets_are_not_asked_for_every_file(parts, monkeypatch, tmp_path):
    def paths(name):
        return Item(name, tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png")

    items = [paths(str(i)) for i in range(10)]
    for item in items:
        item.image.write_bytes(b"1")
        item.mask.write_bytes(b"2")
    (tmp_path / "link.png").symlink_to(items[0].image)
    linked = paths("link")
    small = fingerprint(items)
    assert shared_images(items, [linked]) == items[:1]
    asked = []
    stat = items_module.os.stat
    monkeypatch.setattr(items_module, "MAX_CHECKED_FILES", 4)
    monkeypatch.setattr(items_module.os, "stat", lambda path: (asked.append(path), stat(path))[1])
    large = fingerprint(items)
    assert len(asked) == 8
    assert large != small
    table = make_table(tmp_path, [], [items, items[::-1]])[1]
    assert fingerprint(table[0]) == large
    assert fingerprint(table[1]) != large
    assert shared_images(items, [linked, items[3]]) == items[3:4]
    assert list(shared_images(*make_table(tmp_path, [], [items, items[2:4]])[1])) == items[2:4]
    assert np.shape(asked) == (24,)
