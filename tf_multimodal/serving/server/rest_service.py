"""TensorFlow Serving's REST API over a loaded model.

Paths, codes and wording follow `model_servers/http_rest_api_handler.cc`,
`http_rest_api_util.cc` and `http_server.cc` of github.com/tensorflow/serving.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from tf_multimodal.serving.server.json_answer import write_outputs
from tf_multimodal.serving.server.json_request import (
    ROWS,
    SIGNATURE_NAME,
    parse_body,
    read_inputs,
)
from tf_multimodal.serving.server.loaded_model import DEFAULT_SIGNATURE, LoadedModel
from tf_multimodal.serving.server.model_info import (
    SIGNATURE_DEF,
    make_metadata,
    make_signature_map,
    make_status,
)
from tf_multimodal.serving.server.request_body import read_body
from tf_multimodal.serving.server.request_error import RequestError, make_invalid

_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST_PATH = re.compile(
    rf"(?i)/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)"
)
_GET_PATH = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{_VERSION}(/metadata)?")
_MAX_VERSION = 2**63 - 1

# HTTP status by gRPC's; all others are 500.
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class RestService:
    """A WSGI application.

    Args:
        model: what is asked.
        max_request_bytes: a larger body is answered with 413.
    """

    def __init__(self, model: LoadedModel, max_request_bytes: int) -> None:
        self._model = model
        self._max_request_bytes = max_request_bytes

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        response = self.answer(Request(environ))
        return response(environ, start_response)

    def answer(self, request: Request) -> Response:
        """Returns the answer to a request, errors included."""
        try:
            return _make_response(self._dispatch(request))
        except RequestError as error:
            return _make_error(_HTTP_STATUS.get(error.code, 500), error.message)
        except HTTPException as error:  # of Werkzeug: too large, cut off
            message = str(error.description)
            if error.code == 413:
                message = (
                    "The request is larger than the limit of "
                    f"{self._max_request_bytes} bytes: send fewer or smaller images, "
                    "or start the server with a larger --max_request_mb."
                )
            return _make_error(error.code or 500, message)

    def _dispatch(self, request: Request) -> str:
        if not request.path.lower().startswith("/v1/"):
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"There is nothing at {request.path}."
            )
        if match := request.method == "POST" and _POST_PATH.fullmatch(request.path):
            *spec, method = match.groups()
            if method.lower() != "predict":
                raise RequestError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"The development server does not {method}: ask :predict.",
                )
            body = read_body(request, self._max_request_bytes)
            return self._predict(_make_spec(*spec), body)
        if match := request.method == "GET" and _GET_PATH.fullmatch(request.path):
            *spec, metadata = match.groups()
            if spec[0] is None:
                raise make_invalid("Missing model name in request.")
            return (self._metadata if metadata else self._status)(_make_spec(*spec))
        raise make_invalid(f"Malformed request: {request.method} {request.path}")

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = parse_body(body)
        self._model.check_spec(spec)
        signature = document.get(SIGNATURE_NAME) or DEFAULT_SIGNATURE
        if signature not in self._model.signatures:
            raise make_invalid(
                f'Serving signature name: "{signature}" not found in signature def'
            )
        definition = self._model.signature_defs[signature]
        inputs = read_inputs(document, definition.inputs)
        outputs = self._model.predict(signature, inputs)
        return write_outputs(outputs, in_rows=ROWS in document)

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return json.dumps(_make_dict(make_status(self._model, request)), indent=1)

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[SIGNATURE_DEF]
        )
        response = make_metadata(self._model, request)
        signatures = _make_dict(make_signature_map(self._model))
        document = {
            "model_spec": _make_dict(response.model_spec),
            "metadata": {SIGNATURE_DEF: signatures},
        }
        return json.dumps(document, indent=1)


def _make_spec(
    name: str, version: str | None, label: str | None
) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        if int(version) > _MAX_VERSION:
            raise make_invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = label
    return spec


def _make_dict(message: Any) -> dict[str, Any]:
    return MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _make_response(body: str, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")


def _make_error(status: int, message: str) -> Response:
    return _make_response(json.dumps({"error": message}), status)
