"""Near-duplicates: equal texts, or images whose perceptual hashes are close."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np


def compute_dhash(image: np.ndarray) -> bytes:
    """Returns the difference hash of an image: which neighbours are brighter.

    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Args:
        image: uint8 [h, w, 3], any size.

    Returns:
        16 bytes: 64 bits left to right, then 64 bits top to bottom. All 0 for an
        image of one colour.
    """
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    across = _resize_area(grey, 8, 9)
    down = _resize_area(grey, 9, 8)
    bits = [across[:, 1:] > across[:, :-1], down[1:] > down[:-1]]
    return np.packbits(np.stack(bits)).tobytes()


def group_duplicates(
    ids: Sequence[str],
    texts: Sequence[str],
    hashes: Sequence[bytes | None],
    max_distance_bits: int = 2,
) -> np.ndarray:
    """Groups rows with equal texts or close images, and what these connect.

    Args:
        ids: unique names of the rows.
        texts: compared without case and with single spaces; empty ones are equal
            to nothing.
        hashes: of `compute_dhash`; None where a row has no image. The hash of an
            image of one colour says nothing and counts as None.
        max_distance_bits: images at most so many bits apart belong together.

    Returns:
        object [n] of str: the name of each row's group, its smallest id.
    """
    parents = list(range(len(ids)))

    def find(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first_rows: dict[str | bytes, int] = {}
    for row, (text, image_hash) in enumerate(zip(texts, hashes, strict=True)):
        for key in (" ".join(text.casefold().split()), image_hash):
            if key and (isinstance(key, str) or any(key)):
                parents[find(row)] = find(first_rows.setdefault(key, row))
    unique = [key for key in first_rows if isinstance(key, bytes)]
    for a, b in _find_close_pairs(unique, max_distance_bits):
        parents[find(first_rows[unique[a]])] = find(first_rows[unique[b]])

    roots = [find(row) for row in range(len(ids))]
    names: dict[int, str] = {}
    for root, row_id in zip(roots, ids, strict=True):
        names[root] = min(names.get(root, row_id), row_id)
    return np.array([names[root] for root in roots], object)


def _find_close_pairs(
    hashes: Sequence[bytes], max_distance_bits: int
) -> Iterator[tuple[int, int]]:
    """Yields pairs (i, j), i < j, at most `max_distance_bits` apart.

    Cut into one band more than bits may differ, two close hashes agree in at least
    one whole band (pigeonhole): only rows that share a band are compared.
    """
    if len(hashes) < 2:
        return
    packed = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1)
    words = packed.view(np.uint64)
    bits = np.unpackbits(packed, axis=1)
    for band in np.array_split(bits, max_distance_bits + 1, axis=1):
        buckets: defaultdict[bytes, list[int]] = defaultdict(list)
        for row, key in enumerate(np.packbits(band, axis=1)):
            buckets[key.tobytes()].append(row)
        for rows in buckets.values():
            for position, row in enumerate(rows[:-1]):
                others = np.array(rows[position + 1 :])
                distances = np.bitwise_count(words[others] ^ words[row]).sum(axis=1)
                for other in others[distances <= max_distance_bits]:
                    yield row, int(other)


def _resize_area(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the mean grey level of each cell of a height x width grid, rounded.

    Rounding keeps noise in the last bits from deciding between equal neighbours.
    """
    rows = _make_area_weights(grey.shape[0], height)
    columns = _make_area_weights(grey.shape[1], width)
    return np.rint(rows @ grey @ columns.T)


def _make_area_weights(size: int, cells: int) -> np.ndarray:
    """Returns [cells, size]: the share that each pixel has in each cell."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(
        edges[:-1, None], pixels
    )
    return np.clip(overlap, 0, None) * cells / size
