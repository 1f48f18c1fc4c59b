"""From a server's address to a client."""

from urllib.parse import urlsplit

from tf_multimodal.serving.client.predict_client import ClientOptions, PredictClient

SCHEMES = ("grpc", "grpcs", "http", "https")


def connect(
    server: str, name: str, options: ClientOptions | None = None
) -> PredictClient:
    """Returns the client for an address; it connects with the first request.

    Args:
        server: `grpc://HOST:PORT`, `http://HOST:PORT`, or with TLS `grpcs://` and
            `https://`.
        name: of the model.
        options: how to ask.

    Raises:
        ValueError: another address.
    """
    parts = urlsplit(server)
    try:
        valid = parts.scheme in SCHEMES and parts.hostname and (parts.port or 1)
    except ValueError:  # of a port
        valid = False
    is_grpc = parts.scheme.startswith("grpc")
    if not valid or (is_grpc and (parts.port is None or parts.path.strip("/"))):
        raise ValueError(
            f"{server!r} is no server's address. Expected grpc://HOST:PORT or "
            "http://HOST:PORT (TensorFlow Serving: ports 8500 and 8501), with TLS "
            "grpcs:// or https://."
        )
    if is_grpc:
        # Its stubs bring TensorFlow along; `RestClient` by itself does without.
        from tf_multimodal.serving.client.grpc_client import GrpcClient

        return GrpcClient(parts.netloc, name, options, parts.scheme == "grpcs")
    from tf_multimodal.serving.client.rest_client import RestClient

    return RestClient(server, name, options)
