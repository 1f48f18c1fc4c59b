"""Evaluation during training agrees with the one afterwards, and with the weights."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.data.share import Share
from tf_multimodal.evaluation import metrics
from tf_multimodal.evaluation.validation import Validation
from tf_multimodal.inference.predictor import Predictor


def test_follows_the_model(small_run):
    predictor = Predictor.from_run(small_run)
    columns = predictor.config.data.columns
    source = read_manifest(predictor.config.data.manifest, columns)
    index = source.get_indices("test")
    weights = np.arange(len(source), dtype=np.float32)
    source = dataclasses.replace(source, weights=weights)
    preprocessor, predictor.model.preprocessor = predictor.preprocessor, None
    validation = Validation(predictor.model, preprocessor, source, index, 4)

    def check():
        found = predictor.predict_source(source, index)
        expected = metrics.compute_metrics(
            source.labels[index], found.probabilities, weights[index]
        )
        values = validation.compute_metrics()
        assert set(values) == {"loss", "accuracy", "macro_f1"}
        for name, value in values.items():
            assert value == pytest.approx(expected[name], abs=1e-5)
        return values["loss"]

    before = check()
    for variable in predictor.model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    after = check()
    assert after == pytest.approx(np.log(3), abs=1e-5) != before

    weightless = dataclasses.replace(source, weights=np.zeros(len(source), np.float32))
    with pytest.raises(ValueError, match="7 rows of the split test .* weight 0"):
        Validation(predictor.model, preprocessor, weightless, index, 4)


@pytest.fixture
def parts(small_run):
    predictor = Predictor.from_run(small_run)
    columns = predictor.config.data.columns
    source = read_manifest(predictor.config.data.manifest, columns)
    preprocessor, predictor.model.preprocessor = predictor.preprocessor, None
    arguments = (predictor.model, preprocessor, source, source.get_indices("test"), 4)
    return arguments


def test_workers_count_each_row_once_and_get_the_same_metrics(parts):
    """Each predicts its share; what is gathered is put back into the rows' order."""
    whole = Validation(*parts).compute_metrics()
    packed = {}

    def evaluate(worker, gather):
        share = (Share(0, 3), Share(3, 4))[worker]
        return Validation(*parts, share=share, gather=gather).compute_metrics()

    for worker in (0, 1):

        def keep(data, worker=worker):
            packed[worker] = data
            return [data]

        assert evaluate(worker, keep) != whole  # of its own rows
    for worker in (0, 1):
        found = evaluate(worker, lambda _: [packed[0], packed[1]])
        assert found == pytest.approx(whole, abs=1e-6)


def test_predictions_may_come_from_elsewhere(parts):
    calls = []

    def predict(model, inputs):
        calls.append(model)
        return np.zeros([4, 3])

    values = Validation(*parts, predict=predict).compute_metrics()
    assert values["loss"] == pytest.approx(np.log(3)) and calls == [parts[0]] * 2


def test_the_check_may_end_the_evaluation(parts):
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Validation(*parts, check=check).compute_metrics()
    assert len(calls) == 2
