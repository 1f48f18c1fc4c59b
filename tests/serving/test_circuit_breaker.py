"""What the client asks of a server that is overloaded, hangs or dies."""

import threading

import pytest
from stub_servers import StubError, start_stub

from tf_multimodal.serving.client import predict_client
from tf_multimodal.serving.client.batches import predict_batch, predict_many
from tf_multimodal.serving.client.circuit_breaker import CircuitBreaker, NotAsked
from tf_multimodal.serving.client.connection import connect
from tf_multimodal.serving.client.predict_client import (
    ClientOptions,
    Pair,
    RequestError,
)


@pytest.fixture(params=["grpc", "rest"])
def stub(request, monkeypatch):
    monkeypatch.setattr(predict_client, "FIRST_WAIT_S", 0.0)
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


@pytest.mark.parametrize(
    "code, attempts",
    [
        *((code, 3) for code in predict_client.RETRYABLE),
        ("NOT_FOUND", 1),
        ("UNAUTHENTICATED", 1),
        ("PERMISSION_DENIED", 1),
    ],
)
def test_trouble_of_the_server_is_not_looked_for_in_halves(
    stub, make_client, code, attempts
):
    def answer(request):
        raise StubError(code)

    stub.answer = answer
    results = predict_batch(make_client(retries=2), [Pair(b"", "a")] * 3)
    assert [result.code for result in results] == [code] * 3
    assert len(stub.requests) == attempts


def test_server_that_hangs_is_asked_once_an_attempt(stub, make_client):
    ended = threading.Event()
    stub.answer = lambda request: ended.wait(30) and ["ok"] * request.rows
    try:
        client = make_client(deadline_s=0.2, retries=1)
        results = predict_batch(client, [Pair(b"", "a")] * 8)
        assert [result.code for result in results] == ["DEADLINE_EXCEEDED"] * 8
        assert len(stub.requests) <= 2
    finally:
        ended.set()


def test_request_that_is_too_large_is_cut_in_halves(stub, make_client):
    def answer(request):
        if request.rows > 2:
            # As gRPC's C core says it.
            reason = "Received message larger than max (7 vs. 4)"
            raise StubError("RESOURCE_EXHAUSTED", reason, http_status=413)
        return ["ok"] * request.rows

    stub.answer = answer
    results = predict_batch(make_client(), [Pair(b"", "a")] * 4)
    assert [result.status for result in results] == ["ok"] * 4
    assert [request.rows for request in stub.requests] == [4, 2, 2]


def test_server_that_is_gone_is_asked_no_more(stub, make_client):
    def answer(request):
        if len(stub.requests) > 1:
            raise StubError("UNAVAILABLE")
        return ["ok"] * request.rows

    stub.answer = answer
    client = make_client(retries=1)
    pairs = [Pair(b"", "a")] * 20
    first, *lost = predict_many(client, pairs, batch_size=1, in_flight=1)
    assert first.status == "ok"
    assert {result.code for result in lost} == {"UNAVAILABLE"}
    assert [isinstance(result, NotAsked) for result in lost] == [False] * 2 + [
        True
    ] * 17
    assert "by the test" in lost[-1].reason
    assert len(stub.requests) == 1 + 2 * 2
    # The client itself may ask again.
    stub.answer = lambda request: ["ok"] * request.rows
    assert predict_batch(client, pairs[:1])[0].status == "ok"


class Scripted:
    """A client whose request is a function: what happens to it."""

    def predict(self, request, signature):
        return request()


def answer():
    return []


def refuse():
    raise RequestError("INVALID_ARGUMENT", "")


def vanish():
    raise RequestError("UNAVAILABLE", "")


def hang():
    raise RequestError("DEADLINE_EXCEEDED", "")


def count_asked(breaker, *requests):
    """Returns how many of the requests, one after another, went through."""
    asked = len(requests)
    for request in requests:
        try:
            breaker.predict(request)
        except NotAsked:
            asked -= 1
        except RequestError:
            pass
    return asked


def test_only_failures_after_one_another_count():
    assert count_asked(CircuitBreaker(Scripted()), vanish, hang, answer, answer) == 2
    for other in (answer, refuse):
        breaker = CircuitBreaker(Scripted())
        assert count_asked(breaker, vanish, other, vanish, answer) == 4


def test_requests_that_fail_together_count_once():
    breaker = CircuitBreaker(Scripted())

    def vanish_after_another():
        count_asked(breaker, vanish)
        vanish()

    assert count_asked(breaker, vanish_after_another, answer) == 2
