"""What became of a row: one rule for training, evaluation, prediction and serving."""

import tensorflow as tf

from tf_multimodal.data import decode, spec


def check_texts(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the texts that are not UTF-8, and empties them.

    Args:
        texts: string [b].

    Returns:
        string [b], and int32 [b], positions in `spec.STATUSES`: `ok` or
        `undecodable_text`.
    """
    repaired = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    is_text, codes = repaired == texts, spec.STATUS_CODES
    status = tf.where(is_text, codes[spec.OK], codes[spec.UNDECODABLE_TEXT])
    return tf.where(is_text, texts, ""), status


def combine(
    image_status: tf.Tensor, text_status: tf.Tensor, has_input: tf.Tensor
) -> tf.Tensor:
    """Returns the status of rows: the image's trouble, else the text's, else theirs.

    Args:
        image_status, text_status: int32 [b], positions in `spec.STATUSES`; what is
            missing does not count as trouble.
        has_input: bool [b], whether an image or a text is left.

    Returns:
        int32 [b], positions in `spec.STATUSES`.
    """
    ok = spec.STATUS_CODES[spec.OK]
    missing = spec.STATUS_CODES[spec.MISSING_INPUT]
    status = tf.where(has_input, ok, missing)
    for trouble in (text_status, image_status):
        is_trouble = (trouble != ok) & (trouble != missing)
        status = tf.where(is_trouble, trouble, status)
    return status


def explain(
    status: str, image: bytes | str, text: bytes | str, max_image_px: int
) -> str:
    """Returns a sentence on a row's status; the one of `ok` is empty.

    Args:
        status: one of `spec.STATUSES`.
        image: encoded bytes, or the path of a file.
        text: the text beside it.
        max_image_px: the limit on width times height.
    """
    if status == spec.OK:
        return ""
    if status == spec.MISSING_INPUT:
        return "There is no input that the model reads: neither an image nor a text."
    if status == spec.UNDECODABLE_TEXT:
        return _explain_text(text)
    _, reason = decode.explain_failure(image, max_image_px)
    return reason or "The image decodes, but cannot be resized."


def _explain_text(text: bytes | str) -> str:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return (
            f"The text is not UTF-8: byte {data[error.start]:#04x} at position "
            f"{error.start}. Save it as UTF-8."
        )
    return "The text is not UTF-8."
