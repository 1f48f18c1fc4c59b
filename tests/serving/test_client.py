"""The clients against a server that fails: retries, deadlines, batches, order."""

import socket
import subprocess
import threading
from unittest import mock

import grpc
import pytest
import requests
from stub_servers import StubError, start_stub

from tf_multimodal.serving.client import grpc_client, predict_client, rest_client
from tf_multimodal.serving.client.batches import (
    BATCH_SIZE,
    map_in_flight,
    predict_batch,
    predict_many,
)
from tf_multimodal.serving.client.connection import connect
from tf_multimodal.serving.client.predict_client import (
    ClientOptions,
    Pair,
    RequestError,
    call_with_retries,
)

PAIRS = [Pair(b"\xff\x00image", "a cat"), Pair(b"", "猫"), Pair(b"x", "")]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(predict_client, "FIRST_WAIT_S", 0.0)


@pytest.fixture(params=["grpc", "rest"])
def stub(request):
    with start_stub(request.param) as server:
        yield server


@pytest.fixture
def make_client(stub):
    made = []

    def make(**options):
        made.append(connect(stub.url, "pets", ClientOptions(**options)))
        return made[-1]

    yield make
    for client in made:
        client.close()


def fail(stub, code, times, when=lambda request: True):
    """The next requests for which `when` holds fail."""
    left = iter(range(times))

    def answer(request):
        if when(request) and next(left, None) is not None:
            raise StubError(code)
        return ["ok"] * request.rows

    stub.answer = answer


def test_predict(stub, make_client):
    stub.answer = lambda _: ["ok", "ok", "undecodable_image"]
    predictions = make_client().predict(PAIRS)
    assert [p.labels for p in predictions] == [["yes", "no"]] * 3
    assert [p.scores[0] for p in predictions] == pytest.approx([1 / 6, 1 / 4, 1])
    assert predictions[1].probabilities == pytest.approx([3 / 4, 1 / 4])
    assert [p.status for p in predictions] == ["ok", "ok", "undecodable_image"]
    (request,) = stub.requests
    assert request.path == "/v1/models/pets:predict"
    assert request.signature == "serving_default"
    assert request.inputs == {
        "image_bytes": [b"\xff\x00image", b"", b"x"],
        "text": [b"a cat", "猫".encode(), b""],
    }


@pytest.mark.parametrize(
    "signature, name", [("image_only", "image_bytes"), ("text_only", "text")]
)
def test_signature_of_one_input(stub, make_client, signature, name):
    assert len(make_client().predict(PAIRS, signature)) == 3
    (request,) = stub.requests
    assert request.signature == signature
    assert set(request.inputs) == {name}


def test_signatures_are_those_of_the_export():
    from tf_multimodal.serving import signatures
    from tf_multimodal.serving.warmup import ALLOWED_BATCH_SIZES

    assert predict_client.INPUTS == {
        signatures.SERVING_DEFAULT: ("image_bytes", "text"),
        signatures.IMAGE_ONLY: ("image_bytes",),
        signatures.TEXT_ONLY: ("text",),
    }
    assert BATCH_SIZE == ALLOWED_BATCH_SIZES[-1]


def test_text_that_is_not_utf8_is_sent_as_it_is(stub, make_client):
    make_client().predict([Pair(b"", b"caf\xe9"), Pair(b"", "caf\udce9")])
    assert stub.requests[0].inputs["text"] == [b"caf\xe9"] * 2


@pytest.mark.parametrize("code", predict_client.RETRYABLE)
def test_tries_again_after_an_error_that_may_pass(stub, make_client, code):
    fail(stub, code, 2)
    assert len(make_client(retries=2).predict(PAIRS)) == 3
    assert len(stub.requests) == 3
    fail(stub, code, 3)
    with pytest.raises(RequestError, match="by the test") as caught:
        make_client(retries=2).predict(PAIRS)
    assert caught.value.code == code
    assert len(stub.requests) == 6


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"])
def test_does_not_repeat_what_would_fail_again(stub, make_client, code):
    fail(stub, code, 1)
    with pytest.raises(RequestError) as caught:
        make_client().predict(PAIRS)
    assert caught.value.code == code
    assert len(stub.requests) == 1


def test_waits_grow(monkeypatch):
    monkeypatch.setattr(predict_client, "FIRST_WAIT_S", 0.5)
    monkeypatch.setattr(predict_client.random, "uniform", lambda a, b: (a, b))
    waited, errors = [], [RequestError("UNAVAILABLE", "")] * 7

    def call():
        if errors:
            raise errors.pop()
        return "done"

    assert call_with_retries(call, 7, waited.append) == "done"
    longest = [0.5, 1, 2, 4, 8, 16, 20]
    assert waited == [(0, seconds) for seconds in longest]


def test_every_attempt_has_a_deadline(stub, make_client, monkeypatch):
    again, ended = threading.Event(), threading.Event()

    def answer(request):
        if not again.is_set():
            ended.wait(30)
        return ["ok"] * request.rows

    def lengthen(*_):
        # From here on a slow machine is no error.
        object.__setattr__(client._options, "deadline_s", 30.0)
        again.set()
        return 0.0

    stub.answer = answer
    try:
        with pytest.raises(RequestError) as caught:
            make_client(deadline_s=0.2, retries=0).predict(PAIRS)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        client = make_client(deadline_s=0.2, retries=1)
        monkeypatch.setattr(predict_client.random, "uniform", lengthen)  # between two
        assert len(client.predict(PAIRS)) == 3
        assert again.is_set()
    finally:
        ended.set()


def test_timeout_while_sending():
    # Accepted by the system and read by nobody: its buffers fill up.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = connect(url, "m", ClientOptions(deadline_s=0.2, retries=0))
        with pytest.raises(RequestError, match="no answer within 0.2 s") as caught:
            client.predict([Pair(bytes(32 * 2**20), "")])
        client.close()
    assert caught.value.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    "transport, scheme, hint",
    [
        ("rest", "grpc", "Is this the REST port? .* gRPC is 8500"),
        ("grpc", "http", "Is this the gRPC port? .* REST is 8501"),
    ],
)
def test_port_of_the_other_protocol(transport, scheme, hint):
    with start_stub(transport) as stub:
        url = f"{scheme}://{stub.url.partition('://')[2]}"
        client = connect(url, "m", ClientOptions(retries=0))
        with pytest.raises(RequestError, match=hint.replace("?", r"\?")):
            client.predict(PAIRS)
        client.close()


def test_grpc_error_without_details():
    error = mock.Mock()
    error.code.return_value = grpc.StatusCode.RESOURCE_EXHAUSTED
    error.details.return_value = None
    translated = grpc_client._translate(error)
    assert (translated.code, translated.reason) == ("RESOURCE_EXHAUSTED", "")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_listens(scheme):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = connect(f"{scheme}://127.0.0.1:{port}", "m", ClientOptions(retries=1))
    with pytest.raises(RequestError) as caught:
        client.predict(PAIRS)
    assert caught.value.code == "UNAVAILABLE"
    client.close()


def test_headers_and_versions(stub, make_client):
    headers = {"Authorization": "Bearer t0ken"}
    options = ClientOptions(headers=headers)
    assert "t0ken" not in repr(options)
    make_client(headers=headers, version=3).predict(PAIRS)
    make_client(version_label="stable").predict(PAIRS)
    first, second = stub.requests
    assert first.headers["authorization"] == "Bearer t0ken"
    assert first.path == "/v1/models/pets/versions/3:predict"
    assert "authorization" not in second.headers
    assert second.path == "/v1/models/pets/labels/stable:predict"


def test_large_requests(stub, make_client):
    image = bytes(6 * 2**20)  # gRPC's own limit is 4 MiB
    make_client().predict([Pair(image, "")])
    assert stub.requests[0].inputs["image_bytes"] == [image]


def test_metadata(make_client):
    assert make_client().read_signatures() == {
        "serving_default": ("image_bytes", "text"),
        "image_only": ("image_bytes",),
        "text_only": ("text",),
    }


def test_bad_row_fails_alone(stub, make_client):
    def answer(request):
        if b"bad" in request.inputs["text"]:
            raise StubError("INVALID_ARGUMENT", "a bad row")
        return ["ok"] * request.rows

    stub.answer = answer
    texts = ["a", "bb", "bad", "dddd", "e", "bad", "g"]
    pairs = [Pair(b"x", text) for text in texts]
    results = predict_batch(make_client(), pairs)
    for text, result in zip(texts, results, strict=True):
        if text == "bad":
            assert isinstance(result, RequestError)
            assert "a bad row" in result.reason
        else:
            assert result.scores[0] == pytest.approx(1 / (1 + len(text)))


def test_many_rows_in_order_and_in_flight(stub, make_client):
    together = threading.Barrier(3, timeout=60)  # broken unless three are on their way
    first = iter(range(3))
    now, most, lock = 0, 0, threading.Lock()

    def answer(request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            is_early = next(first, None) is not None
        if is_early:
            together.wait()
        with lock:
            now -= 1
        return ["ok"] * request.rows

    stub.answer = answer
    pairs = (Pair(b"", "x" * length) for length in range(50))
    results = list(predict_many(make_client(), pairs, batch_size=4, in_flight=3))
    assert [round(1 / r.scores[0]) - 1 for r in results] == list(range(50))
    assert most == 3
    assert sorted(request.rows for request in stub.requests) == [2, *[4] * 12]


def test_rows_are_read_as_they_are_needed():
    read = []

    def make_items():
        for item in range(100):
            read.append(item)
            yield item

    results = map_in_flight(lambda item: item, make_items(), 2)
    assert next(results) == 0
    assert len(read) <= 4
    results.close()


def test_errors_of_a_worker_come_through():
    def divide(item):
        return 1 // item

    results = map_in_flight(divide, [1, 0, 1], 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_tls(tmp_path, transport):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    with start_stub(transport, (key, certificate)) as stub:
        trusting = connect(stub.url, "m", ClientOptions(ca_file=str(certificate)))
        assert len(trusting.predict(PAIRS)) == 3
        trusting.close()
        wary = connect(stub.url, "m", ClientOptions(retries=0, deadline_s=10))
        with pytest.raises(RequestError):
            wary.predict(PAIRS)
        wary.close()


@pytest.mark.parametrize(
    "server",
    [
        "localhost:8500",
        "ftp://localhost:8500",
        "grpc://localhost",
        "grpc://localhost:8500/v1",
        "http://",
        "http://localhost:port",
    ],
)
def test_addresses_that_are_none(server):
    with pytest.raises(ValueError, match="Expected grpc://HOST:PORT or http://"):
        connect(server, "m")


@pytest.mark.parametrize(
    "status, body, code, reason",
    [
        (200, "<html>", "INTERNAL", "HTTP 200: OK: <html>"),
        (502, "<html>bad gateway", "UNAVAILABLE", "HTTP 502: Bad Gateway: <html>bad"),
        (413, "", "INVALID_ARGUMENT", "HTTP 413"),
        (418, '{"error": "a teapot"}', "UNKNOWN", "HTTP 418: a teapot"),
        (400, '{"error": "wrong"}', "INVALID_ARGUMENT", "HTTP 400: wrong"),
        (200, '{"outputs": {"logits": [1]}}', "UNIMPLEMENTED", "no output 'labels'"),
        (200, '{"outputs": [1]}', "UNIMPLEMENTED", "no output 'labels'"),
    ],
)
def test_answers_that_are_no_predictions(monkeypatch, status, body, code, reason):
    response = requests.Response()
    response.status_code, response._content = status, body.encode()
    response.reason = {200: "OK", 502: "Bad Gateway"}.get(status, "")
    client = rest_client.RestClient("http://host", "m", ClientOptions(retries=0))
    monkeypatch.setattr(client._session, "request", lambda *_, **__: response)
    with pytest.raises(RequestError) as caught:
        client.predict(PAIRS)
    assert caught.value.code == code
    assert reason in caught.value.reason
