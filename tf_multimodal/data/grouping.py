"""Groups of near-duplicate rows: which belong together, and which cross splits."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tf_multimodal.data import decode, duplicates, files, spec
from tf_multimodal.data.source import Column

NAMED, NAMED_ROWS = 3, 6  # groups that cross splits and are shown; rows of each


def hash_images(
    images: Column, keys: np.ndarray, max_image_px: int = spec.MAX_IMAGE_PX
) -> np.ndarray:
    """Returns perceptual hashes, uint8 [n, 16]; all 0 where there is none.

    Args:
        images: encoded bytes or paths; empty: no image.
        keys: int64 [n], equal where images are the same: one of them is decoded. 0:
            not known.
        max_image_px: limit on width times height of an image.
    """
    hashes = np.zeros((len(images), duplicates.HASH_BYTES), np.uint8)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    wanted = np.flatnonzero((keys == 0) | (first[inverse] == np.arange(len(keys))))

    def read(index: np.ndarray) -> bytes:
        image = images[int(index)]
        try:
            return files.read_file(image) if image and isinstance(image, str) else image
        except OSError:
            return b""

    dataset = tf.data.Dataset.from_tensor_slices(wanted).map(
        lambda index: (
            index,
            tf.ensure_shape(tf.numpy_function(read, [index], tf.string), []),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    dataset = decode.decode_dataset(dataset, max_image_px)
    for index, image in dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        value = duplicates.compute_dhash(image)
        hashes[index] = np.frombuffer(value, np.uint8)
    same = np.where(keys == 0, np.arange(len(keys)), first[inverse])
    return hashes[same]


def find_groups(
    text_keys: np.ndarray, image_keys: np.ndarray, hashes: np.ndarray | None = None
) -> np.ndarray:
    """Returns int64 [n], the group of each row, numbered as they are met.

    Args:
        text_keys, image_keys: int64 [n]; rows with equal ones belong together; 0: equal
            to nothing.
        hashes: uint8 [n, 16] of `hash_images`; close ones belong together, too; all 0:
            close to nothing.
    """
    pairs = [_pair_equal(text_keys), _pair_equal(image_keys)]
    if hashes is not None:
        known = np.flatnonzero(hashes.any(axis=1))
        pairs.append(known[duplicates.find_close_pairs(hashes[known])])
    # Most rows are like no other, and play no part in the search.
    rows, places = np.unique(np.concatenate(pairs), return_inverse=True)
    components = duplicates.connect_rows(len(rows), places.reshape(-1, 2))
    _, first, inverse = np.unique(components, return_index=True, return_inverse=True)
    heads = np.arange(len(text_keys))  # the first row of each row's group
    heads[rows] = rows[first[inverse]]
    numbers = np.cumsum(heads == np.arange(len(heads))) - 1
    return numbers[heads]


def name_groups(
    codes: np.ndarray, ids: Iterable[bytes]
) -> tuple[np.ndarray, list[bytes]]:
    """Returns the row that each row's group is named after, and the groups' names.

    Args:
        codes: int64 [n] of `find_groups`.
        ids: UTF-8, in order; a group is called by its smallest.

    Returns:
        int64 [n] and a name, UTF-8, for each code.
    """
    if int(codes.max(initial=-1)) + 1 == len(codes):  # each row is a group
        return codes, list(ids)
    names: list[bytes] = []
    rows: list[int] = []
    for row, (code, row_id) in enumerate(zip(codes.tolist(), ids, strict=True)):
        if code == len(names):  # groups are numbered as they are met
            names.append(row_id)
            rows.append(row)
        elif row_id < names[code]:  # UTF-8 is in the order of the code points
            names[code], rows[code] = row_id, row
    return np.array(rows, np.int64)[codes], names


def warn_of_leaks(
    name: str, codes: np.ndarray, splits: np.ndarray, get_id: Callable[[int], str]
) -> None:
    """Prints how many near-duplicates stand in different splits.

    Args:
        name: of the data, for the message.
        codes: int64 [n], the group of each row.
        splits: int8 [n], number of the split, from 1.
        get_id: returns the id of a row.
    """
    present = np.unique(codes * 8 + splits)
    groups, counts = np.unique(present // 8, return_counts=True)
    leaks = groups[counts > 1]
    if not len(leaks):
        return
    held_out = int(np.sum(np.isin(codes, leaks) & (splits > 1)))
    print(
        f"Warning: {name}: {len(leaks)} groups of near-duplicates (equal text, or "
        f"nearly equal image) cross splits; {held_out} rows of validation and test "
        "are in them, and scores on those flatter. For example:"
    )
    for group in leaks[:NAMED]:
        rows = np.flatnonzero(codes == group)[:NAMED_ROWS].tolist()
        shown = (f"{get_id(row)} ({spec.SPLITS[splits[row] - 1]})" for row in rows)
        print("  " + ", ".join(shown))


def _pair_equal(keys: np.ndarray) -> np.ndarray:
    """Returns int64 [m, 2]: the rows whose key an earlier row has, and the first."""
    known = np.flatnonzero(keys)
    pairs = duplicates.pair_equal(keys[known])
    return known[pairs[pairs[:, 0] != pairs[:, 1]]]
