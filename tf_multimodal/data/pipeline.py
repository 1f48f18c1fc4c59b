"""From rows to batches: one pipeline for training, one for everything else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import augment, decode, row_status, spec
from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.data.source import Source

# What the random numbers of a step are for: each has its own stream.
SHUFFLE, IMAGE, TOKENS, MODALITIES = range(4)

Inputs = dict[str, tf.Tensor]
_OK = spec.STATUS_CODES[spec.OK]
_MISSING_INPUT = spec.STATUS_CODES[spec.MISSING_INPUT]


def make_train_dataset(
    source: Source,
    indices: np.ndarray,
    preprocessor: Any,
    config: Any,
    *,
    start_step: int = 0,
    class_weights: np.ndarray | None = None,
    dropped: DroppedRows | None = None,
) -> tf.data.Dataset:
    """Makes endless, shuffled, augmented batches.

    Batch k is a function of (config.seed, k) alone: a run goes on at step k with
    `start_step=k`. The order within a pass over the rows is an exact permutation.

    Args:
        source: the rows.
        indices: int64 [n], the rows to train on.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        config: the whole configuration; read are `seed`, `augment`, `data.bad_images`
            and `train.batch_size`.
        start_step: number of the first batch.
        class_weights: float32 [classes], a factor on each row's weight.
        dropped: names the rows that cannot be used.

    Returns:
        Batches of (inputs by key of `spec`, labels int32 [b], weights float32 [b]);
        a row that cannot be used has weight 0.

    Raises:
        ValueError: no rows, or a row without a label.
    """
    indices = np.asarray(indices, np.int64)
    _check_rows(source, indices)
    rows = _Rows(source, indices)
    factors = source.weights[indices].astype(np.float32)
    if class_weights is not None:
        factors *= np.asarray(class_weights, np.float32)[source.labels[indices]]
    all_weights = tf.constant(factors)
    all_labels = tf.constant(source.labels[indices], tf.int32)
    batch_size, policy = config.train.batch_size, config.data.bad_images
    dropped = dropped or DroppedRows(source, 1.0, len(indices))

    def make_batch(step: tf.Tensor) -> tuple[Any, ...]:
        positions = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        chosen = _shuffle(positions, len(indices), config.seed)
        images, texts = rows.get(chosen)
        x, status = _make_train_inputs(
            images, texts, preprocessor, config, step, rows.are_paths
        )
        usable = _find_input(x) if policy == "mask" else status == _OK
        weights = tf.where(usable, tf.gather(all_weights, chosen), 0.0)
        return (x, tf.gather(all_labels, chosen), weights), chosen, status, usable

    report = _make_report(indices, dropped, preprocessor, fatal=policy == "raise")
    dataset = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    # Reporting is a map of its own: Python would make the first one sequential.
    dataset = dataset.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE).map(report)
    return dataset.prefetch(tf.data.AUTOTUNE)


def make_eval_dataset(
    source: Source,
    indices: np.ndarray,
    preprocessor: Any,
    *,
    batch_size: int,
    mask_images: bool = False,
    mask_texts: bool = False,
) -> tf.data.Dataset:
    """Makes batches of every row once, in order, with nothing random.

    Args:
        source: the rows.
        indices: int64 [n], the rows to read.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        batch_size: rows of every batch; the last one is filled up with rows that
            have neither image nor text.
        mask_images, mask_texts: hide a modality, as if no row had it.

    Returns:
        Batches of a dict: `spec.INPUTS`, `spec.INDEX` int64 [b] (-1: filled up) and
        `spec.STATUS` int32 [b], positions in `spec.STATUSES`.
    """
    indices = np.asarray(indices, np.int64)
    rows = _Rows(source, indices)
    all_indices = tf.constant(indices)

    def make_batch(step: tf.Tensor) -> dict[str, Any]:
        positions = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        is_row = positions < len(indices)
        chosen = tf.where(is_row, positions, 0)
        images, texts = rows.get(chosen)
        nothing = tf.fill([batch_size], "")
        images = tf.where(is_row & (not mask_images), images, nothing)
        texts = tf.where(is_row & (not mask_texts), texts, nothing)
        x, status = make_inputs(images, texts, preprocessor, rows.are_paths)
        index = tf.where(is_row, tf.gather(all_indices, chosen), -1)
        return {spec.INPUTS: x, spec.INDEX: index, spec.STATUS: status}

    dataset = tf.data.Dataset.range(-(-len(indices) // batch_size))
    dataset = dataset.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def make_inputs(
    images: tf.Tensor, texts: tf.Tensor, preprocessor: Any, are_paths: bool = False
) -> tuple[Inputs, tf.Tensor]:
    """Makes a model's inputs; the same graph in evaluation, predict and export.

    Args:
        images: string [b], encoded bytes or paths; empty: no image.
        texts: string [b]; blank: no text.
        preprocessor: an `ImageTextClassifierPreprocessor`; a modality that it does
            not have is not looked at.
        are_paths: whether `images` are paths of files.

    Returns:
        The inputs by key of `spec`, and int32 [b], positions in `spec.STATUSES`. What
        cannot be used is masked, as if it were missing.
    """
    return _make_inputs(
        images,
        texts,
        preprocessor,
        are_paths,
        lambda image, _: preprocessor.convert_images(image),
    )


def _make_report(
    indices: np.ndarray, dropped: DroppedRows, preprocessor: Any, fatal: bool
) -> Callable[..., Any]:
    """Makes the map that names bad rows; it enters Python only if there are any."""
    max_image_px = preprocessor.max_image_px

    def name_rows(chosen: np.ndarray, status: np.ndarray, usable: np.ndarray) -> Any:
        for row in np.flatnonzero(status != _OK):
            dropped.record(
                indices[chosen[row]],
                spec.STATUSES[status[row]],
                max_image_px=max_image_px,
                fatal=fatal,
                left_out=not usable[row],
            )
        return np.True_

    def report(batch: Any, *rows: tf.Tensor) -> Any:
        _, status, _ = rows
        named = tf.cond(
            tf.reduce_any(status != _OK),
            lambda: tf.numpy_function(name_rows, rows, tf.bool),
            lambda: True,
        )
        with tf.control_dependencies([named]):
            return tf.nest.map_structure(tf.identity, batch)

    return report


def _make_inputs(
    images: tf.Tensor,
    texts: tf.Tensor,
    preprocessor: Any,
    are_paths: bool,
    transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tuple[Inputs, tf.Tensor]:
    """`make_inputs` with a transform of each decoded image and its position."""
    x: Inputs = {}
    image_status = text_status = tf.fill(tf.shape(images), _MISSING_INPUT)
    if preprocessor.modalities != "text":
        pixels, image_status = decode.decode_batch(
            images,
            transform,
            preprocessor.image_size_px,
            are_paths,
            preprocessor.max_image_px,
        )
        x = {spec.IMAGES: pixels, spec.HAS_IMAGE: image_status == _OK}
    if preprocessor.modalities != "image":
        texts, text_status = row_status.check_texts(texts)
        x |= _make_text_inputs(texts, preprocessor)
    return x, row_status.combine(image_status, text_status, _find_input(x))


def _make_train_inputs(
    images: tf.Tensor,
    texts: tf.Tensor,
    preprocessor: Any,
    config: Any,
    step: tf.Tensor,
    are_paths: bool,
) -> tuple[Inputs, tf.Tensor]:
    """`make_inputs` with the random changes of `config.augment`."""
    modalities, seed = preprocessor.modalities, config.seed
    transform = _make_augmentation(preprocessor, config, step * images.shape[0])
    x, status = _make_inputs(images, texts, preprocessor, are_paths, transform)
    if modalities != "text":
        scaled = preprocessor.convert_images(x[spec.IMAGES])
        x[spec.IMAGES] = _mask(scaled, x[spec.HAS_IMAGE])
    if modalities == "image_text":
        x |= _drop_modalities(
            x, preprocessor, config.augment, _make_seed(seed, MODALITIES, step)
        )
    if modalities != "image" and config.augment.token_drop:
        tokens = {key: x[key] for key in spec.TEXT_KEYS}
        x |= augment.drop_tokens(
            tokens, _make_seed(seed, TOKENS, step), config.augment.token_drop
        )
    return x, status


def _make_augmentation(
    preprocessor: Any, config: Any, first_place: tf.Tensor
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the map of an image and its position to a square, 0 to 255."""

    def transform(image: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        converter = preprocessor.image_converter
        fit = "crop" if converter.crop_to_aspect_ratio else "stretch"
        fit = "pad" if converter.pad_to_aspect_ratio else fit
        seed = _make_seed(config.seed, IMAGE, first_place + position)
        return augment.augment_image(
            image, seed, preprocessor.image_size_px, config.augment, fit
        )

    return transform


def _make_text_inputs(texts: tf.Tensor, preprocessor: Any) -> Inputs:
    tokens = preprocessor.tokenize(texts)
    shape = (texts.shape[0], preprocessor.sequence_length)
    tokens = {key: tf.ensure_shape(value, shape) for key, value in tokens.items()}
    # A text without a word is [CLS] [SEP]: its third place is padding.
    return {**tokens, spec.HAS_TEXT: tokens[spec.PADDING_MASK][:, 2] > 0}


def _find_input(x: Inputs) -> tf.Tensor:
    """Returns bool [b], whether an image or a text is left."""
    present = [x[key] for key in (spec.HAS_IMAGE, spec.HAS_TEXT) if key in x]
    return tf.reduce_any(tf.stack(present), 0)


def _drop_modalities(
    x: Inputs, preprocessor: Any, settings: Any, seed: tf.Tensor
) -> Inputs:
    drop_image, drop_text = augment.drop_modalities(
        x[spec.HAS_IMAGE],
        x[spec.HAS_TEXT],
        seed,
        settings.drop_image,
        settings.drop_text,
    )
    nothing = preprocessor.tokenize(tf.constant([""]))
    dropped = {
        key: tf.where(drop_text[:, None], nothing[key], x[key]) for key in nothing
    }
    dropped[spec.HAS_TEXT] = x[spec.HAS_TEXT] & ~drop_text
    dropped[spec.IMAGES] = _mask(x[spec.IMAGES], ~drop_image)
    dropped[spec.HAS_IMAGE] = x[spec.HAS_IMAGE] & ~drop_image
    return dropped


def _mask(images: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    return tf.where(keep[:, None, None, None], images, 0.0)


def _make_seed(seed: int, purpose: int, number: tf.Tensor) -> tf.Tensor:
    """Returns int64 [2]: a stream of the run's seed, and a place in it."""
    return tf.stack([tf.constant(seed * 4 + purpose, tf.int64), number])


def _shuffle(positions: tf.Tensor, num_rows: int, seed: int) -> tf.Tensor:
    """Maps positions of the endless run to rows, each pass in an order of its own.

    The op's keys must look random: with small numbers it hardly shuffles. And
    `tf.random.experimental.index_shuffle`, its wrapper, takes one key only.

    Args:
        positions: int64 [b], ascending.
        num_rows: rows in a pass.
        seed: of the run.
    """
    passes = positions // num_rows

    def make_key(number: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [3], _make_seed(seed, SHUFFLE, number), None, None, tf.int32
        )

    keys = tf.map_fn(
        make_key, tf.range(passes[0], passes[-1] + 1), fn_output_signature=tf.int32
    )
    return tf.raw_ops.RandomIndexShuffle(
        index=positions % num_rows,
        seed=tf.gather(keys, passes - passes[0]),
        max_index=tf.constant(num_rows - 1, tf.int64),
        rounds=8,
    )


class _Rows:
    """Images and texts of some rows as tensors, outside of the graph."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self.are_paths = source.images_are_paths
        self._images = _make_strings(source.images[indices])
        self._texts = _make_strings(source.texts[indices])

    def get(self, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns string [b] images and texts of positions, int64 [b]."""
        return tf.gather(self._images, chosen), tf.gather(self._texts, chosen)


def _make_strings(values: np.ndarray) -> tf.Tensor:
    return tf.constant([v or "" for v in values], tf.string, [len(values)])


def _check_rows(source: Source, indices: np.ndarray) -> None:
    if not len(indices):
        raise ValueError(f"There are no rows of {source.name} to train on.")
    unknown = indices[source.labels[indices] < 0]
    if len(unknown):
        raise ValueError(
            f"Training needs a label in every row. {len(unknown)} have none, the "
            f"first: {source.describe_row(unknown[0])}."
        )
