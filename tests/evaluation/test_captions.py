"""Every caption of the rows is tried by its name."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.evaluation import scores
from tf_multimodal.evaluation.captions import CaptionColumn, compute_by_caption
from tf_multimodal.inference.predictor import Predictor, make_source

CAPTIONS = [
    ("a red bird", ""),
    ("a bird", "two cats"),
    ("", "a sign"),
    ("cats", "symbol"),
    (" ", "cat"),
]
LABELS = np.array([0, 1, 2, 1, 1], np.int32)


@pytest.fixture(scope="module")
def predictor(small_run):
    return Predictor.from_run(small_run)


def _make_source(captions=CAPTIONS):
    column = np.empty(len(captions), object)
    column[:] = captions
    first = [next((c for c in row if c.strip()), "") for row in captions]
    return dataclasses.replace(
        make_source([None] * len(captions), first, ("bird", "cat", "sign")),
        labels=LABELS,
        captions=column,
        caption_names=("title", "alt|text"),
    )


def test_column_of_one_caption():
    texts = CaptionColumn(_make_source().captions, 1)
    assert texts[1] == "two cats" and len(texts) == 5
    assert texts[np.array([3, 0])].tolist() == ["symbol", ""]
    assert list(texts) == [row[1] for row in CAPTIONS]


def test_figures_of_each_caption(predictor):
    source = _make_source()
    result = compute_by_caption(predictor, source, np.arange(5), batch_size=2)
    assert list(result) == ["title", "alt|text"]
    assert result["title"]["rows"] == 3 and result["alt|text"]["rows"] == 4
    for place, (name, rows) in enumerate(
        {"title": [0, 1, 3], "alt|text": [1, 2, 3, 4]}.items()
    ):
        texts = [CAPTIONS[row][place] for row in rows]
        alone = dataclasses.replace(
            make_source([None] * len(rows), texts, source.classes), labels=LABELS[rows]
        )
        expected = scores.compute_metrics(alone, predictor.predict_source(alone))
        assert result[name]["accuracy"] == pytest.approx(expected["accuracy"])
        assert result[name]["macro_f1"] == pytest.approx(expected["macro_f1"])


def test_weights_count(predictor):
    source = _make_source()
    plain = compute_by_caption(predictor, source, np.arange(5))
    found = predictor.predict([None] * 3, ["a red bird", "a bird", "cats"]).labels
    right = found == LABELS[[0, 1, 3]]
    weights = np.array([1, 3, 0, 5, 0], np.float32)
    weighted = compute_by_caption(
        predictor, dataclasses.replace(source, weights=weights), np.arange(5)
    )
    assert plain["title"]["accuracy"] == pytest.approx(right.mean())
    expected = np.average(right, weights=[1, 3, 5])
    assert weighted["title"]["accuracy"] == pytest.approx(expected)


def test_a_caption_that_no_row_has(predictor):
    source = _make_source([(row[0], "") for row in CAPTIONS])
    result = compute_by_caption(predictor, source, np.arange(5))
    assert result["alt|text"] == {"rows": 0, "accuracy": None, "macro_f1": None}


def test_nothing_to_try(predictor, image_run):
    source = _make_source()
    without = dataclasses.replace(source, captions=None, caption_names=())
    assert compute_by_caption(predictor, without, np.arange(5)) == {}
    image_only = Predictor.from_run(image_run)
    assert compute_by_caption(image_only, source, np.arange(5)) == {}
