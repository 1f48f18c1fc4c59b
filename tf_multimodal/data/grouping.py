"""Groups and splits of rows that come without: near-duplicates stay together."""

from collections import defaultdict

import numpy as np
import tensorflow as tf

from tf_multimodal.data import decode, duplicates, spec

NAMED = 3  # groups that a warning names


def compute_groups(
    ids: np.ndarray,
    texts: np.ndarray,
    images: np.ndarray,
    are_paths: bool,
    max_image_px: int = spec.MAX_IMAGE_PX,
) -> np.ndarray:
    """Groups rows with nearly equal images or equal texts; decodes every image.

    Args:
        ids, texts: object [n] of str.
        images: object [n], encoded bytes or paths; empty: no image. One that does
            not decode, or is too large, counts as none.
        are_paths: what `images` holds.
        max_image_px: limit on width times height of an image.

    Returns:
        object [n] of str, the name of each row's group.
    """
    hashes: list[bytes | None] = [None] * len(ids)
    given = [index for index, image in enumerate(images) if image]
    if given:
        dataset = tf.data.Dataset.from_tensor_slices((given, images[given].tolist()))
        if are_paths:
            dataset = dataset.map(
                lambda index, path: (index, tf.io.read_file(path)),
                num_parallel_calls=tf.data.AUTOTUNE,
            ).ignore_errors()
        dataset = decode.decode_dataset(dataset, max_image_px)
        for index, image in dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            hashes[index] = duplicates.compute_dhash(image)
    return duplicates.group_duplicates(list(ids), list(texts), hashes)


def warn_of_leaks(
    name: str, ids: np.ndarray, groups: np.ndarray, splits: np.ndarray
) -> None:
    """Prints how many near-duplicates stand in different splits.

    Args:
        name: of the data, for the message.
        ids, groups, splits: object [n] of str.
    """
    members = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    leaks = [rows for rows in members.values() if len({*splits[rows]}) > 1]
    if not leaks:
        return
    held_out = sum(int(np.sum(splits[rows] != spec.SPLITS[0])) for rows in leaks)
    print(
        f"Warning: {name}: {len(leaks)} groups of near-duplicates (equal text, or "
        f"nearly equal image) cross splits; {held_out} rows of validation and test "
        "are in them, and scores on those flatter. For example:"
    )
    for rows in leaks[:NAMED]:
        print("  " + ", ".join(f"{ids[row]} ({splits[row]})" for row in rows[:6]))
