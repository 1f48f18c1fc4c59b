import numpy as np
import pytest

from tf_multimodal.data import labels


def test_labels_file_round_trip(tmp_path):
    path = tmp_path / "labels.txt"
    labels.write_labels(path, ["café", "b c", "हिन्दी"])
    assert path.read_bytes() == "café\nb c\nहिन्दी\n".encode()
    assert labels.read_labels(path) == ("café", "b c", "हिन्दी")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "b\nc"], "label 1: .* line break.*'b.nc'"),
        (["a", " "], "label 1: .* must not be empty"),
        (["a", "b", "a"], "'a' stands twice, as label 0 and 2"),
        ([], "no class names"),
    ],
)
def test_bad_class_names_are_refused(tmp_path, classes, message):
    with pytest.raises(ValueError, match=message):
        labels.write_labels(tmp_path / "labels.txt", classes)


def test_labels_file_with_an_empty_line_is_refused(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("a\n\nb\n")
    with pytest.raises(ValueError, match="labels.txt, label 1"):
        labels.read_labels(path)
    path.write_text("")
    with pytest.raises(ValueError, match="no class names"):
        labels.read_labels(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("signs_and_symbols", {"sign", "signs", "symbol", "symbols"}),
        ("Cats", {"cat", "cats"}),
        ("berry", {"berry", "berries"}),
        ("boxes", {"box", "boxes"}),
        ("glass", {"glass", "glasses"}),
        ("toy", {"toy", "toys"}),
        ("bus 42", {"bus", "buses", "42"}),
    ],
)
def test_class_words(name, words):
    assert labels.class_words(name) == words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A CAT.", True),
        ("my-cats!", True),
        ("category", False),
        ("concat", False),
        ("", False),
    ],
)
def test_class_word_is_found_as_a_whole_word(text, found):
    assert labels.contains_class_word(text, "cats") is found


def test_mask_blanks_the_words_of_every_class():
    texts = ["A  cat and a dog", "Dogs, category", "cat", "", "Strasse der Straße"]
    masked = labels.mask_label_words(texts, ["cats", "dog", "straße"])
    assert masked == ["A and a", ", category", "", "", "der"]


def test_mask_keeps_vowel_signs_with_their_word():
    # Without the signs the class would fall into single letters.
    assert labels.mask_label_words(["हिन्दी हद"], ["हिन्दी"]) == ["हद"]


def test_a_masker_makes_the_words_of_the_classes_once(monkeypatch):
    asked = []
    class_words = labels.class_words
    monkeypatch.setattr(
        labels, "class_words", lambda name: asked.append(name) or class_words(name)
    )
    mask = labels.make_label_masker(["cats", "dog"])
    assert [mask(text) for text in ("a\u2003cat", "dog-house\n(cats)")] == [
        "a",
        "-house ( )",
    ]
    assert asked == ["cats", "dog"]


def test_class_weights_balance_the_classes_that_occur():
    rows = np.array([0, 0, 0, 2, -1])
    weights = labels.compute_class_weights(rows, 4)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [4 / 6, 1, 2, 1])
    assert weights[rows[:4]].mean() == pytest.approx(1)
