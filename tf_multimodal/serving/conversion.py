"""The network alone, from prepared tensors to probabilities, for other formats."""

from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec

PROBABILITIES = "probabilities"  # the only output, float32 [b, classes]


class ConversionError(RuntimeError):
    """A model cannot be had in another format; the message says why."""


def make_network_function(model: Any) -> Any:
    """Returns a `tf.function` from a dict of prepared tensors to probabilities.

    Args:
        model: an `ImageTextClassifier` in float32.

    Raises:
        ConversionError: the model computes in another precision; the other formats'
            runtimes refuse such a graph, or are slower with it.
    """
    if model.compute_dtype != "float32":
        raise ConversionError(
            "Only a float32 model converts to another format. Received one that "
            f"computes in {model.compute_dtype}: load the run with dtype='float32'."
        )

    activate = getattr(tf.nn, model.activation)  # softmax or sigmoid

    @tf.function(autograph=False)
    def compute_probabilities(x: dict[str, Any]) -> dict[str, Any]:
        return {PROBABILITIES: activate(model(x, training=False))}

    return compute_probabilities


def make_input_signature(
    preprocessor: Any, batch_size: int | None = None
) -> dict[str, tf.TensorSpec]:
    """Returns the specs of the network's inputs, each named by its key.

    Args:
        preprocessor: the model's `ImageTextClassifierPreprocessor`.
        batch_size: rows, or None for any number.
    """
    inputs = spec.make_input_spec(
        preprocessor.modalities,
        preprocessor.image_size_px,
        preprocessor.sequence_length,
        batch_size,
    )
    return {
        key: tf.TensorSpec(value.shape, value.dtype, name=key)
        for key, value in inputs.items()
    }
