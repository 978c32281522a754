"""Tests of the gallery script, with evaluations written without a network."""

import json
import os
import shlex
from itertools import product

import numpy as np
import pytest
from PIL import Image

from deeplab.config.schema.scripts import GalleryConfig
from deeplab.evaluation.evaluation_folder import read_evaluation
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.tools.gallery import gallery
from deeplab.tools.gallery.confusion_matrix import lay_out_matrix
from deeplab.tools.gallery.evaluations import align, find_evaluation
from deeplab.tools.gallery.images import ERROR_COLOR, error_map, view_path, views
from deeplab.tools.gallery.selection import (
    compare,
    confused_pairs,
    evenly_spaced,
    lowest,
    select,
    worst_of_class,
)
from deeplab.tracking.schema_version import VERSION_STAMP
from deeplab.utils.errors import UserError
from deeplab.utils.files import write_json
from deeplab.utils.templates import render_template
from deeplab.utils.visualization import IGNORE_COLOR
from support.browser import Page
from support.galleries import IDS, NAMES, write_evaluation
from support.scripts import HEAVY, check_imports, run, script_code


def random_confusions(seed, images=12, classes=4):
    """Draw small counts, so that there are ties; a class is absent, one image has no pixels."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (images, classes, classes)) * rng.integers(0, 2, (images, 1, 1))
    counts[:, 2, :] = counts[:, :, 2] = 0
    counts[rng.integers(images)] = 0
    return counts.astype(np.int64)


def brute_force_iou(matrix, k):
    """Return the IoU of a class, or None, from a loop over the matrix."""
    size = range(len(matrix))
    union = sum(matrix[t, p] for t, p in product(size, size) if k in (t, p))
    return matrix[k, k] / union if union else None


def brute_force_image_iou(matrix):
    values = [brute_force_iou(matrix, k) for k in range(len(matrix))]
    valid = [value for value in values if value is not None]
    return sum(valid) / len(valid) if valid else None


@pytest.mark.parametrize("seed", range(8))
def test_worst_images_and_classes_match_brute_force(seed):
    counts = random_confusions(seed)
    scores = [brute_force_image_iou(matrix) for matrix in counts]
    confusions = ImageConfusions.stack(counts, 4)
    image_iou = confusions.image_iou
    np.testing.assert_allclose(image_iou, [np.nan if score is None else score for score in scores])
    worst = sorted((i for i in range(12) if scores[i] is not None), key=lambda i: scores[i])
    assert [scores[i] for i in lowest(image_iou, 5)] == pytest.approx(
        [scores[i] for i in worst[:5]]
    )
    for k in range(4):
        expected = [i for i in range(12) if counts[i, k].sum()]
        expected.sort(key=lambda i: (brute_force_iou(counts[i], k), -counts[i, k].sum(), i))
        assert worst_of_class(confusions, k, 3) == expected[:3]


@pytest.mark.parametrize("seed", range(8))
def test_confused_pairs_match_brute_force(seed):
    counts = random_confusions(seed)
    total = {(t, p): int(counts[:, t, p].sum()) for t, p in product(range(4), range(4)) if t != p}
    expected = sorted((pair for pair in total if total[pair]), key=lambda pair: -total[pair])[:5]
    pairs = confused_pairs(ImageConfusions.stack(counts, 4), 5, 3)
    assert [(pair.truth, pair.prediction) for pair in pairs] == expected
    for pair in pairs:
        per_image = counts[:, pair.truth, pair.prediction]
        images = sorted((i for i in range(12) if per_image[i]), key=lambda i: -per_image[i])
        assert pair.images == images[:3]
        assert pair.pixels == per_image.sum()
        assert pair.fraction == pytest.approx(pair.pixels / counts[:, pair.truth].sum())


def test_lowest_breaks_ties_by_index_and_leaves_out_nan():
    scores = np.array([0.5, np.nan, 0.2, 0.5, 0.2])
    assert lowest(scores, 9) == [2, 4, 0, 3]
    assert lowest(scores, 9, weight=np.array([1, 9, 1, 2, 3])) == [4, 2, 3, 0]
    assert lowest(np.full(3, np.nan), 2) == []


def test_comparison_counts_every_image_once():
    first, second = np.array([0.5, 0.2, 0.9, np.nan, 0.4]), np.array([0.5, 0.6, 0.1, np.nan, 0.3])
    comparison = compare(first, second, 1)
    assert (comparison.num_better, comparison.num_worse, comparison.num_equal) == (2, 1, 1)
    assert (comparison.gains, comparison.losses) == ([2], [1])


def test_evenly_spaced_includes_both_ends():
    assert evenly_spaced(10, 4) == [0, 3, 6, 9]
    assert evenly_spaced(3, 24) == [0, 1, 2]
    assert evenly_spaced(5, 1) == [0]


def test_perfect_predictions_have_no_confused_pairs():
    counts = ImageConfusions.stack([np.eye(3)], 3)
    selection = select([counts, counts], num_images=2, num_per_class=2, num_confused_pairs=3)
    assert selection.confused_pairs == []
    assert selection.comparison.gains == selection.comparison.losses == []
    assert selection.all_images == [0]


def test_only_wrong_pixels_have_the_error_color():
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
    matrix = lay_out_matrix(counts, names)
    svg = Page(render_template("deeplab.tools.gallery", "confusion_matrix.svg", matrix=matrix))
    assert svg.tags.count("rect") == np.count_nonzero(counts)
    assert f"class <{classes - 1}>" in svg.text


def read_page(path):
    """Parse a page whose links all lead somewhere."""
    page = Page(path.read_text())
    page.check_links(path.parent)
    return page


@pytest.fixture
def folder(tmp_path):
    """Return the working directory of the scripts, with a run that has an evaluation."""
    write_evaluation(tmp_path, "first")
    return tmp_path


def evaluation_path(folder, name="first"):
    return folder / "runs" / name / "evaluations" / "val-weights-os16"


def run_gallery(folder, *arguments, ok=True):
    return run("gallery", *arguments, "enable_progress_bar=false", cwd=folder, ok=ok)


def test_page_is_well_formed_and_complete(folder):
    completed = run_gallery(folder, "run=runs/first", "strategy=single-scale")  # a short name
    path = evaluation_path(folder) / "gallery" / "index.html"
    assert "runs/first/evaluations/val-weights-os16/gallery/index.html" in completed.stdout
    page = read_page(path)
    for word in (*IDS[:3], *NAMES):
        assert word in page.text
    assert all(page.alts[:-1])  # the last one is the viewer's image, empty until it opens
    assert "A vs. B" not in page.text


def test_run_names_are_escaped(folder):
    name = 'a"b <i>&#%'
    write_evaluation(folder, name)
    run_gallery(folder, f"run='runs/{name}'", "compare_with=runs/first", "output=two")
    page = read_page(folder / "two" / "index.html")
    assert page.text.count(name) == 3  # title, heading, summary


def test_images_have_the_requested_sizes_and_the_colors_of_the_masks(folder):
    run_gallery(folder, "run=runs/first", "thumbnail_width=33", "max_image_size=45")
    gallery = evaluation_path(folder) / "gallery"
    image, truth = views(1)[:2]
    assert Image.open(gallery / view_path(0, image, small=True)).size == (33, 26)
    assert Image.open(gallery / view_path(0, image, small=False)).size == (45, 36)
    tall = IDS.index("tall")
    assert Image.open(gallery / view_path(tall, image, small=True)).size == (16, 49)
    labels = Image.open(gallery / view_path(tall, truth, small=False)).convert("RGB")
    colors = {color for _, color in labels.getcolors()}
    assert colors == {(0, 0, 0), (128, 0, 0), (0, 128, 0), IGNORE_COLOR}


def test_second_page_removes_stale_images_of_the_first(folder):
    run_gallery(folder, "run=runs/first", "output=out")
    (folder / "out" / "images" / "mine.jpg").touch()
    run_gallery(
        folder,
        "run=runs/first",
        "output=out",
        "num_images=1",
        "num_per_class=1",
        "num_confused_pairs=1",
    )
    page = read_page(folder / "out" / "index.html")
    existing = {path.name for path in (folder / "out" / "images").iterdir()}
    used = {url.rpartition("/")[2] for url in page.urls if "images/" in url}
    assert existing == used | {"mine.jpg"}


def test_two_runs_side_by_side(folder):
    write_evaluation(folder, "second", seed=1, ids=IDS[::-1])
    run_gallery(folder, "run=runs/first", "compare_with=runs/second")
    page = read_page(evaluation_path(folder) / "gallery-vs-second-os16" / "index.html")
    for words in ("A vs. B", "Largest gains", "prediction B", "errors B"):
        assert words in page.text


def test_second_evaluation_is_aligned_with_the_first(folder):
    write_evaluation(folder, "second", ids=IDS[::-1])
    first = find_evaluation(str(folder / "runs" / "first"), "run", None)
    second = find_evaluation(str(folder / "runs" / "second"), "compare_with", None)
    assert second.ids != first.ids
    aligned = align(first, second)
    assert aligned.ids == first.ids
    assert aligned.prediction(1) == second.stored.folder.prediction(first.ids[1])
    last = len(IDS) - 1
    np.testing.assert_array_equal(aligned.confusions[0], second.confusions[last])


def test_choice_among_the_evaluations_of_a_run(folder):
    newer = write_evaluation(folder, "first", strategy="os8-flip")
    os.utime(newer.result, (2e9, 2e9))
    path = str(folder / "runs" / "first")
    assert find_evaluation(path, "run", None).strategy == "os8-flip"
    assert find_evaluation(path, "run", "os16").strategy == "os16"
    assert find_evaluation(str(evaluation_path(folder)), "run", None).strategy == "os16"
    like = find_evaluation(path, "run", "os16")
    assert find_evaluation(path, "run", None, like=like).strategy == "os16"
    with pytest.raises(UserError, match="Available: os16, os8-flip"):
        find_evaluation(path, "run", "os32")


def test_an_evaluation_without_scores_is_not_chosen(folder):
    path = write_evaluation(folder, "first", split="test").result
    result = read_evaluation(path.parent).result
    result.model_copy(update={"scored": False, "scores": {}}).write(path)
    os.utime(path, (2e9, 2e9))
    assert find_evaluation(str(folder / "runs/first"), "run", None).protocol.split == "val"


def test_a_strategy_chooses_nothing_in_the_folder_of_an_evaluation(folder):
    config = GalleryConfig(run=str(evaluation_path(folder)), strategy="os8", data={})
    with pytest.raises(UserError, match="strategy=os8: it chooses among the evaluations of a run"):
        gallery.run_gallery(config)


def test_gallery_imports_neither_torch_nor_lightning(folder):
    code = script_code("gallery", "run=runs/first", "enable_progress_bar=false")
    check_imports(code, without={*HEAVY, "torchmetrics"} - {"cv2"}, cwd=folder)


def error_message(folder, *arguments):
    """Run the script, which must fail with an error message, and return the message."""
    completed = run_gallery(folder, *arguments, ok=False)
    assert completed.returncode == 2
    assert "Traceback" not in completed.stderr
    return completed.stderr


def leave_out_scores(evaluation):
    result = evaluation / "result.json"
    protocol = json.loads(result.read_text())["protocol"]
    write_json(result, VERSION_STAMP | {"run": "first", "scored": False, "protocol": protocol})


@pytest.mark.parametrize(
    ("damage", "argument", "words"),
    [
        (lambda e: (e / "result.json").unlink(), "", "Evaluate it first"),
        (lambda e: (e / "result.json").unlink(), "run={}", "no evaluation"),
        (lambda e: (e / "images.npz").write_bytes(b"PK"), "", "images.npz: cannot be read"),
        (
            lambda e: Image.new("P", (7, 8)).save(e / "predictions" / "plain.png"),
            "",
            "7 x 8 pixels, its image 50 x 40",
        ),
        (leave_out_scores, "", "no masks"),
        (None, "run=runs/none", "does not exist"),
        (None, "data.root=nowhere", "no such folder"),
        (None, "output=runs/first/config.yaml", "output=runs/first/config.yaml: "),
        (None, "compare_with=runs/first", "both first/"),
        (None, "num_images=0", "num_images=0"),
        (None, "num_perclass=3", "Did you mean num_per_class"),
    ],
)
def test_what_cannot_be_shown_is_named(folder, damage, argument, words):
    evaluation = evaluation_path(folder)
    if damage:
        damage(evaluation)
    run_key = [] if argument.startswith("run=") else ["run=runs/first"]
    arguments = [*run_key, *filter(None, [argument.format(evaluation)])]
    assert words in error_message(folder, *arguments)


def test_prediction_that_was_not_saved(folder):
    path = evaluation_path(folder) / "predictions" / "plain.png"
    path.unlink()
    message = error_message(folder, "run=runs/first")
    assert "plain.png" in message
    assert "Evaluate first: deeplab" in message
    words = shlex.split(message.partition("first: ")[2])
    assert words == [
        "deeplab", "evaluate", f"run={folder / 'runs/first'}", "split=val",
        "strategies=os16", "save_predictions=true", "overwrite=true",
    ]  # fmt: skip


def test_command_that_repeats_an_evaluation(folder):
    evaluation = write_evaluation(folder, "first", strategy="os8-flip")
    values = json.loads(evaluation.result.read_text())
    window = {"size": 513, "overlap": 0.33}
    values["protocol"]["strategy"] |= {"name": "os8-flip-w513", "window": window}
    write_json(evaluation.result, {**values, "weights": "checkpoints/best.ckpt"})
    loaded = find_evaluation(str(evaluation.path), "run", None)
    words = shlex.split(loaded.evaluate_command("new folder"))
    assert words[2:-2] == [
        f"run={folder / 'runs/first/checkpoints/best.ckpt'}", "split=val", "window_size=513",
        "overlap=0.33", "strategies=os8-flip", 'data.root="new folder"',
    ]  # fmt: skip


def test_one_run_under_two_strategies(folder):
    write_evaluation(folder, "first", strategy="os8", seed=1)
    other = folder / "runs/first/evaluations/val-weights-os8"
    run_gallery(folder, "run=runs/first", "strategy=os16", f"compare_with={other}", "output=two")
    page = read_page(folder / "two/index.html")
    assert page.text.count("first: val-weights-os16 vs. val-weights-os8") == 2
    os.utime(other / "result.json", (2e9, 2e9))
    completed = run_gallery(folder, "run=runs/first", "output=one")
    assert "another one to use that: val-weights-os16\n" in completed.stdout


def test_foreign_page_is_not_replaced(folder):
    (folder / "mine/images").mkdir(parents=True)
    (folder / "mine/index.html").write_text("mine")
    message = error_message(folder, "run=runs/first", "output=mine")
    assert "was not written by deeplab gallery" in message
    assert (folder / "mine/index.html").read_text() == "mine"


def test_mask_that_has_changed_since_the_evaluation(folder):
    path = next((folder / "data").rglob("SegmentationClass/plain.png"))
    with Image.open(path) as mask:
        changed = np.array(mask)
    changed[changed != 255] = 1
    Image.fromarray(changed).save(path)
    assert "plain.png: this mask or its prediction (" in error_message(folder, "run=runs/first")


@pytest.mark.parametrize("split", ["nosuch", "../x"])
def test_an_edited_split_is_named_with_its_file(folder, split):
    result = evaluation_path(folder) / "result.json"
    values = json.loads(result.read_text())
    write_json(result, values | {"protocol": values["protocol"] | {"split": split}})
    assert f"result.json: split '{split}'" in error_message(folder, "run=runs/first")


def test_images_in_another_folder(folder):
    (folder / "data").rename(folder / "moved")
    run_gallery(folder, "run=runs/first", "data.root=moved")
    lists = folder / "moved" / "ImageSets" / "Segmentation" / "val.txt"
    lists.write_text("plain\n")
    assert "has no image folder/inside" in error_message(
        folder, "run=runs/first", "data.root=moved"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": ("background", "cat", "dog", "absent")}, "classes: 2 only in the first"),
        ({"names": (NAMES[0], NAMES[2], NAMES[1], NAMES[3])}, "in another order"),
        ({"split": "test"}, "split: val against test"),
        ({"ids": IDS[:4]}, "number of images: 5 against 4"),
        ({"ids": (*IDS[:4], "other")}, "images: 1 only in the first (tall), 1 only in the second"),
    ],
)
def test_evaluations_that_cannot_be_compared(folder, options, expected):
    write_evaluation(folder, "second", **options)
    message = error_message(folder, "run=runs/first", "compare_with=runs/second")
    assert "cannot be compared" in message
    assert expected in message
    assert not list(folder.rglob("index.html"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cells": 99}, "cells: they are not those of matrices"),
        ({"counts": -1}, "counts: it has negative numbers"),
        ({"sizes": 0}, "cells: there are"),
    ],
)
def test_damaged_confusion_matrices_are_named(folder, change, problem):
    evaluation = write_evaluation(folder, "damaged")
    with np.load(evaluation.images) as stored:
        arrays = dict(stored)
    for name, value in change.items():
        arrays[name][-1] = value
    np.savez_compressed(evaluation.images, **arrays)
    with pytest.raises(UserError, match=rf"images\.npz: cannot be read \({problem}"):
        _ = read_evaluation(evaluation.path).confusions
