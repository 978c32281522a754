"""Settings derived from the signature of a constructor, the one definition of a network's keys.

The signature is read from the source file, and only the imports that it needs are executed: with
torch, ``--help`` and every error message would take a second longer.
"""

import ast
import importlib.util
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, create_model

from deeplab.utils.settings import Settings

S = TypeVar("S", bound=Settings)


class ClassSource:
    """A class in a source file that is not imported.

    Args:
        module: name of the module.
        matches: the class is the first one whose own name or that of a base class this matches.

    Raises:
        ValueError: the module has no such class.
    """

    def __init__(self, module: str, matches: str) -> None:
        self.module = module
        self._tree = ast.parse(_source_file(module).read_text())
        for node in self._tree.body:
            if isinstance(node, ast.ClassDef) and any(
                re.fullmatch(matches, name) for name in (node.name, *map(ast.unparse, node.bases))
            ):
                self.node = node
                return
        raise ValueError(f"{module} has no class {matches}")

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.node.name

    def constructor(self) -> ast.FunctionDef:
        """Return the definition of ``__init__``."""
        return next(
            node
            for node in self.node.body
            if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        )

    def signature(self, exclude: tuple[str, ...] = ()) -> inspect.Signature:
        """Return the constructor's signature with its types and defaults as objects.

        Args:
            exclude: arguments to leave out, with what their types would import.
        """
        init = self.constructor()
        init.body, init.returns = [ast.Pass()], None
        init.args.args = [a for a in init.args.args if a.arg not in ("self", *exclude)]
        used = {node.id for node in ast.walk(init) if isinstance(node, ast.Name)}
        needed = [statement for statement in self._tree.body if _names(statement) & used]
        namespace: dict[str, Any] = {}
        stub = ast.fix_missing_locations(ast.Module([*needed, init], type_ignores=[]))
        exec(compile(stub, str(_source_file(self.module)), "exec"), namespace)
        return inspect.signature(namespace["__init__"])

    def descriptions(self) -> dict[str, str]:
        """Return the text of each argument in the class's docstring."""
        doc = inspect.cleandoc(ast.get_docstring(self.node) or "")
        section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", doc, re.MULTILINE)
        entries = re.findall(
            r"^ {4}(\w[\w, ]*): ((?:.*\n?)(?:^ {5,}.*\n?)*)", section[1] if section else "", re.M
        )
        return {
            name: " ".join(text.split()) for names, text in entries for name in names.split(", ")
        }


@cache
def _source_file(module: str) -> Path:
    """Return the file of a module, without importing the packages that it lies in."""
    package, *parts = module.split(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], *parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that an import or an assignment of a module binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return set()


def settings_name(module: str) -> str:
    """Return the name of the settings of the class that a module defines."""
    return f"{module.rpartition('.')[2].capitalize()}Settings"


@cache
def settings_from(
    base: type[S], module: str, matches: str, *, exclude: tuple[str, ...] = (), place: str
) -> type[S]:
    """Return a subclass of ``base`` with a field for each argument of a constructor.

    It is named for the constructor's module, as ``ResnetSettings``.

    Args:
        base: keys that are no arguments of the constructor.
        module: name of the constructor's module.
        matches: regular expression of the class's name or of a base class.
        exclude: arguments that are no settings.
        place: module in which pickle finds the subclass by its name.
    """
    source = ClassSource(module, matches)
    descriptions = source.descriptions()
    fields: dict[str, Any] = {
        name: (
            argument.annotation,
            Field(
                ... if argument.default is argument.empty else argument.default,
                description=descriptions.get(name),
            ),
        )
        for name, argument in source.signature(exclude).parameters.items()
    }
    return create_model(
        settings_name(module),
        __base__=base,
        __module__=place,
        __doc__=f"Keys of ``{module}.{source.name}``.",
        **fields,
    )
