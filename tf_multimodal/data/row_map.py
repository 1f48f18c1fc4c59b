"""A function of one row over a batch: parallel, and one bad row fails alone."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def map_rows(
    function: Callable[[Any, tf.Tensor], Any], rows: Any, default: Any
) -> tuple[Any, tf.Tensor]:
    """Maps the rows of a batch in parallel on the cores.

    Works eagerly, inside `tf.data` maps and in an exported function. A nested dataset
    ignores the errors, and the position that rides along tells which rows stayed.

    Args:
        function: maps a row and its position, int64 scalar, to a structure.
        rows: structure of [b, ...].
        default: the structure of one row, in place of those that failed.

    Returns:
        The structure with a leading dimension b, and bool [b], False where the
        function failed.
    """
    count = tf.shape(tf.nest.flatten(rows)[0], tf.int64)[0]
    options = tf.data.Options()  # a short-lived dataset: what tuning costs is lost
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_warm_start = False
    # One row more than there are, so that the dataset is never empty.
    positions, results = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), rows))
        .map(lambda i, row: (i, function(row, i)), tf.data.AUTOTUNE)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors((count, default)))
        .batch(count + 1)
        .with_options(options)
        .get_single_element()
    )
    # Where each row's result lies; those that failed share the default, the last.
    last = tf.shape(positions, tf.int64)[0] - 1
    places = tf.tensor_scatter_nd_update(
        tf.fill([count + 1], last), positions[:, None], tf.range(last + 1)
    )[:count]
    results = tf.nest.map_structure(lambda x: tf.gather(x, places), results)
    return results, places < last
