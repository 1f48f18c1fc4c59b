"""Pictures are drawn for awkward input too, without a warning."""

import dataclasses
import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data.source import LabelSets
from tf_multimodal.evaluation import plots
from tf_multimodal.inference.predictions import Predictions
from tf_multimodal.inference.predictor import make_source

TEXTS = (
    "$x^$ and $\\frac{1}{",
    "猫と犬が一緒に眠っている写真です、とても長い説明文がここに続きます",
    "कुत्ता และแมว",
    "tab\tnew\nline \x00\ud800 end",
    "",
    "averyveryverylongwordwithoutanyspaceatallthatneedstobebrokensomewhere " * 3,
    "🎉🎈",
    "עברית ועربية",
)


def _read_size(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return struct.unpack(">II", data[16:24])


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _make_case(texts, predicted, labels, num_classes=3):
    image = tf.io.encode_png(np.full((8, 12, 3), 90, np.uint8)).numpy()
    images = [image] * (len(texts) - 2) + [b"broken", None]
    classes = [f"class_$_{i}" for i in range(num_classes)]
    source = make_source(images, texts, classes)
    source.labels[:] = labels
    probabilities = np.eye(num_classes, dtype=np.float32)[list(predicted)]
    n = len(texts)
    return source, Predictions(
        np.arange(n), probabilities, ["ok"] * n, [""] * n, np.ones(n, bool)
    )


def test_examples_of_any_script(tmp_path, no_warnings):
    labels = [0, 1, 2, 0, 1, 2, 0, 1]
    source, predictions = _make_case(TEXTS, [0, 1, 2, 0, 1, 0, 1, 2], labels)
    plots.plot_examples(source, predictions, tmp_path / "examples.png")
    width, height = _read_size(tmp_path / "examples.png")
    assert width > 1200 and height > 800


def test_fewer_examples_than_places(tmp_path, no_warnings):
    source, predictions = _make_case(TEXTS[:3], [0, 1, 2], [0, 1, 2])
    plots.plot_examples(source, predictions, tmp_path / "examples.png")
    assert _read_size(tmp_path / "examples.png")[0] > 1200


def test_examples_of_label_sets(tmp_path, no_warnings):
    source, predictions = _make_case(TEXTS[:4], [0, 1, 2, 3], [0, 1, 2, 0], 5)
    sets = LabelSets(np.array([0, 1, 1, 3, 4]), np.array([0, 1, 2, 3], np.int32), 5)
    source = dataclasses.replace(source, label_sets=sets)
    probabilities = np.array(
        [
            [0.9, 0.1, 0.1, 0.1, 0.1],
            [0.1, 0.2, 0.3, 0.4, 0.1],
            [0.5, 0.6, 0.7, 0.8, 0.9],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ],
        np.float32,
    )
    predictions = dataclasses.replace(
        predictions, probabilities=probabilities, multi_label=True
    )
    plots.plot_examples(source, predictions, tmp_path / "examples.png")
    assert _read_size(tmp_path / "examples.png")[0] > 1200
    chosen = plots.choose_examples(source, predictions, 4)
    assert sorted(chosen[:2]) == [0, 1]  # the right ones come first
    lines = [
        plots._describe_prediction(source, predictions, i, i < 2).splitlines()
        for i in range(4)
    ]
    assert lines == [
        ["class_$_0  90%"],
        ["(none)"],
        ["class_$_4  90%", "class_$_3  80%", "class_$_2  70%", "and 2 more"]
        + ["label: class_$_1, class_$_2"],
        ["(none)", "label: class_$_3"],
    ]


def test_choice_is_fixed_mixed_and_spread():
    texts = ["x"] * 60
    labels = np.arange(60) % 6
    predicted = np.where(np.arange(60) % 5 == 0, (labels + 1) % 6, labels)
    source, predictions = _make_case(texts, predicted, labels, 6)
    chosen = plots.choose_examples(source, predictions, 8)
    assert chosen == plots.choose_examples(source, predictions, 8)
    assert len(set(chosen)) == 8
    right = [labels[i] for i in chosen if predicted[i] == labels[i]]
    assert len(right) == 5 and len(set(right)) == 5
    assert [predicted[i] == labels[i] for i in chosen] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (1, 1), (10, 8)])
def test_choice_fills_up(wrong, expected):
    labels = np.zeros(10, int)
    predicted = np.where(np.arange(10) < wrong, 1, 0)
    source, predictions = _make_case(["x"] * 10, predicted, labels)
    chosen = plots.choose_examples(source, predictions, 8)
    assert sum(predicted[i] for i in chosen) == expected and len(chosen) == 8


@pytest.mark.parametrize("classes", [2, 12, 40, 120])
def test_confusion_of_any_size(tmp_path, no_warnings, classes):
    confusion = np.diag(np.arange(classes)) + 1
    confusion[0] = 0  # a class without rows
    names = [f"signs_and_symbols_{i}" for i in range(classes)]
    plots.plot_confusion(confusion, names, tmp_path / "confusion.png")
    width, height = _read_size(tmp_path / "confusion.png")
    assert width > height > 300


@pytest.mark.parametrize(
    "history",
    [
        [{"epoch": 1, "loss": 1.0, "accuracy": 0.5}],
        [{"epoch": i, "loss": 1.0 / i, "val_accuracy": 0.1 * i} for i in range(1, 5)],
        [{"loss": 2.0}, {"loss": 1.0}],
    ],
)
def test_curves_with_gaps(tmp_path, no_warnings, history):
    plots.plot_curves(history, tmp_path / "curves.png")
    assert _read_size(tmp_path / "curves.png")[0] > 800
