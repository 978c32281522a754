"""Jinja2 templates of pages and documents, which escape every value for their format."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from deeplab.utils.text import printable
from deeplab.utils.text_table import escape_markdown


def render_template(package: str, name: str, /, **values: Any) -> str:
    """Return a template with its values filled in.

    Values are escaped for HTML, or for Markdown if the name ends with ``.md``, unless the template
    marks them as ``safe``; control characters are escaped for both. A value that is missing is an
    error. Pages extend ``base.html``, which lies beside this module.

    Args:
        package: the package that holds the template's file.
        name: the name of the file.
        values: the values by name.
    """
    return _environment(package, name.endswith(".md")).get_template(name).render(values)


@cache
def _environment(package: str, is_markdown: bool) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(name, ".") for name in (package, "deeplab.utils")]),
        autoescape=not is_markdown,
        finalize=_escape_markdown if is_markdown else _escape_controls,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escape_controls(value: Any) -> Any:
    return printable(value, keep="\n\t") if type(value) is str else value


def _escape_markdown(value: Any) -> Any:
    is_safe = hasattr(value, "__html__")
    return value if is_safe else escape_markdown(str(value))
