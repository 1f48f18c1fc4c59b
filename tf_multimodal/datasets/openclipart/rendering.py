"""SVG to pixels."""

import pathlib
import struct

import numpy as np
import resvg_py
import tensorflow as tf

LONGEST_SIDE_PX = 256


def render_svg(path: pathlib.Path) -> tuple[bytes, np.ndarray]:
    """Renders an SVG file onto white, its longest side `LONGEST_SIDE_PX`.

    Returns:
        The picture as PNG bytes, and as uint8 [h, w, 3].

    Raises:
        ValueError: the file cannot be rendered, or the picture is blank.
    """
    svg = path.read_text(encoding="utf-8", errors="replace")
    png = _render(svg, width=LONGEST_SIDE_PX)
    if _read_height(png) > LONGEST_SIDE_PX:
        png = _render(svg, height=LONGEST_SIDE_PX)
    image = tf.io.decode_png(png, channels=3).numpy()
    if (image == image[0, 0]).all():
        raise ValueError("blank: the rendering has a single colour")
    # Without the opaque alpha channel it decodes half as fast again.
    return tf.io.encode_png(image).numpy(), image


def _render(svg: str, **size: int) -> bytes:
    # Without a dpi, sizes in mm or pt are refused; the machine's fonts would make
    # the picture depend on the machine.
    return resvg_py.svg_to_bytes(
        svg_string=svg,
        background="#ffffff",
        dpi=96,
        skip_system_fonts=True,
        **size,
    )


def _read_height(png: bytes) -> int:
    return struct.unpack(">I", png[20:24])[0]
