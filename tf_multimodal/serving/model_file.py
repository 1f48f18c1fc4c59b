"""Reads `saved_model.pb` without loading the model."""

import pathlib
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

PREDICT_METHOD = "tensorflow/serving/predict"  # marks a signature for requests


def read_meta_graph(folder: pathlib.Path) -> Any:
    """Returns the `MetaGraphDef` of a SavedModel: graph, functions and signatures.

    Raises:
        ValueError: there is no such file, or it does not hold one graph.
    """
    path = folder / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        (meta_graph,) = model.meta_graphs
    except (OSError, DecodeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Expected a SavedModel with one graph, "
            "as `python -m export` writes it."
        ) from error
    return meta_graph


def read_signatures(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the `SignatureDef` of each signature that takes requests, by name."""
    signatures = sorted(read_meta_graph(folder).signature_def.items())
    return {
        name: signature
        for name, signature in signatures
        if signature.method_name == PREDICT_METHOD
    }
