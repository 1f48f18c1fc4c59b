"""A trained run as a SavedModel that reads image bytes and text."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_multimodal.data.labels import write_labels
from tf_multimodal.data.pipeline import make_inputs
from tf_multimodal.inference.predictor import Predictor

TOP_LABELS = 5
EXTRA_DIR = "assets.extra"  # TensorFlow Serving's name for files beside a model


def export_saved_model(
    predictor: Predictor,
    output_dir: str | pathlib.Path,
    check: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
    """Writes the model as the next version of a servable folder.

    The version is written beside its place, checked there, and moved. So a server
    that watches the folder never sees half a model or one that failed its check.

    Args:
        predictor: the run's model, preprocessor and classes.
        output_dir: holds the versions `1/`, `2/`, ...; made when it is missing.
        check: called with the written folder; what it raises ends the export
            and leaves no version behind.

    Returns:
        The version's folder.
    """
    output_dir = pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=output_dir) as beside:
        written = pathlib.Path(beside) / "model"
        write_saved_model(predictor, written)
        if check is not None:
            check(written)
        # A rename onto a folder that holds files is an error: nothing is replaced.
        return written.rename(output_dir / str(find_next_version(output_dir)))


def write_saved_model(predictor: Predictor, folder: pathlib.Path) -> None:
    """Writes the SavedModel, `labels.txt` and `vocabulary.txt` into a new folder."""
    archive = keras.export.ExportArchive()
    archive.track(predictor.model)
    archive.add_endpoint(
        "serve",
        make_serving_function(predictor),
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.string, name="text"),
        ],
    )
    archive.write_out(str(folder), verbose=False)
    extra = folder / EXTRA_DIR
    extra.mkdir()
    write_labels(extra / "labels.txt", predictor.classes)
    tokenizer = predictor.preprocessor.tokenizer
    if tokenizer is not None:
        vocabulary = "".join(f"{piece}\n" for piece in tokenizer.get_vocabulary())
        (extra / "vocabulary.txt").write_text(vocabulary, encoding="utf-8")


def make_serving_function(predictor: Predictor) -> Callable[[Any, Any], dict[str, Any]]:
    """Returns the function behind the signature `serving_default`.

    It takes `image_bytes`, string [b], an encoded image a row, and `text`, string
    [b], UTF-8. Empty means missing; so does an image that does not decode. It
    returns `labels`, string [b, k], the most likely class first; `scores`,
    float32 [b, k], their probabilities; `probabilities`, float32 [b, classes], in
    the order of `labels.txt`. k is 5, or the number of classes if that is less.
    """
    classes = tf.constant(predictor.classes, dtype=tf.string)
    top = min(TOP_LABELS, len(predictor.classes))

    def serve(image_bytes: Any, text: Any) -> dict[str, Any]:
        tf.debugging.assert_equal(
            tf.size(image_bytes),
            tf.size(text),
            message="image_bytes and text must have one entry a row each: send "
            "an empty string for what is missing.",
        )
        inputs, _ = make_inputs(image_bytes, text, predictor.preprocessor)
        logits = predictor.model(inputs, training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        scores, indices = tf.math.top_k(probabilities, k=top)
        return {
            "labels": tf.gather(classes, indices),
            "scores": scores,
            "probabilities": probabilities,
        }

    return serve


def find_next_version(output_dir: pathlib.Path) -> int:
    """Returns the number after the highest version in a servable folder."""
    names = [entry.name for entry in output_dir.iterdir()]
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1
