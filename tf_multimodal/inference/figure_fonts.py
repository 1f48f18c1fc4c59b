"""Fonts for pictures that show users' words, in whatever script."""

from typing import Any

from matplotlib import font_manager

# Used for scripts that the default font lacks, where the machine has them.
_FALLBACKS = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Unifont",
)


def make_text_settings() -> dict[str, Any]:
    """Returns matplotlib's settings for text that users wrote."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": ["DejaVu Sans", *(f for f in _FALLBACKS if f in installed)],
        "font.size": 10,
        "text.parse_math": False,  # a dollar sign is a dollar sign
    }
