"""Tests of the escaping of templates, in a package that the test writes."""

import sys

import pytest
from jinja2 import UndefinedError

from deeplab.utils.templates import render_template


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a template into a new package and renders it."""
    name = f"package_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def render(file, template, **values):
        (tmp_path / name / file).write_text(template)
        return render_template(name, file, **values)

    yield render
    sys.modules.pop(name, None)


HOSTILE = "<b>\"'&</b> *x*\n| #"


def test_html_is_escaped(package):
    text = package("a.html", '<i title="{{ value }}">{{ value }}</i>\n', value=HOSTILE)
    escaped = "&lt;b&gt;&#34;&#39;&amp;&lt;/b&gt; *x*\n| #"
    assert text == f'<i title="{escaped}">{escaped}</i>\n'


def test_markdown_is_escaped(package):
    text = package("a.md", "# {{ value }}\n{{ value|safe }}\n", value=HOSTILE)
    assert text == f"# \\<b\\>\"'\\&\\</b\\> \\*x\\* \\| \\#\n{HOSTILE}\n"


@pytest.mark.parametrize("file", ["a.html", "a.md"])
@pytest.mark.parametrize("template", ["{{ missing }}", "{{ value.missing }}", "{% if missing %}"])
def test_missing_value_is_an_error(package, file, template):
    end = "{% endif %}" if template.startswith("{%") else ""
    with pytest.raises(UndefinedError, match="missing"):
        package(file, template + end, value=HOSTILE)
