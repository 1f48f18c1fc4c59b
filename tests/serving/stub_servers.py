"""A server for the clients' tests that fails as it is told to.

It speaks just enough of TensorFlow Serving's gRPC and REST. What it answers is a
function of the test's, from a request to one status a row: the class is always
`yes`, and the score of a row is 1 / (1 + length of its text).
"""

import base64
import concurrent.futures
import contextlib
import dataclasses
import http.server
import json
import threading
from collections.abc import Callable

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SIGNATURES = {
    "serving_default": ("image_bytes", "text"),
    "image_only": ("image_bytes",),
    "text_only": ("text",),
}
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class StubError(Exception):
    """Raised by a test's function: the request fails."""

    def __init__(self, code, reason="by the test", http_status=None):
        super().__init__(reason)
        self.code = code
        self.http_status = http_status or HTTP_STATUS[code]


@dataclasses.dataclass
class Request:
    """A request as it arrived; gRPC's model spec is written as REST's path."""

    path: str
    signature: str
    inputs: dict[str, list[bytes]]
    headers: dict[str, str]

    @property
    def rows(self):
        return len(next(iter(self.inputs.values())))


class StubServer:
    """Listens for gRPC or REST; keeps what was asked."""

    def __init__(self):
        self.requests: list[Request] = []
        self.answer: Callable[[Request], list[str]] = lambda r: ["ok"] * r.rows
        self.url = ""

    def predict(self, request):
        self.requests.append(request)
        status = self.answer(request)
        texts = request.inputs.get("text") or [b""] * request.rows
        scores = [1 / (1 + len(text)) for text in texts]
        return {
            "labels": [["yes", "no"]] * request.rows,
            "scores": [[x, 1 - x] for x in scores],
            "probabilities": [[1 - x, x] for x in scores],
            "status": status,
        }


@contextlib.contextmanager
def start_stub(transport, tls=None):
    """Gives a StubServer; `tls`: (key, certificate) in PEM."""
    stub = StubServer()
    with (_serve_grpc if transport == "grpc" else _serve_rest)(stub, tls):
        yield stub


@contextlib.contextmanager
def _serve_grpc(stub, tls):
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(16),
        options=[("grpc.max_receive_message_length", -1)],
    )
    servicer = _Servicer(stub)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, server
    )
    if tls:
        port = server.add_secure_port(
            "127.0.0.1:0",
            grpc.ssl_server_credentials([tuple(p.read_bytes() for p in tls)]),
        )
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    stub.url = f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{port}"
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stub):
        self.stub = stub

    def Predict(self, request, context):
        spec = request.model_spec
        path = f"/v1/models/{spec.name}"
        if spec.HasField("version"):
            path += f"/versions/{spec.version.value}"
        if spec.version_label:
            path += f"/labels/{spec.version_label}"
        inputs = {k: tf.make_ndarray(v).tolist() for k, v in request.inputs.items()}
        headers = dict(context.invocation_metadata())
        try:
            outputs = self.stub.predict(
                Request(f"{path}:predict", spec.signature_name, inputs, headers)
            )
        except StubError as error:
            context.abort(getattr(grpc.StatusCode, error.code), str(error))
        response = predict_pb2.PredictResponse()
        for name, values in outputs.items():
            floats = name in ("scores", "probabilities")
            tensor = tf.make_tensor_proto(values, tf.float32 if floats else tf.string)
            response.outputs[name].CopyFrom(tensor)
        return response

    def GetModelMetadata(self, request, context):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, inputs in SIGNATURES.items():
            for key in inputs:
                signatures.signature_def[name].inputs[key].name = key
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response


@contextlib.contextmanager
def _serve_rest(stub, tls):
    class Handler(_Handler):
        server_stub = stub

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls[1], tls[0])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    stub.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_stub: StubServer

    def do_GET(self):
        signatures = {
            name: {"inputs": {key: {"name": key} for key in inputs}}
            for name, inputs in SIGNATURES.items()
        }
        body = {"metadata": {"signature_def": {"signature_def": signatures}}}
        self._send(200, json.dumps(body))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = {k: [_decode(x) for x in v] for k, v in body["inputs"].items()}
        headers = {k.lower(): v for k, v in self.headers.items()}
        request = Request(self.path, body["signature_name"], inputs, headers)
        try:
            outputs = self.server_stub.predict(request)
        except StubError as error:
            self._send(error.http_status, json.dumps({"error": str(error)}))
        else:
            self._send(200, json.dumps({"outputs": outputs}))

    def _send(self, status, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        # A client that gave up is gone.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def _decode(value):
    is_text = isinstance(value, str)
    return value.encode() if is_text else base64.b64decode(value["b64"])
