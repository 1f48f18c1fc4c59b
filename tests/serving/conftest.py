"""The small run's predictor, and what is exported from it."""

import pathlib

import pytest


@pytest.fixture(scope="session")
def predictor(small_run):
    """Image and text, three classes, in float32."""
    from tf_multimodal.inference.predictor import Predictor

    return Predictor.from_run(small_run, dtype="float32")


@pytest.fixture(scope="session")
def servable(predictor, tmp_path_factory) -> pathlib.Path:
    """A folder with version 1 of the small run's model. Tests do not change it."""
    from tf_multimodal.serving.saved_model import write_saved_model

    folder = tmp_path_factory.mktemp("servable")
    write_saved_model(predictor, folder / "1")
    return folder
