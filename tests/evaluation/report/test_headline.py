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


def test_masked_is_what_the_model_itself_loses(collected):
    logits = {**collected.logits, "words_masked": collected.logits["image"]}
    logits["text_words_masked"] = -collected.logits["text"]
    whole = dataclasses.replace(collected, logits=logits)
    alone = {"image": collected.probabilities("both")}  # better than the masked one
    section = make_headline(whole, alone)
    assert [row["name"] for row in section["masked"]] == [
        "image and text",
        "text masked",
        "image masked",
        "the classes' own words blanked",
        "the classes' own words blanked, image masked",
    ]
    for row, variant in zip(section["masked"], logits, strict=True):
        accuracy = collected.correct("both").mean()
        assert row["accuracy"] == pytest.approx(whole.correct(variant).mean())
        low, high = row["interval"]
        assert low <= row["accuracy"] <= high
        if variant == "both":
            assert row["loss_of_accuracy"] is None and row["loss_interval"] is None
            continue
        assert row["loss_of_accuracy"] == pytest.approx(accuracy - row["accuracy"])
        low, high = row["loss_interval"]
        assert low < row["loss_of_accuracy"] < high


def test_masked_is_weighted(collected):
    weights = np.where(collected.correct("image"), 3.0, 0.0).astype(np.float32)
    section = make_headline(dataclasses.replace(collected, weights=weights), {})
    assert section["masked"][1]["accuracy"] == pytest.approx(1.0)
    assert section["counted"] == section["groups"] == collected.correct("image").sum()


def test_groups_are_counted_and_tested(collected):
    groups = (np.arange(400) // 4).astype(str).astype(object)
    section = make_headline(dataclasses.replace(collected, groups=groups), {})
    assert (section["counted"], section["groups"]) == (400, 100)
    gain = section["gains"][0]
    assert sum(gain["sign_test"][k] for k in ("only_a", "only_b")) <= 100
    assert gain["sign_test"]["p_value"] > gain["mcnemar"]["p_value"]


def test_label_sets_keep_their_metrics(make_collected):
    truth = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    rng = np.random.default_rng(0)
    probabilities = {v: rng.random((4, 2)) for v in ("both", "image", "text")}
    section = make_headline(make_collected(truth, probabilities), {})
    assert {"micro_f1", "mean_average_precision"} <= set(section["rows"][0]["metrics"])
    assert "micro_f1" in section["rows"][0]["intervals"]
    assert len(section["masked"]) == 3


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
    assert section["gains"] == section["masked"] == []


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
