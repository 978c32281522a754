"""Results of training (``metrics.json``) and evaluations (``result.json``), written and read here.

A result has the scores, the protocol under which they were measured, and the cost. All scores are
in percent. In the files the scores lie beside the other fields, by the keys of
``deeplab.metrics.definitions``; a score that does not exist, such as the IoU of a class that occurs
nowhere, is null.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)

from deeplab.metrics.definitions import (
    BOUNDARY,
    CLASSIFICATION,
    METRICS,
    SEGMENTATION,
    UNIT,
    Metric,
    format_percent,
    to_percent,
)
from deeplab.tracking.evaluation_protocol import Protocol
from deeplab.tracking.provenance import Machine, Provenance
from deeplab.tracking.schema_version import VERSION_STAMP, Record, RecordFile
from deeplab.utils.files import write_json
from deeplab.utils.settings import Int

Number = Annotated[float, Strict()]

ROUNDING = 1e-9
"""Largest rounding error of a score in percent."""


def _check_percent(score: float) -> float:
    if score < -ROUNDING or score > 100 + ROUNDING:  # false for nan, which is written as null
        raise ValueError(f"{score:g} is no score in percent")
    return score


Score = Annotated[Number, AfterValidator(_check_percent)] | None
"""Score in percent; None if it does not exist."""


class Scored(Record):
    """Record with the values of some metrics."""

    scores: Mapping[str, Score] = {}
    """Value of each metric that was measured, by its key."""

    @property
    def miou(self) -> Score:
        """Mean IoU over the classes."""
        return self.scores.get("mIoU")

    @model_validator(mode="before")
    @classmethod
    def _collect_scores(cls, values: Any) -> Any:
        if isinstance(values, dict) and "scores" not in values:
            found = {key: values[key] for key in METRICS if key in values}
            return {**values, "scores": found}
        return values

    @model_serializer(mode="wrap")
    def _spread_scores(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {**fields.pop("scores", {}), **fields}


class Band(Scored):
    """Scores in a band around the borders of objects."""

    width: Number
    """Width in pixels."""


class BoundaryResult(Scored):
    """Scores near the borders of objects."""

    images_with_borders: Int = 0
    """Number of masks with borders, on which the bands are measured."""
    bands: tuple[Band, ...] = ()
    """From narrow to wide."""
    class_boundary_F: Mapping[str, Score] = {}  # noqa: N815  names of the scores
    class_boundary_IoU: Mapping[str, Score] = {}  # noqa: N815


class MultiplyAdds(Record):
    """Multiply-adds of one image."""

    conv: Int
    """Of the convolutions."""
    paper: Int
    """By the paper's counting rule."""


class MeasuredSpeed(Record):
    """Speed on the machine of the evaluation; see ``deeplab.inference.speed.Speed``."""

    latency: Number | None = None
    images_per_second: Number | None = None
    batch: Int | None = None
    peak_memory_bytes: Int | None = None


COST_LABEL = "multiply-adds, 10⁹"
"""Heading of multiply-adds in tables and figures, in the only unit."""

PAPER_COST_LABEL = "multiply-adds by the paper's rule, 10⁹"


class Cost(Record):
    """Cost of the network under the strategy."""

    parameters: Int
    multiply_adds: MultiplyAdds
    input_size: tuple[Int, Int]
    measured: MeasuredSpeed | None = None


class Identity(Record):
    """Fields that identify a result."""

    run: str = Field(pattern=r"^[^/]*[^/.][^/]*$")
    """Name of the run folder."""
    weights: str = ""
    """Weights that were scored: a file in the run folder, or which ones in words."""
    weights_sha256: str | None = None
    protocol: Protocol
    band_widths: tuple[Number, ...] = ()
    save_predictions: bool = False
    measured: bool = False
    """True if the speed was asked for."""
    own_code: Mapping[str, str] = {}
    """Versions of the network's classes of the user's own, by their keys."""


class Result(Provenance, Identity, Scored, RecordFile):
    """Scores of one network on one split under one strategy."""

    scored: bool = True
    """False if the images have no masks."""
    class_IoU: Mapping[str, Score] = {}  # noqa: N815  name of the score
    """IoU of each class of a segmentation network."""
    boundary: BoundaryResult | None = None
    cost: Cost | None = None
    skipped_files: Mapping[str, Int] = {}
    """Number of times that each bad file was skipped."""
    steps: Int | None = None
    """Training steps."""
    seconds: Number | None = None
    """Duration of the training with its validations, over all sessions."""
    peak_memory_bytes: Int | None = None
    """Peak memory of the main process's GPU in training."""
    machine: Machine | None = None
    data_root: str | None = None
    """Folder of the images, if an evaluation was told another one than the run's."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        boundary = self.boundary or BoundaryResult()
        classes = self.protocol.classes
        for name in ("class_IoU", "class_boundary_F", "class_boundary_IoU"):
            scores = getattr(self if name == "class_IoU" else boundary, name)
            if scores and scores.keys() != set(classes):
                raise ValueError(f"{name}: its classes are not those of protocol.classes")
        return self

    def __repr__(self) -> str:
        """Return run, split, strategy and main score; ``model_dump()`` has all fields."""
        measured = f"{self.protocol.split}, {self.protocol.strategy.name}"
        return f"Result({self.run}, {measured}: {self.format_main_score()})"

    __str__ = __repr__

    @property
    def is_classifier(self) -> bool:
        """True for the result of an image classifier."""
        return CLASSIFICATION[0].key in self.scores

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of the result's task that it has, the main one first."""
        metrics = CLASSIFICATION if self.is_classifier else (*SEGMENTATION, *BOUNDARY)
        return tuple(m for m in metrics if m.key in self.scores or m.key in self._boundary_scores)

    @property
    def main_metric(self) -> Metric:
        """Metric by which networks of the result's task are ranked."""
        return (CLASSIFICATION if self.is_classifier else SEGMENTATION)[0]

    @property
    def has_score(self) -> bool:
        """True if there is any score; without a labeled pixel there is none."""
        return self.scored and self.value(self.main_metric.key) is not None

    def value(self, key: str) -> Score:
        """Return the value of a metric; None if it was not measured or does not exist."""
        return self.scores.get(key, self._boundary_scores.get(key))

    @property
    def _boundary_scores(self) -> Mapping[str, Score]:
        return self.boundary.scores if self.boundary else {}

    def is_of_weights(self, sha256: str | None) -> bool:
        """Return True if the result belongs to the weights with this hash."""
        return self.weights_sha256 == sha256

    def format_main_score(self) -> str:
        """Return the main score as text."""
        metric = self.main_metric
        return f"{metric.label} {format_percent(self.value(metric.key))} %"

    @property
    def identity(self) -> Identity:
        return Identity(**{key: getattr(self, key) for key in Identity.model_fields})

    def write(self, path: Path) -> None:
        """Write the fields that have been set, and the unit of the scores."""
        unit = {"unit": UNIT} if self.scores else {}
        write_json(path, {**VERSION_STAMP, **self.model_dump(exclude_unset=True), **unit})


def in_percent(values: Mapping[str, float]) -> dict[str, Score]:
    """Return fractions by metric or class in percent."""
    return {key: to_percent(value) for key, value in values.items()}
