"""The check of a SavedModel: what it asks, and what it does not let pass."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.source import Source
from tf_multimodal.serving.saved_model import write_saved_model
from tf_multimodal.serving.verification import (
    Answer,
    Pair,
    VerificationError,
    choose_pairs,
    compare_answers,
    make_edge_pairs,
    verify_saved_model,
)

CLASSES = ("bird", "cat", "dog")
EXPECTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
ROWS = [Pair(b"", "x", "row one"), Pair(b"", "y", "row two")]
ANSWERS = [
    Answer(["bird", "cat"], [0.7, 0.2], [0.7, 0.2, 0.1]),
    Answer(["dog", "cat"], [0.6, 0.3], [0.1, 0.3, 0.6]),
]


def compare(second: Answer, expected=EXPECTED):
    return compare_answers(ROWS, [ANSWERS[0], second], expected, CLASSES)


def test_equal_answers_pass():
    verification = compare(dataclasses.replace(ANSWERS[1]), EXPECTED + 4e-6)
    assert verification.rows == verification.labels_agree == 2
    assert verification.max_difference == pytest.approx(4e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"probabilities": [0.1, 0.3001, 0.5999]},
        {"probabilities": [0.1, 0.3, float("nan")]},
        {"labels": ["cat", "dog"]},
        {"labels": ["dog", "cow"]},
        {"scores": [0.6, 0.1]},
        {"labels": ["cat", "dog"], "scores": [0.3, 0.6]},
    ],
)
def test_wrong_answers_fail_and_name_the_row(wrong):
    with pytest.raises(VerificationError, match="row two"):
        compare(dataclasses.replace(ANSWERS[1], **wrong))


def test_a_missing_answer_fails():
    with pytest.raises(VerificationError, match="1 of 2 rows"):
        compare_answers(ROWS, ANSWERS[:1], EXPECTED, CLASSES)


def test_equally_likely_classes_may_swap():
    tie = np.array([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45 - 1e-9]])
    answer = Answer(["dog", "cat"], [0.45, 0.45], [0.1, 0.45, 0.45])
    assert compare(answer, tie).labels_agree == 1


def make_source(images, texts, are_paths=False) -> Source:
    count = len(images)
    names = np.array([f"id{i}" for i in range(count)], dtype=object)
    return Source(
        name="pairs.csv",
        classes=CLASSES,
        images=np.array(images, dtype=object),
        images_are_paths=are_paths,
        texts=np.array(texts, dtype=object),
        labels=np.zeros(count, np.int32),
        weights=np.ones(count, np.float32),
        ids=names,
        groups=names,
        splits=np.array(["train"] + ["test"] * (count - 1), dtype=object),
        files=names,
        rows=np.arange(count),
    )


def test_pairs_come_from_all_over_the_split():
    source = make_source([b"i"] * 101, [str(i) for i in range(101)])
    chosen = [int(pair.text) for pair in choose_pairs(source, "test", 5)]
    assert len(chosen) == 5
    assert chosen[0] == 1 and chosen[-1] == 100
    assert len(choose_pairs(source, "test", 1000)) == 100


def test_pairs_are_read_from_their_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"stored")
    images = ["", str(tmp_path / "a.png"), str(tmp_path / "gone.png"), ""]
    source = make_source(images, ["t", "one", "two", ""], are_paths=True)
    pairs = choose_pairs(source, "test")
    assert [(p.image_bytes, p.text) for p in pairs] == [
        (b"stored", "one"),
        (b"", "two"),
    ]
    assert "id1" in pairs[0].name


def test_a_split_without_pairs_is_an_error():
    with pytest.raises(ValueError, match="validation"):
        choose_pairs(make_source([b"i", b"i"], ["a", "b"]), "validation")


def test_made_up_rows_lack_one_input_each():
    pairs = make_edge_pairs([Pair(b"", "text", "a"), Pair(b"image", "", "b")])
    fields = {(pair.image_bytes, pair.text) for pair in pairs}
    assert {(b"image", ""), (b"", "text"), (b"", "")} <= fields
    assert any(image not in (b"", b"image") for image, _ in fields)


@pytest.mark.slow
def test_fresh_process_agrees_and_notices_other_weights(predictor, tmp_path):
    pairs = [Pair(b"", "two cats", "a"), Pair(b"", "a sign", "b")]
    write_saved_model(predictor, tmp_path / "model")
    verification = verify_saved_model(tmp_path / "model", predictor, pairs)
    assert verification.real_rows == 2
    assert verification.rows == verification.labels_agree == 8
    assert verification.max_difference <= 1e-5

    weights = predictor.model.get_weights()
    try:
        predictor.model.set_weights([weight * 0.9 for weight in weights])
        with pytest.raises(VerificationError, match="differs from predict"):
            verify_saved_model(tmp_path / "model", predictor, pairs)
    finally:
        predictor.model.set_weights(weights)


@pytest.mark.slow
def test_a_model_that_does_not_load_is_named(predictor, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(VerificationError, match="does not load") as error:
        verify_saved_model(tmp_path / "model", predictor, [])
    assert "SavedModel" in str(error.value)
