"""The word-piece tokenizer, one for training, evaluation and serving."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub
from keras_hub.src.utils.tensor_utils import preprocessing_function

try:
    import tensorflow as tf
    import tensorflow_text as tf_text
except ImportError:  # a model that takes ready token ids needs neither
    tf = tf_text = None

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@keras.saving.register_keras_serializable(package="tf_multimodal")
class WordPieceTokenizer(keras_hub.tokenizers.BertTokenizer):
    """BERT's tokenizer, with the word pieces of the reference.

    KerasHub's own keeps accents when it lowers the case and does not decompose
    Hangul, so that accented and Korean words become [UNK]. This one tokenizes with
    TensorFlow Text's FastBertTokenizer, in eager calls, tf.data and SavedModels
    alike; presets and the vocabulary asset are KerasHub's. Special tokens typed in
    a text stay text.

    Args:
        vocabulary: word pieces, or the path of a file with one in each line.
        lowercase: whether to lower the case and strip accents.
    """

    def __init__(
        self, vocabulary: Any = None, lowercase: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(vocabulary=vocabulary, lowercase=lowercase, **kwargs)
        if not self.split or self.strip_accents or self.special_tokens_in_strings:
            raise ValueError(
                "WordPieceTokenizer always splits, strips accents exactly where it "
                "lowers the case, and reads special tokens as text. Received: "
                f"split={self.split}, strip_accents={self.strip_accents}, "
                f"special_tokens_in_strings={self.special_tokens_in_strings}"
            )

    def set_vocabulary(self, vocabulary: Any) -> None:
        super().set_vocabulary(vocabulary)
        self._fast_bert = None
        if vocabulary is not None and tf_text is not None:
            # Made once, outside of any graph that uses it.
            self._fast_bert = tf_text.FastBertTokenizer(
                self.vocabulary,
                suffix_indicator=self.suffix_indicator,
                token_out_type=self.compute_dtype,
                unknown_token=self.oov_token,
                lower_case_nfd_strip_accents=self.lowercase,
            )

    @preprocessing_function
    def tokenize(self, inputs: Any) -> Any:
        """Tokenizes texts, without [CLS] and [SEP].

        Args:
            inputs: string [b], or a scalar.

        Returns:
            Ragged int32 [b, pieces], dense if the tokenizer has a
            `sequence_length`; dense int32 [pieces] for a scalar.
        """
        inputs = tf.convert_to_tensor(inputs)
        tokens = self._tokenize_batch(inputs)
        if self.sequence_length:
            tokens = tokens.to_tensor(shape=[None, self.sequence_length])
        return tokens[0] if inputs.shape.rank == 0 else tokens

    @preprocessing_function
    def pack(self, inputs: Any, *, sequence_length: int) -> Any:
        """Tokenizes into [CLS] word pieces [SEP], truncated and right-padded.

        Args:
            inputs: string [b], or a scalar.
            sequence_length: tokens t of a row, at least 2.

        Returns:
            Token ids and padding mask (1: a token), int32 [b, t], or [t] for a
            scalar.
        """
        inputs = tf.convert_to_tensor(inputs)
        tokens = self._tokenize_batch(inputs)[:, : sequence_length - 2]
        column = tf.ones((tokens.nrows(), 1), tokens.dtype)
        rows = tf.concat(
            [column * self.cls_token_id, tokens, column * self.sep_token_id], axis=1
        )
        shape = [None, sequence_length]
        token_ids = rows.to_tensor(default_value=self.pad_token_id, shape=shape)
        padding_mask = tf.sequence_mask(rows.row_lengths(), sequence_length, tf.int32)
        if inputs.shape.rank == 0:
            return token_ids[0], padding_mask[0]
        return token_ids, padding_mask

    def _tokenize_batch(self, inputs: Any) -> Any:
        self._check_vocabulary()
        if self._fast_bert is None:
            raise ImportError(
                "WordPieceTokenizer needs the package tensorflow-text. Install it, or "
                "give the model token ids that were made elsewhere."
            )
        return self._fast_bert.tokenize(tf.reshape(inputs, [-1]))


def load_tokenizer(preset: str) -> WordPieceTokenizer:
    """Loads the tokenizer of a BERT.

    Args:
        preset: a Hugging Face BERT folder (`vocab.txt`, `tokenizer_config.json`), or
            a KerasHub BERT preset (name, handle or folder).

    Raises:
        ValueError: the folder asks for what the tokenizer cannot do.
    """
    vocabulary = Path(preset, "vocab.txt")
    if not vocabulary.is_file():
        tokenizer = keras_hub.tokenizers.BertTokenizer.from_preset(preset)
        return WordPieceTokenizer(tokenizer.get_vocabulary(), tokenizer.lowercase)
    settings_file = Path(preset, "tokenizer_config.json")
    settings = {}
    if settings_file.is_file():
        settings = json.loads(settings_file.read_text(encoding="utf-8"))
    lowercase = settings.get("do_lower_case", True)
    strip_accents = settings.get("strip_accents")
    if strip_accents not in (None, lowercase):
        raise ValueError(
            f"{settings_file}: strip_accents must be null or equal to do_lower_case. "
            f"Received: strip_accents={strip_accents}, do_lower_case={lowercase}"
        )
    return WordPieceTokenizer(str(vocabulary), lowercase)


def learn_vocabulary(
    texts: Sequence[str], size: int, lowercase: bool = True
) -> list[str]:
    """Learns word pieces from texts.

    Args:
        texts: the texts; what they do not hold becomes [UNK].
        size: number of word pieces aimed at, with the special tokens.
        lowercase: as the tokenizer that will read the vocabulary.

    Returns:
        The vocabulary: special tokens first, then word pieces.
    """
    # The tokenizer's own normalizer: KerasHub's would not decompose Hangul.
    normalizer = tf_text.FastBertNormalizer(lower_case_nfd_strip_accents=lowercase)
    normalized = normalizer.normalize(tf.constant(list(texts), tf.string))
    return keras_hub.tokenizers.compute_word_piece_vocabulary(
        tf.data.Dataset.from_tensor_slices(normalized).batch(1000),
        size,
        lowercase=False,
        strip_accents=False,
        reserved_tokens=list(SPECIAL_TOKENS),
    )
