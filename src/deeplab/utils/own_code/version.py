"""Versions of the user's own code: of an installed distribution, or the hash of the source.

Finding them imports nothing.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from deeplab.utils.constants import TARGET
from deeplab.utils.own_code.finding import find_module, not_found
from deeplab.utils.paths import is_reachable


def code_version(target: str, key: str) -> str:
    """Return the version of the code of a class: of its distribution, or the hash of its source.

    The source of a module that is not installed is its file and those of the modules beside it
    that it imports, at any depth. An installed package that is edited in place is such a module.

    Raises:
        UserError: there is no such module.
    """
    spec = find_module(target)
    if spec is None:
        raise not_found(target, f"{key}.{TARGET}={target}")
    return _spec_version(spec.name, spec.origin, target.split(".")[0])


@cache
def _spec_version(module: str, origin: str | None, top: str) -> str:
    import importlib.metadata  # takes a while
    import sysconfig

    standard, *installed = (
        Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "purelib", "platlib")
    )
    place = Path(origin).resolve() if origin and is_reachable(origin) else None
    if place is None or any(place.is_relative_to(folder) for folder in installed):
        for distribution in importlib.metadata.packages_distributions().get(top, [])[:1]:
            version = importlib.metadata.version(distribution).partition("+")[0]  # of the build
            return f"{distribution}=={version}"
    if place is None or (top in sys.stdlib_module_names and place.is_relative_to(standard)):
        return f"python=={sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256()
    for path, content in sorted(read_sources(module, place).items()):
        digest.update(f"{path}\0".encode() + content + b"\0")
    return f"sha256:{digest.hexdigest()[:16]}"


def read_sources(module: str, path: Path) -> dict[str, bytes]:
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
