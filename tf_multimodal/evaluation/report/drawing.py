"""A canvas for the report's figures: drawn once, as PNG and as SVG for the page.

The SVG keeps text as text, in the page's font, and its colours are those of the page:
what is drawn in a colour of `PALETTE` becomes the CSS variable of that name.
"""

import contextlib
import dataclasses
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tf_multimodal.inference.figure_fonts import make_text_settings

WIDTH = 5.0  # inches; as wide as a phone, where a unit of the SVG is a pixel
PALETTE = {  # the light theme's; no two are equal, since each becomes a variable
    "ink": "#1d2129",
    "quiet": "#5d6675",
    "line": "#dfe2e8",
    "paper": "#fffffe",
    "accent": "#2456c4",
    "soft": "#a9bfee",
    "warn": "#b5471b",
}
_PNG_DPI = 200
_HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", re.DOTALL)
_STYLE_SHEET = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_IN_TAGS = (  # what goes, and what takes its place
    (re.compile(r' id="(?!line-)[A-Za-z0-9.]+_\d+"'), ""),  # of every group
    (re.compile(r"font-family: [^;\"]*;? ?"), ""),
    (re.compile(r"(\d+\.\d\d)\d+"), r"\1"),
    (re.compile(r"(?<=<svg)(.*?) width=\"[^\"]*\""), r"\1"),
    (re.compile(r"(?<=<svg)(.*?) height=\"[^\"]*\""), r"\1"),
    (re.compile(r"\s+"), " "),
    *((re.compile(colour), f"var(--{name})") for name, colour in PALETTE.items()),
)


@dataclasses.dataclass
class Drawing:
    """A finished figure.

    Attributes:
        name: of its file, without suffix.
        title: a few words.
        alt: what it shows, in words.
        svg: an `<svg>` element for the page; empty for a figure that is PNG alone.
        png: the file's content.
    """

    name: str
    title: str
    alt: str
    svg: str = ""
    png: bytes = b""


@contextlib.contextmanager
def draw(
    name: str,
    title: str,
    alt: str,
    height: float,
    width: float = WIDTH,
    in_page: bool = True,
) -> Iterator[tuple[Drawing, Axes]]:
    """Gives axes to draw on; fills in the drawing when the block ends.

    Args:
        name: of the figure's file, without suffix.
        title: a few words; above the PNG, and in the page the caption.
        alt: what it shows, in words.
        height: in inches.
        width: in inches.
        in_page: whether there is to be an SVG.
    """
    settings = {
        **make_text_settings(),
        "text.color": PALETTE["ink"],
        "axes.labelcolor": PALETTE["quiet"],
        "axes.edgecolor": PALETTE["line"],
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": PALETTE["line"],
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.color": PALETTE["line"],
        "ytick.color": PALETTE["line"],
        "xtick.labelcolor": PALETTE["quiet"],
        "ytick.labelcolor": PALETTE["quiet"],
        "figure.facecolor": PALETTE["paper"],
        "lines.linewidth": 2,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "svg.hashsalt": name,  # ids that differ between figures and not between runs
    }
    drawing = Drawing(name, title, alt)
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A script without a font is drawn as boxes; that is no one's mistake.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        yield drawing, axes
        heading = figure.suptitle(title, x=0.02, ha="left", fontsize=11)
        drawing.png = _save(figure, "png", dpi=_PNG_DPI)
        if in_page:
            heading.remove()
            figure.patch.set_visible(False)
            svg = _save(figure, "svg", metadata={"Date": None})
            drawing.svg = clean_svg(svg.decode("utf-8"))


def clean_svg(svg: str) -> str:
    """Returns matplotlib's SVG as an element for the page.

    Without what would reach beyond it in a page: its style sheet, its ids (but
    `line-…` and those that it refers to itself); without a size of its own.
    """
    for pattern in (_HEAD, _STYLE_SHEET):
        svg = pattern.sub("", svg)
    return re.sub(r">\s+<", "><", _TAG.sub(_clean_tag, svg)).strip()


def _clean_tag(match: re.Match[str]) -> str:
    tag = match.group()
    for pattern, replacement in _IN_TAGS:
        tag = pattern.sub(replacement, tag)
    return tag


def shorten(text: str, columns: int) -> str:
    """Returns a name in at most so many columns; wide characters take two."""
    shown, used = "", 0
    for character in "".join(c if c.isprintable() else " " for c in text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns:
            return shown[:-1].rstrip() + "…"
        shown += character
    return shown


def _save(figure: Figure, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()
