"""Base class of all settings, and the types of their values with their bounds."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError


def _check_odd(kernel_size: int) -> int:
    if kernel_size % 2 == 0:
        raise ValueError("the kernel size must be odd")
    return kernel_size


Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), AllowInfNan(False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Positive = Annotated[Int, Field(ge=1, le=10**9)]
Odd = Annotated[Positive, AfterValidator(_check_odd)]
"""Side of a convolution's kernel."""
Channels = Annotated[Int, Field(ge=1, le=2**16)]
Side = Annotated[Int, Field(ge=33, le=2**14)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Natural = Annotated[Int, Field(ge=0)]
NonNegative = Annotated[Float, Field(ge=0)]
AboveZero = Annotated[Float, Field(gt=0)]
Byte = Annotated[Int, Field(ge=0, le=255)]
BelowOne = Annotated[Float, Field(ge=0, lt=1)]
Overlap = Annotated[Float, Field(ge=0, le=0.9)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
WidthMult = Annotated[Float, Field(ge=0.0625, le=4)]
Momentum = Annotated[Float, Field(gt=0, le=1)]
Pixel = Annotated[Float, Field(ge=0, le=255)]
Color = tuple[Pixel, Pixel, Pixel]
Std = tuple[AboveZero, AboveZero, AboveZero]
Grid = tuple[Positive, Positive, Positive]
WeightInit = AboveZero | Literal["variance_scaling", "xavier", "head"]
"""Initialization of convolution weights.

A number is the standard deviation of a truncated normal; ``deeplab.models.layers.initialize``
explains the names.
"""


class Settings(BaseModel):
    """Base of all groups of keys: unknown keys are not allowed, values cannot be changed.

    The class is the one definition of its keys: type, bounds, default, and as the docstring below
    each key its meaning, which ``deeplab.config.reference`` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def key_error(key: str, value: Any, problem: str) -> ValidationError:
    """Return the error of a key's value, for validators that choose a class by it."""
    kind = PydanticCustomError("no_choice", "{problem}", {"problem": problem})
    return ValidationError.from_exception_data(
        "Settings", [InitErrorDetails(type=kind, loc=(key,), input=value)]
    )


def to_dict(value: Any) -> dict[str, Any]:
    """Return a schema object as a dictionary of lists, numbers and strings."""
    dumped: dict[str, Any] = value.model_dump(mode="json")
    return dumped


OneOrMore = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]
