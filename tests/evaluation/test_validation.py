"""Evaluation during training agrees with the one afterwards, and with the weights."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.data.share import Share
from tf_multimodal.evaluation import metrics, plots
from tf_multimodal.evaluation import validation as validation_lib
from tf_multimodal.evaluation.validation import Validation
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run


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
        assert set(values) == expected.keys() - {"examples"}
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


def test_pictures_are_of_the_last_evaluation(parts):
    answers = np.eye(3)[[0, 1, 2, 0]] * 9

    def predict(model, inputs):
        return answers

    validation = Validation(*parts, predict=predict)
    assert validation.draw_pictures() == {} and not validation.describe_confusion()
    validation.compute_metrics()
    before = validation.draw_pictures()
    assert before.keys() == {"examples", "confusion_matrix"}
    for name, picture in validation.draw_pictures().items():
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert np.array_equal(picture, before[name])  # to the last pixel
    answers = np.roll(answers, 1, axis=1)
    validation.compute_metrics()
    for name, picture in validation.draw_pictures().items():
        assert not np.array_equal(picture, before[name])


def test_examples_are_small_and_always_the_same(parts, monkeypatch):
    """Of the same rows, each read once, whatever is predicted."""
    shown, reads, read_image = [], [], plots.read_image
    monkeypatch.setattr(validation_lib, "NUM_EXAMPLES", 3)
    monkeypatch.setattr(validation_lib, "_EXAMPLE_PX", 16)

    def render(source, predictions, images):
        shown.append((source.ids[predictions.index].tolist(), images))
        return np.zeros((1, 1, 3), np.uint8)

    def read(image, max_image_px):
        reads.append(image)
        return read_image(image, max_image_px)

    monkeypatch.setattr(plots, "render_examples", render)
    monkeypatch.setattr(plots, "read_image", read)
    validation = Validation(*parts)
    for seed in (0, 1):
        for variable in parts[0].trainable_variables:
            values = np.random.RandomState(seed).normal(size=variable.shape)
            variable.assign(values)
        validation.compute_metrics()
        validation.draw_pictures()
    (ids, images), (again, _) = shown
    assert ids == again and len(ids) == len(reads) == 3
    source = parts[2]
    labels = {str(i): label for i, label in zip(source.ids, source.labels, strict=True)}
    assert {labels[i] for i in ids} == {0, 1, 2}  # one of each class
    sizes = [image.shape for image in images if image is not None]
    assert sizes and all(max(size) == 16 for size in sizes)


@pytest.mark.parametrize("run", ["small_run", "multi_label_run"])
def test_why_there_is_no_confusion_matrix(run, request, monkeypatch):
    validation = make_validation(request.getfixturevalue(run))
    expected = "rows may have several labels"
    if run == "small_run":
        monkeypatch.setattr(validation_lib, "MAX_CONFUSION_CLASSES", 2)
        expected = "3 classes are more than 2"
    assert validation.describe_confusion() == expected
    validation.compute_metrics()
    assert list(validation.draw_pictures()) == ["examples"]


def make_validation(run):
    predictor = Predictor.from_run(run)
    source = load_run_source(read_run(run))
    preprocessor, predictor.model.preprocessor = predictor.preprocessor, None
    index = source.get_indices("test")
    return Validation(predictor.model, preprocessor, source, index, 4)


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
