"""The table of an ablation, from predictions made by hand."""

import json

import numpy as np
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.experiments import table
from tf_multimodal.experiments.cross_validation import FoldPredictions
from tf_multimodal.experiments.variants import (
    GAINS,
    VARIANTS,
    make_variant_config,
)

NUM_ROWS = 200


def make_folds(right_share: float) -> list[FoldPredictions]:
    """Two folds; the first `right_share` of either are right."""
    folds = []
    for fold in range(2):
        labels = np.arange(NUM_ROWS) % 3
        right = np.arange(NUM_ROWS) < right_share * NUM_ROWS
        probabilities = np.eye(3, dtype="float32")[np.where(right, labels, labels - 1)]
        names = np.array([f"{fold}-{i}" for i in range(NUM_ROWS)])
        folds.append(FoldPredictions(names, names, labels, probabilities, 5.0))
    return folds


@pytest.fixture
def folds():
    shares = {v.name: 0.5 for v in VARIANTS}
    shares |= {"image": 0.4, "text": 0.6, "image_text_late": 0.7}
    return {name: make_folds(share) for name, share in shares.items()}


def test_gains_are_paired_differences_in_points(folds, tmp_path):
    text = table.write_table(folds, VARIANTS, GAINS, get_default_config(), tmp_path)
    result = json.loads((tmp_path / "table.json").read_text())
    gain = result["gain_over_image"]
    assert gain["of"] == "image_text_late" and gain["over"] == "image"
    assert gain["points"] == pytest.approx(30.0)
    assert 25 < gain["low"] < 30 < gain["high"] < 35
    assert result["gain_over_text"]["points"] == pytest.approx(10.0)
    rows = {row["name"]: row for row in result["variants"]}
    assert rows["image"]["accuracy"] == pytest.approx(40.0)
    assert rows["image"]["fold_std"] == pytest.approx(0.0)
    assert rows["image"]["cpu_seconds"] == 10.0
    assert result["examples"] == 2 * NUM_ROWS and result["folds"] == 2
    assert "| both, late, pretrained text | image alone | +30.0 (" in text
    assert (tmp_path / "table.md").read_text() == text


def test_epochs_that_follow_from_the_rows_are_counted(folds, tmp_path):
    config = get_default_config()
    config.train.epochs = 0
    text = table.write_table(folds, VARIANTS, GAINS, config, tmp_path)
    assert ", 30 epochs of batches of 32, " in text  # of 200 rows: the most
    assert json.loads((tmp_path / "table.json").read_text())["train"]["epochs"] == 30


def test_intervals_are_drawn_by_group(folds):
    """Rows that are copies of one another do not make the interval narrower."""
    alone = table.make_result(folds, VARIANTS, GAINS)["gain_over_image"]
    for parts in folds.values():
        for i, part in enumerate(parts):
            groups = np.array([f"{i}-{k // 20}" for k in range(NUM_ROWS)])
            parts[i] = FoldPredictions(
                part.ids, groups, part.labels, part.probabilities, part.seconds
            )
    grouped = table.make_result(folds, VARIANTS, GAINS)["gain_over_image"]
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])


def test_variants_differ_in_what_they_say_alone():
    base = get_default_config()
    base.train.groups.text_encoder.frozen = True
    configs = {v.name: make_variant_config(base, v) for v in VARIANTS}
    assert configs["image"].model.modalities == "image"
    assert configs["image_text_concat"].model.fusion == "concat"
    assert configs["image_text_late"].train.groups.text_encoder.frozen
    lstm = configs["text_lstm"]
    assert lstm.model.text.encoder == "lstm" and lstm.model.modalities == "text"
    assert not lstm.train.groups.text_encoder.frozen
    for config in configs.values():
        assert config.seed == base.seed and config.train.keep == "last"
        assert config.train.epochs == base.train.epochs
