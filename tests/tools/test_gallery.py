import json
import os
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from itertools import product
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from deeplab.config.paths import ROOT
from deeplab.tools.gallery.confusion_matrix import matrix_svg
from deeplab.tools.gallery.evaluations import aligned, find_arm
from deeplab.tools.gallery.images import ERROR_COLOR, error_map, kinds, picture
from deeplab.tools.gallery.selection import (
    compare,
    confused_pairs,
    image_iou,
    lowest,
    select,
    spread,
    worst_of_class,
)
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.visualization import IGNORE_COLOR
from support.galleries import IDS, NAMES, evaluated
from support.scripts import run

VOID = {"meta", "link", "img", "br"}


def confusions(seed, images=12, classes=4):
    """Small counts, so that there are ties; a class is absent, and an image has no pixels."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (images, classes, classes)) * rng.integers(0, 2, (images, 1, 1))
    counts[:, 2, :] = counts[:, :, 2] = 0
    counts[rng.integers(images)] = 0
    return counts.astype(np.int64)


def literal_iou(matrix, k):
    """Intersection over union of a class, or None, by going through the matrix."""
    size = range(len(matrix))
    union = sum(matrix[t, p] for t, p in product(size, size) if k in (t, p))
    return matrix[k, k] / union if union else None


def literal_image_iou(matrix):
    known = [v for v in (literal_iou(matrix, k) for k in range(len(matrix))) if v is not None]
    return sum(known) / len(known) if known else None


@pytest.mark.parametrize("seed", range(8))
def test_worst_images_and_classes_against_brute_force(seed):
    counts = confusions(seed)
    scores = [literal_image_iou(matrix) for matrix in counts]
    np.testing.assert_allclose(
        image_iou(counts), [np.nan if score is None else score for score in scores]
    )
    worst = sorted((i for i in range(12) if scores[i] is not None), key=lambda i: scores[i])
    assert [scores[i] for i in lowest(image_iou(counts), 5)] == pytest.approx(
        [scores[i] for i in worst[:5]]
    )
    for k in range(4):
        there = [i for i in range(12) if counts[i, k].sum()]
        there.sort(key=lambda i: (literal_iou(counts[i], k), -counts[i, k].sum(), i))
        assert worst_of_class(counts, k, 3) == there[:3]


@pytest.mark.parametrize("seed", range(8))
def test_confused_pairs_against_brute_force(seed):
    counts = confusions(seed)
    total = {(t, p): int(counts[:, t, p].sum()) for t, p in product(range(4), range(4)) if t != p}
    expected = sorted((pair for pair in total if total[pair]), key=lambda pair: -total[pair])[:5]
    found = confused_pairs(counts, 5, 3)
    assert [(pair.truth, pair.prediction) for pair in found] == expected
    for pair in found:
        of_image = counts[:, pair.truth, pair.prediction]
        images = sorted((i for i in range(12) if of_image[i]), key=lambda i: -of_image[i])
        assert pair.images == images[:3]
        assert pair.pixels == of_image.sum()
        assert pair.part == pytest.approx(pair.pixels / counts[:, pair.truth].sum())


def test_ties_go_by_order_and_nan_is_left_out():
    scores = np.array([0.5, np.nan, 0.2, 0.5, 0.2])
    assert lowest(scores, 9) == [2, 4, 0, 3]
    assert lowest(scores, 9, weight=np.array([1, 9, 1, 2, 3])) == [4, 2, 3, 0]
    assert lowest(np.full(3, np.nan), 2) == []


def test_comparison_counts_every_image_once():
    ours, theirs = np.array([0.5, 0.2, 0.9, np.nan, 0.4]), np.array([0.5, 0.6, 0.1, np.nan, 0.3])
    found = compare(ours, theirs, 1)
    assert (found.better, found.worse, found.equal) == (2, 1, 1)
    assert (found.gained, found.lost) == ([2], [1])


def test_spread_reaches_from_end_to_end():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 24) == [0, 1, 2]
    assert spread(5, 1) == [0]


def test_nothing_wrong_leaves_no_pairs():
    counts = np.eye(3, dtype=np.int64)[None]
    selection = select([counts, counts], images=2, num_per_class=2, num_confused_pairs=3)
    assert selection.pairs == []
    assert selection.comparison.gained == selection.comparison.lost == []
    assert selection.shown == [0]


def test_errors_are_the_only_pixels_in_their_color():
    image = np.full((2, 2, 3), 255, np.uint8)
    truth = np.array([[0, 1], [255, 1]], np.uint8)
    errors = error_map(image, truth, np.array([[0, 0], [0, 1]], np.uint8))
    assert tuple(errors[0, 1]) == ERROR_COLOR
    assert tuple(errors[1, 0]) == IGNORE_COLOR
    assert len(set(errors[0, 0])) == len(set(errors[1, 1])) == 1  # gray


@pytest.mark.parametrize("classes", [2, 21, 81])
def test_matrix_has_a_cell_for_each_confusion(classes):
    counts = np.random.default_rng(0).integers(0, 2, (classes, classes))
    names = [f"class <{k}>" for k in range(classes)]
    parsed = Page(matrix_svg(counts, names))
    assert parsed.tags.count("rect") == np.count_nonzero(counts)
    assert f"class <{classes - 1}>" in parsed.text


class Page(HTMLParser):
    """The elements of a page; every tag must be closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.ids, self.addresses, self.alts = [], "", [], [], []
        self.open = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"{tag} has an attribute twice"
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[key] for key in ("href", "src") if key in values]
        self.alts += [values["alt"]] if "alt" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(path):
    """The page, of which every address is a file beside it or a place in it."""
    page = Page(path.read_text())
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        elif not address.startswith("data:"):
            assert (path.parent / unquote(address)).is_file(), address
    return page


@pytest.fixture
def folder(tmp_path):
    """A run with an evaluation, and the place where scripts are run."""
    evaluated(tmp_path, "first")
    return tmp_path


def evaluation(folder, name="first"):
    return folder / "runs" / name / "evaluations" / "val-weights-os16"


def gallery(folder, *arguments, ok=True):
    return run("gallery", *arguments, "enable_progress_bar=false", cwd=folder, ok=ok)


def test_page_is_well_formed_and_whole(folder):
    done = gallery(folder, "run=runs/first")
    path = evaluation(folder) / "gallery" / "index.html"
    assert "runs/first/evaluations/val-weights-os16/gallery/index.html" in done.stdout
    page = parsed(path)
    for word in (*IDS[:3], *NAMES):
        assert word in page.text
    assert all(page.alts[:-1])  # the last one is the viewer's, empty until it opens
    assert "A against B" not in page.text


def test_pictures_are_small_and_say_what_the_masks_say(folder):
    gallery(folder, "run=runs/first", "thumbnail_width=33", "max_image_size=45")
    pictures = evaluation(folder) / "gallery"
    image, truth = kinds(1)[:2]
    assert Image.open(pictures / picture(0, image, small=True)).size == (33, 26)
    assert Image.open(pictures / picture(0, image, small=False)).size == (45, 36)
    tall = IDS.index("tall")
    assert Image.open(pictures / picture(tall, image, small=True)).size == (16, 49)
    labels = Image.open(pictures / picture(tall, truth, small=False)).convert("RGB")
    colors = {color for _, color in labels.getcolors()}
    assert colors == {(0, 0, 0), (128, 0, 0), (0, 128, 0), IGNORE_COLOR}


def test_a_second_page_leaves_no_pictures_of_the_first(folder):
    gallery(folder, "run=runs/first", "output=here")
    (folder / "here" / "pictures" / "mine.jpg").touch()
    gallery(
        folder,
        "run=runs/first",
        "output=here",
        "images=1",
        "num_per_class=1",
        "num_confused_pairs=1",
    )
    page = parsed(folder / "here" / "index.html")
    there = {path.name for path in (folder / "here" / "pictures").iterdir()}
    used = {address.rpartition("/")[2] for address in page.addresses if "pictures/" in address}
    assert there == used | {"mine.jpg"}


def test_two_runs_side_by_side(folder):
    evaluated(folder, "second", seed=1, ids=IDS[::-1])
    gallery(folder, "run=runs/first", "compare_with=runs/second")
    page = parsed(evaluation(folder) / "gallery-against-second-os16" / "index.html")
    for words in ("A against B", "Gained most", "prediction B", "errors B"):
        assert words in page.text


def test_the_second_is_put_in_the_order_of_the_first(folder):
    evaluated(folder, "second", ids=IDS[::-1])
    ours = find_arm(str(folder / "runs" / "first"), "run", None)
    theirs = find_arm(str(folder / "runs" / "second"), "against", None)
    assert theirs.ids != ours.ids
    found = aligned(ours, theirs)
    assert found.ids == ours.ids
    assert found.prediction(1) == theirs.evaluation.folder.prediction(ours.ids[1])
    last = len(IDS) - 1
    np.testing.assert_array_equal(found.confusion[0], theirs.confusion[last])


def test_which_evaluation_of_a_run(folder):
    newer = evaluated(folder, "first", strategy="os8-flip")
    os.utime(newer.result, (2e9, 2e9))
    path = str(folder / "runs" / "first")
    assert find_arm(path, "run", None).strategy == "os8-flip"
    assert find_arm(path, "run", "os16").strategy == "os16"
    assert find_arm(str(evaluation(folder)), "run", None).strategy == "os16"
    like = find_arm(path, "run", "os16")
    assert find_arm(path, "run", None, like=like).strategy == "os16"
    with pytest.raises(UserError, match="there are os16, os8-flip"):
        find_arm(path, "run", "os32")


def test_neither_torch_nor_lightning(folder):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['gallery.py', 'run=runs/first', 'enable_progress_bar=false']\n"
        f"sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        f"runpy.run_path({str(ROOT / 'src' / 'gallery.py')!r}, run_name='__main__')\n"
        "heavy = {'torch', 'lightning', 'torchmetrics', 'albumentations', 'wandb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def refused(folder, *arguments):
    done = gallery(folder, *arguments, ok=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_run_that_was_not_evaluated(folder):
    (evaluation(folder) / "result.json").unlink()
    assert "evaluate.py first" in refused(folder, "run=runs/first")
    assert "no evaluation" in refused(folder, f"run={evaluation(folder)}")
    assert "does not exist" in refused(folder, "run=runs/none")


def test_a_prediction_that_was_not_kept(folder):
    path = evaluation(folder) / "predictions" / "plain.png"
    path.unlink()
    message = refused(folder, "run=runs/first")
    assert "plain.png" in message
    assert "evaluate.py first" in message
    words = shlex.split(message.partition("first: ")[2])
    assert words == [
        "python", "src/evaluate.py", f"run={folder / 'runs/first'}", "split=val",
        "strategies=os16", "save_predictions=true", "overwrite=true",
    ]  # fmt: skip


def test_what_would_make_an_evaluation_anew(folder):
    made = evaluated(folder, "first", strategy="os8-flip")
    values = json.loads(made.result.read_text())
    window = {"size": 513, "overlap": 0.33}
    values["protocol"]["strategy"] |= {"name": "os8-flip-w513", "window": window}
    write_json(made.result, {**values, "weights": "checkpoints/best.ckpt"})
    arm = find_arm(str(made.path), "run", None)
    words = shlex.split(arm.command("new place"))
    assert words[2:-2] == [
        f"run={folder / 'runs/first/checkpoints/best.ckpt'}", "split=val", "window_size=513",
        "overlap=0.33", "strategies=os8-flip", "data.root=new place",
    ]  # fmt: skip


def test_one_run_under_two_strategies(folder):
    evaluated(folder, "first", strategy="os8", seed=1)
    other = folder / "runs/first/evaluations/val-weights-os8"
    done = gallery(folder, "run=runs/first", "strategy=os16", f"compare_with={other}", "output=two")
    page = parsed(folder / "two/index.html")
    assert page.text.count("first: val-weights-os16 against val-weights-os8") == 2
    os.utime(other / "result.json", (2e9, 2e9))
    done = gallery(folder, "run=runs/first", "output=one")
    assert "names another one: val-weights-os16\n" in done.stdout


def test_nobody_else_s_page_is_replaced(folder):
    (folder / "mine").mkdir()
    (folder / "mine/index.html").write_text("mine")
    assert "has not made it" in refused(folder, "run=runs/first", "output=mine")
    assert (folder / "mine/index.html").read_text() == "mine"


def test_a_prediction_of_another_size(folder):
    Image.new("P", (7, 8)).save(evaluation(folder) / "predictions" / "plain.png")
    assert "8 x 7 pixels, its image of 40 x 50" in refused(folder, "run=runs/first")


def test_a_mask_that_has_changed_since(folder):
    path = next((folder / "data").rglob("SegmentationClass/plain.png"))
    with Image.open(path) as mask:
        changed = np.array(mask)
    changed[changed != 255] = 1
    Image.fromarray(changed).save(path)
    assert "plain.png: this mask, or the prediction for it (" in refused(folder, "run=runs/first")


def test_a_place_that_cannot_be_written(folder):
    (folder / "file").write_text("in the way")
    assert "output=file: " in refused(folder, "run=runs/first", "output=file")


def test_a_strategy_by_another_of_its_names(folder):
    gallery(folder, "run=runs/first", "strategy=single-scale")
    assert (evaluation(folder) / "gallery/index.html").is_file()


def test_a_split_without_masks(folder):
    result = evaluation(folder) / "result.json"
    values = json.loads(result.read_text())
    write_json(result, {"run": "first", "scored": False, "protocol": values["protocol"]})
    assert "no masks" in refused(folder, "run=runs/first")


def test_images_that_are_elsewhere(folder):
    assert "does not exist" in refused(folder, "run=runs/first", "data.root=nowhere")
    (folder / "data").rename(folder / "moved")
    gallery(folder, "run=runs/first", "data.root=moved")
    lists = folder / "moved" / "ImageSets" / "Segmentation" / "val.txt"
    lists.write_text("plain\n")
    assert "there is no folder/inside" in refused(folder, "run=runs/first", "data.root=moved")


def test_damaged_confusion_matrices(folder):
    (evaluation(folder) / "images.npz").write_bytes(b"PK")
    assert "images.npz: this cannot be read" in refused(folder, "run=runs/first")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"names": ("background", "cat", "dog", "absent")}, "classes: 2 of the first only"),
        ({"names": (NAMES[0], NAMES[2], NAMES[1], NAMES[3])}, "in another order"),
        ({"split": "test"}, "split: val against test"),
        ({"ids": IDS[:4]}, "number of images: 5 against 4"),
        ({"ids": (*IDS[:4], "other")}, "images: 1 of the first only (tall), 1 of the second"),
    ],
)
def test_two_evaluations_that_cannot_be_compared(folder, other, said):
    evaluated(folder, "second", **other)
    message = refused(folder, "run=runs/first", "compare_with=runs/second")
    assert "cannot be compared" in message
    assert said in message
    assert not list(folder.rglob("index.html"))


def test_an_evaluation_against_itself(folder):
    assert "both first/" in refused(folder, "run=runs/first", "compare_with=runs/first")


def test_keys_are_checked(folder):
    assert "images=0" in refused(folder, "run=runs/first", "images=0")
    assert "Did you mean per_class" in refused(folder, "run=runs/first", "perclass=3")
