"""Runs and SavedModels of every format so far load, and predict what they did."""

import base64
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)

from tf_multimodal.data.run_format import RUN_FORMAT
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.model_card import FORMAT

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FOLDERS = sorted(GOLDEN.glob("run_*_saved_model_*"))
TOLERANCE = 1e-5


def read_requests(folder: pathlib.Path) -> tuple[list[bytes], list[bytes]]:
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    images, texts = (
        [base64.b64decode(json.loads(line)[key]["b64"]) for line in lines]
        for key in ("image_bytes", "text")
    )
    return images, texts


def check(folder, classes, probabilities, statuses) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    difference = np.abs(probabilities - np.array(expected["probabilities"])).max()
    assert difference <= TOLERANCE
    assert list(statuses) == expected["statuses"]
    assert list(classes) == expected["classes"]
    best = np.argmax(expected["probabilities"], axis=1)
    assert np.argmax(probabilities, axis=1).tolist() == best.tolist()


def read_formats(folder: pathlib.Path) -> tuple[int, int]:
    """Returns the numbers of the run and of the SavedModel."""
    versions = json.loads((folder / "run/versions.json").read_text())
    card = json.loads((folder / "saved_model/assets.extra/model_card.json").read_text())
    return versions["format"], card["format"]


def test_the_formats_of_this_version_are_there():
    assert (RUN_FORMAT, FORMAT) in [read_formats(folder) for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_run_predicts_as_it_did(folder):
    predictor = Predictor.from_run(folder / "run")
    found = predictor.predict(*read_requests(folder))
    check(folder, predictor.classes, found.probabilities, found.status)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_saved_model_answers_as_it_did(folder):
    model = tf.saved_model.load(str(folder / "saved_model"))
    images, texts = (tf.constant(values) for values in read_requests(folder))
    answer = model.signatures["serving_default"](image_bytes=images, text=texts)
    extra = folder / "saved_model/assets.extra"
    classes = (extra / "labels.txt").read_text(encoding="utf-8").splitlines()
    statuses = [status.decode() for status in answer["status"].numpy()]
    probabilities = answer["probabilities"].numpy()
    check(folder, classes, probabilities, statuses)
    first = [label.decode() for label in answer["labels"].numpy()[:, 0]]
    assert first == [classes[best] for best in probabilities.argmax(axis=1)]
