"""Conversion of scores to percent, the unit in which they are recorded, logged and shown."""

UNIT = "percent"
"""Name of the unit in records."""


def to_percent(fraction: float) -> float:
    """Return a fraction of 1 in percent, the unit of the paper's tables; nan stays nan."""
    return 100 * fraction
