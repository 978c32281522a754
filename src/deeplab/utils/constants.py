"""Constants that several packages share."""

IGNORE = 255
"""The label of pixels that count for nothing: object borders and padding."""
