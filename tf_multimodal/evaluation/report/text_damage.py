"""Damage to texts: functions of a text and a source of random numbers."""

import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

_LATIN = string.ascii_lowercase


def make_typos(text: str, share: float, random: np.random.Generator) -> str:
    """Returns the text with this share of its letters mistyped, at least one.

    A letter is left out, doubled, swapped with the next one or replaced, with equal
    chances: Belinkov and Bisk 2018, Synthetic and Natural Noise Both Break Neural
    Machine Translation, arXiv:1711.02173; Pruthi et al. 2019, Combating Adversarial
    Misspellings with Robust Word Recognition, arXiv:1905.11268. What replaces a Latin
    letter is one; of other scripts it is another letter of the text.
    """
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    if not letters or not share:
        return text
    count = min(len(letters), max(1, round(share * len(letters))))
    chosen = random.choice(letters, count, replace=False)
    characters = list(text)
    for place in sorted(chosen.tolist(), reverse=True):  # those before keep their place
        characters[place : place + 2] = _mistype(
            characters[place : place + 2], text, letters, random
        )
    return "".join(characters)


def drop_words(text: str, share: float, random: np.random.Generator) -> str:
    """Returns the text without this share of its words; one is left at least.

    Wei and Zou 2019, EDA: Easy Data Augmentation, arXiv:1901.11196, have this, too.
    """
    words = text.split()
    count = min(round(share * len(words)), len(words) - 1)
    if count < 1:
        return text
    dropped = set(random.choice(len(words), count, replace=False).tolist())
    return " ".join(word for i, word in enumerate(words) if i not in dropped)


def shuffle_words(text: str, random: np.random.Generator) -> str:
    """Returns the text with its words in another order; one word stays as it is.

    Sinha et al. 2021, Masked Language Modeling and the Distributional Hypothesis: Order
    Word Matters Pre-training for Little, arXiv:2104.06644.
    """
    words = text.split()
    shuffled = [words[i] for i in random.permutation(len(words))]
    if shuffled == words and len(set(words)) > 1:  # any order but this one
        shuffled = words[1:] + words[:1]
    return " ".join(shuffled) if len(words) > 1 else text


def choose_wrong_rows(
    labels: np.ndarray, candidates: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns, for each row, one of another label, int64 [n]; -1 where there is none.

    Args:
        labels: int [n], or of label sets [n, c]: then a row shares no label with it,
            and is no row without labels either where the row has none.
        candidates: bool [n], the rows that may be chosen.
        random: of the draws.
    """
    chosen = np.full(len(labels), -1)
    for row in range(len(labels)):
        if labels.ndim == 1:
            others = candidates & (labels != labels[row])
        else:
            shares = (labels > 0) @ (labels[row] > 0) > 0
            others = candidates & ~shares & (labels != labels[row]).any(axis=1)
        found = np.flatnonzero(others)
        if len(found):
            chosen[row] = random.choice(found)
    return chosen


class Level(NamedTuple):
    """A damage at one strength."""

    setting: str  # for the reader
    damage: Callable[[str, float, np.random.Generator], str]
    share: float

    def apply(self, text: str, random: np.random.Generator) -> str:
        """Returns the damaged text."""
        return self.damage(text, self.share, random)


DAMAGES: dict[str, tuple[Level, ...]] = {
    "typos": tuple(
        Level(f"{x:.0%} of the letters", make_typos, x) for x in (0.05, 0.1, 0.2)
    ),
    "words dropped": tuple(
        Level(f"{x:.0%} of the words", drop_words, x) for x in (0.25, 0.5, 0.75)
    ),
    "words shuffled": (
        Level(
            "any other order", lambda text, _, random: shuffle_words(text, random), 1
        ),
    ),
}


def _mistype(
    pair: list[str], text: str, letters: Sequence[int], random: np.random.Generator
) -> list[str]:
    """Returns what becomes of a letter and the character behind it, if there is one."""
    letter, rest = pair[0], pair[1:]
    kind = random.integers(4)
    if kind == 0:
        return rest
    if kind == 1:
        return [letter, letter, *rest]
    if kind == 2 and rest and rest[0] != letter:
        return [*rest, letter]
    if letter.lower() in _LATIN:
        others = [other for other in _LATIN if other != letter.lower()]
    else:
        others = sorted({text[i] for i in letters} - {letter}) or [letter * 2]
    return [others[random.integers(len(others))], *rest]
