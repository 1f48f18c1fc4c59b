"""Evaluation during training agrees with the one afterwards, and with the weights."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.manifest import read_manifest
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
