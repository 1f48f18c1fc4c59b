"""Shares of the modalities: Shapley values of two players."""

import attribution_samples as samples
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel
from tf_multimodal.inference.attributions.explanation import explain_rows
from tf_multimodal.inference.attributions.modality_share import (
    compute_contributions,
    compute_shares,
)
from tf_multimodal.inference.predictor import Predictor


@pytest.mark.parametrize("fusion", ["late", "concat"])
def test_contributions_are_those_of_the_whole_model_masked(fusion):
    predictor = samples.share_predictor("image_text", fusion, "embedding")
    inputs = samples.read_batch(predictor, samples.make_rows())
    rows = len(samples.TEXTS)
    target = np.arange(rows, dtype=np.int32) % 3

    def score(image: bool, text: bool) -> np.ndarray:
        masks = {
            spec.HAS_IMAGE: tf.fill([rows], image),
            spec.HAS_TEXT: tf.fill([rows], text),
        }
        logits = predictor.model({**inputs, **masks}, training=False)
        return samples.centre(logits, target)

    none, image, text, both = (
        score(*players)
        for players in ((False, False), (True, False), (False, True), (True, True))
    )
    cut = CutModel(predictor.model)
    states = cut.encode(inputs)
    of_image, of_text = compute_contributions(cut, inputs, states, target)
    np.testing.assert_allclose(of_image, (image - none + both - text) / 2, atol=1e-4)
    np.testing.assert_allclose(of_text, (text - none + both - image) / 2, atol=1e-4)
    np.testing.assert_allclose(of_image + of_text, both - none, atol=1e-4)
    assert np.abs(of_image).min() > 1e-3 and np.abs(of_text).min() > 1e-3


def test_shares_sum_to_1():
    for explanation in samples.explain_samples("image_text", "late", "embedding"):
        assert 0 < explanation.image_share < 1
        assert explanation.image_share + explanation.text_share == pytest.approx(1)


def test_a_model_deaf_to_the_text_says_so():
    predictor = samples.make_predictor(encoder="embedding")
    predictor.model.heads["text"].kernel.assign(np.zeros((8, 3)))
    (explanation,) = explain_rows(predictor, samples.make_rows(), [1])
    assert explanation.image_share == 1 and explanation.text_share == 0
    assert all(word.score == 0 for word in explanation.words)


def test_what_is_missing_has_no_share():
    found = samples.explain_missing()
    only_image, only_text = found["image alone"], found["text alone"]
    nothing = found["nothing"]
    assert (only_image.image_share, only_image.text_share) == (1, 0)
    assert (only_text.image_share, only_text.text_share) == (0, 1)
    assert nothing.image_share is nothing.text_share is None
    assert nothing.status == spec.MISSING_INPUT
    assert nothing.words == () and nothing.completeness_gap is None


def test_shares_of_signs():
    assert compute_shares(3, -1) == (0.75, 0.25)
    assert compute_shares(0, 0) == (None, None)


def test_models_of_one_modality():
    source = samples.make_rows()
    image = explain_rows(samples.make_predictor("image"), source, [0, 1])
    assert [e.image_share for e in image] == [1, 1] and image[0].text_share == 0
    assert image[0].words == () and image[0].heat_map is not None
    text = explain_rows(
        samples.make_predictor("text", encoder="embedding"), source, [0, 1]
    )
    assert [e.text_share for e in text] == [1, 1] and text[0].image_share == 0
    assert len(text[0].words) == 3 and text[0].heat_map is text[0].picture is None


@pytest.mark.slow
def test_image_run_and_multi_label_run(image_run, multi_label_run):
    source = samples.make_rows()
    for run in (image_run, multi_label_run):
        predictor = Predictor.from_run(run)
        found = explain_rows(predictor, source, [3, 0])
        expected = predictor.predict_source(source, np.array([3, 0])).probabilities
        for explanation, probabilities in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                explanation.probabilities, probabilities, atol=1e-5
            )
            assert explanation.target == probabilities.argmax()
