"""What the development server says when it starts."""

import textwrap
from typing import Any

import tensorflow as tf

from tf_multimodal.serving.request_example import make_curl
from tf_multimodal.serving.server.development_server import DevelopmentServer
from tf_multimodal.serving.server.loaded_model import LoadedModel


def describe_server(server: DevelopmentServer) -> str:
    """Returns addresses, signatures and a request to copy."""
    model = server.model
    host = f"[{server.host}]" if ":" in server.host else server.host
    curl = make_curl(model.name, server.rest_port, host)
    lines = [
        f"Serving {model.name}, version {model.version}, from {model.folder}",
        f"  REST  http://{host}:{server.rest_port}/v1/models/{model.name}",
        f"  gRPC  {host}:{server.grpc_port}",
        *(_describe_signature(model, name) for name in model.signatures),
        "Ask it:",
        textwrap.indent(curl, "  "),
        "This server is for development: no batching, no newer versions, no metrics,",
        "no access control. In production serve the folder with TensorFlow Serving;",
        "`python -m export.bundle` writes what that needs. Ctrl-C ends this one.",
    ]
    return "\n".join(lines)


def _describe_signature(model: LoadedModel, name: str) -> str:
    definition = model.signature_defs[name]
    inputs, outputs = (
        ", ".join(f"{key} {_describe_tensor(x)}" for key, x in sorted(tensors.items()))
        for tensors in (definition.inputs, definition.outputs)
    )
    return f"  {name}({inputs})\n    -> {outputs}"


def _describe_tensor(info: Any) -> str:
    sizes = ["b" if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim]
    return f"{tf.as_dtype(info.dtype).name} [{', '.join(sizes)}]"
