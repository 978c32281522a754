"""Constants that several packages share."""

IGNORE = 255
"""Label of ignored pixels (object borders, padding)."""
