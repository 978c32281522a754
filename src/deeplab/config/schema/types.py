"""Types of the values that config keys hold."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), AllowInfNan(False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Positive = Annotated[Int, Field(ge=1, le=10**9)]
Channels = Annotated[Int, Field(ge=1, le=2**16)]
Side = Annotated[Int, Field(ge=33, le=2**14)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Natural = Annotated[Int, Field(ge=0)]
NonNegative = Annotated[Float, Field(ge=0)]
AboveZero = Annotated[Float, Field(gt=0)]
Byte = Annotated[Int, Field(ge=0, le=255)]
Beta = Annotated[Float, Field(ge=0, lt=1)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
Momentum = Annotated[Float, Field(gt=0, le=1)]
Pixel = Annotated[Float, Field(ge=0, le=255)]
Color = tuple[Pixel, Pixel, Pixel]
Std = tuple[AboveZero, AboveZero, AboveZero]
Grid = tuple[Positive, Positive, Positive]
WeightInit = AboveZero | Literal["variance_scaling", "xavier", "head"]


class Schema(BaseModel):
    """Base of all groups of keys: unknown keys are not allowed, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticData(Schema):
    """Number of images to draw, their side lengths in pixels, and the seed."""

    num_train: Positive
    num_val: Positive
    min_size: Side
    max_size: Side
    scene_seed: Seed

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size ({self.max_size}) is below min_size ({self.min_size})")
        return self


def to_dict(value: Any) -> dict[str, Any]:
    """Return a schema object as a dictionary of lists, numbers and strings."""
    dumped: dict[str, Any] = value.model_dump(mode="json")
    return dumped


OneOrMore = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


def ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return a lower and an upper bound; raise ValueError if they are in the wrong order."""
    if bounds[0] > bounds[1]:
        raise ValueError("the first bound must not be above the second")
    return bounds
