"""The network as an ONNX file, for ONNX Runtime and what else reads it."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_multimodal.serving.conversion import (
    PROBABILITIES,
    ConversionError,
    make_input_signature,
    make_network_function,
)

INSTALL = "Install it: pip install 'tf_multimodal[onnx]'."
BATCH = "batch"  # name of the dimension that may have any size


def write_onnx(model: Any, preprocessor: Any, path: str | pathlib.Path) -> None:
    """Writes the network as an ONNX file.

    Its inputs are the prepared tensors by the keys of `data/spec.py`, any number of
    rows; its output is `probabilities`, float32 [b, classes].

    Args:
        model: an `ImageTextClassifier` in float32.
        preprocessor: the model's.
        path: the file to write.

    Raises:
        ConversionError: a package is missing, or the network has an operation that
            ONNX lacks.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ConversionError(f"ONNX needs a package: {error}. {INSTALL}") from error
    function = make_network_function(model)
    # Not Keras's own model.export: the inputs' names and the softmax are ours.
    converted, _ = tf2onnx.convert.from_function(
        function, input_signature=[make_input_signature(preprocessor)]
    )
    try:
        # tf2onnx only logs what it cannot convert, and leaves it in the graph.
        onnx.checker.check_model(converted)
    except onnx.checker.ValidationError as error:
        reason = str(error).partition("\n")[0]
        raise ConversionError(
            f"The network does not convert to ONNX: {reason}"
        ) from error
    for tensor in (*converted.graph.input, *converted.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = BATCH
    onnx.save(converted, str(path))


def load_onnx(
    path: str | pathlib.Path,
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Returns a function that runs a file written by `write_onnx`, on the CPU.

    It takes prepared tensors of n rows by the keys of `data/spec.py` and returns
    probabilities, float32 [n, classes].

    Raises:
        ConversionError: ONNX Runtime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConversionError(f"ONNX needs a package: {error}. {INSTALL}") from error
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )

    def run(x: dict[str, np.ndarray]) -> np.ndarray:
        (probabilities,) = session.run([PROBABILITIES], x)
        return probabilities

    return run
