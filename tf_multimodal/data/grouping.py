"""Groups and splits of rows that come without: near-duplicates stay together."""

from collections import defaultdict

import numpy as np
import tensorflow as tf

from tf_multimodal.data import decode, duplicates, spec

NAMED = 3  # groups that a warning names


def compute_groups(
    ids: np.ndarray, texts: np.ndarray, images: np.ndarray, are_paths: bool
) -> np.ndarray:
    """Groups rows with nearly equal images or equal texts; decodes every image.

    Args:
        ids, texts: object [n] of str.
        images: object [n], encoded bytes or paths; empty: no image. One that does
            not decode counts as none.
        are_paths: what `images` holds.

    Returns:
        object [n] of str, the name of each row's group.
    """

    def load(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image_bytes = tf.io.read_file(image) if are_paths else image
        return index, decode.decode_image(image_bytes)

    hashes: list[bytes | None] = [None] * len(ids)
    given = [index for index, image in enumerate(images) if image]
    if given:
        dataset = (
            tf.data.Dataset.from_tensor_slices((given, [images[i] for i in given]))
            .map(load, num_parallel_calls=tf.data.AUTOTUNE)
            .ignore_errors()
            .prefetch(tf.data.AUTOTUNE)
        )
        for index, image in dataset.as_numpy_iterator():
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
