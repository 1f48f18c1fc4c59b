"""A client over gRPC, with the stubs of tensorflow-serving-api."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_multimodal.serving.client.predict_client import (
    INPUTS,
    SERVING_DEFAULT,
    ClientOptions,
    Pair,
    Prediction,
    RequestError,
    call_with_retries,
    encode_text,
    make_predictions,
)

CHANNEL_OPTIONS = (
    # The default, 4 MiB, is less than a batch of photographs.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # The attempts are ours; a channel left alone waits up to two minutes.
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class GrpcClient:
    """A `PredictClient` over gRPC."""

    def __init__(
        self,
        address: str,
        name: str,
        options: ClientOptions | None = None,
        secure: bool = False,
    ) -> None:
        """Prepares a channel; it connects with the first request.

        Args:
            address: `host:port`.
            name: of the model.
            options: how to ask.
            secure: TLS.

        Raises:
            OSError: `options.ca_file` cannot be read.
        """
        self._options = options or ClientOptions()
        self._name = name
        if secure:
            file = self._options.ca_file
            authorities = pathlib.Path(file).read_bytes() if file else None
            credentials = grpc.ssl_channel_credentials(authorities)
            self._channel = grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        self._stub: Any = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def predict(
        self, pairs: Sequence[Pair], signature: str = SERVING_DEFAULT
    ) -> list[Prediction]:
        """Returns the predictions of one request; see `PredictClient`."""
        request = predict_pb2.PredictRequest(model_spec=self._make_spec(signature))
        for name in INPUTS[signature]:
            column = [getattr(pair, name) for pair in pairs]
            tensor = request.inputs[name]
            tensor.dtype = tf.string.as_datatype_enum
            tensor.tensor_shape.dim.add().size = len(column)
            tensor.string_val.extend(map(encode_text, column))
        answer = self._call(self._stub.Predict, request)
        outputs = {key: _to_list(tensor) for key, tensor in answer.outputs.items()}
        return make_predictions(outputs, len(pairs))

    def read_signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the inputs of each signature."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._make_spec(), metadata_field=["signature_def"]
        )
        answer = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {
            name: tuple(sorted(definition.inputs))
            for name, definition in signatures.signature_def.items()
        }

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_spec(self, signature: str = "") -> Any:
        spec = model_pb2.ModelSpec(name=self._name, signature_name=signature)
        if self._options.version is not None:
            spec.version.value = self._options.version
        elif self._options.version_label is not None:
            spec.version_label = self._options.version_label
        return spec

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        metadata = [(k.lower(), v) for k, v in self._options.headers.items()]

        def call() -> Any:
            try:
                return method(
                    request, timeout=self._options.deadline_s, metadata=metadata
                )
            except grpc.RpcError as error:
                raise _translate(error) from error

        return call_with_retries(call, self._options.retries)


def _translate(error: Any) -> RequestError:
    code, reason = error.code().name, error.details() or ""
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in reason:
        code = "INVALID_ARGUMENT"  # of the request's size: it will not pass
    if "Failed parsing HTTP/2" in reason:
        reason += ". Is this the REST port? TensorFlow Serving's for gRPC is 8500."
    return RequestError(code, reason)


def _to_list(tensor: Any) -> list[Any]:
    values = tf.make_ndarray(tensor)
    return _decode(values.tolist()) if values.dtype == object else values.tolist()


def _decode(values: Any) -> Any:
    if isinstance(values, list):
        return [_decode(value) for value in values]
    return values.decode("utf-8", "replace")
