"""What the development server says when it starts."""

from typing import Any

import tensorflow as tf

from tf_multimodal.serving.server.development_server import DevelopmentServer
from tf_multimodal.serving.server.loaded_model import DEFAULT_SIGNATURE, LoadedModel

# Inputs of a request that a person types: JSON, and the shell word behind its %s.
_TYPED = {
    "image_bytes": ('{"b64": "%s"}', '"$(base64 -w0 IMAGE.jpg)"'),
    "text": ('"%s"', '"THE TEXT BESIDE IT"'),
}


def describe_server(server: DevelopmentServer) -> str:
    """Returns addresses, signatures and a request to copy."""
    model = server.model
    host = f"[{server.host}]" if ":" in server.host else server.host
    url = f"http://{host}:{server.rest_port}/v1/models/{model.name}"
    lines = [
        f"Serving {model.name}, version {model.version}, from {model.folder}",
        f"  REST  {url}",
        f"  gRPC  {host}:{server.grpc_port}",
        *(_describe_signature(model, name) for name in model.signatures),
        *_make_request(model, url),
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


def _make_request(model: LoadedModel, url: str) -> list[str]:
    """Returns the lines that ask the default signature from a shell."""
    if DEFAULT_SIGNATURE not in model.signatures:
        return []
    names = sorted(model.signature_defs[DEFAULT_SIGNATURE].inputs)
    if not _TYPED.keys() >= set(names):
        return []
    row = ", ".join(f'"{name}": {_TYPED[name][0]}' for name in names)
    words = " ".join(_TYPED[name][1] for name in names)
    return [
        "Ask it:",
        f"""  printf '{{"instances": [{{{row}}}]}}' {words} |""",
        f"    curl -d @- {url}:predict",
    ]
