"""The tokenizer against Hugging Face's, in tf.data, in a SavedModel, in presets."""

import json

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.src.tests.test_case import TestCase
from tokenizers import BertWordPieceTokenizer

from tf_multimodal.data.tokenizer import (
    SPECIAL_TOKENS,
    WordPieceTokenizer,
    learn_vocabulary,
    load_tokenizer,
)

SCRIPTS = {
    "latin": "Café crème à la carte, façade of İstanbul: Zażółć gęślą jaźń (2024)!",
    "greek": "Η Αθήνα είναι μεγάλη πόλη",
    "cyrillic": "Москва и Санкт-Петербург, ёлка й",
    "hebrew": "שָׁלוֹם עולם",
    "arabic": "مرحبا بالعالم مُحَمَّد",
    "devanagari": "नमस्ते दुनिया हिन्दी",
    "thai": "สวัสดีชาวโลก ที่นี่",
    "chinese": "北京大学。我爱中国",
    "japanese": "東京タワー がぎぐ ひらがな",
    "korean": "서울의 밤, 안녕하세요",
}
# Where the pieces differ from Hugging Face's: text -> (ours, theirs), lower-cased.
KNOWN_DIFFERENCES = {
    # Case folding where the reference lowers the case.
    "Straße": (["strasse"], ["straße"]),
    "λόγος": (["λογοσ"], ["λογος"]),
    # Compatibility forms are decomposed.
    "ﬁne": (["fine"], ["ﬁne"]),
    "ＡＢ": (["ab"], ["ａｂ"]),
    "½": (["1⁄2"], ["½"]),
    "น้ำ": (["นา"], ["นำ"]),
    "…": ([".", ".", "."], ["…"]),
    # A control character parts words where the reference takes it out.
    "a\x00b": (["a", "b"], ["ab"]),
    # Special tokens typed as text stay text.
    "[MASK]": (["[", "mask", "]"], ["[MASK]"]),
}
WORDS = [*SPECIAL_TOKENS, "red", "cat", "##s", "dog", "##gy"]


def read_pieces(tokenizer, text):
    return [tokenizer.id_to_token(int(i)) for i in tokenizer(text)]


def make_reference(vocabulary, lowercase):
    table = {token: i for i, token in enumerate(vocabulary)}
    return BertWordPieceTokenizer(table, lowercase=lowercase)


@pytest.fixture(scope="module", params=[True, False], ids=["lowercase", "cased"])
def pair(request):
    """Our tokenizer and the reference, over a vocabulary of the ten scripts."""
    vocabulary = learn_vocabulary(list(SCRIPTS.values()), 400, lowercase=request.param)
    ours = WordPieceTokenizer(vocabulary, lowercase=request.param)
    return ours, make_reference(vocabulary, request.param)


@pytest.mark.parametrize("script", SCRIPTS)
def test_pieces_equal_the_reference(pair, script):
    ours, reference = pair
    pieces = read_pieces(ours, SCRIPTS[script])
    assert pieces == reference.encode(SCRIPTS[script], add_special_tokens=False).tokens
    assert "[UNK]" not in pieces and len(pieces) >= 3


@pytest.mark.parametrize("text", KNOWN_DIFFERENCES)
def test_known_differences(text):
    ours, theirs = KNOWN_DIFFERENCES[text]
    vocabulary = [*SPECIAL_TOKENS, *dict.fromkeys([*ours, *theirs])]
    vocabulary = list(dict.fromkeys([*vocabulary, "1", "##⁄", "##2"]))
    reference = make_reference(vocabulary, lowercase=True)
    assert reference.encode(text, add_special_tokens=False).tokens == theirs
    pieces = read_pieces(WordPieceTokenizer(vocabulary), text)
    assert "".join(pieces).replace("##", "") == "".join(ours)
    assert len(pieces) == len(ours) or text == "½"


def test_keras_hub_loses_what_this_one_finds():
    """Why the class exists; the day this fails, KerasHub's own may do."""
    vocabulary = [*SPECIAL_TOKENS, "cafe", "ᄇ", "##ᅡ", "##ᆷ"]
    theirs = keras_hub.tokenizers.BertTokenizer(vocabulary, lowercase=True)
    ours = WordPieceTokenizer(vocabulary)
    assert read_pieces(ours, "Café 밤") == ["cafe", "ᄇ", "##ᅡ", "##ᆷ"]
    assert read_pieces(theirs, "Café 밤") == ["[UNK]", "[UNK]"]


class KerasHubTest(TestCase):
    def test_tokenizer(self):
        self.run_preprocessing_layer_test(
            WordPieceTokenizer,
            {"vocabulary": WORDS},
            ["Red cats", "doggy", "red bird"],
            expected_output=[[5, 6, 7], [8, 9], [5, 1]],
            expected_detokenize_output=["red cats", "doggy", "red [UNK]"],
        )

    def test_tokenizer_of_fixed_length(self):
        self.run_preprocessing_layer_test(
            WordPieceTokenizer,
            {"vocabulary": WORDS, "sequence_length": 2},
            ["red cats", "dog"],
            expected_output=[[5, 6], [8, 0]],
            expected_detokenize_output=["red cat", "dog [PAD]"],
        )


def test_pack_adds_specials_truncates_and_pads():
    tokenizer = WordPieceTokenizer(WORDS)
    token_ids, mask = tokenizer.pack(["red cats", "", "dog"], sequence_length=4)
    assert token_ids.numpy().tolist() == [[2, 5, 6, 3], [2, 3, 0, 0], [2, 8, 3, 0]]
    assert mask.numpy().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert token_ids.dtype == mask.dtype == tf.int32
    one, one_mask = tokenizer.pack("dog", sequence_length=4)
    assert one.numpy().tolist() == [2, 8, 3, 0]
    assert one_mask.numpy().tolist() == [1, 1, 1, 0]


def test_tf_data_and_saved_model_equal_eager_calls(pair, tmp_path):
    tokenizer = pair[0]
    texts = [*SCRIPTS.values(), "", "unknown-" + "x" * 200]
    expected, mask = tokenizer.pack(texts, sequence_length=20)

    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(5)
    packed = dataset.map(lambda batch: tokenizer.pack(batch, sequence_length=20))
    assert packed.element_spec[0].shape.as_list() == [None, 20]
    rows = np.concatenate([ids for ids, _ in packed.as_numpy_iterator()])
    np.testing.assert_array_equal(rows, expected)

    module = tf.Module()
    module.tokenizer = tokenizer
    module.pack = tf.function(
        lambda batch: tokenizer.pack(batch, sequence_length=20),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded_ids, loaded_mask = tf.saved_model.load(str(tmp_path)).pack(
        tf.constant(texts)
    )
    np.testing.assert_array_equal(loaded_ids, expected)
    np.testing.assert_array_equal(loaded_mask, mask)


def test_preset_round_trip(tmp_path):
    backbone = keras_hub.models.BertBackbone(len(WORDS), 1, 1, 4, 4)
    backbone.save_to_preset(str(tmp_path))
    cased = WordPieceTokenizer(WORDS, lowercase=False)
    cased.save_to_preset(str(tmp_path))
    for load in (WordPieceTokenizer.from_preset, load_tokenizer):
        loaded = load(str(tmp_path))
        assert type(loaded) is WordPieceTokenizer
        assert loaded.get_vocabulary() == WORDS
        assert read_pieces(loaded, "red Red") == ["red", "[UNK]"]


@pytest.mark.parametrize(
    ("settings", "lowercase"),
    [
        ({"do_lower_case": True, "strip_accents": None}, True),
        ({"do_lower_case": False}, False),
        (None, True),
    ],
)
def test_hugging_face_folder(tmp_path, settings, lowercase):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.get_vocabulary() == WORDS
    assert tokenizer.lowercase == lowercase
    expected = "red" if lowercase else "[UNK]"
    assert read_pieces(tokenizer, "Réd") == [expected]


def test_settings_it_cannot_follow_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    settings = {"do_lower_case": True, "strip_accents": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="strip_accents must be null"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match="special_tokens_in_strings=True"):
        WordPieceTokenizer(WORDS, special_tokens_in_strings=True)


def test_learned_vocabulary_covers_its_texts():
    texts = ["Red cats", "red dogs", "Crème brûlée", "밤"] * 3
    vocabulary = learn_vocabulary(texts, 60)
    assert vocabulary[:5] == list(SPECIAL_TOKENS)
    assert len(vocabulary) == len(set(vocabulary)) <= 60
    assert vocabulary == learn_vocabulary(texts, 60)
    tokenizer = WordPieceTokenizer(vocabulary)
    assert not any("[UNK]" in read_pieces(tokenizer, text) for text in texts)
    assert "[UNK]" in read_pieces(tokenizer, "zoo")
