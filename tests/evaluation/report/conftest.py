"""A split and what a model says of it, made up: for the tests of the statistics."""

import dataclasses
import types

import numpy as np
import pytest

from tf_multimodal import config as config_lib
from tf_multimodal.data.source import LabelSets
from tf_multimodal.evaluation.report.collect import Collected
from tf_multimodal.inference.predictor import make_source


@pytest.fixture
def make_collected():
    """Makes a `Collected` of labels [n] or label sets [n, c] and probabilities.

    The probabilities are float [n, c], or a dict of them by variant.
    """
    return _make_collected


def _make_collected(
    truth,
    probabilities,
    *,
    texts=None,
    images=None,
    modalities="image_text",
    temperature=1.0,
    predictor=None,
    **changes,
):
    truth = np.asarray(truth)
    if not isinstance(probabilities, dict):
        probabilities = {"both": probabilities}
    rows, classes = len(truth), np.shape(probabilities["both"])[1]
    is_sets = truth.ndim == 2
    names = tuple(f"class {i}" for i in range(classes))
    texts = ["some words"] * rows if texts is None else texts
    source = make_source([b""] * rows if images is None else images, texts, names)
    source = dataclasses.replace(
        source,
        labels=np.full(rows, -1, np.int32) if is_sets else truth.astype(np.int32),
        label_sets=_make_label_sets(truth) if is_sets else None,
    )
    predictor = predictor or types.SimpleNamespace(
        model=types.SimpleNamespace(activation="sigmoid" if is_sets else "softmax"),
        preprocessor=types.SimpleNamespace(
            modalities=modalities, max_image_px=50_000_000
        ),
        config=config_lib.get_default_config(),
    )
    values = {
        "run_dir": None,
        "predictor": predictor,
        "source": source,
        "split": "test",
        "index": np.arange(rows),
        "truth": truth.astype(np.float32 if is_sets else np.int64),
        "weights": np.ones(rows, np.float32),
        "groups": np.arange(rows).astype(str).astype(object),
        "classes": names,
        "logits": {
            name: _make_logits(np.asarray(p, np.float64), is_sets) * temperature
            for name, p in probabilities.items()
        },
        "temperature": temperature,
        "status": np.full(rows, "ok", object),
        "sizes": np.full((rows, 2), 64, np.int32),
    }
    return Collected(**{**values, **changes})


def _make_logits(probabilities, is_sets):
    probabilities = np.clip(probabilities, 1e-7, 1 - 1e-7)
    odds = 1 - probabilities if is_sets else 1
    return np.log(probabilities / odds).astype(np.float32)


def _make_label_sets(truth):
    offsets = np.append(0, np.cumsum(truth.sum(axis=1))).astype(np.int64)
    return LabelSets(offsets, np.nonzero(truth)[1].astype(np.int32), truth.shape[1])
