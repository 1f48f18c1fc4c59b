"""Random changes of the training input, each fixed by what is drawn for it."""

from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec

WHITE = 255.0
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601


def augment_image(
    image: tf.Tensor,
    seed: tf.Tensor,
    size_px: int,
    settings: Any,
    fit: str = "stretch",
) -> tf.Tensor:
    """Cuts a random window out of an image, flips it and shifts its colours.

    Args:
        image: uint8 [h, w, 3].
        seed: int32 or int64 [2].
        size_px: side of the result in pixels.
        settings: `config.augment`.
        fit: what the evaluation does to the shape of an image, and so what an
            unscaled window covers: `stretch` (all of it, made square), `crop` (a
            square of the shorter side) or `pad` (one of the longer side).

    Returns:
        float32 [size_px, size_px, 3], 0 to 255.
    """
    random = tf.random.stateless_uniform([8], seed)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    window = _choose_window(sides, random[:4], settings, fit)
    if settings.flip:
        mirrored = tf.gather(window, [0, 3, 2, 1])
        window = tf.where(random[4] < 0.5, mirrored, window)
    image = _resample_window(image, sides, window, size_px)
    return _shift_colours(image, 2.0 * random[5:] - 1.0, settings)


def drop_tokens(
    tokens: dict[str, tf.Tensor], random: tf.Tensor, probability: float
) -> dict[str, tf.Tensor]:
    """Drops word pieces at random and closes the gaps.

    [CLS] and [SEP], the first and the last token, stay, and so does one piece at
    least of a text that has any.

    Args:
        tokens: int32 [b, t] by key of `spec.TEXT_KEYS`, right-padded.
        random: float32 [b, t], drawn from [0, 1).
        probability: share of pieces to drop, 0 to 1.

    Returns:
        The same keys and shapes.
    """
    mask = tokens[spec.PADDING_MASK]
    lengths = tf.reduce_sum(mask, 1, keepdims=True)
    places = tf.range(tf.shape(mask)[1])[None]
    is_piece = (places > 0) & (places < lengths - 1)
    # The piece with the largest number of its row survives in any case.
    best = tf.argmax(tf.where(is_piece, random, -1.0), 1, output_type=tf.int32)
    keep = (random >= probability) | (places == best[:, None])
    keep = tf.where(is_piece, keep, places < lengths)
    order = tf.argsort(tf.cast(~keep, tf.int32), 1, stable=True)
    lengths = tf.reduce_sum(tf.cast(keep, tf.int32), 1, keepdims=True)

    def compact(values: tf.Tensor) -> tf.Tensor:
        moved = tf.gather(values, order, batch_dims=1)
        return tf.where(places < lengths, moved, 0)  # 0: BERT's [PAD]

    compacted = {k: compact(tokens[k]) for k in (spec.TOKEN_IDS, spec.PADDING_MASK)}
    return {**tokens, **compacted}


def drop_modalities(
    has_image: tf.Tensor,
    has_text: tf.Tensor,
    random: tf.Tensor,
    image_probability: float,
    text_probability: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses the rows that are shown without their image or without their text.

    Never both, and only rows that have both.

    Args:
        has_image, has_text: bool [b].
        random: float32 [b], drawn from [0, 1).
        image_probability, text_probability: their sum is at most 1.

    Returns:
        bool [b], image dropped, and bool [b], text dropped.

    Raises:
        ValueError: probabilities that add up to more than 1.
    """
    both = image_probability + text_probability
    if both > 1:
        raise ValueError(
            "config.augment.drop_image and config.augment.drop_text exclude each "
            f"other, so their sum must not exceed 1. Received: {both}"
        )
    has_both = has_image & has_text
    drop_image = has_both & (random < image_probability)
    drop_text = has_both & (random >= image_probability) & (random < both)
    return drop_image, drop_text


def _choose_window(
    sides: tf.Tensor, random: tf.Tensor, settings: Any, fit: str
) -> tf.Tensor:
    """Returns float32 [4]: top, left, bottom, right in pixels; may lie outside."""
    window = {
        "stretch": sides,
        "crop": tf.fill([2], tf.reduce_min(sides)),
        "pad": tf.fill([2], tf.reduce_max(sides)),
    }[fit]
    if settings.crop == "resized":
        low, high = settings.crop_scale
        scale = low + (high - low) * random[0]
        low, high = settings.crop_aspect
        stretch = tf.sqrt(low * (high / low) ** random[1])
        window = scale * window * tf.stack([1.0 / stretch, stretch])
        # A window that is larger than the image slides around it.
        corner = random[2:] * (sides - window)
    else:
        corner = 0.5 * (sides - window)
        if settings.crop == "pad":
            corner += (2.0 * random[2:] - 1.0) * settings.pad_fraction * sides
    return tf.concat([corner, corner + window], 0)


def _resample_window(
    image: tf.Tensor, sides: tf.Tensor, window: tf.Tensor, size_px: int
) -> tf.Tensor:
    """Resizes a window, white where it leaves the image; right > left: mirrored.

    Bilinear samples at most two pixels apart, then the mean over blocks of them:
    as smooth as an antialiased resize of the crop, at a fraction of its cost.
    """
    lengths = window[2:] - window[:2]
    blocks = tf.math.ceil(tf.abs(lengths) / (2.0 * size_px))
    blocks = tf.maximum(tf.cast(blocks, tf.int32), 1)
    samples = size_px * blocks
    half_step = 0.5 * lengths / tf.cast(samples, tf.float32)
    # From pixel edges to sample centres, relative to the first and last pixel. The
    # border of one copied pixel keeps enlarged images from fading into white.
    first = window[:2] + half_step + 0.5
    last = window[2:] - half_step + 0.5
    box = tf.concat([first, last], 0) / tf.tile(sides + 1.0, [2])
    image = tf.concat([image[:1], image, image[-1:]], 0)
    image = tf.concat([image[:, :1], image, image[:, -1:]], 1)
    image = tf.image.crop_and_resize(
        image[None], box[None], [0], samples, extrapolation_value=WHITE
    )
    # Two means cost a fraction of one over both axes.
    image = tf.reduce_mean(tf.reshape(image, [size_px, blocks[0], samples[1] * 3]), 1)
    return tf.reduce_mean(tf.reshape(image, [size_px, size_px, blocks[1], 3]), 2)


def _shift_colours(image: tf.Tensor, random: tf.Tensor, settings: Any) -> tf.Tensor:
    """Saturation, contrast and brightness, `random` being 3 numbers in -1 to 1."""
    if settings.saturation:
        grey = tf.reduce_sum(image * GREY_WEIGHTS, -1, keepdims=True)
        image = grey + (image - grey) * (1.0 + settings.saturation * random[0])
    if settings.contrast:
        mean = tf.reduce_mean(image)
        image = mean + (image - mean) * (1.0 + settings.contrast * random[1])
    if settings.brightness:
        image += 255.0 * settings.brightness * random[2]
    return tf.clip_by_value(image, 0.0, 255.0)
