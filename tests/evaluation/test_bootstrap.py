"""Bootstrap intervals: units, pairing, groups and speed."""

import time

import numpy as np
import pytest

from tf_multimodal.evaluation import bootstrap


def test_difference_is_in_points():
    a, b = np.array([1, 1, 1, 0, 1]), np.array([0, 1, 1, 0, 0])
    points, low, high = bootstrap.bootstrap_difference(a, b, np.arange(5))
    assert points == pytest.approx(40.0)
    assert low == 0 and 70 < high <= 100


def test_interval_of_a_mean_fits_the_normal_one():
    values = np.arange(1000) % 4 == 0
    points, low, high = bootstrap.bootstrap_mean(values, np.arange(1000))
    half = 100 * 1.96 * np.sqrt(0.25 * 0.75 / 1000)
    assert points == 25
    assert low == pytest.approx(25 - half, abs=0.2)
    assert high == pytest.approx(25 + half, abs=0.2)


def test_pairing_takes_out_what_both_share():
    generator = np.random.RandomState(0)
    a = generator.rand(400) < 0.5
    b = a.copy()
    b[:8] = False
    a[:8] = True
    _, low, high = bootstrap.bootstrap_difference(a, b, np.arange(400))
    assert 0 < low < 2 < high < 4  # unpaired it would be about 14 wide


def test_groups_widen_the_interval():
    values = np.repeat(np.random.RandomState(0).rand(50) < 0.5, 20)
    _, low, high = bootstrap.bootstrap_mean(values, np.arange(1000))
    groups = np.repeat([f"group {i}" for i in range(50)], 20).astype(object)
    _, low_by_group, high_by_group = bootstrap.bootstrap_mean(values, groups)
    ratio = (high_by_group - low_by_group) / (high - low)
    assert ratio == pytest.approx(np.sqrt(20), rel=0.1)


def test_one_group_has_no_spread():
    points, low, high = bootstrap.bootstrap_mean([1, 0, 0, 1], ["g"] * 4)
    assert points == low == high == 50


def test_weights_are_repetitions():
    values, groups = np.array([1, 0, 0, 1, 1]), np.array(list("abccd"))
    weights = np.array([2, 1, 3, 1, 0])
    weighted = bootstrap.bootstrap_mean(values, groups, 500, weights=weights)
    repeated = bootstrap.bootstrap_mean(
        values.repeat(weights), groups.repeat(weights), 500
    )
    assert weighted == pytest.approx(repeated)
    assert weighted[0] == pytest.approx(100 * 3 / 7)


def test_seed_fixes_the_interval():
    values, groups = np.arange(60) % 3 == 0, np.arange(60)
    first = bootstrap.bootstrap_mean(values, groups, samples=500, seed=1)
    assert first == bootstrap.bootstrap_mean(values, groups, samples=500, seed=1)
    assert first != bootstrap.bootstrap_mean(values, groups, samples=500, seed=2)


def test_full_size_takes_seconds():
    values, groups = np.arange(2800) % 2, np.arange(2800) // 1.3
    start = time.process_time()
    bootstrap.bootstrap_mean(values, groups.astype(int))
    assert time.process_time() - start < 10


@pytest.mark.parametrize("groups", [[], [1, 2, 3]])
def test_lengths_must_agree(groups):
    with pytest.raises(ValueError, match="as many values as groups"):
        bootstrap.bootstrap_mean(np.zeros(2), groups)
    with pytest.raises(ValueError, match="same rows"):
        bootstrap.bootstrap_difference(np.zeros(2), np.zeros(3), groups)
