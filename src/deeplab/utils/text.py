"""Texts from files of others, made safe to print."""

import re

HARMFUL = re.compile(
    # control characters, which move the cursor or color the terminal, line separators, signs that
    # turn the direction of writing, and halves of surrogate pairs
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters written as ``\x1b``.

    Without them a text cannot move the cursor, color the terminal, begin a line or turn the
    direction of writing.

    Args:
        text: any text.
        keep: control characters that stay.
    """
    return HARMFUL.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)
