"""Code blocks of the documentation: which there are, and why a test cannot run some of them."""

import re
from pathlib import Path
from typing import NamedTuple

from support.repository import ROOT

PAGES = sorted(
    [ROOT / "README.md", ROOT / "RESULTS.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md"]
    + [p for p in ROOT.glob("docs/**/*.md") if "generated" not in p.parts]
)
"""All pages of the documentation."""

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

CODE = ("bash", "python")
"""Languages of blocks that are to be run."""


class Block(NamedTuple):
    """A block of commands or of Python."""

    page: Path
    number: int
    """Number on the page, from 0."""
    language: str
    code: str
    not_run: str
    """Why it cannot be run by a test; empty if it can."""
    extra: str
    """Extra that it needs."""

    @property
    def name(self) -> str:
        """Name of the block, for the names of tests."""
        return f"{self.page.relative_to(ROOT).as_posix()}-{self.number}"

    @property
    def commands(self) -> list[str]:
        """The commands of the block without comments; continued lines are joined."""
        text = re.sub(r"\\\n\s*", "", self.code)
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
        return [line for line in lines if line]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are code."""
    found = [m for m in BLOCK.finditer(page.read_text()) if m["language"] in CODE]
    result = []
    for number, match in enumerate(found):
        kind, _, text = (match["mark"] or "").partition(": ")
        assert kind in ("", "not run", "needs extra"), f"{page}: {match['mark']}"
        result.append(
            Block(
                page,
                number,
                match["language"],
                match["code"],
                not_run=text if kind == "not run" else "",
                extra=text if kind == "needs extra" else "",
            )
        )
    return result
