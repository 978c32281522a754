"""Files of results: written and read back, or refused with what is wrong."""

import json

import numpy as np
import pytest

from deeplab.metrics.definitions import BOUNDARY, CLASSIFICATION, METRICS, SEGMENTATION
from deeplab.metrics.iou import class_iou, mean_over_classes
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.result import BoundaryResult, Result
from deeplab.utils.errors import UserError

PROTOCOL = Protocol(
    split="val",
    images=3,
    content="abc",
    classes=("a", "b"),
    padded_to=(65, 73),
    strategy={"name": "os16-w33", "label": "windows", "window": {"size": 33, "overlap": 0.3}},
    precision="32-true",
)
SCORES = {"mIoU": 61.25, "pixel_accuracy": 90.0}


def write(path, **changes):
    fields = {"run": "x", "protocol": PROTOCOL, "scores": SCORES, "weights_sha256": "ff"}
    Result(**(fields | changes)).write(path)
    return json.loads(path.read_text())


def test_scores_lie_beside_the_other_fields_and_are_read_back(tmp_path):
    path = tmp_path / "result.json"
    boundary = BoundaryResult(
        images_with_borders=1,
        bands=({"width": 2.0, "mIoU": 50.0},),
        scores={"boundary_IoU": float("nan"), "boundary_F": 3.0},
    )
    record = write(path, boundary=boundary, class_IoU={"a": float("nan"), "b": 1.5})
    assert record["mIoU"] == 61.25
    assert record["unit"] == "percent"
    assert record["class_IoU"] == {"a": None, "b": 1.5}
    assert record["boundary"]["bands"] == [{"width": 2.0, "mIoU": 50.0}]
    result = Result.read(path, "hint")
    assert result.protocol == PROTOCOL
    assert result.protocol.strategy.window.size == 33
    assert result.scores == SCORES
    assert result.miou == result.value("mIoU") == 61.25
    assert result.value("boundary_F") == 3.0
    assert result.value("boundary_IoU") is None
    assert result.boundary.bands[0].miou == 50.0
    assert [metric.key for metric in result.metrics] == [*SCORES, "boundary_IoU", "boundary_F"]
    assert result.format_main_score() == "mIoU 61.25 %"
    assert result.is_of_weights("ff")
    assert repr(result) == str(result) == "Result(x, val, os16-w33: mIoU 61.25 %)"


def test_a_result_without_labels_has_no_score(tmp_path):
    path = tmp_path / "result.json"
    record = write(path, scores={}, scored=False)
    assert "mIoU" not in record
    assert "unit" not in record
    assert not Result.read(path, "hint").has_score
    write(path, scores={"mIoU": float("nan"), "pixel_accuracy": float("nan")})
    assert not Result.read(path, "hint").has_score


def test_a_classifier_has_errors(tmp_path):
    path = tmp_path / "metrics.json"
    write(path, scores={"top1_error": 12.5, "top5_error": 0.0})
    result = Result.read(path, "hint")
    assert result.is_classifier
    assert result.metrics == CLASSIFICATION
    assert result.format_main_score() == "top-1 error 12.50 %"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: {**r, "schema_version": 1}, "schema_version=1"),
        (lambda r: {k: v for k, v in r.items() if k != "protocol"}, "protocol: Field required"),
        (lambda r: {**r, "mIoU": "high"}, "scores.mIoU"),
        (lambda r: {**r, "class_IoU": [1]}, "class_IoU"),
        (lambda r: {**r, "mIoU": 1e300}, "1e+300 is no score in percent"),
        (lambda r: {**r, "boundary": {"boundary_F": -3.0}}, "-3 is no score in percent"),
        (lambda r: [r], "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, change, words):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(change(write(path))))
    with pytest.raises(UserError) as error:
        Result.read(path, "Evaluate again.")
    assert str(path) in str(error.value)
    assert words in str(error.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "result.json"
    write(path)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match=r"cannot be read .* Evaluate again\."):
        Result.read(path, "Evaluate again.")


def test_every_metric_has_its_own_key_and_label():
    assert len(METRICS) == len((*SEGMENTATION, *BOUNDARY, *CLASSIFICATION))
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_iou_equals_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 5, 40))  # five images of 40 pixels
    truth[0][truth[0] == 3], prediction[0][prediction[0] == 3] = 0, 0
    confusion = np.zeros((5, 4, 4), np.int64)
    for image in range(5):
        for t, p in zip(truth[image], prediction[image], strict=True):
            confusion[image, t, p] += 1
    iou = class_iou(confusion)
    for image in range(5):
        for k in range(4):
            both = ((truth[image] == k) & (prediction[image] == k)).sum()
            either = ((truth[image] == k) | (prediction[image] == k)).sum()
            assert np.isnan(iou[image, k]) if not either else iou[image, k] == both / either
    present = [value for value in iou[0] if not np.isnan(value)]
    assert len(present) == 3
    assert mean_over_classes(iou)[0] == pytest.approx(sum(present) / 3)
