"""The development server as TensorFlow Serving's callers see it."""

import base64
import functools
import gzip
import http.client
import json
import logging
import pathlib
import subprocess
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tf_multimodal.serving.server.description import describe_server
from tf_multimodal.serving.server.development_server import DevelopmentServer

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = ["a red bird", "", "two cats"]
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def server(servable):
    with DevelopmentServer(servable, "pairs", max_request_mb=0.25) as server:
        yield server


@pytest.fixture(scope="module")
def images(small_run):
    folder = small_run.parent
    return [(folder / "0.png").read_bytes(), (folder / "1.png").read_bytes(), b""]


@pytest.fixture(scope="module")
def expected(servable, images):
    signature = tf.saved_model.load(str(servable / "1")).signatures["serving_default"]
    answer = signature(image_bytes=tf.constant(images), text=tf.constant(TEXTS))
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def ask(server, path, body=None, method=None):
    """Returns the HTTP status and the JSON of an answer, which may be an error."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    request = urllib.request.Request(url, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        assert error.headers["Content-Type"] == "application/json"
        return error.code, json.load(error)


def send(server, chunks, **headers):
    """Posts a body in chunks, or whole where it is bytes: status and JSON."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", server.rest_port, timeout=TIMEOUT_S
    )
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/v1/models/pairs:predict", chunks, headers)
    response = connection.getresponse()
    answer = json.load(response)
    connection.close()
    return response.status, answer


def make_request(name="pairs", signature="", version=None, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def set_field(request, name, field, value):
    setattr(request.inputs[name], field, value)


def predict(channel, request):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict(request, timeout=TIMEOUT_S)


def make_rows(images):
    encoded = [base64.b64encode(image).decode() for image in images]
    pairs = zip(encoded, TEXTS, strict=True)
    return [{"image_bytes": {"b64": image}, "text": text} for image, text in pairs]


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_rest_answers_rows_and_columns_as_the_model_does(
    server, images, expected, path
):
    url = f"/v1/models/pairs{path}:predict"
    rows = make_rows(images)
    status, by_row = ask(server, url, {"instances": rows})
    assert status == 200 and len(by_row["predictions"]) == 3
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    status, by_column = ask(server, url, {"inputs": columns})
    assert status == 200
    for name, value in expected.items():
        answers = [row[name] for row in by_row["predictions"]]
        assert answers == by_column["outputs"][name]
        if value.dtype == object:
            assert answers == np.vectorize(bytes.decode)(value).tolist()
        else:
            np.testing.assert_allclose(answers, value, atol=1e-6)


def test_grpc_answers_as_the_model_does(channel, images, expected):
    request = make_request(image_bytes=images, text=TEXTS)
    response = predict(channel, request)
    assert response.model_spec.name == "pairs"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"
    assert response.outputs.keys() == expected.keys()
    for name, value in expected.items():
        answer = tf.make_ndarray(response.outputs[name])
        if value.dtype == object:
            assert answer.tolist() == value.tolist()
        else:
            np.testing.assert_allclose(answer, value, atol=1e-6)
    # Callers read the values without a library.
    assert len(response.outputs["scores"].float_val) == expected["scores"].size


def test_grpc_returns_only_the_outputs_asked_for(channel, images):
    request = make_request(image_bytes=images, text=TEXTS)
    request.output_filter.append("scores")
    assert predict(channel, request).outputs.keys() == {"scores"}


def test_grpc_reads_tensors_in_their_short_form(channel):
    """One value for all, as `float_val` of a tensor of zeros has it."""
    request = make_request(image_bytes=[b""], text=["two cats"])
    for name in request.inputs:
        request.inputs[name].tensor_shape.dim[0].size = 2
    scores = tf.make_ndarray(predict(channel, request).outputs["scores"])
    assert scores.shape[0] == 2
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            {"name": "x"},
            "NOT_FOUND",
            "Servable not found for request: Latest(x)",
        ),
        (
            {"version": 2},
            "NOT_FOUND",
            "Servable not found for request: Specific(pairs, 2)",
        ),
        (
            {"signature": "x"},
            "FAILED_PRECONDITION",
            'Serving signature key "x" not found.',
        ),
        (
            {"caption": ["a"]},
            "INVALID_ARGUMENT",
            "input size does not match signature: 3!=2 len({caption,image_bytes,text}) "
            "!= len({image_bytes,text}). Sent extra: {caption}. Missing but required: "
            "{}.",
        ),
        ({"text": [1.0]}, "INVALID_ARGUMENT", "Input text: expected string"),
        ({"text": [["a"]]}, "INVALID_ARGUMENT", "Input text: expected string"),
        ({"text": ["a", "b"]}, "INVALID_ARGUMENT", "one entry a row each"),
    ],
)
def test_grpc_refuses_as_tensorflow_serving_does(channel, change, code, message):
    arguments = {"image_bytes": [b""], "text": ["a"]} | change
    with pytest.raises(grpc.RpcError) as error:
        predict(channel, make_request(**arguments))
    assert error.value.code().name == code
    assert message in error.value.details()


def test_grpc_names_wrong_outputs_labels_and_tensors(channel):
    def find_error(change):
        request = make_request(image_bytes=[b""], text=["a"])
        change(request)
        with pytest.raises(grpc.RpcError) as error:
            predict(channel, request)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        return error.value.details()

    message = find_error(lambda request: request.output_filter.append("x"))
    assert "output tensor alias not found in signature: x Outputs" in message
    message = find_error(lambda request: request.output_filter.extend(["scores"] * 2))
    assert message == "duplicate output tensor alias: scores"
    message = find_error(
        lambda request: setattr(request.model_spec, "version_label", "canary")
    )
    assert message == "Unrecognized servable version label: canary"
    for field, value in (("tensor_content", b"\xff"), ("dtype", 0), ("dtype", 99)):
        change = functools.partial(set_field, name="text", field=field, value=value)
        message = find_error(change)
        assert message == "tensor parsing error: text"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/x:predict", {"inputs": []}, 404, "for request: Latest(x)"),
        (
            "/v1/models/pairs/versions/2:predict",
            {"inputs": []},
            404,
            "Servable not found for request: Specific(pairs, 2)",
        ),
        ("/v1/models/pairs/labels/new:predict", {"inputs": []}, 400, "label: new"),
        ("/v1/models/pairs:predict", b"{", 400, "JSON Parse error"),
        ("/v1/models/x:predict", b"{", 400, "JSON Parse error"),
        # Between parsing and looking for inputs, TensorFlow Serving asks for the
        # model: FillPredictRequestFromJson of its util/json_tensor.cc.
        ("/v1/models/x:predict", {}, 404, "for request: Latest(x)"),
        ("/v1/models/pairs:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/versions/1", None, 400, "Missing model name in request."),
        (
            "/v1/models/pairs:predict",
            {"signature_name": "x", "inputs": []},
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        ("/v1/models/pairs:predict", {"instances": [{"text": "a"}]}, 400, "keys must"),
        ("/v1/models/pairs:classify", {"examples": []}, 501, "classify"),
        ("/v1/models/pairs", b"", 400, "Malformed request: POST /v1/models/pairs"),
        ("/v1/models/pairs:predict", None, 400, "Malformed request: GET"),
        ("/v1/models/x", None, 404, "Could not find any versions of model x"),
        ("/v1/models/pairs/versions/2", None, 404, "find version 2 of model pairs"),
        (f"/v1/models/pairs/versions/{10**19}", None, 400, "to numeric"),
        ("/v1/models/x/metadata", None, 404, "for request: Latest(x)"),
        ("/", None, 404, "nothing at /"),
    ],
)
def test_rest_refuses_as_tensorflow_serving_does(server, path, body, status, message):
    code, answer = ask(server, path, body)
    assert code == status
    assert answer.keys() == {"error"} and message in answer["error"]


def test_requests_over_the_limit_are_refused(server, channel):
    """And the server goes on."""
    text = "a" * 2**18
    body = {"inputs": {"image_bytes": [""], "text": [text]}}
    status, answer = ask(server, "/v1/models/pairs:predict", body)
    assert status == 413 and "--max_request_mb" in answer["error"]
    with pytest.raises(grpc.RpcError) as error:
        predict(channel, make_request(image_bytes=[b""], text=[text]))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask(server, "/v1/models/pairs")[0] == 200


def make_body(length):
    body = {"inputs": {"image_bytes": [""], "text": [""]}, "": ""}
    body[""] = "a" * (length - len(json.dumps(body)))
    return json.dumps(body).encode()


def test_the_limit_holds_for_bodies_in_chunks(server):
    """Where no Content-Length tells it in advance."""
    for length, expected in ((2**18, 200), (2**18 + 1, 413), (2**20, 413)):
        body = make_body(length)
        assert len(body) == length
        chunks = (body[start : start + 50_000] for start in range(0, length, 50_000))
        status, answer = send(server, chunks)
        assert status == expected
        assert status == 200 or "--max_request_mb" in answer["error"]


def test_gzip_is_read_up_to_the_limit(server, images):
    body = json.dumps({"instances": make_rows(images)}).encode()
    plain = send(server, body)
    assert plain[0] == 200
    packed = gzip.compress(body)
    assert send(server, packed, Content_Encoding="gzip") == plain
    assert send(server, iter([packed]), Content_Encoding="x-gzip") == plain
    bomb = gzip.compress(make_body(2**18 + 1))
    assert len(bomb) < 2**10
    status, answer = send(server, bomb, Content_Encoding="gzip")
    assert status == 413 and "--max_request_mb" in answer["error"]
    for broken in (body, packed[:-20], packed[:20] + b"\xff" * 20 + packed[40:]):
        status, answer = send(server, broken, Content_Encoding="gzip")
        assert status == 400 and "body cannot be read" in answer["error"]


def test_other_methods_are_unimplemented_and_log_nothing(channel, caplog):
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    calls = [
        (predictions.Classify, classification_pb2.ClassificationRequest()),
        (predictions.Regress, regression_pb2.RegressionRequest()),
        (predictions.MultiInference, inference_pb2.MultiInferenceRequest()),
        (
            models.HandleReloadConfigRequest,
            model_management_pb2.ReloadConfigRequest(),
        ),
    ]
    with caplog.at_level(logging.DEBUG, "grpc"):
        for call, request in calls:
            with pytest.raises(grpc.RpcError) as error:
                call(request, timeout=TIMEOUT_S)
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert "Predict" in error.value.details()
    assert not caplog.records


def test_status_and_metadata_tell_what_is_served(server, channel):
    state = {"version": "1", "state": "AVAILABLE"}
    state["status"] = {"error_code": "OK", "error_message": ""}
    for path in ("", "/versions/1"):
        answer = ask(server, f"/v1/models/pairs{path}")
        assert answer == (200, {"model_version_status": [state]})
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "pairs"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    (status,) = stub.GetModelStatus(request, timeout=TIMEOUT_S).model_version_status
    assert status.State.Name(status.state) == "AVAILABLE" and status.version == 1

    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "pairs"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError, match="at least one metadata_field"):
        stub.GetModelMetadata(request, timeout=TIMEOUT_S)
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request, timeout=TIMEOUT_S)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["serving_default"].inputs
    assert inputs.keys() == {"image_bytes", "text"}
    status, answer = ask(server, "/v1/models/pairs/metadata")
    assert status == 200 and answer["model_spec"]["version"] == "1"
    by_name = answer["metadata"]["signature_def"]["signature_def"]
    assert by_name["serving_default"]["inputs"]["text"]["dtype"] == "DT_STRING"


def test_what_is_printed_can_be_typed(server, tmp_path, small_run):
    """The lines under `Ask it:`, as the shell runs them."""
    text = describe_server(server)
    assert "TensorFlow Serving" in text and f"127.0.0.1:{server.grpc_port}" in text
    assert "serving_default(image_bytes string [b], text string [b])" in text
    lines = text.splitlines()
    start = lines.index("Ask it:") + 1
    command = "\n".join(lines[start : start + 3])
    image = (small_run.parent / "0.png").read_bytes()
    (tmp_path / "IMAGE.jpg").write_bytes(image)
    result = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, check=True
    )
    (row,) = json.loads(result.stdout)["predictions"]
    assert len(row["probabilities"]) == 3
