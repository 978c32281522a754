"""Classes of the user's own: a config names one by ``_target_: package.module.Name``.

What the command line or the user's own ``conf/`` names is imported. What a run's folder or a
repository names is not: ``trust`` must have been called with its name before, which the scripts do
for the former, and for the latter only with ``trust_remote_code=true``.

Neither finding a class's source nor its version imports anything.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError
from deeplab.utils.settings import Settings, Text, wrong_value

T = TypeVar("T")

VERSION = "_version_"

HYDRA_KEYS = ("_partial_", "_convert_", "_recursive_")
"""Keys of Hydra's nodes that have no effect here: what is built when is decided by the leaf."""


def _check_target(target: str) -> str:
    names = target.split(".")
    if len(names) < 2 or not all(map(str.isidentifier, names)):
        raise wrong_value("expected the path of a class, package.module.Name")
    return target


class OwnCode(Settings):
    """A class of the user's own with its arguments: all keys that are no fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: Annotated[Text, AfterValidator(_check_target)] = Field(alias="_target_")
    """Path of the class: ``package.module.Name``."""
    version: Text | None = Field(None, alias="_version_")
    """Version of its distribution, or the hash of its source files."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        if isinstance(values, dict) and "_args_" in values:
            raise ValueError("_args_: positional arguments have no name. Set them by their names")
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if key not in HYDRA_KEYS}
        return values

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = handler(self)
        for name, alias in (("target", TARGET), ("version", VERSION)):
            values[alias] = values.pop(name, values.get(alias))
        return values

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the class."""
        return dict(self.model_extra or {})

    def with_version(self, key: str) -> Self:
        """Return the node with the versions of its class and of those in its arguments.

        Args:
            key: key of the leaf, for messages.

        Raises:
            UserError: a module is not found.
        """
        versions = [code_version(target, key) for target in targets(self)]
        return self.model_copy(update={"version": " ".join(dict.fromkeys(versions))})


def is_own_code(values: Any) -> bool:
    """Return True if the values of a leaf name a class."""
    return isinstance(values, Mapping) and TARGET in values


def targets(value: Any) -> Iterator[str]:
    """Yield the classes that a node, or a value with nodes in it, names."""
    if isinstance(value, OwnCode):
        yield value.target
        yield from targets(value.arguments)
    elif isinstance(value, Mapping):
        if TARGET in value:
            yield str(value[TARGET])
        for item in value.values():
            yield from targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from targets(item)


_trusted: set[str] = set()


def trust(names: Iterable[str]) -> None:
    """Allow classes to be imported in this process."""
    _trusted.update(names)


def trusted_names() -> list[str]:
    """Return the classes that may be imported in this process, to ``trust`` them in another one."""
    return sorted(_trusted)


def check_trusted(names: Iterable[str], source: str) -> None:
    """Check that all of these classes may be imported.

    Those that a file of the user's own ``conf/``, in the working folder, names may.

    Args:
        names: the classes.
        source: what names them, for the message.

    Raises:
        UserError: one may not.
    """
    foreign = [name for name in dict.fromkeys(names) if name not in _trusted]
    if foreign:
        own = set(_own_conf_targets())
        trust(own)
        foreign = [name for name in foreign if name not in own]
    if foreign:
        raise UserError(
            f"trust_remote_code=false: {source} names code that this command would import: "
            f"{', '.join(f'{name} ({_describe_place(name)})' for name in foreign)}. Read it first; "
            "then set trust_remote_code=true, or name it in a file of your own conf/."
        )


def _own_conf_targets() -> Iterator[str]:
    """Yield the classes that the files of ``conf/`` in the working folder name."""
    for path in Path("conf").glob("*/*.yaml"):
        try:
            yield from targets(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, yaml.YAMLError):  # reported when it is chosen
            continue


def _describe_place(target: str) -> str:
    spec = _find(target)
    return str(spec.origin or "a folder") if spec else "not found here"


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
    _add_working_folder()
    spec = _find(target)
    if spec is None:
        raise _not_found(target, label)
    _check_not_hidden(target, spec, label)
    names = target.split(".")
    depth = len(spec.name.split("."))
    try:
        value = importlib.import_module(spec.name)
    except (Exception, SystemExit) as error:
        raise UserError(f"{label}: importing it fails: {_describe(error, spec.origin)}.") from None
    for name in names[depth:]:
        if not hasattr(value, name):
            raise UserError(
                f"{label}: {spec.origin or spec.name} has no {name}.{_similar(name, dir(value))}"
            )
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


def call(function: Callable[..., Any], label: str, *args: Any, **kwargs: Any) -> Any:
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
            raise UserError(f"{label}: {error}. {takes}.") from None
    try:
        return function(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        origin = inspect.getsourcefile(function) if _has_source(function) else None
        raise UserError(f"{label}: it raises {_describe(error, origin)}.") from None


def _has_source(function: Any) -> bool:
    return inspect.isclass(function) or inspect.isroutine(function)


def _build_inner(value: Any, key: str) -> Any:
    if is_own_code(value):
        return build(OwnCode(**value), key, object)
    if isinstance(value, Mapping):
        return {name: _build_inner(v, f"{key}.{name}") for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_build_inner(v, f"{key}.{i}") for i, v in enumerate(value)]
    return value


def _describe(error: BaseException, origin: str | None) -> str:
    """Return an error in one line, with the place in the user's file that it comes from."""
    text = " ".join(str(error).split()).removesuffix(".")
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f" ({error.filename}, line {error.lineno})", error.msg
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if origin and Path(f.filename).parent == Path(origin).parent]
    if inside and not place:
        place = f" ({inside[-1].filename}, line {inside[-1].lineno})"
    return f"{type(error).__name__}{': ' * bool(text)}{text}{place}"


def _similar(word: str, known: Iterable[str]) -> str:
    import difflib

    public = [name for name in known if not name.startswith("_")]
    near = difflib.get_close_matches(word, public, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _add_working_folder() -> None:
    """Let modules of the working folder be found, after all others."""
    folder = os.getcwd()  # noqa: PTH109
    if not any(os.path.abspath(path or folder) == folder for path in sys.path):  # noqa: PTH100
        sys.path.append(folder)
        importlib.invalidate_caches()


def _find_top(name: str) -> ModuleSpec | None:
    """Return the module of an undotted name; those of the working folder come last."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec or _find_local(name)


def _find_local(name: str) -> ModuleSpec | None:
    return PathFinder.find_spec(name, [os.getcwd()])  # noqa: PTH109


def _find(target: str) -> ModuleSpec | None:
    """Return the module of a class, the longest part of its path that is one, without importing."""
    names = target.split(".")
    found = _find_top(names[0])
    for depth in range(2, len(names) + 1):
        if found is None or found.submodule_search_locations is None:
            break
        path = list(found.submodule_search_locations)
        inner = PathFinder.find_spec(".".join(names[:depth]), path)
        if inner is None:
            break
        found = inner
    return found


def _not_found(target: str, label: str) -> UserError:
    top = target.split(".")[0]
    extra = EXTRAS.get(top)
    hint = (
        f"Run {extra}"
        if extra
        else f"Write it as {top}.py into the working folder, or install the package"
    )
    return UserError(
        f"{label}: there is no module {top}, neither in {Path.cwd()} nor among the installed "
        f"packages. {hint}."
    )


EXTRAS = {"kornia": 'pip install ".[losses]"', "timm": 'pip install ".[timm]"'}
"""Commands that install packages whose classes are likely to be named."""


def _check_not_hidden(target: str, spec: ModuleSpec, label: str) -> None:
    """Check that a module of the working folder is not hidden by another one of its name."""
    top = target.split(".")[0]
    standard = top in sys.stdlib_module_names
    local, first = _find_local(top), _find_top(top)
    hidden = local is not None and local.origin and (first is None or first.origin != local.origin)
    if hidden:
        assert local is not None
        other = "Python's standard module" if standard else str(first and first.origin)
        raise UserError(
            f"{label}: {local.origin} is hidden by {other} of the same name. Rename your module."
        )
    if standard and local is None:
        raise UserError(f"{label}: {top} is a module of Python's standard library, not yours.")


# Versions


def code_version(target: str, key: str) -> str:
    """Return the version of the code of a class: of its distribution, or the hash of its source.

    The source of a module that is not installed is its file and those of the modules beside it
    that it imports, at any depth. An installed package that is edited in place is such a module.

    Raises:
        UserError: there is no such module.
    """
    spec = _find(target)
    if spec is None:
        raise _not_found(target, f"{key}.{TARGET}={target}")
    return _spec_version(spec.name, spec.origin, target.split(".")[0])


@cache
def _spec_version(module: str, origin: str | None, top: str) -> str:
    import importlib.metadata  # takes a while
    import sysconfig

    installed = [Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib")]
    place = Path(origin).resolve() if origin and os.path.exists(origin) else None  # noqa: PTH110
    if place is None or any(place.is_relative_to(folder) for folder in installed):
        for distribution in importlib.metadata.packages_distributions().get(top, [])[:1]:
            version = importlib.metadata.version(distribution).partition("+")[0]  # of the build
            return f"{distribution}=={version}"
    if place is None:
        return f"python=={sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256()
    for path, content in sorted(source_files(module, place).items()):
        digest.update(f"{path}\0".encode() + content + b"\0")
    return f"sha256:{digest.hexdigest()[:16]}"


def source_files(module: str, path: Path) -> dict[str, bytes]:
    """Return the files of a module and of the local modules that it imports, by relative path."""
    depth = len(module.split(".")) + (path.name == "__init__.py")
    root = path.parents[depth - 1]
    files: dict[str, bytes] = {}
    waiting = [path]
    parents = [root.joinpath(*module.split(".")[:i], "__init__.py") for i in range(1, depth)]
    waiting += [p for p in parents if p.is_file()]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(root).as_posix()
        if name in files or not file.is_file():
            continue
        files[name] = file.read_bytes()
        package = file.relative_to(root).parent.parts
        waiting += [p for i in _imports(files[name], package) for p in _local_files(root, i)]
    return files


def _imports(source: bytes, package: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names that a file imports, relative ones from its package."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # reported when it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(package[: len(package) - node.level + 1]) if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield base
            for alias in node.names:
                yield (*base, alias.name)


def _local_files(root: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield the existing files below a folder that importing a dotted name would execute."""
    for depth in range(1, len(names) + 1):
        place = root.joinpath(*names[:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file
