"""Training on several devices equals that on one with the same global batch."""

import json

import numpy as np
import pytest
from worker_processes import train_replicas

from tf_multimodal.config import get_default_config
from tf_multimodal.training.distribution.choice import make_devices
from tf_multimodal.training.distribution.tensorflow_replicas import (
    Replicas,
    read_tf_config,
)

BATCHES = (8, 7)  # even shares, and uneven ones
CLUSTER = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


def _assert_equal(one, other):
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            other["history"][name], one["history"][name], rtol=1e-5
        )
    for name in ("values", "averages"):
        assert len(one[name]) == len(other[name])
        for expected, found in zip(one[name], other[name], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", BATCHES)
def test_mirrored_equals_one_device(batch_size):
    [one] = train_replicas("one", batch_size)
    [two] = train_replicas("mirrored", batch_size)
    assert two["name"] == (
        f"2 replicas (MirroredStrategy), global batch {batch_size}, per-replica batch "
        + {8: "4", 7: "3 or 4"}[batch_size]
    )
    _assert_equal(one, two)
    assert two["again"] == two["values"]
    np.testing.assert_allclose(two["logits"], one["logits"], atol=1e-5)
    assert two["gathered"] == [""]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", BATCHES)
def test_workers_equal_one_device(batch_size):
    [one] = train_replicas("one", batch_size)
    workers = train_replicas("multiworker", batch_size)
    assert [w["share"] for w in workers] == [
        [0, batch_size // 2],
        [batch_size // 2, batch_size],
    ]
    for worker in workers:
        _assert_equal(one, worker)
        assert worker["again"] == worker["values"] == workers[0]["values"]
        assert worker["gathered"] == ["", "w"] and worker["agreed"] == [True, False]
    logits = [row for worker in workers for row in worker["logits"]]
    np.testing.assert_allclose(logits, one["logits"], atol=1e-5)


class _Strategy:
    num_replicas_in_sync = 6


def test_rows_of_a_batch_are_divided_without_gap_or_overlap():
    workers = [Replicas(_Strategy(), 3, worker) for worker in range(3)]
    shares = [worker.split_batch(20) for worker in workers]
    assert [tuple(share) for share in shares] == [(0, 6), (6, 13), (13, 20)]
    assert workers[0].is_chief and not workers[1].is_chief
    with pytest.raises(ValueError, match="batch_size=5 .* 6 replicas"):
        workers[0].split_batch(5)


@pytest.mark.parametrize(
    "cluster, job, index, expected",
    [
        (CLUSTER, "worker", 0, (2, 0)),
        (CLUSTER, "worker", 1, (2, 1)),
        (CLUSTER | {"chief": ["10.0.0.3:2222"]}, "worker", 1, (3, 2)),
        (CLUSTER | {"chief": ["10.0.0.3:2222"]}, "chief", 0, (3, 0)),
    ],
)
def test_tf_config(monkeypatch, cluster, job, index, expected):
    _set(monkeypatch, cluster, job, index)
    assert read_tf_config() == expected


@pytest.mark.parametrize(
    "cluster, job, index, message",
    [
        (CLUSTER | {"ps": ["a:1"]}, "worker", 0, "names ps: only"),
        (CLUSTER | {"evaluator": ["a:1"]}, "evaluator", 0, "names evaluator: only"),
        (CLUSTER, "worker", 2, "worker 2, is not in its cluster"),
        (CLUSTER, "chief", 0, "chief 0, is not in its cluster"),
        (CLUSTER, "worker", "two", "is not as expected"),
        (None, "worker", 0, "is not as expected"),
    ],
)
def test_wrong_tf_config(monkeypatch, cluster, job, index, message):
    _set(monkeypatch, cluster, job, index)
    with pytest.raises(ValueError, match=message):
        read_tf_config()


@pytest.mark.parametrize("text, message", [("", "not set"), ("{", "not as expected")])
def test_no_tf_config(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    config = get_default_config()
    config.distribution = "multiworker"
    with pytest.raises(ValueError, match=message):
        make_devices(config)


def _set(monkeypatch, cluster, job, index):
    task = {"type": job, "index": index}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
