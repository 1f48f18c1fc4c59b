"""A run over rows that may have several labels, or none."""

import dataclasses
import json

import numpy as np
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.data.source import LabelSets
from tf_multimodal.inference.predictor import Predictor, make_source
from tf_multimodal.training.run import run

TEXTS = ["one bird", "two cats", "bird with cats", "an empty page"]
SETS = [[0], [1], [0, 1], []]
REPEATS = 8  # of each text; of two of them the rows are for validation


@pytest.fixture
def source():
    texts = TEXTS * REPEATS
    sets = SETS * REPEATS
    splits = np.array(["train"] * (len(texts) - 8) + ["validation"] * 8, object)
    offsets = np.cumsum([0, *map(len, sets)])
    return dataclasses.replace(
        make_source([None] * len(texts), texts, ("bird", "cat")),
        labels=np.array([labels[0] if labels else -1 for labels in sets], np.int32),
        label_sets=LabelSets(offsets, np.concatenate(sets).astype(np.int32), 2),
        splits=splits,
    )


@pytest.fixture
def config():
    config = get_default_config()
    config.data.manifest = "pairs.csv"  # the rows are given
    config.data.columns.labels = "labels"
    config.augment.drop_text = config.augment.token_drop = 0.0
    config.model.modalities = "text"
    config.model.text.encoder = "lstm"
    config.model.text.vocabulary = "learn"
    config.model.text.max_tokens = 8
    config.model.text.embedding_dim = config.model.text.lstm_units = 16
    config.train.epochs, config.train.batch_size = 30, 8
    config.train.learning_rate, config.train.ema = 0.05, 0.0
    config.train.monitor = "macro_f1"
    config.dtype_policy, config.jit_compile = "float32", "off"
    return config


def test_learns_every_set(config, source, tmp_path):
    run(config, tmp_path / "run", source)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert {"accuracy", "loss", "val_loss", "val_macro_f1"} <= last.keys()
    assert last["accuracy"] == last["val_accuracy"] == last["val_macro_f1"] == 1
    predictor = Predictor.from_run(tmp_path / "run")
    found = predictor.predict([None] * 4, TEXTS)
    assert found.multi_label
    assert [np.flatnonzero(row).tolist() for row in found.label_sets] == SETS


def test_balanced_class_weights_are_refused(config, source, tmp_path):
    config.train.class_weights = "balanced"
    with pytest.raises(ValueError, match="config.data.columns.labels gives several"):
        run(config, tmp_path / "run", source)
