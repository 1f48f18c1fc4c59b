"""Word scores: complete, found where planted, spelled as in the text."""

import attribution_samples as samples
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel
from tf_multimodal.inference.attributions.explanation import explain_rows
from tf_multimodal.inference.attributions.words import merge_pieces, split_words
from tf_multimodal.inference.predictor import make_source

CLS, SEP = 2, 3


@pytest.mark.parametrize(
    ("encoder", "fusion", "activation"),
    [
        ("bert", "late", "softmax"),
        ("embedding", "late", "sigmoid"),
        pytest.param("bert", "concat", "sigmoid", marks=pytest.mark.slow),
        pytest.param("embedding", "concat", "softmax", marks=pytest.mark.slow),
    ],
)
def test_scores_sum_to_what_the_words_change(encoder, fusion, activation):
    model = ("image_text", fusion, encoder, activation)
    predictor, target = samples.share_predictor(*model), samples.TARGET
    found = samples.explain_samples(*model)
    inputs = samples.read_batch(predictor, samples.make_rows())
    ids = inputs[spec.TOKEN_IDS].numpy()
    pads = tf.constant(np.where(np.isin(ids, (CLS, SEP)), ids, 0))
    blank = {**inputs, spec.TOKEN_IDS: pads}
    logits = [predictor.model(x, training=False) for x in (inputs, blank)]
    if activation == "softmax":
        full, none = (samples.centre(x, target) for x in logits)
    else:
        full, none = (np.asarray(x)[np.arange(5), target] for x in logits)
    for explanation, difference in zip(found, full - none, strict=True):
        total = sum(word.score for word in explanation.words)
        rounding, least = 3e-4, max(abs(difference), 1e-3)  # of float32
        assert abs(total - difference) <= 0.01 * least + rounding
        missed = explanation.completeness_gap * least
        assert missed == pytest.approx(abs(total - difference), abs=rounding)
        assert explanation.completeness_gap <= 0.01
    assert np.abs(full - none).max() > 0.05  # the words do change something


def test_hard_paths_get_more_steps(monkeypatch):
    """Few steps miss; the number grows, and the gap says when that was not enough."""
    from tf_multimodal.inference.attributions import integrated_gradients

    predictor = samples.make_predictor("text", seed=5)
    for _, variable in predictor.model.get_variable_paths().items():
        variable.assign(variable * 3)  # saturates: a path with steep parts
    source = make_source([None] * 5, samples.TEXTS, samples.CLASSES)
    monkeypatch.setattr(integrated_gradients, "_FIRST_STEPS", 2)
    many = [e.completeness_gap for e in explain_rows(predictor, source, np.arange(5))]
    monkeypatch.setattr(integrated_gradients, "_MOST_STEPS", 2)
    few = [e.completeness_gap for e in explain_rows(predictor, source, np.arange(5))]
    assert max(many) <= 0.01 < max(few)


def test_a_model_that_reads_one_word_is_found_out():
    predictor = samples.make_predictor(encoder="embedding")
    model = predictor.model
    table = model.backbone.text_branch.encoder.token_embedding.embeddings
    values = np.array(table)
    values[:, 0] = 0
    values[samples.VOCABULARY.index("cat"), 0] = 2  # no other word has this feature
    table.assign(values)
    lstm = model.backbone.joint.get_layer("lstm").cell.kernel
    kernel = np.array(lstm)
    kernel[1:] = 0  # it reads nothing else
    lstm.assign(kernel)
    source = make_source([None], ["the sign over the cat, red"], samples.CLASSES)
    (explanation,) = explain_rows(predictor, source, [0])
    scores = {word.text: word.score for word in explanation.words}
    assert abs(scores.pop("cat")) > 1e-3
    assert all(abs(score) < 1e-6 for score in scores.values())


@pytest.mark.slow
def test_a_trained_model_shows_the_word_that_decides():
    """A small BERT learns whether a bird or a cat is named; the rest is chance."""
    keras.utils.set_random_seed(0)
    predictor = samples.make_predictor("text", seed=3)
    generator = np.random.RandomState(0)
    fillers = ["a", "red", "green", "two", "dog", "runs", "over", "the"]
    texts, labels = [], []
    keys = (["bird"], ["cat"], [])
    for number in range(384):
        words = generator.choice(fillers, generator.randint(3, 7)).tolist()
        words = [*keys[number % 3], *words]
        texts.append(" ".join(generator.permutation(words)))
        labels.append(number % 3)
    model = predictor.model
    inputs = {k: np.asarray(v) for k, v in model.preprocessor({"text": texts}).items()}
    model.preprocessor = None
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    model.fit(inputs, np.array(labels), batch_size=64, epochs=12, verbose=0)
    chosen = [i for i in range(36) if labels[i] < 2]
    source = make_source([None] * 36, texts[:36], samples.CLASSES)
    found = explain_rows(predictor, source, chosen)
    assert [e.target for e in found] == [labels[i] for i in chosen]
    best = [max(e.words, key=lambda word: word.score).text for e in found]
    named = [
        word == samples.CLASSES[e.target] for word, e in zip(best, found, strict=True)
    ]
    assert np.mean(named) >= 0.9, best


PARTS = ("head/", "text_encoder/", "")  # and all


@pytest.fixture(scope="module")
def planted():
    """A model for which the classes' names speak."""
    predictor = samples.make_predictor("text", encoder="embedding", width=32)
    samples.plant_words(predictor)
    return predictor


def score_words(predictor, rows) -> list[np.ndarray]:
    """Returns the scores of ten words a text, for the class that it names."""
    texts, target = samples.make_named_texts(rows)
    source = make_source([None] * rows, texts, samples.CLASSES)
    found = explain_rows(predictor, source, np.arange(rows), target)
    return [np.array([word.score for word in e.words]) for e in found]


def check_scores_mean_something(predictor, rows) -> None:
    """The word that decides has the best one, and all are the same again."""
    texts, target = samples.make_named_texts(rows)
    scores = score_words(predictor, rows)
    best = [text.split()[s.argmax()] for text, s in zip(texts, scores, strict=True)]
    named = [word == samples.CLASSES[i] for word, i in zip(best, target, strict=True)]
    assert np.mean(named) >= 0.9, best
    again = map(samples.correlate_ranks, scores, score_words(predictor, rows))
    assert min(again) == pytest.approx(1, abs=0.02)  # two alike may change places


def correlate_scores(predictor, pattern, rows, draws) -> float:
    return samples.correlate_after_draws(
        predictor,
        lambda: score_words(predictor, rows),
        pattern,
        range(10, 10 + draws),
    )


def test_scores_show_the_name(planted):
    check_scores_mean_something(planted, rows=6)


@pytest.mark.parametrize("pattern", PARTS)
def test_scores_follow_the_weights(planted, pattern):
    """Adebayo et al. 2018, Sanity Checks for Saliency Maps, arXiv:1810.03292.

    Of ten words in no order the mean of |rank correlation| is 0.27.
    """
    assert correlate_scores(planted, pattern, rows=6, draws=4) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PARTS)
def test_scores_follow_the_weights_of_many_draws(planted, pattern):
    assert correlate_scores(planted, pattern, rows=12, draws=12) < 0.4


def test_words_are_spelled_as_in_the_text():
    predictor = samples.make_predictor("text", encoder="embedding")
    text = "Two Cats,\tthe\u0301 猫 UNKNOWN\u200b 😀 red!"
    source = make_source([None], [text], samples.CLASSES)
    (explanation,) = explain_rows(predictor, source, [0])
    words = [word.text for word in explanation.words]
    assert words == ["Two", "Cats", ",", "thé", "猫", "UNKNOWN\u200b", "😀", "red", "!"]


def test_pieces_of_a_word_are_added_and_what_is_cut_off_is_left_out():
    tokenizer = samples.make_preprocessor("text").tokenizer
    ids = [samples.VOCABULARY.index(piece) for piece in ("cat", "##s", "red")]
    scores = np.array([1.0, 0.5, 2.0])
    merged = merge_pieces("Cats red dog", ids, scores, tokenizer)
    assert merged == [("Cats", 1.5), ("red", 2.0)]
    merged = merge_pieces("Cats red", ids[:1], scores[:1], tokenizer)
    assert merged == [("Cats", 1.0)]
    other = merge_pieces("another text", ids, scores, tokenizer)  # not of these pieces
    assert other == [("cats", 1.5), ("red", 2.0)]


def test_a_long_text_ends_where_the_model_stops_reading():
    predictor = samples.make_predictor("text", encoder="embedding")
    source = make_source([None], ["red " * 50], samples.CLASSES)
    (explanation,) = explain_rows(predictor, source, [0])
    assert len(explanation.words) == samples.TOKENS - 2


def test_split_words():
    assert split_words("a-b  'c' 5,0 漢字x") == [
        *("a", "-", "b", "'", "c", "'", "5", ",", "0", "漢", "字", "x")
    ]
    assert split_words(" \t") == []


def test_an_encoder_that_cannot_be_cut_is_named():
    predictor = samples.make_predictor("text", encoder="embedding")
    branch = predictor.model.backbone.text_branch
    ids = keras.Input((None,), dtype="int32", name="ids")
    branch._tracker.unlock()
    branch.encoder = keras.Model(ids, keras.layers.Embedding(9, 4)(ids))
    with pytest.raises(ValueError, match="token_ids, padding_mask, segment_ids"):
        CutModel(predictor.model)


def test_targets_are_checked():
    predictor = samples.make_predictor("text", encoder="embedding")
    source = samples.make_rows()
    with pytest.raises(ValueError, match="0 to 2. Received: 0 to 3"):
        explain_rows(predictor, source, [0, 1], [0, 3])
    with pytest.raises(ValueError, match="each of 2 rows"):
        explain_rows(predictor, source, [0, 1], [0])
    assert explain_rows(predictor, source, []) == []
