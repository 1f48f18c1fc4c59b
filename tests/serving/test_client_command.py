"""The client's command, and what can be imported from it."""

import json
import pathlib
import signal
import subprocess
import sys
import threading

import pytest
from stub_servers import StubError, start_stub


@pytest.fixture(params=["grpc", "rest"])
def stub(request):
    with start_stub(request.param) as started:
        yield started


@pytest.fixture
def pairs_csv(small_run):
    return small_run.parent / "pairs.csv"


@pytest.mark.slow
def test_command(stub, pairs_csv, tmp_path, run_command):
    def answer(request):
        if b"two cats" in b"".join(request.inputs["text"]):
            raise StubError("INTERNAL", "no cats")
        return ["ok"] * request.rows

    stub.answer = answer
    output = tmp_path / "rows.jsonl"
    command = ["-m", "export.client", f"--server={stub.url}", "--name=pets"]
    result = run_command(
        *command,
        f"--manifest={pairs_csv}",
        f"--output={output}",
        "--header=x-key: secret: 1",
        expect=1,
    )
    assert "11 rows (9 ok, 1 unreadable_image, 1 request_failed)" in result.stdout
    assert "Failed row: pairs.csv, row 3" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(output.read_text("utf-8").splitlines()) == 11
    assert stub.requests[0].headers["x-key"] == "secret: 1"
    pair = run_command(*command, "--text=a bird")
    assert json.loads(pair.stdout)["prediction"] == "yes"
    refused = run_command(*command, "--text=x", "--labels=none", expect=1)
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("python -m export.client: There is no file none, which")


# Where the tests run in the background, a shell has the signal ignored.
WITH_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.slow
def test_interrupt(stub, pairs_csv, tmp_path):
    asked, ended = threading.Event(), threading.Event()

    def answer(request):
        asked.set()
        ended.wait(120)
        return ["ok"] * request.rows

    stub.answer = answer
    command = [sys.executable, "-c", WITH_SIGINT]
    command += ["-m", "export.client", "--name=pets", "--in_flight=2"]
    command += [f"--server={stub.url}", f"--manifest={pairs_csv}", "--deadline_s=300"]
    with subprocess.Popen(
        [*command, f"--output={tmp_path / 'rows.jsonl'}"],
        cwd=pathlib.Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert asked.wait(120)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)  # the request still hangs
        finally:
            process.kill()
            ended.set()
    assert process.returncode == 130
    last = "python -m export.client: interrupted; no output was written."
    assert errors.splitlines()[-1] == last
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "header, message",
    [
        ("authorization Bearer", "with a colon"),
        (": x", "key '' cannot be sent"),
        ("bad key: s3cret", "key 'bad key' cannot be sent"),
        ("trace-Bin: s3cret", "key 'trace-Bin' promises a binary value"),
        ("key: s3cret\n", None),
        ("key: s3\ncret", "value of 'key' cannot be sent"),
        ("key: s3crét", "value of 'key' cannot be sent"),
    ],
)
def test_headers_that_can_be_sent(header, message):
    from export.client import _parse_header

    if message is None:
        assert _parse_header(header) == ("key", "s3cret")
        return
    with pytest.raises(ValueError, match=message) as caught:
        _parse_header(header)
    assert "s3" not in str(caught.value)


def test_python_api_of_the_command():
    from export import client as api
    from export.client import GrpcClient, RestClient, predict_many

    assert {GrpcClient.__name__, RestClient.__name__} == {"GrpcClient", "RestClient"}
    assert callable(predict_many)
    for name in api._API:
        assert getattr(api, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = api.Nothing
