"""Base class of all settings, and the types of their values with their bounds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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

from deeplab.utils.constants import TARGET


def wrong_value(problem: str) -> PydanticCustomError:
    """Return the error of a value, whose message shows the value, unlike that of a ValueError."""
    return PydanticCustomError("wrong_value", "{problem}", {"problem": problem})


def problem_text(error: Mapping[str, Any]) -> str:
    """Return the message of one of pydantic's errors in the words of this project's messages."""
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")


def _check_odd(kernel_size: int) -> int:
    if kernel_size % 2 == 0:
        raise wrong_value("the kernel size must be odd")
    return kernel_size


def _check_path(text: str) -> str:
    if "\0" in text:
        raise wrong_value("cannot be a path (it has a null character); remove it")
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:  # there is no such user, or no home folder
        raise wrong_value(f"{str(error).removesuffix('.').lower()}; write the whole path") from None
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            return text  # reported with its reason when it is read
        reason = getattr(error, "strerror", None) or str(error)
        raise wrong_value(f"cannot be a path ({reason.lower()}); shorten it") from None
    return text


def _check_split(name: str) -> str:
    if len(name.encode()) > 200:
        raise wrong_value("the name of a split has at most 200 bytes")
    return name


def _check_integer(value: Any) -> Any:
    if isinstance(value, bool | float):  # pydantic takes 16.0 for Literal[16]
        raise wrong_value("expected an integer")
    return value


AUTO = "auto"
"""Value of keys that are chosen from the images and the machine (``training.automatic``)."""

Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), AllowInfNan(False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
FilePath = Annotated[Text, AfterValidator(_check_path)]
"""Path of a file or folder, which need not exist."""
SplitName = Annotated[Text, AfterValidator(_check_split)]
"""Name of a split, of which files are named."""
INTEGER = BeforeValidator(_check_integer)
"""Strict integers of a ``Literal``, which itself accepts equal numbers, such as 16.0."""
_Stride = Literal[8, 16, 32]
OUTPUT_STRIDES: tuple[int, ...] = get_args(_Stride)
"""Output strides that the paper uses."""
OutputStride = Annotated[_Stride, INTEGER]
Positive = Annotated[Int, Field(ge=1, le=10**9)]
Workers = Annotated[Int, Field(ge=1, le=256)]
"""Number of processes."""
Size = Annotated[Int, Field(ge=1, le=2**16)]
"""Number of things that are in memory at the same time."""
Odd = Annotated[Int, Field(ge=1, le=127), AfterValidator(_check_odd)]
"""Side of a convolution's kernel."""
Channels = Annotated[Int, Field(ge=1, le=2**16)]
Rate = Annotated[Int, Field(ge=1, le=1000)]
"""Atrous rate, or a factor of one."""
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=32)]
Units = Annotated[Int, Field(ge=1, le=1000)]
"""Number of units of a block."""
Side = Annotated[Int, Field(ge=33, le=2**14)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Natural = Annotated[Int, Field(ge=0, le=10**9)]
NonNegative = Annotated[Float, Field(ge=0)]
AboveZero = Annotated[Float, Field(gt=0)]
Byte = Annotated[Int, Field(ge=0, le=255)]
BelowOne = Annotated[Float, Field(ge=0, lt=1)]
Overlap = Annotated[Float, Field(ge=0, le=0.9)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
WidthMult = Annotated[Float, Field(ge=0.0625, le=4)]
Momentum = Annotated[Float, Field(gt=0, le=1)]
Pixel = Annotated[Float, Field(ge=0, le=255)]
Mean = Annotated[tuple[Pixel, ...], Field(min_length=1, max_length=1024)]
"""Mean of each channel of the images."""
Std = Annotated[tuple[AboveZero, ...], Field(min_length=1, max_length=1024)]
"""Standard deviation of each channel of the images."""
InChannels = Annotated[Int, Field(ge=1, le=1024)]
"""Channels of the images."""
Grid = tuple[Rate, Rate, Rate]
WeightInit = AboveZero | Literal["variance_scaling", "xavier", "head"]
"""Initialization of convolution weights.

A number is the standard deviation of a truncated normal; ``deeplab.models.layers.initialize``
explains the names.
"""


class _Added:
    """Type of ``ADDED``."""


ADDED = _Added()
"""Marks a key that earlier versions did not have, and whose default does what they did.

At its default it is no part of a run's identity, so that a run of an earlier version is found.
"""


class Settings(BaseModel):
    """Base of all groups of keys: unknown keys are not allowed, values cannot be changed.

    The class is the one definition of its keys: type, bounds, default, and as the docstring below
    each key its meaning, which ``deeplab.config.reference`` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def settings_by(
    key: str, find: Callable[[str], type[Settings]], own: type[Settings] | None = None
) -> BeforeValidator:
    """Return a validator that turns keys into an object of the settings that one of them names.

    Args:
        key: the key that names the settings.
        find: returns the settings of a name; a ValueError is the problem with the name.
        own: settings of keys that name a class of the user's own.
    """

    def resolve(values: Any) -> Any:
        if own and isinstance(values, dict) and TARGET in values:
            return own(**values)
        if not isinstance(values, dict) or key not in values:
            return values
        try:
            schema = find(str(values[key]))
        except ValueError as error:
            details = InitErrorDetails(type=wrong_value(str(error)), loc=(key,), input=values[key])
            raise ValidationError.from_exception_data("Settings", [details]) from None
        return schema(**values)

    return BeforeValidator(resolve)


def settings_or_own(schema: type[Settings], own: type[Settings]) -> BeforeValidator:
    """Return a validator that turns keys into an object of settings.

    Args:
        schema: the settings.
        own: settings of keys that name a class of the user's own.
    """

    def resolve(values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return (own if TARGET in values else schema)(**values)

    return BeforeValidator(resolve)


Choices = Mapping[str, type[Settings]]
"""Settings by the names that select them."""


def choices_of(*choices: type[Settings]) -> Choices:
    """Return settings whose ``name`` has a default of its own, by these names."""
    return {choice.model_fields["name"].default: choice for choice in choices}


def settings_by_name(choices: Choices, own: type[Settings]) -> BeforeValidator:
    """Return a validator that turns keys into an object of the choice that ``name`` names.

    Args:
        choices: the settings.
        own: settings of keys that name a class of the user's own.
    """

    def find(name: str) -> type[Settings]:
        if name not in choices:
            raise ValueError(f"no such choice. Choose from {', '.join(choices)}")
        return choices[name]

    return settings_by("name", find, own)


def added_keys(settings: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys marked ``ADDED`` that have their default, as pydantic's ``exclude``."""
    tree: dict[str, Any] = {}
    fields = type(settings).model_fields if isinstance(settings, BaseModel) else {}
    for name, value in dict(settings).items():
        field = fields.get(name)
        if field and any(isinstance(mark, _Added) for mark in field.metadata):
            if value == field.get_default(call_default_factory=True):
                tree[name] = True
        elif isinstance(value, BaseModel | Mapping) and (inner := added_keys(value)):
            tree[name] = inner
    return tree


def to_dict(value: Any) -> dict[str, Any]:
    """Return a schema object as a dictionary of lists, numbers and strings."""
    dumped: dict[str, Any] = value.model_dump(mode="json")
    return dumped


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested settings by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def find_holder(values: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the dictionary that holds the value of a dotted key, and the last part of the key.

    The dictionary is empty if a group of the key does not exist.
    """
    *groups, name = key.split(".")
    for group in groups:
        inner = values.get(group)
        values = inner if isinstance(inner, dict) else {}
    return values, name


AS_LIST = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)

OneOrMore = Annotated[tuple[Text, ...], Field(min_length=1), AS_LIST]
Paths = Annotated[tuple[FilePath, ...], Field(min_length=1), AS_LIST]
