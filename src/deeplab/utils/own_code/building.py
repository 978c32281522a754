"""Objects of the user's own classes, whose errors become messages."""

import importlib
import importlib.util
import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.own_code.finding import (
    add_working_folder,
    check_not_hidden,
    find_module,
    is_own_file,
    not_found,
)
from deeplab.utils.own_code.node import OwnCode, is_own_code
from deeplab.utils.own_code.trust import check_trusted
from deeplab.utils.reading import describe
from deeplab.utils.text import did_you_mean, similar

T = TypeVar("T")


def import_target(target: str, key: str) -> Any:
    """Import a class.

    Args:
        target: its path, ``package.module.Name``.
        key: key of the leaf that names it, for messages.

    Raises:
        UserError: it may not be imported, is not found, or its module raises an error.
    """
    check_trusted([target], key)
    label = f"{key}.{TARGET}={target}"
    add_working_folder()
    spec = find_module(target)
    if spec is None:
        raise not_found(target, label)
    check_not_hidden(target, label)
    names = target.split(".")
    depth = len(spec.name.split("."))
    try:
        value = importlib.import_module(spec.name)
    except (Exception, SystemExit) as error:
        raise UserError(f"{label}: importing it fails: {_describe(error)}.") from None
    for name in names[depth:]:
        if not hasattr(value, name):
            public = [known for known in dir(value) if not known.startswith("_")]
            hint = did_you_mean(similar(name, public, max_words=3))
            raise UserError(f"{label}: {spec.origin or spec.name} has no {name}.{hint}")
        value = getattr(value, name)
    return value


def build(
    node: OwnCode, key: str, expected: type[T] | tuple[type, ...], *args: Any, **kwargs: Any
) -> T:
    """Return an object of the class that a node names.

    Args:
        node: the class and its arguments. Nodes in the arguments are built first.
        key: key of the leaf, for messages.
        expected: type of the object.
        *args: arguments of the program, which come first.
        **kwargs: further ones.

    Raises:
        UserError: as ``import_target`` does; or its arguments are wrong, it raises an error, or the
            object has another type.
    """
    constructor = import_target(node.target, key)
    label = f"{key}.{TARGET}={node.target}"
    if not callable(constructor):
        raise UserError(f"{label}: this is no class but {type(constructor).__name__}.")
    arguments = {name: _build_inner(v, f"{key}.{name}") for name, v in node.arguments.items()}
    if taken := sorted(arguments.keys() & kwargs.keys()):
        raise UserError(f"{label}: the program sets its argument {taken[0]}. Leave it out.")
    value = call(constructor, label, *args, **arguments, **kwargs)
    if not isinstance(value, expected):
        types = expected if isinstance(expected, tuple) else (expected,)
        wanted = " or ".join(f"{t.__module__}.{t.__qualname__}" for t in types)
        raise UserError(f"{label}: it returns {type(value).__name__}; expected {wanted}.")
    return value  # type: ignore[return-value]


def build_class(node: OwnCode, key: str, expected: type[T], *args: Any) -> T:
    """Return an object as ``build`` does, if the node names a subclass of the expected type."""
    constructor = import_target(node.target, key)
    if not (inspect.isclass(constructor) and issubclass(constructor, expected)):
        kind = "class" if inspect.isclass(constructor) else type(constructor).__name__
        raise UserError(
            f"{key}.{TARGET}={node.target}: this {kind} is no subclass of "
            f"{expected.__module__}.{expected.__qualname__}."
        )
    return build(node, key, expected, *args)


def takes(node: OwnCode, key: str, argument: str) -> bool:
    """Return True if the class of a node has an argument of this name; raises as ``build`` does."""
    try:
        return argument in inspect.signature(import_target(node.target, key)).parameters
    except (TypeError, ValueError):
        return False


def call(function: Callable[..., Any], label: str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the user's; ``label`` begins the message of an error.

    Raises:
        UserError: the arguments are wrong, or it raises an error.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a class of an extension module
        signature = None
    if signature is not None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            known = [
                name
                for name, parameter in list(signature.parameters.items())[len(args) :]
                if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            ]
            takes = f"Its arguments: {', '.join(known)}" if known else "It takes no arguments"
            near = [name for key in kwargs.keys() - {*known} for name in similar(key, known)]
            raise UserError(f"{label}: {error}.{did_you_mean(near)} {takes}.") from None
    try:
        return function(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{label}: it raises {_describe(error)}.") from None


def _build_inner(value: Any, key: str) -> Any:
    if is_own_code(value):
        try:
            node = OwnCode(**value)
        except ValidationError as error:
            raise UserError(f"{key}.{describe(error)}.") from None
        return build(node, key, object)
    if isinstance(value, Mapping):
        return {name: _build_inner(v, f"{key}.{name}") for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_build_inner(v, f"{key}.{i}") for i, v in enumerate(value)]
    return value


def _describe(error: BaseException) -> str:
    """Return an error in one line, with the deepest place in the user's files that led to it."""
    text = " ".join(str(error).split()).removesuffix(".")
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f" ({error.filename}, line {error.lineno})", error.msg
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own_file(frame.filename)]
    if own and not place:
        place = f" ({own[-1].filename}, line {own[-1].lineno})"
    return f"{type(error).__name__}{': ' * bool(text)}{text}{place}"
