"""The first table: metrics, intervals, gains and whom they are over."""

import dataclasses
import types

import numpy as np
import pytest

from tf_multimodal.evaluation import bootstrap, metrics
from tf_multimodal.evaluation.report.collect import Collected
from tf_multimodal.evaluation.report.headline import make_headline

CLASSES = ("bird", "cat", "dog", "fish")


def make_logits(labels, right, rng):
    """Returns logits [n, c] that are right in a share of the rows."""
    logits = rng.normal(0, 0.1, (len(labels), len(CLASSES))).astype(np.float32)
    chosen = np.where(rng.random(len(labels)) < right, labels, (labels + 1) % 4)
    logits[np.arange(len(labels)), chosen] += 3
    return logits


@pytest.fixture
def collected():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    shares = {"both": 0.8, "image": 0.5, "text": 0.7}
    model = types.SimpleNamespace(activation="softmax")
    preprocessor = types.SimpleNamespace(modalities="image_text")
    return Collected(
        run_dir=None,
        predictor=types.SimpleNamespace(model=model, preprocessor=preprocessor),
        source=types.SimpleNamespace(name="pairs.csv", label_sets=None),
        split="test",
        index=np.arange(400),
        truth=labels,
        weights=np.ones(400, np.float32),
        groups=np.arange(400).astype(str).astype(object),
        classes=CLASSES,
        logits={k: make_logits(labels, share, rng) for k, share in shares.items()},
        temperature=1.0,
        status=np.full(400, "ok", object),
        sizes=np.ones((400, 2), np.int32),
    )


def test_rows_have_metrics_and_intervals(collected):
    section = make_headline(collected, {})
    names = [row["name"] for row in section["rows"]]
    assert names == ["image and text", "image (text masked)", "text (image masked)"]
    expected = metrics.compute_metrics(
        collected.truth, collected.probabilities("image")
    )
    row = section["rows"][1]
    assert row["metrics"]["macro_f1"] == pytest.approx(expected["macro_f1"])
    for key in ("accuracy", "macro_f1", "top3_accuracy"):
        low, high = row["intervals"][key]
        assert low < row["metrics"][key] < high
        assert high - low < 0.12
    assert "masked" in section["notes"][0]


def test_gains_are_over_the_image_and_the_better_input(collected):
    section = make_headline(collected, {})
    over_image, over_text = section["gains"]
    assert over_image["over"] == "image (text masked)"
    assert over_text["over"] == "text (image masked)"
    ours, image = collected.correct("both"), collected.correct("image")
    assert over_image["difference"] == pytest.approx(ours.mean() - image.mean())
    low, high = over_image["interval"]
    assert 0 < low < over_image["difference"] < high
    assert over_image["mcnemar"]["only_a"] == int((ours & ~image).sum())
    assert over_image["mcnemar"]["p_value"] < 1e-6


def test_a_better_image_is_named_once(collected):
    logits = {**collected.logits, "text": collected.logits["image"] * -1}
    (gain,) = make_headline(dataclasses.replace(collected, logits=logits), {})["gains"]
    assert gain["over"] == "image (text masked)"


def test_a_run_of_its_own_is_the_rival(collected):
    alone = {"image": collected.probabilities("text")}
    section = make_headline(collected, alone)
    assert "image (a run of its own)" in [row["name"] for row in section["rows"]]
    assert section["gains"][0]["over"] == "image (a run of its own)"
    gain = collected.correct("both").mean() - collected.correct("text").mean()
    assert section["gains"][0]["difference"] == pytest.approx(gain)


def test_weights_count(collected):
    correct = collected.correct("both")
    weights = np.where(correct, 1.0, 0.0).astype(np.float32)
    weighted = dataclasses.replace(collected, weights=weights)
    section = make_headline(weighted, {})
    assert section["rows"][0]["metrics"]["accuracy"] == 1.0
    assert section["rows"][0]["intervals"]["macro_f1"] == [1.0, 1.0]
    assert any("weights" in note for note in section["notes"])


def test_one_modality_has_no_gain(collected):
    preprocessor = types.SimpleNamespace(modalities="text")
    predictor = types.SimpleNamespace(
        model=collected.predictor.model, preprocessor=preprocessor
    )
    logits = {"both": collected.logits["both"]}
    alone = dataclasses.replace(collected, predictor=predictor, logits=logits)
    section = make_headline(alone, {})
    assert [row["name"] for row in section["rows"]] == ["text"]
    assert section["gains"] == []


def test_groups_widen_the_interval(collected):
    truth, logits = collected.truth, collected.logits["both"]
    twice = np.repeat(np.arange(400), 8)
    every = np.eye(4)
    sums = every[truth][twice] * every[logits.argmax(1)][twice]

    def share(drawn):
        return drawn[:, :2].sum(1) / np.maximum(drawn.sum(1), 1)

    single = bootstrap.bootstrap_statistic(sums, np.arange(len(sums)), share)
    grouped = bootstrap.bootstrap_statistic(sums, twice, share)
    assert grouped[1] - grouped[0] > 2 * (single[1] - single[0])
