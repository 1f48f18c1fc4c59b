"""Several models on the same rows: differences, intervals and adjusted tests."""

import json

import numpy as np
import pytest

from tf_multimodal.evaluation import comparison, label_set_metrics, metrics
from tf_multimodal.inference.predictions import compute_probabilities

ROWS = 400


def make_models(names="abc", skills=(1.0, 2.0, 2.0)):
    """Returns labels, and probabilities of models that know them more or less well."""
    generator = np.random.default_rng(0)
    truth = generator.integers(4, size=ROWS)
    shared = generator.normal(size=(ROWS, 4))
    models = {}
    for name, skill in zip(names, skills, strict=True):
        noise = shared + 0.3 * generator.normal(size=(ROWS, 4))
        models[name] = compute_probabilities(skill * np.eye(4)[truth] + noise)
    return truth, models


def test_metrics_and_intervals_of_each_model():
    truth, models = make_models()
    weights = np.random.default_rng(1).random(ROWS)
    result = comparison.compare_models(truth, models, np.arange(ROWS), weights)
    assert [model["name"] for model in result["models"]] == ["a", "b", "c"]
    for model in result["models"]:
        values = model["metrics"]
        expected = metrics.compute_metrics(truth, models[model["name"]], weights)
        assert values == expected
        intervals = model["intervals"]
        assert set(intervals) == {"accuracy", "top3_accuracy", "macro_f1", "loss"}
        for key, (low, high) in intervals.items():
            assert low < values[key] < high
            assert high - low < (0.3 if key == "loss" else 0.15)
    json.dumps(result, allow_nan=False)


def test_every_pair_is_compared_the_later_over_the_earlier():
    truth, models = make_models()
    result = comparison.compare_models(truth, models, np.arange(ROWS), np.ones(ROWS))
    pairs = {(p["of"], p["over"]): p for p in result["pairs"]}
    assert list(pairs) == [("b", "a"), ("c", "a"), ("c", "b")]
    better, same = pairs["b", "a"], pairs["c", "b"]
    values = {m["name"]: m["metrics"] for m in result["models"]}
    for key in ("accuracy", "macro_f1", "loss"):
        low, high = better[key]["interval"]
        difference = values["b"][key] - values["a"][key]
        assert better[key]["difference"] == pytest.approx(difference)
        assert low < difference < high and low * high > 0
        low, high = same[key]["interval"]
        assert low < 0 < high
    assert better["accuracy"]["difference"] > 0 > better["loss"]["difference"]
    right = {name: p.argmax(axis=1) == truth for name, p in models.items()}
    assert better["mcnemar"]["only_a"] == (right["b"] & ~right["a"]).sum()
    assert better["mcnemar"]["only_b"] == (right["a"] & ~right["b"]).sum()
    assert better["mcnemar"]["p_value"] < 1e-4 < 0.05 < same["mcnemar"]["p_value"]
    assert better["sign_test"] == better["mcnemar"]  # each row is a group


def test_differences_are_paired():
    truth, models = make_models("ab", (2.0, 2.0))
    result = comparison.compare_models(truth, models, np.arange(ROWS), np.ones(ROWS))
    low, high = result["pairs"][0]["accuracy"]["interval"]
    own_low, own_high = result["models"][0]["intervals"]["accuracy"]
    assert high - low < own_high - own_low  # unpaired it would be wider by a half


def test_groups_widen_intervals_and_count_once():
    truth, models = make_models("ab", (1.0, 1.6))
    many = {name: np.repeat(p, 5, axis=0) for name, p in models.items()}
    groups = np.repeat(np.arange(ROWS), 5)
    ones = np.ones(5 * ROWS)
    as_rows = comparison.compare_models(
        np.repeat(truth, 5), many, np.arange(5 * ROWS), ones
    )
    as_groups = comparison.compare_models(np.repeat(truth, 5), many, groups, ones)
    for key in ("accuracy", "macro_f1", "loss"):
        widths = [
            np.diff(r["pairs"][0][key]["interval"])[0] for r in (as_rows, as_groups)
        ]
        assert widths[1] > 1.8 * widths[0]
    row_test, group_test = (as_groups["pairs"][0][k] for k in ("mcnemar", "sign_test"))
    assert row_test["only_a"] == 5 * group_test["only_a"]
    assert row_test["p_value"] < group_test["p_value"]


def test_a_row_of_weight_zero_is_not_there():
    truth, models = make_models()
    weights = (np.arange(ROWS) % 3 > 0).astype(np.float32)
    kept = weights > 0
    result = comparison.compare_models(truth, models, np.arange(ROWS), weights)
    expected = comparison.compare_models(
        truth[kept],
        {name: p[kept] for name, p in models.items()},
        np.arange(ROWS)[kept],
        weights[kept],
    )
    assert result == expected


def test_label_sets():
    generator = np.random.default_rng(0)
    truth = (generator.random((ROWS, 3)) < 0.4).astype(np.float32)
    models = {
        name: compute_probabilities(
            skill * (2 * truth - 1) + generator.normal(size=truth.shape), "sigmoid"
        )
        for name, skill in (("a", 1), ("b", 2))
    }
    result = comparison.compare_models(truth, models, np.arange(ROWS), np.ones(ROWS))
    for model in result["models"]:
        expected = label_set_metrics.compute_metrics(truth, models[model["name"]])
        assert model["metrics"] == expected
        assert set(model["intervals"]) == {"accuracy", "macro_f1", "micro_f1", "loss"}
        for key, (low, high) in model["intervals"].items():
            assert low < expected[key] < high
    (pair,) = result["pairs"]
    right = [label_set_metrics.find_correct(truth, models[name]) for name in "ba"]
    assert pair["mcnemar"]["only_a"] == (right[0] & ~right[1]).sum()
    assert pair["macro_f1"]["interval"][0] > 0


def test_holm():
    # 0.01 * 3, 0.02 * 2, 0.03 * 1 and never less than one before.
    assert comparison.adjust_holm([0.03, 0.01, 0.02]) == pytest.approx(
        [0.04, 0.03, 0.04]
    )
    assert comparison.adjust_holm([0.7, 0.6]) == [1.0, 1.0]
    assert comparison.adjust_holm([0.05]) == [0.05]
    truth, models = make_models()
    result = comparison.compare_models(truth, models, np.arange(ROWS), np.ones(ROWS))
    raw = [pair["mcnemar"]["p_value"] for pair in result["pairs"]]
    assert [p["p_holm"] for p in result["pairs"]] == comparison.adjust_holm(raw) != raw
