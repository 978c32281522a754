"""Configuration of the documentation's site; ``make docs`` builds it with warnings as errors.

The source is the whole checkout, so that a link such as ``../RESULTS.md`` works in the site and in
the files. Pages of commands and of records are written from the code before each build.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import deeplab  # noqa: E402
from deeplab.cli import COMMANDS  # noqa: E402
from deeplab.config.reference import descriptions, type_in_words  # noqa: E402
from deeplab.metrics.definitions import METRICS  # noqa: E402
from deeplab.tracking.evaluation_protocol import Protocol  # noqa: E402
from deeplab.tracking.result import Result  # noqa: E402
from deeplab.tracking.run_record import RunRecord  # noqa: E402
from deeplab.utils.program import PROGRAM  # noqa: E402
from deeplab.utils.text import fold  # noqa: E402

project, release, author = "DeepLabv3+", deeplab.__version__, "the DeepLabv3+ framework's authors"
copyright = author
root_doc = "docs/index"
include_patterns = ["docs/**", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"]
exclude_patterns = ["docs/conf.py", "**/_build"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]
highlight_language = "text"
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring, napoleon_numpy_docstring = True, False

html_theme = "furo"
html_title = f"DeepLabv3+ {release}"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False

COLUMNS = 110
"""Width of the commands' help: that of the site's text on a wide screen."""

COMMANDS_FILE, RECORDS_FILE = "docs/generated/commands.md", "docs/generated/records.md"


def write_pages(app: Sphinx) -> None:
    """Write the pages that are made from the code."""
    folder = ROOT / "docs/generated"
    folder.mkdir(exist_ok=True)
    (ROOT / COMMANDS_FILE).write_text(commands_as_markdown())
    (ROOT / RECORDS_FILE).write_text(records_as_markdown())


def commands_as_markdown() -> str:
    """Return the help texts of the command and of each subcommand."""
    sections = ["# Commands\n\nWhat each command prints with `--help`.\n"]
    for name in COMMANDS:
        text = help_text(name)
        sections.append(f"## deeplab {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(sections)


def help_text(name: str) -> str:
    """Return what ``deeplab NAME --help`` prints in a terminal of ``COLUMNS``."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"), "COLUMNS": f"{COLUMNS}", PROGRAM: "deeplab {}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "deeplab", name, "--help"],
        capture_output=True, text=True, check=True, env=environment, cwd=ROOT / "docs",
    )  # fmt: skip
    return fold(done.stdout, COLUMNS)


def records_as_markdown() -> str:
    """Return the fields of the JSON files of runs and evaluations, and the keys of all scores."""
    lines = [
        "# Fields of the records",
        "",
        "Scores are in percent. In the files they lie beside the other fields, by these keys:",
        "",
        "| key | score |",
        "|---|---|",
        *(f"| `{key}` | {metric.label} |" for key, metric in METRICS.items()),
    ]
    records = {
        "metrics.json and result.json": Result,
        "protocol, in both": Protocol,
        "run.json": RunRecord,
    }
    for title, record in records.items():
        meanings = descriptions(record)
        schema = record.model_json_schema()
        lines += ["", f"## {title}", "", "| field | type | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {type_in_words(described, schema.get('$defs', {}))} "
            f"| {meanings.get(name, '').replace('``', '`').replace('|', chr(92) + '|')} |"
            for name, described in schema["properties"].items()
            if name != "scores"  # which lie beside the others
        ]
    return "\n".join(lines) + "\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions above to the build."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
