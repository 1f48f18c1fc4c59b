"""Batches made by workers of a tf.data service; one of them is killed."""

import dataclasses
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import pipeline, service, service_watch, spec
from tf_multimodal.data.dropped import DroppedRows

PROCESS = pathlib.Path(__file__).with_name("service_process.py")
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "data_preparation.md"


@pytest.fixture
def start_process():
    """Starts dispatchers and workers; returns process and first line of output."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def read(rows, chosen, draw=0.0):
    found = rows.read(tf.constant(chosen, tf.int64), tf.fill([len(chosen)], draw))
    return [value.numpy().tolist() for value in found]


def test_rows_in_the_graph_are_those_that_python_reads(make_source):
    source = make_source(4, [b"png", "/a/b.png", None, b""], ["a", "", b"\xff", None])
    indices = np.array([3, 1, 0, 2])
    lazy = pipeline.LazyRows(source, indices)
    graph = service.GraphRows(source, indices)
    expected = [
        [b"png", b"", b"/a/b.png", b""],
        [False, False, True, False],
        [b"a", b"\xff", b"", b""],
    ]
    assert read(lazy, [2, 3, 1, 0]) == read(graph, [2, 3, 1, 0]) == expected


def test_captions_are_drawn_alike(make_source):
    captions = np.empty(3, object)
    captions[:] = [("a", "", "c"), ("", "", ""), ("", "b", "")]
    source = dataclasses.replace(make_source(3), captions=captions)
    indices = np.arange(3)
    for draw, text in ((0.0, b"a"), (0.49, b"a"), (0.5, b"c"), (0.99, b"c")):
        for kind in (pipeline.LazyRows, service.GraphRows):
            rows = kind(source, indices, with_images=False, draw_captions=True)
            assert read(rows, [0, 1, 2], draw)[2] == [text, b"", b"b"]


def test_rows_that_are_too_large_are_refused(make_source, monkeypatch):
    monkeypatch.setattr(service, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="too large for config.data.service"):
        service.GraphRows(make_source(2), np.arange(2))


@pytest.mark.parametrize("address", ["localhost:1", "grpc://localhost:1", "grpc://x"])
def test_no_dispatcher_is_said_at_once(address):
    with pytest.raises(ValueError, match=r"grpc://HOST:PORT\. Received"):
        service.distribute(tf.data.Dataset.range(1), tf.identity, address, 0)


def make_element(step):
    return tf.constant(step, tf.int64), ()


def test_a_step_is_given_up_once_when_the_newest_is_far_ahead(monkeypatch):
    monkeypatch.setattr(service, "PATIENCE_STEPS", 3)
    state = (tf.constant(5, tf.int64), tf.zeros([0], tf.int64))
    found = []
    for step in (5, 7, 8, 10, 11, 6, 9):  # 6 comes too late, 9 in time
        state, (_, is_new, lost) = service._find_lost(state, make_element(step))
        found.append((bool(is_new), lost.numpy().tolist()))
    assert found == [
        *[(True, [])] * 3,
        (True, [6]),
        (True, []),
        (False, []),
        (True, []),
    ]
    assert int(state[0]) == 12 and not len(state[1])


def test_waiting_is_warned_of(monkeypatch, capsys):
    monkeypatch.setattr(service_watch, "WARN_SECONDS", 0.2)
    is_late = threading.Event()

    def give(step):  # the last one takes its time
        return step < 9 or not is_late.wait(1)

    batches = tf.data.Dataset.range(10).map(
        lambda step: (step, tf.numpy_function(give, [step], tf.bool))
    )
    found = []
    for step, _ in service_watch.watch(batches, "grpc://HOST:1"):
        found.append(int(step))
        if step == 8:
            assert not capsys.readouterr().err
        if step == 0:
            time.sleep(0.5)  # a long training step is nobody's fault
    assert found == list(range(10))
    printed = capsys.readouterr().err
    assert printed.count("no batch has come from the tf.data service at grpc://H") > 1


@pytest.mark.slow
def test_the_scripts_of_the_documentation_make_batches(
    tmp_path, make_source, make_preprocessor, config
):
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOCS.read_text(), re.S)
    assert [name for name, _ in blocks] == ["dispatcher", "worker"]
    names = {"5050": find_port(), "5051": find_port()}
    names |= {"HOST": "localhost", "ME": "localhost"}
    processes = []
    try:
        for name, script in blocks:
            for old, new in names.items():
                script = re.sub(rf"\b{old}\b", str(new), script)
            path = tmp_path / f"{name}.py"
            path.write_text(script)
            processes.append(
                subprocess.Popen([sys.executable, str(path)], cwd=tmp_path)
            )
        config.data.service = f"grpc://localhost:{names['5050']}"
        while True:  # until the dispatcher is there
            assert processes[0].poll() is None
            try:
                service._check_address(config.data.service)
                break
            except ValueError:
                time.sleep(0.2)
        arguments = (make_source(4), np.arange(4), make_preprocessor())
        dataset = pipeline.make_train_dataset(*arguments, config)
        assert len(list(dataset.take(20))) == 20
        assert [process.poll() for process in processes] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def find_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_every_step_arrives_once_though_a_worker_is_killed(
    start_process, tmp_path, make_source, make_preprocessor, config, monkeypatch
):
    """Each batch, and each of its rows, is as this process makes it."""
    count, patience = 120, 40
    monkeypatch.setattr(service, "PATIENCE_STEPS", patience)
    source = make_source(16, texts=["a cat"] * 15 + [""])
    source.images[3], source.images[15] = b"broken", b""
    source = dataclasses.replace(source, labels=np.arange(16, dtype=np.int32))
    arguments = (source, np.arange(16), make_preprocessor())
    config.data.max_drop_rate = 0.5
    dataset = pipeline.make_train_dataset(*arguments, config)
    expected = [get_key(batch) for batch in dataset.take(count).as_numpy_iterator()]

    _, config.data.service = start_process("dispatcher", tmp_path)
    address = config.data.service.removeprefix("grpc://")
    workers = [start_process("worker", address)[0] for _ in range(2)]
    dropped = DroppedRows(source, 0.5, 16, tmp_path / "dropped.jsonl")
    dataset = pipeline.make_train_dataset(*arguments, config, dropped=dropped)
    found = []
    for batch in dataset.take(count + 2 * patience).as_numpy_iterator():
        found.append(get_key(batch))
        if len(found) == 20:
            workers[0].kill()
            workers[0].wait()
    assert len(set(found)) == len(found)
    assert set(expected) <= set(found)
    assert dropped.left_out == {3, 15}
    assert len((tmp_path / "dropped.jsonl").read_text().splitlines()) == 2


def get_key(batch):
    x, labels, weights = batch
    return (labels.tobytes(), weights.tobytes(), x[spec.IMAGES].tobytes())
