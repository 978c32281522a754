"""Names of the backbone families, without importing them."""

from functools import cache
from pathlib import Path


@cache
def backbone_names() -> tuple[str, ...]:
    """Return the names of the modules of this package that define a backbone."""
    return tuple(
        sorted(
            path.stem
            for path in Path(__file__).parent.glob("*.py")
            if "Backbone):" in path.read_text() and path.stem != "base"
        )
    )
