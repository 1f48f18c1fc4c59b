"""The gain of the text, its share of own words, and the sentence that says so."""

import numpy as np
import pytest

from tf_multimodal.evaluation.report.text_worth import make_text_worth

ROWS = 400


def make_probabilities(right):
    """Returns probabilities [n, 2] of label 0, right where it is True."""
    high = np.where(right, 0.8, 0.3)
    return np.stack([high, 1 - high], axis=1)


def collect(make_collected, both, image, text, masked, **changes):
    """Returns a split of `ROWS` rows; the first so many of each variant are right."""
    shares = {"both": both, "image": image, "text": text, "words_masked": masked}
    rows = np.arange(ROWS)
    return make_collected(
        np.zeros(ROWS, int),
        {name: make_probabilities(rows < n) for name, n in shares.items()},
        **changes,
    )


def test_gains_are_paired_and_the_share_is_the_loss_over_the_gain(make_collected):
    section = make_text_worth(collect(make_collected, 320, 200, 280, 260))
    image, better = section["over_image"], section["over_better"]
    assert section["both"] == 0.8
    assert (image["modality"], image["accuracy"]) == ("image", 0.5)
    assert image["difference"] == pytest.approx(0.3)
    assert (better["modality"], better["accuracy"]) == ("text", 0.7)
    assert better["difference"] == pytest.approx(0.1)
    # Paired: 40 of 400 rows differ, so that the half width is 1.96 sqrt(.1 .9 / 400).
    low, high = better["interval"]
    assert (high - low) / 2 == pytest.approx(0.0294, abs=0.002)
    assert section["words_masked"]["difference"] == pytest.approx(0.15)
    own = section["own_words"]
    assert own["told"] and own["share"] == pytest.approx(0.5)
    # 60 of the 120 rows that are gained, drawn: 1.96 sqrt(.5 .5 / 120).
    low, high = own["interval"]
    assert (high - low) / 2 == pytest.approx(0.0895, abs=0.008)
    assert section["sentence"] == (
        "Yes, the text pays: the model is right in 80.0 % of the rows with image and "
        "text, in 50.0 % with the image alone (text masked), +30.0 points (95 % "
        f"interval {points(image)}); the classes' own words account for 50.0 % of "
        f"that gain (95 % interval {100 * low:.1f} % to {100 * high:.1f} %); the text "
        "alone (image masked) is right in 70.0 %, so that the image adds to it, +10.0 "
        f"points (95 % interval {points(better)})."
    )


def points(gain):
    return " to ".join(f"{100 * end:+.1f}" for end in gain["interval"])


def test_groups_widen_the_intervals(make_collected):
    alone = make_text_worth(collect(make_collected, 320, 200, 280, 260))
    groups = (np.arange(ROWS) // 8).astype(str).astype(object)
    grouped = make_text_worth(
        collect(make_collected, 320, 200, 280, 260, groups=groups)
    )

    def width(section, part):
        low, high = section[part]["interval"]
        return high - low

    for part in ("over_image", "words_masked", "own_words"):
        assert width(grouped, part) > 2 * width(alone, part)


def test_rows_count_by_their_weight(make_collected):
    weights = np.where(np.arange(ROWS) < 200, 0.0, 1.0).astype(np.float32)
    section = make_text_worth(
        collect(make_collected, 300, 200, 250, 300, weights=weights)
    )
    assert section["both"] == section["over_image"]["difference"] == 0.5
    assert section["own_words"]["share"] == 0
    assert section["own_words"]["interval"] == [0, 0]


def test_rows_of_weight_0_are_as_if_they_were_not_there(make_collected):
    counts = {"both": 30, "image": 10, "text": 5, "words_masked": 20}
    rows = np.arange(40)

    def make(kept):
        right = {name: make_probabilities(kept < n) for name, n in counts.items()}
        weights = (kept < 40).astype(np.float32)
        return make_text_worth(
            make_collected(np.zeros(len(kept), int), right, weights=weights)
        )

    padded, plain = make(np.append(rows, np.full(4000, 99))), make(rows)
    assert padded["own_words"] == plain["own_words"] and plain["own_words"]["told"]
    assert padded["over_image"] == plain["over_image"]


def test_few_rows_that_differ_are_no_answer(make_collected):
    section = make_text_worth(collect(make_collected, 204, 200, 100, 201))
    image = section["over_image"]
    assert image["interval"][0] > 0  # the bootstrap alone would say yes
    assert image["sign_test"] == {"p_value": 0.125, "only_a": 4, "only_b": 0}
    assert section["sentence"].startswith("It cannot be told whether the text pays: ")
    assert section["own_words"]["share"] is None
    assert "p = 0.125" in section["own_words"]["why"]
    harmed = make_text_worth(collect(make_collected, 196, 200, 100, 195))
    assert harmed["over_image"]["interval"][1] < 0
    assert harmed["sentence"].startswith("It cannot be told whether the text pays: ")
    assert "may be 0" in harmed["own_words"]["why"]
    # Six rows, all to one side, are enough: 2 / 2^6 < 0.05.
    assert make_text_worth(collect(make_collected, 206, 200, 9, 201))[
        "sentence"
    ].startswith("Yes")
    # Five heavy rows are won, fifty light ones lost: the two do not agree.
    weights = np.where(np.arange(ROWS) < 5, 1000, 1).astype(np.float32)
    lost = np.arange(ROWS) >= 350
    right = {"both": ~lost, "image": np.arange(ROWS) >= 5, "text": lost}
    split = make_collected(
        np.zeros(ROWS, int),
        {name: make_probabilities(rows) for name, rows in right.items()}
        | {"words_masked": make_probabilities(lost)},
        weights=weights,
    )
    assert make_text_worth(split)["sentence"].startswith("It cannot be told")
    rival = make_text_worth(collect(make_collected, 304, 100, 300, 150))
    assert "cannot be told whether the image adds" in rival["sentence"]


def test_of_a_gain_that_may_be_nothing_no_share_is_told(make_collected):
    section = make_text_worth(collect(make_collected, 202, 200, 100, 201))
    low, high = section["over_image"]["interval"]
    assert low <= 0 < high
    assert section["own_words"]["share"] is None
    assert "cannot be told" in section["own_words"]["why"]
    assert section["sentence"].startswith("It cannot be told whether the text pays: ")


def test_a_text_that_harms_is_said_to(make_collected):
    section = make_text_worth(collect(make_collected, 100, 200, 50, 100))
    assert section["sentence"].startswith("No, the text harms: ")
    assert "There is no gain" in section["own_words"]["why"]


@pytest.mark.parametrize(
    ("both", "words"),
    [(300, "cannot be told whether the image adds"), (200, "the image harms it")],
)
def test_a_rival_text_is_named(make_collected, both, words):
    section = make_text_worth(collect(make_collected, both, 100, 300, 150))
    assert words in section["sentence"]


def test_a_run_of_the_image_alone_takes_the_masked_ones_place(make_collected):
    collected = collect(make_collected, 320, 100, 150, 260)
    alone = {"image": make_probabilities(np.arange(ROWS) < 280).astype(np.float32)}
    section = make_text_worth(collected, alone)
    assert section["over_image"]["difference"] == pytest.approx(0.1)
    assert section["over_better"]["name"] == "the image alone (a run of its own)"
    assert (
        "with the image alone (a run of its own), +10.0 points"
        in (section["sentence"].partition("; ")[0])
    )
    assert section["words_masked"]["difference"] == pytest.approx(-0.05)


def test_texts_with_a_classs_words_are_counted(make_collected):
    texts = ["a  class of 1840", "nothing of it"] * (ROWS // 2)
    section = make_text_worth(collect(make_collected, 9, 5, 5, 5, texts=texts))
    assert section["words_masked"]["rows_with_own_words"] == 0.5


def test_of_label_sets_a_row_is_right_in_all_classes(make_collected):
    truth = np.tile([1, 0], (100, 1))
    right, wrong = [0.9, 0.1], [0.9, 0.8]
    collected = make_collected(
        truth,
        {
            "both": np.tile(right, (100, 1)),
            "image": np.tile(wrong, (100, 1)),
            "text": np.array([right] * 60 + [wrong] * 40),
            "words_masked": np.array([right] * 75 + [wrong] * 25),
        },
    )
    section = make_text_worth(
        collected, {"image": np.array([right] * 50 + [wrong] * 50)}
    )
    assert section["over_image"]["difference"] == 0.5
    assert section["own_words"]["share"] == 0.5


def test_a_model_of_one_input_has_nothing_to_compare(make_collected):
    collected = make_collected([0, 1], np.eye(2), modalities="text")
    assert "reads the text alone" in make_text_worth(collected)["not_available"]
