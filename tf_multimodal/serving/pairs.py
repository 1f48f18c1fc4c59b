"""The rows that a SavedModel is verified with: real ones and broken ones."""

import dataclasses
import struct
from collections.abc import Sequence

import numpy as np

from tf_multimodal.data import files
from tf_multimodal.data.source import Source

MIN_ROWS = 200  # of real pairs, where the data set has as many
MAX_ROWS = 256
SPLITS = ("test", "validation", "train")  # in the order in which they are taken
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HUGE_SIDE_PX = 100_000
RGB8 = (8, 2, 0, 0, 0)  # depth, colour, compression, filter, interlace of a PNG


@dataclasses.dataclass(frozen=True)
class Pair:
    """One row of a request; an empty field is a missing modality."""

    image_bytes: bytes
    text: str | bytes  # bytes need not be UTF-8
    name: str  # for messages
    split: str = ""  # of the data set; a row that is made up has none


def choose_split(source: Source) -> str:
    """Returns the split to compare whole: `test`, or the next one that has rows."""
    return next((s for s in SPLITS if len(source.get_indices(s))), SPLITS[0])


def choose_pairs(
    source: Source, min_rows: int = MIN_ROWS, max_rows: int = MAX_ROWS
) -> list[Pair]:
    """Returns pairs of the test split, filled up from validation and train.

    Args:
        source: the data set.
        min_rows: where `test` has fewer, the other splits fill up to this number.
        max_rows: of `test`, or of the first split that has any.

    Returns:
        The pairs, those of a split spread evenly over it, bytes as they are stored.

    Raises:
        ValueError: the data set has no readable pair.
    """
    pairs: list[Pair] = []
    for split in SPLITS:
        wanted = (min_rows if pairs else max_rows) - len(pairs)
        if wanted > 0:
            pairs += _read_pairs(source, split, wanted)
    if not pairs:
        raise ValueError(
            f"{source.name} has no readable pair to verify the exported model with: "
            "expected at least one image or text."
        )
    return pairs


def make_edge_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Returns rows with an input missing or broken, made from real ones."""
    image = next((p.image_bytes for p in pairs if p.image_bytes), b"")
    text = next((p.text for p in pairs if p.text), "")
    header = struct.pack(">I4sII5B", 13, b"IHDR", HUGE_SIDE_PX, HUGE_SIDE_PX, *RGB8)
    return [
        Pair(image, "", "made up: no text"),
        Pair(b"", text, "made up: no image"),
        Pair(b"", "", "made up: no image and no text"),
        Pair(b"not an image", text, "made up: undecodable image"),
        Pair(image[: min(20, len(image) // 2)], text, "made up: cut off image"),
        Pair(PNG_SIGNATURE + header, text, "made up: header of a huge image"),
        Pair(image, "Zwölf Äpfel, 서울의 crème brûlée", "made up: other scripts"),
        Pair(image, b"caf\xe9", "made up: text that is not UTF-8"),
        Pair(image, "word " * 20_000, "made up: text of 100,000 characters"),
    ]


def _read_pairs(source: Source, split: str, max_rows: int) -> list[Pair]:
    indices = [i for i in source.get_indices(split) if _has_input(source, i)]
    if len(indices) > max_rows:
        chosen = np.linspace(0, len(indices) - 1, max_rows).astype(int)
        indices = [indices[i] for i in chosen]
    return [
        Pair(_read_image(source, i), source.texts[i], source.describe_row(i), split)
        for i in indices
    ]


def _has_input(source: Source, index: int) -> bool:
    return bool(_read_image(source, index) or source.texts[index])


def _read_image(source: Source, index: int) -> bytes:
    image = source.images[index]
    if isinstance(image, bytes):
        return image
    return files.read_file(image) if files.is_file(image) else b""
