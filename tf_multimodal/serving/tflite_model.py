"""The network as a TensorFlow Lite (LiteRT) file, for phones and small devices."""

import pathlib
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from tf_multimodal.serving.conversion import (
    PROBABILITIES,
    ConversionError,
    make_input_signature,
    make_network_function,
)


def write_tflite(model: Any, preprocessor: Any, path: str | pathlib.Path) -> None:
    """Writes the network as a `.tflite` file.

    Its signature `serving_default` takes one row of the prepared tensors, by the
    keys of `data/spec.py`, and returns `probabilities`, float32 [1, classes]. One
    row, because the loop of an LSTM over a batch of unknown size does not convert
    to TensorFlow Lite's own operations. No others are used: the file runs without
    TensorFlow's select operations.

    Args:
        model: an `ImageTextClassifier` in float32.
        preprocessor: the model's.
        path: the file to write.

    Raises:
        ConversionError: the network does not convert, with the converter's reason.
    """
    signature = make_input_signature(preprocessor, batch_size=1)
    network = _freeze(make_network_function(model), signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.serve], network
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except ConverterError as error:
        raise ConversionError(
            "The network does not convert to TensorFlow Lite's own operations: "
            f"{_find_reason(error)}"
        ) from error
    pathlib.Path(path).write_bytes(content)


def load_tflite(
    path: str | pathlib.Path,
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Returns a function that runs a file written by `write_tflite`.

    It takes prepared tensors of n rows by the keys of `data/spec.py` and returns
    probabilities, float32 [n, classes].
    """
    with warnings.catch_warnings():
        # It says that its successor is another package; the files are the same.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter")
        interpreter = tf.lite.Interpreter(model_path=str(path))
    run_row = interpreter.get_signature_runner("serving_default")

    def run(x: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(x.values())))
        answers = (
            run_row(**{key: value[row : row + 1] for key, value in x.items()})
            for row in range(rows)
        )
        return np.concatenate([answer[PROBABILITIES] for answer in answers])

    return run


def _freeze(function: Any, signature: dict[str, tf.TensorSpec]) -> tf.Module:
    """Returns a module whose `serve` is the function with its weights as constants.

    The converter keeps variables that it finds in a loop as variables, which hold
    nothing when the file is run.
    """
    frozen = convert_variables_to_constants_v2(
        function.get_concrete_function(signature)
    )
    names = [tensor.op.name for tensor in frozen.inputs]

    @tf.function(autograph=False)
    def serve(**x: Any) -> dict[str, Any]:
        (probabilities,) = frozen(*(x[name] for name in names))
        return {PROBABILITIES: probabilities}

    module = tf.Module()
    module.serve = serve.get_concrete_function(**signature)
    return module


def _find_reason(error: Exception) -> str:
    """Returns the first error line of the converter's many."""
    found = re.search(r"error: (.+)", str(error))
    return (found[1] if found else str(error).partition("\n")[0]).strip()
