"""The words of a text with the word pieces that a tokenizer makes of each."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

# Blocks whose characters BERT takes for words of their own.
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def merge_pieces(
    text: str, token_ids: Sequence[int], scores: np.ndarray, tokenizer: Any
) -> list[tuple[str, float]]:
    """Returns the words that the model read, each with the sum of its pieces' scores.

    Words are spelled as in the text, so that one that the vocabulary lacks can be
    read. Where the text does not give these pieces, the pieces' own spelling is
    taken. What `sequence_length` cut off is not there.

    Args:
        text: the row's text.
        token_ids: int [t], without [CLS], [SEP] and padding.
        scores: float [t], of each.
        tokenizer: a `WordPieceTokenizer`.
    """
    words = split_words(text) or [""]
    pieces = [list(map(int, row)) for row in tokenizer.tokenize(words)]
    whole = [piece for row in pieces for piece in row]
    read = list(map(int, token_ids))
    if whole[: len(read)] != read:
        names = [tokenizer.id_to_token(token_id) for token_id in read]
        words, pieces = _join_names(names, tokenizer.suffix_indicator)
    merged, start = [], 0
    for word, row in zip(words, pieces, strict=True):
        stop = start + len(row)
        if row and start < len(read):
            merged.append((word, float(np.sum(scores[start:stop]))))
        start = stop
    return merged


def split_words(text: str) -> list[str]:
    """Splits a text as BERT does: at blanks, around punctuation and ideographs."""
    words, inside = [], False
    for character in unicodedata.normalize("NFC", text):
        if character.isspace():
            inside = False
        elif _stands_alone(character):
            words.append(character)
            inside = False
        elif inside:
            words[-1] += character
        else:
            words.append(character)
            inside = True
    return words


def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return 32 < code < 127 and not character.isalnum()
    if unicodedata.category(character).startswith("P"):
        return True
    return any(low <= code <= high for low, high in _IDEOGRAPHS)


def _join_names(names: list[str], suffix: str) -> tuple[list[str], list[list[int]]]:
    """Joins pieces that begin with the suffix sign to the one before them."""
    words: list[str] = []
    pieces: list[list[int]] = []
    for place, name in enumerate(names):
        if name.startswith(suffix) and words:
            words[-1] += name.removeprefix(suffix)
            pieces[-1].append(place)
        else:
            words.append(name)
            pieces.append([place])
    return words, pieces
