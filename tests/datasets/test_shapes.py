import collections

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tf_multimodal.datasets.shapes  # noqa: F401
from tf_multimodal.datasets.shapes import builder as shapes

NAMES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def examples():
    return shapes.make_examples()


def get_told_place(text):
    told = [p for p, words in shapes.PLACES.items() if set(text.split()) & set(words)]
    return told[0] if told else None


def test_builder_splits_and_features(tmp_path, examples):
    builder = tfds.builder("shapes", data_dir=tmp_path)
    builder.download_and_prepare()
    rows = {name: list(tfds.as_numpy(builder.as_dataset(name))) for name in NAMES}
    assert {name: len(rows[name]) for name in NAMES} == {
        "train": 336,
        "validation": 72,
        "test": 72,
    }
    for name, count in zip(NAMES, (56, 12, 12), strict=True):
        labels = collections.Counter(int(row["label"]) for row in rows[name])
        assert labels == {label: count for label in range(6)}
    expected = {e["id"]: e for e in examples}
    row = rows["test"][0]
    example = expected[row["id"].decode()]
    np.testing.assert_array_equal(row["image"], example["image"])
    assert row["text"].decode() == example["text"]
    assert builder.info.features["label"].int2str(row["label"]) == example["label"]


def test_examples_are_the_same_at_every_call(examples):
    for first, second in zip(examples, shapes.make_examples(), strict=True):
        assert first["text"] == second["text"]
        np.testing.assert_array_equal(first["image"], second["image"])


def test_text_alone_tells_the_place_and_no_shape(examples):
    missing = sum(e["text"] == "" for e in examples)
    right = sum(e["label"].endswith(f"_{get_told_place(e['text'])}") for e in examples)
    assert 5 <= missing <= 40
    assert 0.9 * len(examples) < right < len(examples) - missing
    words = {word for e in examples for word in e["text"].split()}
    assert not words & {*shapes.SHAPES, *shapes.PLACES}


@pytest.mark.parametrize(
    ("shape", "filled"), [("circle", 0.785), ("square", 1.0), ("triangle", 0.5)]
)
def test_drawing_fills_its_share_of_its_box(shape, filled):
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = shapes._draw_shape(rng, shape)
        assert image.dtype == np.uint8 and image.shape == (48, 48, 3)
        dark = image.mean(-1) < 155
        rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert dark.sum() / box == pytest.approx(filled, abs=0.1)
