"""Tests of two models on the same rows: is one of them right more often?"""

from typing import Any

import numpy as np
from scipy import stats


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, Any]:
    """Returns McNemar's exact test: rows that only one of the two gets right.

    McNemar 1947, Psychometrika 12, 153-157; exact, by the binomial distribution. It
    counts rows, whatever their weight, and takes each as independent of the others:
    where near-duplicates make groups, the p-value is too small. `sign_test` counts
    groups.

    Args:
        correct_a: bool [n], which rows model a gets right.
        correct_b: the same of model b, on the same rows.

    Returns:
        `p_value`, two-sided, 1 where the two are right on the same rows; `only_a` and
        `only_b`, the numbers of rows that only one of them gets right.

    Raises:
        ValueError: the lengths differ.
    """
    correct_a, correct_b = _check(correct_a, correct_b)
    return _compare_counts(
        int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    )


def sign_test(
    correct_a: np.ndarray, correct_b: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Returns the sign test over groups: those that one of the two gets more right of.

    The exact binomial test of `mcnemar`, with a group in the place of a row; a group
    in which both have as many right is a tie and does not count (Conover 1999,
    Practical Nonparametric Statistics, section 3.4).

    Args:
        correct_a: bool [n], which rows model a gets right.
        correct_b: the same of model b, on the same rows.
        groups: [n], names or numbers; rows of a group are near-duplicates.

    Returns:
        As `mcnemar`, where `only_a` and `only_b` are numbers of groups.

    Raises:
        ValueError: the lengths differ.
    """
    correct_a, correct_b = _check(correct_a, correct_b)
    groups = np.asarray(groups).astype(str)
    if groups.shape != correct_a.shape:
        raise ValueError(
            f"Expected a group for each of {len(correct_a)} rows. Received shape "
            f"{groups.shape}."
        )
    _, members = np.unique(groups, return_inverse=True)
    differences = np.bincount(members, correct_a.astype(float) - correct_b)
    return _compare_counts(int((differences > 0).sum()), int((differences < 0).sum()))


def _compare_counts(only_a: int, only_b: int) -> dict[str, Any]:
    differing = only_a + only_b
    p_value = stats.binomtest(only_a, differing).pvalue if differing else 1.0
    return {"p_value": float(p_value), "only_a": only_a, "only_b": only_b}


def _check(
    correct_a: np.ndarray, correct_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    correct_a, correct_b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if correct_a.ndim != 1 or correct_a.shape != correct_b.shape:
        raise ValueError(
            "A paired test needs both models on the same rows. Received shapes "
            f"{correct_a.shape} and {correct_b.shape}."
        )
    return correct_a, correct_b
