"""The unit of every score that is recorded, logged or shown."""

UNIT = "percent"


def to_percent(fraction: float) -> float:
    """Return a fraction of 1 in percent, the unit of the paper's tables; nan stays nan."""
    return 100 * fraction
