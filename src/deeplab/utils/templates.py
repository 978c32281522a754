"""Jinja2 templates of pages and documents, which escape every value for their format."""

from functools import cache
from typing import TYPE_CHECKING, Any

from deeplab.utils.text_table import escape_markdown

if TYPE_CHECKING:
    from jinja2 import Environment


def render_template(package: str, name: str, /, **values: Any) -> str:
    """Return a template with its values filled in.

    Values are escaped for HTML, or for Markdown if the name ends with ``.md``, unless the template
    marks them as ``safe``. A value that is missing is an error. Pages extend ``base.html``, which
    lies beside this module.

    Args:
        package: the package that holds the template's file.
        name: the name of the file.
        values: the values by name.
    """
    environment = _markdown(package) if name.endswith(".md") else _html(package)
    return environment.get_template(name).render(values)


@cache
def _html(package: str) -> "Environment":
    return _environment(package, autoescape=True)


@cache
def _markdown(package: str) -> "Environment":
    from markupsafe import Markup

    def escape(value: Any) -> Any:
        return value if isinstance(value, Markup) else escape_markdown(str(value))

    return _environment(package, finalize=escape)


def _environment(package: str, **options: Any) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(name, ".") for name in (package, "deeplab.utils")]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
