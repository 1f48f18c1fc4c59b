"""A trained run as a SavedModel that reads image bytes and text."""

import pathlib

import tensorflow as tf

from tf_multimodal.data.labels import write_labels
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.folding import fold_batch_norm
from tf_multimodal.serving.server_ops import check_saved_model
from tf_multimodal.serving.signatures import make_signatures
from tf_multimodal.serving.versions import EXTRA_DIR
from tf_multimodal.serving.warmup import write_warmup

PRECISIONS = ("float32", "bfloat16")


def write_saved_model(
    predictor: Predictor, folder: pathlib.Path, precision: str = "float32"
) -> int:
    """Writes a SavedModel, and the files beside it, into a new folder.

    Beside it, in `assets.extra/`: `labels.txt` in the order of the probabilities,
    `vocabulary.txt`, `server_ops.json` and the warm-up requests.

    Args:
        predictor: the run's model, preprocessor and classes; in float32, or what
            its precision cut off is lost.
        folder: must not be there yet.
        precision: one of `PRECISIONS`, that of weights and arithmetic. What goes in
            and comes out is float32 in both, and so are the heads.

    Returns:
        Number of BatchNorm layers that were folded into convolutions.

    Raises:
        ValueError: another precision.
        UnsupportedOpsError: TensorFlow Serving lacks an operation of the graph.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"The precision must be one of {', '.join(PRECISIONS)}. "
            f"Received: {precision!r}"
        )
    model, num_folded = fold_batch_norm(
        predictor.model, precision, predictor.temperature
    )
    signatures = make_signatures(model, predictor.preprocessor, predictor.classes)
    # Not Keras's ExportArchive: it writes each weight and each function twice.
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, str(folder), signatures)
    extra = folder / EXTRA_DIR
    extra.mkdir()
    write_names(extra, predictor)
    check_saved_model(folder)
    write_warmup(folder)
    return num_folded


def write_names(folder: pathlib.Path, predictor: Predictor) -> None:
    """Writes `labels.txt` and, of a model that reads text, `vocabulary.txt`."""
    write_labels(folder / "labels.txt", predictor.classes)
    tokenizer = predictor.preprocessor.tokenizer
    if tokenizer is not None:
        vocabulary = "".join(f"{piece}\n" for piece in tokenizer.get_vocabulary())
        (folder / "vocabulary.txt").write_text(vocabulary, encoding="utf-8")
