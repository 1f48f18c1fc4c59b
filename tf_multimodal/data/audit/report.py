"""The audit as files: `audit.json`, and `audit.html`, which needs no other file."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import tensorflow as tf

from tf_multimodal.data import decode, spec
from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.data.audit.checkup import Checkup
from tf_multimodal.data.audit.images import read_image
from tf_multimodal.data.source import Source

THUMBNAIL_PX = 144  # the longer side
SHOWN_ROWS = 12  # rows of a finding in the HTML; the JSON has more
SHOWN_GROUPS = 40
SHOWN_CLASSES = 200


def write_report(
    checkup: Checkup, folder: str | Path, max_image_px: int = spec.MAX_IMAGE_PX
) -> tuple[Path, Path]:
    """Writes both files.

    Args:
        checkup: what was found.
        folder: where to; made where it is missing.
        max_image_px: limit on width times height of an image that is shown.

    Returns:
        The paths of `audit.html` and `audit.json`.
    """
    html_path, json_path = Path(folder) / "audit.html", Path(folder) / "audit.json"
    text = json.dumps(checkup.to_json(), indent=2, ensure_ascii=False) + "\n"
    write_text(json_path, text.encode("utf-8", "backslashreplace").decode())
    html = render_html(checkup, max_image_px)
    write_text(html_path, html.encode("utf-8", "xmlcharrefreplace").decode())
    return html_path, json_path


def render_html(checkup: Checkup, max_image_px: int = spec.MAX_IMAGE_PX) -> str:
    """Returns the report as one page; pictures stand in it as small JPEGs."""
    shown: set[int] = set()
    for found in checkup.findings["images"]:
        shown |= set(found.indices[:SHOWN_ROWS])
    groups = checkup.summary["image_groups"]["listed"][:SHOWN_GROUPS]
    shown |= {index for group in groups for index in group["indices"]}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # texts are other people's
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = _format_percent
    environment.filters["number"] = _format_number
    template = environment.get_template("report.html")
    return template.render(
        **checkup.summary,
        findings=checkup.findings,
        shown_groups=groups,
        shown_rows=SHOWN_ROWS,
        shown_classes=SHOWN_CLASSES,
        splits=spec.SPLITS,
        thumbnails=make_thumbnails(checkup.source, sorted(shown), max_image_px),
    )


def make_thumbnails(
    source: Source, indices: Iterable[int], max_image_px: int
) -> dict[int, str]:
    """Returns small pictures of rows as data URLs, by position.

    Rows whose image cannot be used have none.
    """
    thumbnails = {}
    for index in indices:
        data = read_image(source.images[index]) if source.images[index] else b""
        if not data:
            continue
        try:
            image = decode.decode_image(tf.constant(data), max_image_px)
        except tf.errors.OpError:
            continue
        size = (THUMBNAIL_PX, THUMBNAIL_PX)
        if max(image.shape[:2]) > THUMBNAIL_PX:
            resized = tf.image.resize(
                image, size, method="area", preserve_aspect_ratio=True
            )
            image = tf.cast(tf.round(resized), tf.uint8)
        encoded = base64.b64encode(tf.io.encode_jpeg(image, quality=80).numpy())
        thumbnails[index] = f"data:image/jpeg;base64,{encoded.decode()}"
    return thumbnails


def _format_percent(share: float | None) -> str:
    if share is None:
        return "unknown"
    digits = 1 if share >= 0.001 or share == 0 else 3
    return f"{100 * share:.{digits}f} %"


def _format_number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)
