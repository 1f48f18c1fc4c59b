"""From images and texts to a model's inputs: with random changes, and without."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_multimodal.data import augment, decode, row_status, seeds, spec
from tf_multimodal.data.lazy_rows import BatchRows
from tf_multimodal.data.share import Share

Inputs = dict[str, tf.Tensor]
_OK = spec.STATUS_CODES[spec.OK]
_MISSING_INPUT = spec.STATUS_CODES[spec.MISSING_INPUT]


def make_inputs(
    images: tf.Tensor,
    texts: tf.Tensor,
    preprocessor: Any,
    are_paths: bool | tf.Tensor = False,
) -> tuple[Inputs, tf.Tensor]:
    """Makes a model's inputs; the same graph in evaluation, predict and export.

    Args:
        images: string [b], encoded bytes or paths; empty: no image.
        texts: string [b]; blank: no text.
        preprocessor: an `ImageTextClassifierPreprocessor`; a modality that it does
            not have is not looked at.
        are_paths: whether `images` are paths of files, of all rows or bool [b].

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


def make_train_inputs(
    rows: BatchRows, preprocessor: Any, config: Any, step: tf.Tensor, share: Share
) -> tuple[Inputs, tf.Tensor]:
    """`make_inputs` with the random changes of `config.augment`.

    Args:
        rows: of the batch, those of the share.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        config: the whole configuration; read are `seed`, `augment` and
            `train.batch_size`.
        step: int64 scalar, number of the batch; with the seed it fixes the changes.
        share: which rows of the global batch these are; the changes are those that
            the whole batch would have.
    """
    modalities, batch_size = preprocessor.modalities, config.train.batch_size

    def make_seed(purpose: int) -> tf.Tensor:
        return seeds.make_seed(config.seed, purpose, step)

    first_place = step * batch_size + share.start
    transform = _make_augmentation(preprocessor, config, first_place)
    x, status = _make_inputs(
        rows.images, rows.texts, preprocessor, rows.are_paths, transform
    )
    if modalities != "text":
        scaled = preprocessor.convert_images(x[spec.IMAGES])
        x[spec.IMAGES] = _mask(scaled, x[spec.HAS_IMAGE])
    if modalities == "image_text":
        x |= _drop_modalities(
            x,
            preprocessor,
            config.augment,
            share.draw(batch_size, seed=make_seed(seeds.MODALITIES)),
        )
    if modalities != "image" and config.augment.token_drop:
        tokens = {key: x[key] for key in spec.TEXT_KEYS}
        random = share.draw(
            batch_size, preprocessor.sequence_length, seed=make_seed(seeds.TOKENS)
        )
        x |= augment.drop_tokens(tokens, random, config.augment.token_drop)
    return x, status


def find_input(x: Inputs) -> tf.Tensor:
    """Returns bool [b], whether an image or a text is left."""
    present = [x[key] for key in (spec.HAS_IMAGE, spec.HAS_TEXT) if key in x]
    return tf.reduce_any(tf.stack(present), 0)


def _make_inputs(
    images: tf.Tensor,
    texts: tf.Tensor,
    preprocessor: Any,
    are_paths: bool | tf.Tensor,
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
        x |= make_text_inputs(texts, preprocessor)
    return x, row_status.combine(image_status, text_status, find_input(x))


def _make_augmentation(
    preprocessor: Any, config: Any, first_place: tf.Tensor
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the map of an image and its position to a square, 0 to 255."""

    def transform(image: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        converter = preprocessor.image_converter
        fit = "crop" if converter.crop_to_aspect_ratio else "stretch"
        fit = "pad" if converter.pad_to_aspect_ratio else fit
        seed = seeds.make_seed(config.seed, seeds.IMAGE, first_place + position)
        return augment.augment_image(
            image, seed, preprocessor.image_size_px, config.augment, fit
        )

    return transform


def make_text_inputs(texts: tf.Tensor, preprocessor: Any) -> Inputs:
    """Makes the part of a model's inputs that comes from the texts.

    Args:
        texts: string [b], UTF-8; blank: no text.
        preprocessor: an `ImageTextClassifierPreprocessor` that reads texts.
    """
    tokens = preprocessor.tokenize(texts)
    shape = (texts.shape[0], preprocessor.sequence_length)
    tokens = {key: tf.ensure_shape(value, shape) for key, value in tokens.items()}
    # A text without a word is [CLS] [SEP]: its third place is padding.
    return {**tokens, spec.HAS_TEXT: tokens[spec.PADDING_MASK][:, 2] > 0}


def _drop_modalities(
    x: Inputs, preprocessor: Any, settings: Any, random: tf.Tensor
) -> Inputs:
    drop_image, drop_text = augment.drop_modalities(
        x[spec.HAS_IMAGE],
        x[spec.HAS_TEXT],
        random,
        settings.drop_image,
        settings.drop_text,
    )
    return mask_modalities(x, preprocessor, drop_image, drop_text)


def mask_modalities(
    x: Inputs, preprocessor: Any, drop_image: tf.Tensor, drop_text: tf.Tensor
) -> Inputs:
    """Returns the inputs of images and texts without those that are dropped.

    Args:
        x: inputs by key of `spec`, of both modalities.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        drop_image, drop_text: bool [b], what to hide, as if the row had none.
    """
    nothing = preprocessor.tokenize(tf.constant([""]))
    masked = {
        key: tf.where(drop_text[:, None], nothing[key], x[key]) for key in nothing
    }
    masked[spec.HAS_TEXT] = x[spec.HAS_TEXT] & ~drop_text
    masked[spec.IMAGES] = _mask(x[spec.IMAGES], ~drop_image)
    masked[spec.HAS_IMAGE] = x[spec.HAS_IMAGE] & ~drop_image
    return masked


def _mask(images: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    return tf.where(keep[:, None, None, None], images, 0.0)
