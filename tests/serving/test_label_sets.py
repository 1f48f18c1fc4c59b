"""Serving of a model whose rows may have several labels, or none."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.card_markdown import make_markdown
from tf_multimodal.serving.client.outcome import Model, Outcome, describe_outcome
from tf_multimodal.serving.client.predict_client import Prediction
from tf_multimodal.serving.conversion import make_network_function
from tf_multimodal.serving.folding import fold_batch_norm
from tf_multimodal.serving.model_card import write_model_card
from tf_multimodal.serving.signatures import make_signatures

TEXTS = ["a red bird", "two cats", "", "5 x"]


@pytest.fixture(scope="module")
def multi_predictor(multi_label_run):
    return Predictor.from_run(multi_label_run)


def test_signatures_give_what_predict_gives(multi_predictor):
    model, _ = fold_batch_norm(multi_predictor.model)
    assert model.multi_label
    signatures = make_signatures(
        model, multi_predictor.preprocessor, multi_predictor.classes
    )
    answer = signatures["serving_default"](
        image_bytes=tf.constant([""] * 4), text=tf.constant(TEXTS)
    )
    expected = multi_predictor.predict([None] * 4, TEXTS)
    received = answer["probabilities"].numpy()
    np.testing.assert_allclose(received, expected.probabilities, atol=1e-5)
    assert np.abs(received.sum(axis=1) - 1).max() > 0.01
    best_first = -np.sort(-received, axis=1)
    np.testing.assert_array_equal(answer["scores"], best_first)
    for labels, scores in zip(answer["labels"].numpy(), received, strict=True):
        order = [multi_predictor.classes[i] for i in np.argsort(-scores)]
        assert [name.decode() for name in labels] == order


def test_other_formats_get_the_same_probabilities(multi_predictor):
    texts = {"text": tf.constant(TEXTS)}
    x = multi_predictor.preprocessor(texts)
    received = make_network_function(multi_predictor.model)(x)["probabilities"]
    expected = multi_predictor.predict([None] * 4, TEXTS).probabilities
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_card_says_that_rows_may_have_several_classes(
    multi_predictor, servable, tmp_path
):
    folder = shutil.copytree(servable / "1", tmp_path / "1")
    card = write_model_card(folder, multi_predictor, precision="float32")
    assert card["activation"] == "sigmoid"
    assert "several, one or none" in card["limits"][0]
    text = make_markdown(card)
    assert "into 3 classes, several, one or none for each input: bird" in text
    card["activation"] = "softmax"
    assert "into 3 classes: bird" in make_markdown(card)


@pytest.mark.parametrize("classes", [None, ("bird", "cat", "sign")])
def test_client_writes_lists(classes):
    prediction = Prediction(
        labels=["sign", "bird", "cat"],
        scores=[0.75, 0.5, 0.25],
        probabilities=[0.5, 0.25, 0.75],
        status=spec.OK,
    )
    outcome = Outcome(prediction, spec.OK, "", True)
    model = Model(None, "serving_default", frozenset(), classes, multi_label=True)
    row = describe_outcome(model, outcome)
    assert row["prediction"] == ["sign", "bird"]
    assert row["probability"] == [0.75, 0.5]
    assert row["probabilities"] == {"bird": 0.5, "cat": 0.25, "sign": 0.75}
    model = dataclasses.replace(model, multi_label=False)
    one = describe_outcome(model, outcome)
    assert (one["prediction"], one["probability"]) == ("sign", 0.75)
    unusable = describe_outcome(model, outcome._replace(usable=False))
    assert unusable["prediction"] is None
