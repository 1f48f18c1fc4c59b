"""The small run's predictor."""

import pytest


@pytest.fixture(scope="session")
def predictor(small_run):
    """Image and text, three classes, in float32."""
    from tf_multimodal.inference.predictor import Predictor

    return Predictor.from_run(small_run, dtype="float32")
