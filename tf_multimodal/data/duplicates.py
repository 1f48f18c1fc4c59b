"""Near-duplicates: equal texts, or images whose perceptual hashes are close."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_BYTES = 16  # of `compute_dhash`
MAX_DISTANCE_BITS = 2  # images at most so many bits apart are near-duplicates

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_BAND_PX = 1 << 21  # pixels that are held as float64 at once
_BAND_BITS = 4  # of narrower bands, buckets would be no smaller
_COMPARED = 64  # hashes of a bucket that are compared each with each


def compute_dhash(image: np.ndarray) -> bytes:
    """Returns the difference hash of an image: which neighbours are brighter.

    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Args:
        image: uint8 [h, w, 3], any size.

    Returns:
        16 bytes: 64 bits left to right, then 64 bits top to bottom. All 0 for an
        image of one colour.
    """
    height, width = image.shape[:2]
    rows = np.concatenate([_make_area_weights(height, cells) for cells in (8, 9)])
    columns = [_make_area_weights(width, cells).T for cells in (9, 8)]
    across, down = np.zeros((8, 9)), np.zeros((9, 8))
    band = max(1, _BAND_PX // width)
    for top in range(0, height, band):
        grey = image[top : top + band].astype(np.float64) @ _GREY
        means = rows[:, top : top + band] @ grey
        across += means[:8] @ columns[0]
        down += means[8:] @ columns[1]
    # Rounding keeps noise in the last bits from deciding between equal neighbours.
    across, down = np.rint(across), np.rint(down)
    bits = [across[:, 1:] > across[:, :-1], down[1:] > down[:-1]]
    return np.packbits(np.stack(bits)).tobytes()


def group_duplicates(
    ids: Sequence[str],
    texts: Sequence[str],
    hashes: Sequence[bytes | None],
    max_distance_bits: int = MAX_DISTANCE_BITS,
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
    first_rows: dict[str, int] = {}
    keys = (normalize_text(text) for text in texts)
    equal = [(first_rows.setdefault(k, row), row) for row, k in enumerate(keys) if k]
    known = [row for row, value in enumerate(hashes) if value and any(value)]
    packed = b"".join(hashes[row] or b"" for row in known)
    close = find_close_pairs(
        np.frombuffer(packed, np.uint8).reshape(len(known), -1)
        if known
        else np.zeros((0, HASH_BYTES), np.uint8),
        max_distance_bits,
    )
    pairs = [np.array(equal, np.int64).reshape(-1, 2), np.array(known, np.int64)[close]]
    return name_groups(connect_rows(len(ids), np.concatenate(pairs)), ids)


def normalize_text(text: str) -> str:
    """Returns a text without case and with single spaces, as duplicates compare it."""
    return " ".join(text.casefold().split())


def normalize_texts(texts: Sequence[str]) -> list[str]:
    """Returns `normalize_text` of each text; fast where white space is tidy."""
    joined = "\0".join(texts).casefold()
    keys = joined.split("\0")
    is_tidy = " ".join(joined.split()) == joined
    if is_tidy and " \0" not in joined and "\0 " not in joined:
        if len(keys) == len(texts):
            return keys
    return list(map(normalize_text, texts))


def pair_equal(keys: np.ndarray) -> np.ndarray:
    """Returns int64 [n, 2]: each row beside the first row that has its key."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.stack([first[inverse], np.arange(len(keys))], 1).astype(np.int64)


def find_close_pairs(
    hashes: np.ndarray, max_distance_bits: int = MAX_DISTANCE_BITS
) -> np.ndarray:
    """Finds hashes that differ in few bits, in a time that grows nearly linearly.

    Cut into one band more than bits may differ, two close hashes agree in at least
    one whole band (pigeonhole): only hashes that share a band are compared. Where
    many share one, as drawings on white do, their other bits are cut into bands in
    the same way, until a bucket is small. Of equal hashes the first stands for all.

    Args:
        hashes: uint8 [n, bytes], a multiple of 8 bytes each.
        max_distance_bits: the largest difference that is close.

    Returns:
        int64 [m, 2], sorted pairs of rows, the smaller row first. Pairs that share a
        chain of pairs among them need not all be listed: rows of equal hashes are
        paired with the first of them alone.
    """
    count, size = hashes.shape
    if not count:
        return np.zeros((0, 2), np.int64)
    words = np.ascontiguousarray(hashes).view(np.uint64)
    order, starts = _sort_rows(words)
    sizes = np.diff(np.append(starts, count))
    # lexsort is stable: the first of a run is the smallest row.
    equal = np.stack([np.repeat(order[starts], sizes), order], 1)
    unique = np.sort(order[starts])
    bits = np.arange(8 * size)
    found = list(_search(words, unique, bits, max_distance_bits))
    close = np.concatenate([np.zeros((0, 2), np.int64), *found])
    pairs = np.concatenate([equal[equal[:, 0] != equal[:, 1]], np.sort(close, 1)])
    keys = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([keys // count, keys % count], 1)


def connect_rows(num_rows: int, pairs: np.ndarray) -> np.ndarray:
    """Returns int32 [num_rows]: rows that a chain of pairs connects have one number.

    Args:
        num_rows: rows, 0 to `num_rows - 1`.
        pairs: int64 [m, 2].
    """
    graph = coo_array(
        (np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])),
        shape=(num_rows, num_rows),
    )
    return connected_components(graph, directed=False)[1]


def name_groups(components: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Returns object [n] of str: the smallest id of each row's component."""
    names: dict[int, str] = {}
    for component, row_id in zip(components.tolist(), ids, strict=True):
        names[component] = min(names.get(component, row_id), row_id)
    return np.array([names[component] for component in components.tolist()], object)


def _search(
    words: np.ndarray, rows: np.ndarray, bits: np.ndarray, max_distance_bits: int
) -> Iterator[np.ndarray]:
    """Yields pairs int64 [m, 2] among different hashes that agree in all but `bits`."""
    count = max_distance_bits + 1
    # Bits in which all agree tell nothing; the telling ones are dealt to all bands.
    ones = np.unpackbits(words[rows].view(np.uint8), axis=1)[:, bits].mean(axis=0)
    telling = np.argsort(np.abs(ones - 0.5), kind="stable")
    bits = bits[telling[np.minimum(ones, 1 - ones)[telling] > 0]]
    if len(rows) <= _COMPARED or len(bits) <= _BAND_BITS * count:
        whole = np.zeros(1, np.int64)
        yield from _compare(words, rows, whole, max_distance_bits)
        return
    for band in (bits[start::count] for start in range(count)):
        mask = np.zeros(words.shape[1] * 64, np.uint8)
        mask[band] = 1
        order, starts = _sort_rows(words[rows] & np.packbits(mask).view(np.uint64))
        ordered = rows[order]
        sizes = np.diff(np.append(starts, len(rows)))
        is_small = np.repeat((sizes > 1) & (sizes <= _COMPARED), sizes)
        small = sizes[(sizes > 1) & (sizes <= _COMPARED)]
        first = np.cumsum(small) - small
        yield from _compare(words, ordered[is_small], first, max_distance_bits)
        others = np.setdiff1d(bits, band)
        for run in np.flatnonzero(sizes > _COMPARED):
            members = ordered[starts[run] : starts[run] + sizes[run]]
            yield from _search(words, members, others, max_distance_bits)


def _sort_rows(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of rows, int64 [n], and where each run of equal ones starts."""
    order = np.lexsort(words.T)
    ordered = words[order]
    is_new = np.any(ordered[1:] != ordered[:-1], axis=1)
    return order, np.append(0, np.flatnonzero(is_new) + 1)


def _compare(
    words: np.ndarray, rows: np.ndarray, starts: np.ndarray, max_distance_bits: int
) -> Iterator[np.ndarray]:
    """Yields the close pairs within each run of rows; runs begin at `starts`."""
    sizes = np.diff(np.append(starts, len(rows)))
    left = np.repeat(starts + sizes, sizes) - np.arange(len(rows))  # to the run's end
    for shift in range(1, int(sizes.max(initial=0))):
        first = np.flatnonzero(left > shift)
        a, b = rows[first], rows[first + shift]
        distances = np.bitwise_count(words[a] ^ words[b]).sum(axis=1)
        yield np.stack([a, b], 1)[distances <= max_distance_bits]


def _make_area_weights(size: int, cells: int) -> np.ndarray:
    """Returns [cells, size]: the share that each pixel has in each cell."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(
        edges[:-1, None], pixels
    )
    return np.clip(overlap, 0, None) * cells / size
