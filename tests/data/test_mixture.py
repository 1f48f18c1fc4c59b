"""The order of training rows: shares of a mixture, passes, and resuming."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import mixture
from tf_multimodal.data.mixture import TrainingOrder
from tf_multimodal.data.source import Part

PARTS = (Part("small", 3, 0, 7), Part("large", 1, 7, 40))


@pytest.fixture
def source(make_source):
    return dataclasses.replace(make_source(40, [b""] * 40), parts=PARTS)


def draw(order, start, stop):
    """As the pipeline does it: inside a graph, a batch at a time."""
    get = tf.function(order.get, input_signature=[tf.TensorSpec([None], tf.int64)])
    batches = range(start, stop, 250)
    return np.concatenate([get(tf.range(i, i + 250, dtype=tf.int64)) for i in batches])


def test_every_window_has_the_shares_of_the_weights(source):
    drawn = draw(TrainingOrder(source, np.arange(40), 0), 0, 4000)
    for window in drawn.reshape(4, mixture.WINDOW):
        assert np.sum(window < 7) == 750
    is_small = drawn < 7
    runs = np.diff(np.flatnonzero(np.diff(is_small.astype(int)) != 0))
    assert runs.max() < 40  # shuffled: not the one part after the other
    assert np.any(is_small[:1000] != is_small[1000:2000])  # each in its own order


def test_a_part_is_visited_pass_by_pass(source):
    drawn = draw(TrainingOrder(source, np.arange(40), 0), 0, 4000)
    assert set(np.bincount(drawn)[7:]) == {30, 31}  # 1,000 draws of 33 rows
    assert set(np.bincount(drawn[drawn < 7])) == {428, 429}  # 3,000 draws of 7 rows


def test_the_order_is_a_function_of_seed_and_position(source):
    indices = np.arange(40)
    whole = draw(TrainingOrder(source, indices, 5), 0, 2000)
    assert whole[1250:].tolist() == (
        draw(TrainingOrder(source, indices, 5), 1250, 2000).tolist()
    )
    other = draw(TrainingOrder(source, indices, 6), 0, 2000)
    assert np.mean(whole == other) < 0.5


def test_rows_of_a_part_are_found_in_any_subset(source):
    indices = np.array([30, 2, 9, 4, 39])  # places 1 and 3 are of the small part
    drawn = draw(TrainingOrder(source, indices, 0), 0, 1000)
    assert np.bincount(drawn).tolist()[1::2] == [375, 375]
    assert set(np.bincount(drawn)[[0, 2, 4]]) == {83, 84}


def test_a_part_without_training_rows_is_named(source):
    with pytest.raises(ValueError, match="no rows of small to train on"):
        TrainingOrder(source, np.arange(7, 40), 0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1], [1000]),
        ([1, 1, 1], [334, 333, 333]),
        ([3, 1], [750, 250]),
        ([1e9, 1, 1], [998, 1, 1]),
        ([0.2, 0.3005, 0.4995], [200, 301, 499]),
    ],
)
def test_draws_of_a_window(weights, expected):
    assert mixture.compute_draws(weights).tolist() == expected
