"""The client's files and rows, held against `predict`."""

import csv
import json
import shutil
import subprocess
import time
import urllib.request

import pytest
from stub_servers import StubError, start_stub

from tf_multimodal.serving.client import manifest, predict_client
from tf_multimodal.serving.client.connection import connect
from tf_multimodal.serving.client.outcome import find_model
from tf_multimodal.serving.client.predict_client import ClientOptions, RequestError

SERVERS = ["development"]
if shutil.which("tensorflow_model_server"):
    SERVERS.append("tensorflow_model_server")


@pytest.fixture(scope="module", params=SERVERS)
def server(request, servable):
    """A server of the small run's model, as `pets`: its addresses by transport."""
    if request.param == "development":
        yield from serve_here(servable)
    else:
        yield from serve_beside(servable)


def serve_here(servable):
    from tf_multimodal.serving.server.development_server import DevelopmentServer

    with DevelopmentServer(servable, "pets") as served:
        yield {
            "grpc": f"grpc://127.0.0.1:{served.grpc_port}",
            "rest": f"http://127.0.0.1:{served.rest_port}",
        }


def serve_beside(servable):
    import portpicker

    ports = {"grpc": portpicker.pick_unused_port(), "rest": 0}
    ports["rest"] = portpicker.pick_unused_port()
    url = f"http://127.0.0.1:{ports['rest']}"
    process = subprocess.Popen(
        [
            "tensorflow_model_server",
            f"--port={ports['grpc']}",
            f"--rest_api_port={ports['rest']}",
            "--model_name=pets",
            f"--model_base_path={servable}",
        ]
    )
    try:
        for _ in range(120):
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"{url}/v1/models/pets") as answer:
                    if b"AVAILABLE" in answer.read():
                        break
            except OSError:
                pass
            time.sleep(1)
        yield {"grpc": f"grpc://127.0.0.1:{ports['grpc']}", "rest": url}
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    made = connect(server[request.param], "pets")
    yield made
    made.close()


@pytest.fixture(params=["grpc", "rest"])
def stub(request, monkeypatch):
    monkeypatch.setattr(predict_client, "FIRST_WAIT_S", 0.0)
    with start_stub(request.param) as started:
        yield started


@pytest.fixture
def stub_model(stub):
    made = connect(stub.url, "pets", ClientOptions(retries=1))
    yield find_model(made)
    made.close()


@pytest.fixture
def pairs_csv(small_run):
    """Eleven pairs; among them a broken image, a missing file and no text."""
    return small_run.parent / "pairs.csv"


@pytest.fixture
def labels(small_run):
    return small_run / "labels.txt"


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def predicted(small_run, tmp_path_factory):
    """What predict writes for the manifest, as JSONL and CSV."""
    from tf_multimodal.inference.predict import Columns, predict_manifest

    folder = tmp_path_factory.mktemp("predicted")
    for name in ("rows.jsonl", "rows.csv"):
        predict_manifest(
            str(small_run),
            str(small_run.parent / "pairs.csv"),
            str(folder / name),
            columns=Columns(id="id"),
        )
    return folder


def test_writes_what_predict_writes(client, pairs_csv, labels, predicted, tmp_path):
    output = tmp_path / "rows.jsonl"
    counts = manifest.predict_manifest(
        find_model(client, labels=labels),
        str(pairs_csv),
        str(output),
        columns={"id": "id"},
        batch_size=4,
        in_flight=2,
    )
    rows, expected = read_lines(output), read_lines(predicted / "rows.jsonl")
    assert len(rows) == len(expected) == 11
    for row, other in zip(rows, expected, strict=True):
        assert list(row) == list(other)
        for key in ("probability", "probabilities"):
            assert row.pop(key) == pytest.approx(other.pop(key), abs=1e-6)
        assert row == other
    statuses = [row["status"] for row in rows]
    assert counts == {s: statuses.count(s) for s in counts}
    assert list(counts)[0] == "ok"
    assert {"undecodable_image", "unreadable_image"} <= set(counts)


def test_csv_has_the_columns_of_predict(client, pairs_csv, labels, predicted, tmp_path):
    output = tmp_path / "rows.csv"
    manifest.predict_manifest(
        find_model(client, labels=labels),
        str(pairs_csv),
        str(output),
        columns={"id": "id"},
    )
    with open(output, newline="") as file, open(predicted / "rows.csv") as other:
        rows, expected = list(csv.DictReader(file)), list(csv.DictReader(other))
    assert list(rows[0]) == list(expected[0])
    for key in ("id", "prediction", "status"):
        assert [row[key] for row in rows] == [row[key] for row in expected]


def test_pair(client, small_run, labels, capsys):
    from tf_multimodal.inference.predict import predict_pair

    model = find_model(client, labels=labels)
    for image, text in (
        (small_run.parent / "0.png", "a red bird"),
        (None, "a red bird"),
        (small_run.parent / "broken.png", "two cats"),
        (small_run.parent / "gone.png", None),
        # Not UTF-8.
        (None, b"caf\xe9"),
        (small_run.parent / "0.png", b"caf\xe9"),
        (small_run.parent / "broken.png", b"caf\xe9"),
        (small_run.parent / "gone.png", b"caf\xe9"),
        (small_run.parent / "broken.png", " \u00a0"),
    ):
        image = image and str(image)
        row = manifest.predict_pair(model, image, text)
        expected = predict_pair(str(small_run), image, text)
        for key in ("probability", "probabilities"):
            assert row.pop(key) == pytest.approx(expected.pop(key), abs=1e-6)
        assert row == expected
    assert "gone.png: The file does not exist." in capsys.readouterr().err


def test_signatures_of_one_input(client, small_run, labels, pairs_csv, tmp_path):
    model = find_model(client, "text_only", labels)
    assert model.reads == {"text"}
    row = manifest.predict_pair(model, str(small_run.parent / "gone.png"), "a bird")
    assert row["status"] == "ok"  # the image is not looked at
    other = find_model(client, "image_only", labels)
    assert other.reads == {"image"}
    output = tmp_path / "rows.jsonl"
    manifest.predict_manifest(other, str(pairs_csv), str(output))
    rows = read_lines(output)
    assert rows[4]["status"] == "missing_input"  # a text alone
    assert rows[4]["prediction"] is None
    assert rows[2]["status"] == "undecodable_image"
    assert rows[2]["prediction"] is None


def test_no_such_model_is_said_before_anything_is_read(server):
    for url in server.values():
        stranger = connect(url, "dogs")
        with pytest.raises(RequestError) as caught:
            find_model(stranger)
        assert caught.value.code == "NOT_FOUND"
        stranger.close()


def test_without_labels_the_best_classes_are_written(stub_model, pairs_csv, tmp_path):
    output = tmp_path / "rows.jsonl"
    manifest.predict_manifest(stub_model, str(pairs_csv), str(output))
    row = read_lines(output)[0]
    assert row["probabilities"] == pytest.approx({"yes": 1 / 11, "no": 10 / 11})
    assert list(row["probabilities"])[0] == row["prediction"] == "yes"
    assert row["probability"] == row["probabilities"]["yes"]
    with pytest.raises(ValueError, match="give --labels=labels.txt"):
        manifest.predict_manifest(stub_model, str(pairs_csv), str(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    "names, message",
    [("a\nb\nc\n", "3 names for 2 classes"), ("yes\nno\n", "'no' where .* 'yes'")],
)
def test_labels_of_another_model(stub, pairs_csv, tmp_path, names, message):
    # The stub's probabilities are those of `no` and `yes`, in this order.
    path, output = tmp_path / "labels.txt", tmp_path / "rows.jsonl"
    path.write_text(names)
    client = connect(stub.url, "pets")
    model = find_model(client, labels=path)
    with pytest.raises(ValueError, match=message):
        manifest.predict_manifest(model, str(pairs_csv), str(output))
    assert not output.exists()
    client.close()


def test_failed_rows_are_named_and_the_rest_goes_on(
    stub, stub_model, pairs_csv, tmp_path, capsys
):
    def answer(request):
        if b"a bird" in request.inputs["text"]:
            raise StubError("INVALID_ARGUMENT", "too small a bird")
        return ["ok"] * request.rows

    stub.answer = answer
    output = tmp_path / "rows.jsonl"
    counts = manifest.predict_manifest(
        stub_model, str(pairs_csv), str(output), batch_size=11
    )
    rows = read_lines(output)
    failed = [row for row in rows if row["status"] == "request_failed"]
    assert [row["text"] for row in failed] == ["a bird"]
    empty = ("prediction", "probability", "probabilities")
    assert [failed[0][key] for key in empty] == [None] * 3
    assert counts["request_failed"] == 1
    assert sum(counts.values()) == len(rows) == 11
    errors = capsys.readouterr().err
    named = [line for line in errors.splitlines() if line.startswith("Failed row: ")]
    assert len(named) == 1
    assert "pairs.csv, row 9 (id 9, image 0.png): INVALID_ARGUMENT" in named[0]
    assert "too small a bird" in named[0]


def test_server_that_dies_is_asked_no_more(
    stub, stub_model, pairs_csv, tmp_path, capsys
):
    def answer(request):
        if len(stub.requests) > 1:
            raise StubError("UNAVAILABLE", "gone for lunch")
        return ["ok"] * request.rows

    stub.answer = answer
    output = tmp_path / "rows.jsonl"
    counts = manifest.predict_manifest(
        stub_model, str(pairs_csv), str(output), batch_size=2, in_flight=1
    )
    assert len(stub.requests) == 1 + 2 * 2  # the model's client tries twice
    assert counts == {"ok": 2, "request_failed": 9}
    assert [row["status"] for row in read_lines(output)][2:] == ["request_failed"] * 9
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("Failed row: ") for line in lines) == 4
    (last,) = [line for line in lines if line.startswith("The server is gone: ")]
    assert "gone for lunch" in last
    assert "not asked about the rows that remained" in last


def test_images_are_read_as_they_are_sent(stub, stub_model, tmp_path):
    """The second batch's image appears while the first is being asked for."""
    (tmp_path / "pairs.csv").write_text("image,text\n0.png,a\n1.png,b\n")
    (tmp_path / "0.png").write_bytes(b"first")

    def answer(request):
        (tmp_path / "1.png").write_bytes(b"second")
        return ["ok"] * request.rows

    stub.answer = answer
    output = tmp_path / "rows.jsonl"
    manifest.predict_manifest(
        stub_model, str(tmp_path / "pairs.csv"), str(output), batch_size=1, in_flight=1
    )
    assert [r.inputs["image_bytes"] for r in stub.requests] == [[b"first"], [b"second"]]


def test_empty_file_is_undecodable_and_the_text_is_sent(stub, stub_model, tmp_path):
    (tmp_path / "pairs.csv").write_text("image,text\n0.png,a\n0.png,\n")
    (tmp_path / "0.png").write_bytes(b"")
    stub.answer = lambda _: ["ok", "missing_input"]
    output = tmp_path / "rows.jsonl"
    manifest.predict_manifest(stub_model, str(tmp_path / "pairs.csv"), str(output))
    first, second = read_lines(output)
    assert first["status"] == second["status"] == "undecodable_image"
    assert first["prediction"] == "yes"
    assert second["prediction"] is None
    assert stub.requests[0].inputs["text"] == [b"a", b""]


def test_progress_bar_counts_rows(
    stub, stub_model, pairs_csv, tmp_path, capsys, monkeypatch
):
    shown = manifest.tqdm
    monkeypatch.setattr(
        manifest, "tqdm", type("Bar", (shown,), {"__init__": make_visible(shown)})
    )
    manifest.predict_manifest(stub_model, str(pairs_csv), str(tmp_path / "rows.jsonl"))
    assert "11/11" in capsys.readouterr().err


def make_visible(bar):
    def start(self, *arguments, **options):
        bar.__init__(self, *arguments, **{**options, "disable": False})

    return start


def test_output_must_not_be_the_manifest(stub_model, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("image,text\n0.png,a\n")
    with pytest.raises(ValueError, match="would overwrite the manifest"):
        manifest.predict_manifest(stub_model, str(path), str(path))
