"""Intervals of accuracies and of their differences, drawn by group.

Rows of a group (near-duplicates) are right or wrong together, so that drawing
single rows would make the intervals too narrow. Percentile bootstrap: Efron and
Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

_PERCENTILES = (2.5, 97.5)  # a 95 % interval
_DRAWS_AT_ONCE = 1_000_000  # bounds the memory


def bootstrap_mean(
    values: np.ndarray,
    groups: np.ndarray,
    samples: int = 10_000,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Returns the mean of the rows and its 95 % interval, times 100.

    Args:
        values: bool or float [n]; right or wrong, or a difference of the two.
        groups: [n], names or numbers; whole groups are drawn, with replacement.
        samples: number of resamplings.
        seed: of the draws; the same seed gives the same interval.
        weights: float [n], at least 0, not all 0; None: every row weighs 1. A row of
            weight 0 is as if it were not there.

    Returns:
        The weighted mean, the lower and the upper end, in percentage points.

    Raises:
        ValueError: there are no rows, or the lengths differ.
    """
    values = np.asarray(values, np.float64)
    if not len(values) or values.shape != np.shape(groups):
        raise ValueError(
            "Expected as many values as groups, at least one. Received shapes "
            f"{values.shape} and {np.shape(groups)}."
        )
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    counted = weights > 0  # a draw of nothing else would have no mean
    values, weights = values[counted], weights[counted]
    names = np.asarray(groups).astype(str)[counted]
    _, members = np.unique(names, return_inverse=True)
    sums, sizes = np.bincount(members, values * weights), np.bincount(members, weights)
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // len(sums))
    means = []
    for start in range(0, samples, step):
        count = min(step, samples - start)
        drawn = rng.integers(len(sums), size=(count, len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), _PERCENTILES)
    mean = float(np.average(values, weights=weights))
    return 100 * mean, 100 * float(low), 100 * float(high)


def bootstrap_difference(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    groups: np.ndarray,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Returns how much better `a` is than `b`, and its paired 95 % interval.

    Args:
        correct_a: bool or float [n], 1 where model a is right.
        correct_b: the same of model b, on the same rows.
        groups: [n], names or numbers; whole groups are drawn, with replacement.
        samples: number of resamplings.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Difference of the accuracies, lower and upper end, in percentage points.

    Raises:
        ValueError: there are no rows, or the lengths differ.
    """
    if np.shape(correct_a) != np.shape(correct_b):
        raise ValueError(
            "A paired difference needs both models on the same rows. Received "
            f"shapes {np.shape(correct_a)} and {np.shape(correct_b)}."
        )
    difference = np.asarray(correct_a, np.float64) - np.asarray(correct_b, np.float64)
    return bootstrap_mean(difference, groups, samples, seed)


def bootstrap_statistic(
    sums: np.ndarray | sparse.sparray,
    groups: np.ndarray,
    compute: Callable[[np.ndarray], np.ndarray],
    samples: int = 2_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % interval of a statistic of sums over rows.

    Args:
        sums: float [n, k], what each row adds; sparse where most of it is 0.
        groups: [n], names or numbers; whole groups are drawn, with replacement.
        compute: maps sums over drawn rows, float [s, k], to the statistic, float [s];
            NaN where a draw has none.
        samples: number of resamplings; of more than 5,000 groups fewer, at least 500.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        The lower and the upper end, in the statistic's unit; NaN without any value.
    """
    names, members = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    rows = np.arange(len(members))
    is_member = sparse.csr_array((np.ones(len(rows)), (members, rows)))
    by_group = is_member @ sparse.csr_array(sums, dtype=np.float64)
    rng = np.random.default_rng(seed)
    samples = min(samples, max(500, 10 * _DRAWS_AT_ONCE // len(names)))
    step = max(1, _DRAWS_AT_ONCE // len(names))
    values = []
    for start in range(0, samples, step):
        count = min(step, samples - start)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), count)
        values.append(compute(times @ by_group))
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.percentile(found, _PERCENTILES)
    return float(low), float(high)
