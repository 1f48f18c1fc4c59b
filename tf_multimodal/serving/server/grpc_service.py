"""TensorFlow Serving's gRPC services over a loaded model."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_multimodal.serving.server.loaded_model import DEFAULT_SIGNATURE, LoadedModel
from tf_multimodal.serving.server.model_info import make_metadata, make_status
from tf_multimodal.serving.server.request_error import (
    RequestError,
    convert_error,
    make_invalid,
)

# Where a TensorProto keeps the values of a dtype. The server fills these rather than
# `tensor_content`, and many a client reads them without a library.
_VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


def _refuse(service: Any, request: Any, context: Any) -> None:
    """Answers a method that is not here; the generated one logs a traceback."""
    context.abort(  # raises
        grpc.StatusCode.UNIMPLEMENTED,
        "The development server answers Predict, GetModelMetadata and GetModelStatus.",
    )


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the other methods answer UNIMPLEMENTED."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    Classify = Regress = MultiInference = _refuse

    def Predict(self, request: Any, context: Any) -> Any:
        """Answers a `PredictRequest`."""
        return _answer(context, self._predict, request)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Answers a `GetModelMetadataRequest`."""
        return _answer(context, make_metadata, self._model, request)

    def _predict(self, request: predict_pb2.PredictRequest) -> Any:
        self._model.check_spec(request.model_spec)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = {key: _read_tensor(key, x) for key, x in request.inputs.items()}
        outputs = self._model.predict(signature, inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self._model.name
        response.model_spec.version.value = self._model.version
        response.model_spec.signature_name = signature
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(_make_tensor(value))
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus, which health checks ask; no new configuration."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    HandleReloadConfigRequest = _refuse

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Answers a `GetModelStatusRequest`."""
        return _answer(context, make_status, self._model, request)


def _answer(context: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except RequestError as error:
        context.abort(error.code, error.message)  # raises


def _read_tensor(name: str, proto: tensor_pb2.TensorProto) -> tf.Tensor:
    """Reads a tensor as the server does, short forms included."""
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), proto.dtype)
    except (TypeError, tf.errors.InvalidArgumentError) as error:  # no such dtype
        raise make_invalid(f"tensor parsing error: {name}") from error
    except tf.errors.OpError as error:
        raise convert_error(error) from error


def _make_tensor(value: np.ndarray) -> tensor_pb2.TensorProto:
    dtype = tf.as_dtype(value.dtype)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _VALUE_FIELDS[dtype]).extend(value.ravel().tolist())
    return proto
