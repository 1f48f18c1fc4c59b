"""Cells as messages show them."""

from typing import Any

SHOWN_LENGTH = 80  # characters; a cell may be a whole image


def quote(value: Any) -> str:
    """Returns a value in quotation marks; what is long is cut, and its length told."""
    if not isinstance(value, str | bytes):
        text = repr(value)
        return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
    if len(value) <= SHOWN_LENGTH:
        return repr(value)
    unit = "bytes" if isinstance(value, bytes) else "characters"
    return f"{value[:SHOWN_LENGTH]!r}… ({len(value)} {unit})"


def shorten(name: str) -> str:
    """Returns a name as it is; of a long one, the beginning."""
    return name if len(name) <= SHOWN_LENGTH else f"{name[:SHOWN_LENGTH]}…"
