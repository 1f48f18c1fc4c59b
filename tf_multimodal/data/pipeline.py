"""From rows to batches: one pipeline for training, one for everything else."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import seeds, service, spec
from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.data.inputs import find_input, make_inputs, make_train_inputs
from tf_multimodal.data.lazy_rows import LazyRows, Rows
from tf_multimodal.data.mixture import TrainingOrder
from tf_multimodal.data.share import Share
from tf_multimodal.data.source import Source

_OK = spec.STATUS_CODES[spec.OK]


def make_train_dataset(
    source: Source,
    indices: np.ndarray,
    preprocessor: Any,
    config: Any,
    *,
    start_step: int = 0,
    class_weights: np.ndarray | None = None,
    dropped: DroppedRows | None = None,
    share: Share | None = None,
    skipped: Collection[int] = (),
) -> tf.data.Dataset:
    """Makes endless, shuffled, augmented batches.

    Batch k is a function of (config.seed, k) alone: a run goes on at step k with
    `start_step=k`. The order within a pass over the rows is an exact permutation;
    that of a mixture is `mixture.TrainingOrder`'s. Of a row with captions each pass
    draws one. With `config.data.service` the batches come in any order.

    Args:
        source: the rows.
        indices: int64 [n], the rows to train on.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        config: the whole configuration; read are `seed`, `augment`, `data.bad_rows`,
            `data.max_drop_rate`, `data.service` and `train.batch_size`.
        start_step: number of the first batch.
        class_weights: float32 [classes], a factor on each row's weight.
        dropped: names the rows that cannot be used. None: a new one, which writes
            no file.
        share: the rows of each batch to make, as one of several workers does; no
            others are read. None: all.
        skipped: numbers of batches to leave out.

    Returns:
        Batches of (inputs by key of `spec`, labels, weights float32 [b]). Labels are
        int32 [b], or of label sets float32 [b, classes]. A row that cannot be used
        has weight 0.

    Raises:
        ValueError: no rows, a row without a label, or rows that a service cannot read.
    """
    indices = np.asarray(indices, np.int64)
    _check_rows(source, indices)
    rows = _make_rows(source, indices, preprocessor, config.data.service)
    order = TrainingOrder(source, indices, config.seed)
    get_targets = _make_targets(source, indices, class_weights)
    batch_size, policy = config.train.batch_size, config.data.bad_rows
    share = share or Share(0, batch_size)
    if dropped is None:
        dropped = DroppedRows(source, config.data.max_drop_rate, len(indices))

    def read_rows(step: tf.Tensor) -> tuple[Any, ...]:
        positions = step * batch_size + tf.range(*share, dtype=tf.int64)
        chosen = order.get(positions)
        seed = seeds.make_seed(config.seed, seeds.CAPTIONS, step)
        draws = share.draw(batch_size, seed=seed)
        return step, chosen, rows.read(chosen, draws)

    def make_batch(step: tf.Tensor, chosen: tf.Tensor, batch: Any) -> tuple[Any, ...]:
        x, status = make_train_inputs(batch, preprocessor, config, step, share)
        usable = find_input(x) if policy == "mask" else status == _OK
        labels, weights = get_targets(chosen)
        weights = tf.where(usable, weights, 0.0)
        return (x, labels, weights), chosen, status, usable

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    if skipped:
        left_out = tf.constant(sorted(skipped), tf.int64)
        steps = steps.filter(lambda step: tf.reduce_all(step != left_out))
    address = config.data.service
    if address:
        dataset = service.distribute(
            steps, lambda step: make_batch(*read_rows(step)), address, start_step
        )
    else:
        # What enters Python, reading and reporting, is in maps of its own: where ops
        # are deterministic, it makes its map sequential.
        dataset = steps.map(read_rows).prefetch(tf.data.AUTOTUNE)
        dataset = dataset.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
    report = _make_report(indices, dropped, preprocessor, share.size, policy)
    return dataset.enumerate().map(report).prefetch(tf.data.AUTOTUNE)


def make_eval_dataset(
    source: Source,
    indices: np.ndarray,
    preprocessor: Any,
    *,
    batch_size: int,
    mask_images: bool = False,
    mask_texts: bool = False,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Makes batches of every row once, in order, with nothing random.

    Args:
        source: the rows; of a row with captions the text is the first.
        indices: int64 [n], the rows to read.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        batch_size: rows of every batch; the last one is filled up with rows that
            have neither image nor text.
        mask_images, mask_texts: hide a modality, as if no row had it.
        share: the rows of each batch to make, as one of several workers does; each
            has as many batches. None: all.

    Returns:
        Batches of a dict: `spec.INPUTS`, `spec.INDEX` int64 [b] (-1: filled up) and
        `spec.STATUS` int32 [b], positions in `spec.STATUSES`.
    """
    indices = np.asarray(indices, np.int64)
    rows = LazyRows(
        source,
        indices,
        with_images=preprocessor.modalities != "text" and not mask_images,
        with_texts=preprocessor.modalities != "image" and not mask_texts,
    )
    all_indices = tf.constant(np.append(indices, -1))  # the last one: no row
    last = tf.constant(len(indices), tf.int64)
    share = share or Share(0, batch_size)
    first_caption = tf.zeros([share.size])

    def read_rows(step: tf.Tensor) -> tuple[Any, ...]:
        positions = step * batch_size + tf.range(*share, dtype=tf.int64)
        chosen = tf.where(positions < last, positions, -1)
        return chosen, rows.read(chosen, first_caption)

    def make_batch(chosen: tf.Tensor, batch: Any) -> dict[str, Any]:
        x, status = make_inputs(
            batch.images, batch.texts, preprocessor, batch.are_paths
        )
        index = tf.gather(all_indices, tf.where(chosen < 0, last, chosen))
        return {spec.INPUTS: x, spec.INDEX: index, spec.STATUS: status}

    dataset = tf.data.Dataset.range(-(-len(indices) // batch_size))
    dataset = dataset.map(read_rows).prefetch(tf.data.AUTOTUNE)
    dataset = dataset.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _make_rows(
    source: Source, indices: np.ndarray, preprocessor: Any, address: str
) -> Rows:
    """Returns the training rows, as whoever makes the batches can read them."""
    kind: Any = service.GraphRows if address else LazyRows
    return kind(
        source,
        indices,
        with_images=preprocessor.modalities != "text",
        with_texts=preprocessor.modalities != "image",
        draw_captions=True,
    )


def _make_targets(
    source: Source, indices: np.ndarray, class_weights: np.ndarray | None
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Makes the map of places in `indices` to labels and weights."""
    factors = source.weights[indices].astype(np.float32)
    if class_weights is not None:
        factors *= np.asarray(class_weights, np.float32)[source.labels[indices]]
    weights, sets = tf.constant(factors), source.label_sets
    if sets is None:
        labels = tf.constant(source.labels[indices], tf.int32)
        return lambda chosen: (tf.gather(labels, chosen), tf.gather(weights, chosen))
    rows = tf.constant(indices)
    all_sets = tf.RaggedTensor.from_row_splits(sets.values, sets.offsets)

    def get_targets(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.gather(all_sets, tf.gather(rows, chosen))
        classes = tf.cast(found.values, tf.int64)
        places = tf.stack([found.value_rowids(), classes], 1)
        nothing = tf.zeros([chosen.shape[0], sets.num_classes])
        ones = tf.ones_like(classes, tf.float32)
        labels = tf.tensor_scatter_nd_max(nothing, places, ones)
        return tf.ensure_shape(labels, nothing.shape), tf.gather(weights, chosen)

    return get_targets


def _make_report(
    indices: np.ndarray,
    dropped: DroppedRows,
    preprocessor: Any,
    batch_size: int,
    policy: str,
) -> Callable[..., Any]:
    """Makes the map that names bad rows; it enters Python only if there are any."""
    max_image_px = preprocessor.max_image_px

    def name_rows(
        number: np.ndarray, chosen: np.ndarray, status: np.ndarray, usable: np.ndarray
    ) -> Any:
        for row in np.flatnonzero(status != _OK):
            dropped.record(
                indices[chosen[row]],
                spec.STATUSES[status[row]],
                max_image_px=max_image_px,
                fatal=policy == "raise",
                left_out=not usable[row],
            )
        dropped.check_rate((int(number) + 1) * batch_size)
        return np.True_

    def report(number: tf.Tensor, element: Any) -> Any:
        batch, chosen, status, usable = element
        named = tf.cond(
            tf.reduce_any(status != _OK),
            lambda: tf.numpy_function(
                name_rows, (number, chosen, status, usable), tf.bool
            ),
            lambda: True,
        )
        with tf.control_dependencies([named]):
            return tf.nest.map_structure(tf.identity, batch)

    return report


def _check_rows(source: Source, indices: np.ndarray) -> None:
    if not len(indices):
        raise ValueError(f"There are no rows of {source.name} to train on.")
    if source.label_sets is not None:
        return
    unknown = indices[source.labels[indices] < 0]
    if len(unknown):
        raise ValueError(
            f"Training needs a label in every row. {len(unknown)} have none, the "
            f"first: {source.describe_row(unknown[0])}."
        )
