"""Reference of all keys, made from the settings: name, type, bounds, default, meaning.

``deeplab train --keys WORD`` looks keys up; ``python -m deeplab.config.reference`` prints the
page ``docs/keys.md``.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from deeplab.config.paths import script_groups
from deeplab.config.schema.groups import CHOICES, GROUPS, SCRIPTS
from deeplab.config.schema.model import OwnBackboneSettings, backbone_settings
from deeplab.config.schema.stage import ClassifierRecipe
from deeplab.data.layouts.base import layout_names, settings_class
from deeplab.data.settings import ClassificationSettings, DataSettings, SegmentationSettings
from deeplab.models.backbones.families import backbone_names
from deeplab.utils.own_code.node import VERSION
from deeplab.utils.settings import Settings
from deeplab.utils.text import line_width

NO_BOUND = 10**9
"""Bounds from here on only keep out slips of the keyboard."""

NESTED = {"backbone", "data", "stage", *CHOICES, *GROUPS}
"""Keys of scripts that are groups, which have sections of their own."""


class Key(NamedTuple):
    """One key and what may be set."""

    name: str
    """Full name, as on the command line."""
    type: str
    """Type and bounds in words."""
    default: str
    meaning: str


class Section(NamedTuple):
    """The keys of one group or script."""

    title: str
    description: str
    keys: list[Key]


class _Source(NamedTuple):
    """Settings whose keys are a section."""

    title: str
    prefix: str
    schemas: tuple[type[Settings], ...]
    skip: Collection[str] = ()
    """Keys that have sections of their own."""


def sections(script: str | None = None) -> list[Section]:
    """Return all keys, or those of a script, by the script or group that they belong to."""
    found = []
    for title, prefix, schemas, skip in _sources(script):
        keys = [_key(field) for schema in schemas for field in _fields(schema, prefix, skip)]
        description = inspect.cleandoc(schemas[0].__doc__ or "").split("\n\n")[0]
        found.append(Section(title, description, keys))
    return found


def _sources(script: str | None = None) -> Iterator[_Source]:
    titles = {script, *script_groups(script)} if script else None
    for source in _all_sources():
        if titles is None or source.title.removeprefix("deeplab ").partition(" ")[0] in titles:
            yield source


def _all_sources() -> Iterator[_Source]:
    for name, schemas in SCRIPTS.items():
        yield _Source(f"deeplab {name}", "", schemas, NESTED & script_groups(name))
    yield _Source("stage", "stage.", (ClassifierRecipe,))
    for group, choices in CHOICES.items():
        for name, schema in choices.items():
            yield _Source(f"{group} (name: {name})", f"{group}.", (schema,))
    for group, schema in GROUPS.items():
        yield _Source(group, f"{group}.", (schema,))
    for name in backbone_names():
        yield _Source(f"backbone (family: {name})", "backbone.", (backbone_settings(name),))
    yield _Source("backbone (family: own)", "backbone.", (OwnBackboneSettings,))
    kinds: dict[str, type[DataSettings]] = {
        "masks": SegmentationSettings,
        "labels": ClassificationSettings,
    }
    for kind, data in kinds.items():
        yield _Source(f"data (all with {kind})", "data.", (data,))
    for name in layout_names():
        data = settings_class(name)
        shared = next(s for s in kinds.values() if issubclass(data, s)).model_fields
        same = {k for k in shared if data.model_fields[k].default == shared[k].default}
        yield _Source(f"data (name: {name})", "data.", (data,), same)


class _KeyField(NamedTuple):
    """A key, and the field of the settings that it is."""

    key: str
    """Full name."""
    schema: type[Settings]
    name: str
    has_prefix: bool
    """True for a key of a group."""


def _fields(schema: type[Settings], prefix: str, skip: Collection[str] = ()) -> Iterator[_KeyField]:
    """Yield the keys of some settings and of those inside of them."""
    for name, field in schema.model_fields.items():
        nested, alias = field.annotation, field.alias or name
        if name in skip or alias == VERSION:  # which is not typed
            continue
        if inspect.isclass(nested) and issubclass(nested, Settings):
            yield from _fields(nested, f"{prefix}{name}.")
        else:
            yield _KeyField(prefix + alias, schema, name, bool(prefix))


def _key(key_field: _KeyField) -> Key:
    key, schema, name, has_prefix = key_field
    field, definitions = schema.model_fields[name], _json_schema(schema)
    described = definitions["properties"][field.alias or name]
    if field.default is not PydanticUndefined:
        default = _value(to_jsonable_python(field.default))
    elif "default" in described:  # of the script's file
        default = _value(described["default"])
    else:
        default = "of the choice" if has_prefix else "required"
    meaning = field.description or descriptions(schema).get(name, "")
    kind = type_in_words(described, definitions.get("$defs", {}))
    return Key(key, kind, default, meaning[:1].upper() + meaning[1:])


@cache
def _json_schema(schema: type[Settings]) -> dict[str, Any]:
    return schema.model_json_schema()


@cache
def descriptions(schema: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each key."""
    found: dict[str, str] = {}
    for cls in reversed(schema.__mro__):
        if issubclass(cls, BaseModel):
            found |= _docstrings(cls.__module__).get(cls.__name__, {})
    return found


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the docstring of each annotated name of each class of a module."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if not path or not module.startswith(f"{__package__.partition('.')[0]}."):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for key, text in pairwise(node.body):
                match key, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                        value=ast.Constant(value=doc)
                    ):
                        found.setdefault(node.name, {})[name] = " ".join(str(doc).split())
    return found


def type_in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a JSON schema as a short text, such as ``int >= 1`` or ``null or list of str``."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        parts = dict.fromkeys(type_in_words(part, definitions) for part in schema["anyOf"])
        return " or ".join(sorted(parts, key=lambda part: part != "null"))
    if "enum" in schema:
        return ", ".join(map(_value, schema["enum"]))
    if "const" in schema:
        return _value(schema["const"])
    match schema.get("type"):
        case "array":
            items = schema.get("prefixItems")
            if items:
                return "[" + ", ".join(type_in_words(item, definitions) for item in items) + "]"
            return f"list of {type_in_words(schema.get('items', {}), definitions)}"
        case "object":
            inner = schema.get("additionalProperties")
            return (
                f"name: {type_in_words(inner, definitions)}" if isinstance(inner, dict) else "keys"
            )
        case "integer" | "number" as kind:
            return ("int" if kind == "integer" else "float") + _bounds(schema)
        case "boolean":
            return "true, false"
        case "string":
            return "str"
        case kind:
            return str(kind or "any value")


def _bounds(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {schema[key]:.12g}"
        for key, sign in signs.items()
        if schema.get(key, NO_BOUND) < NO_BOUND
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value)


def script_keys(script: str) -> list[str]:
    """Return the names of a script's keys and groups, as on the command line."""
    groups = script_groups(script)
    names = {field.key for schema in SCRIPTS[script] for field in _fields(schema, "")}
    names |= {
        field.key
        for _, prefix, schemas, skip in _sources(script)
        for schema in schemas
        for field in _fields(schema, prefix, skip)
    }
    return sorted(names | groups | {name.rpartition(".")[0] for name in names} - {""})


def choices_with(key: str) -> list[str]:
    """Return the choices, as ``loss=top_k``, that have a key if others of their group do not."""
    group, _, name = key.partition(".")
    schemas = CHOICES.get(group, {})
    if group == "data":
        schemas = {layout: settings_class(layout) for layout in layout_names()}
    return [f"{group}={choice}" for choice, s in schemas.items() if name in s.model_fields]


def find_keys(text: str, script: str) -> dict[Key, list[str]]:
    """Return the keys of a script whose name or meaning contains all words; all without any.

    Each has the titles of its sections.
    """
    titles: dict[Key, list[str]] = {}
    for section in sections(script):
        for key in section.keys:
            titles.setdefault(key, []).append(section.title)
    words = text.lower().split()
    by_name = [key for key in titles if all(w in key.name.lower() for w in words)]
    by_meaning = [k for k in titles if all(w in f"{k.name} {k.meaning}".lower() for w in words)]
    return {key: titles[key] for key in [*by_name, *by_meaning]}


def print_keys(words: str, script: str) -> None:
    """Print the keys of a script that words find, one paragraph each, below their sections."""
    found, width = find_keys(words, script), line_width(96)
    last: list[str] = []
    for key, titles in found.items():
        if titles != last:
            heading = ", ".join(titles)
            print(textwrap.fill(heading, width, initial_indent="# ", subsequent_indent="# "))
            last = titles
        print(f"{key.name}={key.default}   {key.type}")
        print(textwrap.fill(key.meaning, width, initial_indent="    ", subsequent_indent="    "))
    if not found:
        print(
            f"{words}: no key of this script has this in its name or meaning. Without a word all "
            "are shown."
        )


def as_markdown() -> str:
    """Return the page of all keys."""
    lines = [
        "# All keys",
        "",
        "Set them on the command line as `key=value`, or in the files of `conf/`.",
        "`deeplab train --keys WORD` looks keys up. This page is made from the settings in",
        "the code: `PYTHONPATH=src python -m deeplab.config.reference > docs/keys.md`.",
    ]
    for section in sections():
        lines += ["", f"## {section.title}", "", _cell(section.description), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{key.name}` | {_cell(key.type)} | `{_cell(key.default)}` | {_cell(key.meaning)} |"
            for key in section.keys
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    print(as_markdown(), end="")
