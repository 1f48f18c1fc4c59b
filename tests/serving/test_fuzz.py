"""Damaged rows among good ones: nothing fails, and each row gets what it gets alone.

`benchmarks/fuzz_serving.py` does the same with more of them.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)

from tf_multimodal.serving.fuzz_cases import GOOD, KINDS
from tf_multimodal.serving.fuzzing import OTHERS, describe, fuzz

REQUESTS = 100


@pytest.fixture(scope="module")
def signatures(servable):
    return tf.saved_model.load(str(servable / "1")).signatures


def test_damaged_rows_harm_nobody(signatures):
    assert OTHERS.keys() < signatures.keys()
    report = fuzz(signatures, REQUESTS, seed=1)
    assert report.failures == []
    assert report.counts.keys() == KINDS.keys()
    assert sum(sum(counts.values()) for counts in report.counts.values()) == REQUESTS
    assert sum(report.counts[GOOD].values()) >= REQUESTS // 4
    assert f"{REQUESTS} rows answered, 0 failures" in describe(report)


def answer(statuses, probabilities):
    rows = np.array(probabilities, np.float32)
    return {"status": tf.constant(statuses), "probabilities": tf.constant(rows)}


def answer_all_ok(image_bytes, text):
    return answer(["ok"] * len(text), [[0.5, 0.5]] * len(text))


def answer_by_neighbours(image_bytes, text):
    share = 1 / (1 + len(text))
    return answer(["ok"] * len(text), [[share, 1 - share]] * len(text))


def answer_without_a_sum(image_bytes, text):
    return answer(["ok"] * len(text), [[0.5, np.nan]] * len(text))


def fail(image_bytes, text):
    raise tf.errors.InvalidArgumentError(None, None, "cannot decode")


@pytest.mark.parametrize(
    ("predict", "failure"),
    [
        (answer_all_ok, "The status is ok, not undecodable_image"),
        (answer_by_neighbours, "Alone its status is ok and its probabilities differ"),
        (answer_without_a_sum, "not finite or do not sum to 1"),
        (fail, "failed: cannot decode"),
    ],
)
def test_a_wrong_model_is_found(predict, failure):
    failures = fuzz({"serving_default": predict}, 40).failures
    assert any(failure in line for line in failures)
    assert any(line.startswith(GOOD) for line in failures) == (
        predict in (answer_by_neighbours, answer_without_a_sum)
    )


@pytest.mark.parametrize("name", OTHERS)
def test_another_signature_that_fails_is_found(signatures, name):
    def fail(**inputs):
        raise tf.errors.InvalidArgumentError(None, None, "cannot decode")

    def answer_nothing(**inputs):
        return {"values": tf.fill([len(next(iter(inputs.values())))], np.nan)}

    for function, failure in ((fail, "failed on"), (answer_nothing, "gives a wrong")):
        found = fuzz({**signatures, name: function}, 20).failures
        assert found and all(f"{name} {failure}" in line for line in found)
