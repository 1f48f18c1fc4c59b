"""Every image of a source read once, in parallel, and what is the matter with it."""

import dataclasses
import hashlib
import io
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf
import tqdm

from tf_multimodal.data import decode, duplicates, files, spec
from tf_multimodal.data.audit.finding import (
    Finding,
    compute_percentiles,
    make_finding,
)
from tf_multimodal.data.source import Source

TINY_PX = 32  # the shorter side of an image that is smaller is tiny
HUGE_PX = 16_000_000  # width times height; more is huge
EXTREME_ASPECT = 5.0  # longer over shorter side; more is extreme
BLANK_RANGE = 8  # of 255: no channel of a blank image varies by more (JPEG noise)

_CHUNK = 64  # images that are read at once
_THREADS = 16  # that wait for files
_BROKEN = (  # what Pillow raises over damaged files
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    PIL.Image.DecompressionBombError,
)


@dataclasses.dataclass
class ImageFacts:
    """What is known of the images of n rows; 0 and False where there is none.

    Attributes:
        status: object [n] of str, one of `spec.STATUSES`; `missing_input`: no image.
        reasons: a sentence on every image that cannot be used, by row.
        widths, heights: int32 [n], pixels, upright.
        sizes: int64 [n], bytes as encoded.
        is_animated, is_blank: bool [n].
        hashes: uint8 [n, 16], `duplicates.compute_dhash`; all 0 where an image is
            blank or cannot be used.
        digests: uint64 [n], a hash of the encoded bytes.
    """

    status: np.ndarray
    reasons: dict[int, str]
    widths: np.ndarray
    heights: np.ndarray
    sizes: np.ndarray
    is_animated: np.ndarray
    is_blank: np.ndarray
    hashes: np.ndarray
    digests: np.ndarray

    def is_used(self) -> np.ndarray:
        """Returns bool [n]: which rows have an image that decodes."""
        return self.status == spec.OK


def measure_images(source: Source, max_image_px: int) -> ImageFacts:
    """Reads and decodes every image once, as training does; shows its progress.

    Args:
        source: the rows.
        max_image_px: limit on width times height; a larger image is not decoded.
    """
    count = len(source)
    facts = ImageFacts(
        status=np.full(count, spec.MISSING_INPUT, object),
        reasons={},
        widths=np.zeros(count, np.int32),
        heights=np.zeros(count, np.int32),
        sizes=np.zeros(count, np.int64),
        is_animated=np.zeros(count, bool),
        is_blank=np.zeros(count, bool),
        hashes=np.zeros((count, duplicates.HASH_BYTES), np.uint8),
        digests=np.zeros(count, np.uint64),
    )
    encoded = tf.data.Dataset.from_generator(
        lambda: _read_images(source, facts),
        output_signature=(tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)),
    )
    dataset = decode.decode_dataset(encoded.prefetch(_CHUNK), max_image_px).map(
        _measure, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
    )
    for index, size, colour_range, value in dataset.as_numpy_iterator():
        facts.heights[index], facts.widths[index] = size
        facts.is_blank[index] = colour_range <= BLANK_RANGE
        if not facts.is_blank[index]:  # the hash of a blank image is of its noise
            facts.hashes[index] = np.frombuffer(value, np.uint8)
        facts.status[index] = spec.OK
    for index in np.flatnonzero(facts.status == "").tolist():
        status, reason = decode.explain_failure(source.images[index], max_image_px)
        if status == spec.OK:
            status, reason = spec.UNREADABLE_IMAGE, "It could be read only once in two."
        facts.status[index], facts.reasons[index] = status, reason
    return facts


def _read_images(source: Source, facts: ImageFacts) -> Iterator[tuple[int, bytes]]:
    """Yields row and bytes of every image that can be read; fills in what they tell."""
    with (
        ThreadPoolExecutor(_THREADS) as threads,
        tqdm.tqdm(total=len(source), desc="Rows", unit="row") as progress,
    ):
        for start in range(0, len(source), _CHUNK):
            indices = np.arange(start, min(start + _CHUNK, len(source)))
            values = list(source.images[indices])
            given = [i for i, value in enumerate(values) if value]
            read = threads.map(read_image, [values[i] for i in given])
            for index, data in zip(indices[given].tolist(), read, strict=True):
                facts.status[index] = ""  # until it is decoded
                facts.sizes[index] = len(data)
                if data:
                    digest = hashlib.blake2b(data, digest_size=8).digest()
                    facts.digests[index] = np.frombuffer(digest, np.uint64)[0]
                    facts.is_animated[index] = _is_animated(data)
                    yield index, data
            progress.update(len(indices))


def read_image(image: bytes | str) -> bytes:
    """Returns the encoded bytes of an image; none where they cannot be read."""
    if isinstance(image, bytes):
        return image
    try:
        return files.read_file(image)
    except (OSError, ValueError):
        return b""  # `explain_failure` says why


def _is_animated(data: bytes) -> bool:
    if not data.startswith((b"GIF8", b"\x89PNG", b"RIFF")):
        return False
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return bool(getattr(image, "is_animated", False))
    except _BROKEN:
        return False


def _measure(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns row, height and width, the largest range of a channel, and the hash."""
    colours = tf.cast(image, tf.int32)
    ranges = tf.reduce_max(colours, [0, 1]) - tf.reduce_min(colours, [0, 1])
    value = tf.numpy_function(duplicates.compute_dhash, [image], tf.string)
    return index, tf.shape(image)[:2], tf.reduce_max(ranges), value


def list_image_findings(source: Source, facts: ImageFacts) -> list[Finding]:
    """Returns what is the matter with the images; those without rows too."""
    used = facts.is_used()
    shorter = np.minimum(facts.widths, facts.heights)
    longer = np.maximum(facts.widths, facts.heights)
    area = facts.widths.astype(np.int64) * facts.heights
    sizes = {
        index: f"{facts.widths[index]} x {facts.heights[index]} px"
        for index in np.flatnonzero(used).tolist()
        if shorter[index] < TINY_PX
        or area[index] > HUGE_PX
        or longer[index] > EXTREME_ASPECT * shorter[index]
    }
    kinds: list[tuple[str, str, np.ndarray, dict[int, str]]] = [
        (status, title, facts.status == status, facts.reasons)
        for status, title in (
            (spec.UNREADABLE_IMAGE, "Images that cannot be read"),
            (spec.UNDECODABLE_IMAGE, "Images that do not decode"),
            (spec.IMAGE_TOO_LARGE, "Images above config.data.max_image_px"),
        )
    ]
    kinds += [
        ("no_image", "Rows without an image", facts.status == spec.MISSING_INPUT, {}),
        (
            "tiny_image",
            f"Tiny images: a side below {TINY_PX} px",
            used & (shorter < TINY_PX),
            sizes,
        ),
        (
            "huge_image",
            f"Huge images: more than {HUGE_PX / 1e6:.0f} megapixels",
            used & (area > HUGE_PX),
            sizes,
        ),
        (
            "extreme_aspect",
            f"Extreme shapes: one side more than {EXTREME_ASPECT:.0f} times the other",
            used & (longer > EXTREME_ASPECT * shorter),
            sizes,
        ),
        (
            "animated_image",
            "Animated images: only the first frame of a GIF or PNG is seen",
            facts.is_animated,
            facts.reasons,
        ),
        ("blank_image", "Blank images: nearly one colour", facts.is_blank, {}),
    ]
    return [
        make_finding(source, kind, title, np.flatnonzero(chosen), notes)
        for kind, title, chosen, notes in kinds
    ]


def summarize_images(facts: ImageFacts) -> dict[str, Any]:
    """Returns counts by status and percentiles of sizes, for JSON."""
    used = facts.is_used()
    widths, heights = facts.widths[used], facts.heights[used]
    return {
        "statuses": {name: int((facts.status == name).sum()) for name in spec.STATUSES},
        "percentiles": {
            "width (px)": compute_percentiles(widths),
            "height (px)": compute_percentiles(heights),
            "width / height": compute_percentiles(widths / np.maximum(heights, 1)),
            "file size (bytes)": compute_percentiles(facts.sizes[used]),
        },
    }
