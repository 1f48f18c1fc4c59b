"""Paired tests: the p-values of a textbook, and groups."""

import numpy as np
import pytest

from tf_multimodal.evaluation import paired


def make_rows(both, only_a, only_b, neither):
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return a.astype(bool), b.astype(bool)


def test_counts_and_exact_p_value():
    a, b = make_rows(50, 9, 1, 20)
    found = paired.mcnemar(a, b)
    assert (found["only_a"], found["only_b"]) == (9, 1)
    # P(at most 1 or at least 9 of 10 heads) = 2 (1 + 10) / 1024
    assert found["p_value"] == pytest.approx(22 / 1024)
    other = paired.mcnemar(b, a)
    assert (other["only_a"], other["only_b"]) == (1, 9)
    assert other["p_value"] == found["p_value"]


def test_rows_on_which_both_agree_change_nothing():
    few, many = make_rows(0, 6, 2, 0), make_rows(500, 6, 2, 300)
    assert paired.mcnemar(*few) == paired.mcnemar(*many)


def test_models_that_are_right_on_the_same_rows():
    a, b = make_rows(5, 0, 0, 3)
    assert paired.mcnemar(a, b) == {"p_value": 1.0, "only_a": 0, "only_b": 0}
    nothing = np.zeros(0, bool)
    assert paired.mcnemar(nothing, nothing)["p_value"] == 1


def test_a_group_counts_once():
    a, b = make_rows(0, 12, 2, 0)
    groups = np.array(["same"] * 12 + ["x", "y"], object)
    assert paired.mcnemar(a, b)["p_value"] < 0.02
    found = paired.sign_test(a, b, groups)
    assert (found["only_a"], found["only_b"]) == (1, 2)
    assert found["p_value"] == 1


def test_a_group_with_as_many_right_is_a_tie():
    a, b = make_rows(0, 3, 3, 0)
    found = paired.sign_test(a, b, np.array([0, 1, 2, 0, 1, 2]))
    assert found == {"p_value": 1.0, "only_a": 0, "only_b": 0}
    found = paired.sign_test(a, b, np.array([0, 0, 2, 0, 3, 4]))
    assert (found["only_a"], found["only_b"]) == (2, 2)


def test_groups_of_one_row_give_mcnemars_test():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 200)) < [[0.7], [0.5]]
    assert paired.sign_test(a, b, np.arange(200)) == paired.mcnemar(a, b)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"same rows.*\(3,\) and \(4,\)"):
        paired.mcnemar(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="a group for each of 3 rows"):
        paired.sign_test(np.ones(3), np.ones(3), np.arange(2))
