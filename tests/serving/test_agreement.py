"""What the check of a SavedModel does not let pass."""

import numpy as np
import pytest

from tf_multimodal.serving.agreement import (
    Expected,
    VerificationError,
    compare_answers,
)
from tf_multimodal.serving.pairs import Pair

CLASSES = ("bird", "cat", "dog")
ROWS = [Pair(b"", "x", "row one", "test"), Pair(b"", "y", "row two", "train")]
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
NAMES = ("serving_default", "tensors", "image_only", "text_only")


def make_expected(probabilities=PROBABILITIES) -> dict[str, Expected]:
    return {name: Expected(probabilities, ["ok", "missing_input"]) for name in NAMES}


def make_answers(probabilities=PROBABILITIES) -> dict[str, np.ndarray]:
    """Returns the answers of a model that is right."""
    order = np.argsort(-probabilities, axis=1)[:, :2]
    answer = {
        "labels": np.array(CLASSES)[order],
        "scores": np.take_along_axis(probabilities, order, axis=1),
        "probabilities": probabilities,
        "status": np.array(["ok", "missing_input"]),
    }
    answers = {
        f"{n}/{key}": value.copy() for n in NAMES for key, value in answer.items()
    }
    answers["features/status"] = answer["status"].copy()
    answers["features/fused_embedding"] = np.ones((2, 4))
    answers["saved_model_cli/rows"] = np.array([1])
    for key in ("probabilities", "scores"):
        answers[f"saved_model_cli/{key}"] = answer[key][1:].copy()
    return answers


def compare(answers, expected=None, precision="float32"):
    expected = expected or make_expected()
    return compare_answers(ROWS, 2, answers, expected, CLASSES, precision)


def test_right_answers_pass():
    found = compare(make_answers(), make_expected(PROBABILITIES + 4e-6))
    assert found.rows == found.real_rows == found.labels_agree == 2
    assert found.statuses_agree == 2 and found.label_agreement == 1.0
    assert found.max_difference == pytest.approx(4e-6)
    assert found.rows_by_split == {"test": 1, "train": 1}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("probabilities", [0.1, 0.3, float("nan")]),
        ("labels", ["cat", "dog"]),
        ("labels", ["dog", "cow"]),
        ("labels", ["dog", "dog"]),
        ("scores", [0.6, 0.1]),
        ("status", "ok"),
    ],
)
def test_a_wrong_answer_names_signature_and_row(name, key, wrong, precision):
    answers = make_answers()
    answers[f"{name}/{key}"][1] = wrong
    with pytest.raises(VerificationError, match=f"{name} at row two"):
        compare(answers, precision=precision)


@pytest.mark.parametrize("name", NAMES)
def test_small_differences_are_errors_in_float32_alone(name):
    expected = make_expected()
    moved = PROBABILITIES + np.array([[0], [2e-5]])
    expected[name] = Expected(moved, ["ok", "missing_input"])
    with pytest.raises(VerificationError, match=f"{name} at row two differs"):
        compare(make_answers(), expected)
    found = compare(make_answers(), expected, "bfloat16")
    assert found.max_difference == pytest.approx(2e-5)
    assert found.precision == "bfloat16"


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_has_a_loose_bound(name):
    expected = make_expected()
    moved = PROBABILITIES + [[-0.34, 0.14, 0.2], [0, 0, 0]]  # the same best classes
    expected[name] = Expected(moved, ["ok", "missing_input"])
    with pytest.raises(VerificationError, match=f"{name} at row one differs.*3e-01"):
        compare(make_answers(), expected, "bfloat16")


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_must_agree_on_the_labels_of_real_rows(name):
    close = np.array([[0.7, 0.2, 0.1], [0.1, 0.44, 0.46]])
    moved = np.array([[0.7, 0.2, 0.1], [0.1, 0.46, 0.44]])
    expected = make_expected(close)
    expected[name] = Expected(moved, ["ok", "ok"])
    for other in NAMES:
        expected[other] = Expected(expected[other].probabilities, ["ok", "ok"])
    answers = make_answers(close)
    for key in answers:
        if key.endswith("/status"):
            answers[key][:] = "ok"
    message = f"{name} of the exported model agrees with predict on 50.0% of 2"
    with pytest.raises(VerificationError, match=message):
        compare(answers, expected, "bfloat16")
    # A row that is made up is not counted.
    found = compare_answers(ROWS, 1, answers, expected, CLASSES, "bfloat16")
    assert found.label_agreement == 1.0


def test_bfloat16_may_disagree_where_a_signature_has_no_input():
    close = np.array([[0.7, 0.2, 0.1], [0.1, 0.44, 0.46]])
    moved = close + np.array([[0, 0, 0], [0, 0.02, -0.02]])
    found = compare(make_answers(close), make_expected(moved), "bfloat16")
    assert found.label_agreement == 1.0 and found.labels_agree == 1


def test_a_real_row_is_demanded():
    with pytest.raises(ValueError, match="expected one"):
        compare_answers(ROWS, 0, make_answers(), make_expected(), CLASSES)


def test_equally_likely_classes_may_swap():
    tie = np.array([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45]])
    answers = make_answers(tie)
    for name in NAMES:
        answers[f"{name}/labels"][1] = ["dog", "cat"]
    found = compare(answers, make_expected(tie - [0, 0, 1e-9]))
    assert found.labels_agree == 1
    answers["serving_default/labels"][1] = ["dog", "dog"]
    with pytest.raises(VerificationError, match="row two has the labels"):
        compare(answers, make_expected(tie))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_not_a_number_differs(precision):
    answers = make_answers()
    answers["tensors/probabilities"][1, 0] = np.nan
    with pytest.raises(VerificationError, match="tensors at row two differs .*nan"):
        compare(answers, precision=precision)


def test_a_missing_signature_is_named():
    answers = make_answers()
    del answers["text_only/labels"]
    with pytest.raises(VerificationError, match="signature text_only"):
        compare(answers)


def test_a_missing_answer_is_counted():
    answers = {key: values[:1] for key, values in make_answers().items()}
    with pytest.raises(VerificationError, match="1 of 2 rows"):
        compare(answers)


def test_features_must_be_finite_with_the_same_status():
    answers = make_answers()
    answers["features/fused_embedding"][1, 2] = np.inf
    with pytest.raises(VerificationError, match="features at row two"):
        compare(answers)
    answers = make_answers()
    answers["features/status"][0] = "no"
    with pytest.raises(VerificationError, match="features at row one"):
        compare(answers)


@pytest.mark.parametrize("key", ["probabilities", "scores"])
def test_saved_model_cli_must_get_the_same(key):
    answers = make_answers()
    answers[f"saved_model_cli/{key}"] += 1e-4
    with pytest.raises(VerificationError, match="saved_model_cli.*row two"):
        compare(answers)
