"""Class names: `labels.txt`, class weights, and the classes' words in texts."""

import functools
import itertools
import os
import pathlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np

STOP_WORDS = frozenset({"a", "an", "and", "for", "in", "of", "or", "the", "with"})
SIBILANTS = ("s", "x", "z", "ch", "sh")
_CACHED_CHUNKS = 1 << 16  # of texts, masked


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads class names from a UTF-8 file, one a line; line `i` is label `i`.

    Raises:
        ValueError: an empty file, an empty line, or a name that stands twice.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    classes = tuple(text.removesuffix("\n").split("\n")) if text else ()
    _check_classes(classes, str(path))
    return classes


def write_labels(path: str | os.PathLike[str], classes: Sequence[str]) -> None:
    """Writes class names as `read_labels` reads them.

    Raises:
        ValueError: no names, an empty name, one with a line break, or one twice.
    """
    _check_classes(classes, str(path))
    pathlib.Path(path).write_text("\n".join(classes) + "\n", encoding="utf-8")


def class_words(name: str) -> frozenset[str]:
    """Returns the case-folded words of a class name, in singular and plural.

    Stop words are left out: `signs_and_symbols` gives sign, signs, symbol, symbols.
    """
    words = {word.casefold() for is_word, word in _split_words(name) if is_word}
    forms: set[str] = set()
    for word in words - STOP_WORDS:
        singular = _make_singular(word)
        forms |= {word, singular, _make_plural(singular)}
    return frozenset(forms)


def contains_class_word(text: str, name: str) -> bool:
    """Whether one of the class name's words stands in the text as a whole word."""
    words = class_words(name)
    return any(is_word and w.casefold() in words for is_word, w in _split_words(text))


def mask_label_words(texts: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Returns the texts as `make_label_masker` masks them."""
    return list(map(make_label_masker(classes), texts))


def make_label_masker(classes: Sequence[str]) -> Callable[[str], str]:
    """Returns what takes the words of any class out of a text and tidies white space.

    Args:
        classes: class names; all of them are masked in every text, so that what
            is missing does not tell the class. A text may end up empty.
    """
    words = frozenset[str]().union(*map(class_words, classes))

    @functools.lru_cache(_CACHED_CHUNKS)
    def mask_chunk(chunk: str) -> str:
        pieces = (
            " " if is_word and piece.casefold() in words else piece
            for is_word, piece in _split_words(chunk)
        )
        return " ".join("".join(pieces).split())

    def mask(text: str) -> str:
        # No word holds white space: each chunk between is masked by itself.
        return " ".join(filter(None, map(mask_chunk, text.split())))

    return mask


def compute_class_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns weights that give every class that occurs the same total weight.

    Args:
        labels: int [n], 0 to `num_classes - 1`; negative ones are not counted.
        num_classes: how many weights to return.

    Returns:
        float32 [num_classes]: rows / (classes that occur * rows of the class), so
        the mean weight of a row is 1; 1 for a class without rows.
    """
    known = labels[labels >= 0]
    counts = np.bincount(known, minlength=num_classes)
    present = np.count_nonzero(counts)
    weights = np.ones(num_classes, np.float32)
    weights[counts > 0] = len(known) / (present * counts[counts > 0])
    return weights


def _check_classes(classes: Sequence[str], where: str) -> None:
    if not classes:
        raise ValueError(f"{where}: there are no class names; expected one a line.")
    seen: dict[str, int] = {}
    for index, name in enumerate(classes):
        if not name.strip() or "\n" in name or "\r" in name:
            raise ValueError(
                f"{where}, label {index}: a class name must not be empty and must "
                f"not hold a line break. Received: {name!r}"
            )
        if name in seen:
            raise ValueError(
                f"{where}: the class name {name!r} stands twice, as label "
                f"{seen[name]} and {index}; expected every name once."
            )
        seen[name] = index


def _split_words(text: str) -> Iterator[tuple[bool, str]]:
    """Yields (is a word, piece); the pieces joined are the text."""
    for is_word, piece in itertools.groupby(text, _is_word_character):
        yield is_word, "".join(piece)


def _is_word_character(character: str) -> bool:
    # Marks (M) belong to a word: many scripts write their vowels with them.
    return unicodedata.category(character)[0] in "LMN"


def _make_singular(word: str) -> str:
    if not word.isalpha() or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("es") and word[:-2].endswith(SIBILANTS):
        return word[:-2]
    return word.removesuffix("s")


def _make_plural(word: str) -> str:
    if not (word.isascii() and word.isalpha()):
        return word
    if word.endswith("y") and word[-2:-1] not in ("", "a", "e", "i", "o", "u"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(SIBILANTS) else "s")
