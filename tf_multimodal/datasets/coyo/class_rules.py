"""The class of a row: by words of its text, or by machine-made labels."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tf_multimodal.datasets.coyo.recipe import ClassRule

NO_CLASS = -1
SEVERAL_CLASSES = -2
# Of RE2, which pyarrow uses: letters, marks (vowels in many scripts) and digits.
_NO_WORD = r"[^\p{L}\p{M}\p{N}]"


def classify_texts(texts: pa.ChunkedArray, rules: Sequence[ClassRule]) -> np.ndarray:
    """Returns the class whose keywords a text holds, as whole words in any case.

    Args:
        texts: strings; null holds no word.
        rules: of the classes.

    Returns:
        int64 [n]: position in `rules`, `NO_CLASS` or `SEVERAL_CLASSES`.
    """
    every_word = [word for rule in rules for word in rule.keywords]
    rows = np.flatnonzero(
        _find_words(texts, every_word)
    )  # few, so that the rest is quick
    result = np.full(len(texts), NO_CLASS)
    texts = texts.take(rows)
    hits = np.zeros((len(rules), len(rows)), bool)
    for index, rule in enumerate(rules):
        hits[index] = _find_words(texts, rule.keywords)
        if rule.without:
            hits[index] &= ~_find_words(texts, rule.without)
    counts = hits.sum(axis=0)
    result[rows[counts == 1]] = hits[:, counts == 1].argmax(axis=0)
    result[rows[counts > 1]] = SEVERAL_CLASSES
    return result


def classify_labels(
    labels: pa.ChunkedArray,
    probs: pa.ChunkedArray,
    rules: Sequence[ClassRule],
    min_prob: float,
) -> np.ndarray:
    """Returns the most likely of the classes.

    Args:
        labels: lists of label ids, as in COYO-Labeled-300M.
        probs: lists of their probabilities.
        rules: of the classes.
        min_prob: smallest probability that counts.

    Returns:
        int64 [n]: position in `rules`, or `NO_CLASS`.

    Raises:
        ValueError: a row has not as many probabilities as labels.
    """
    lists = labels.combine_chunks(), probs.combine_chunks()
    lengths = [pc.fill_null(pc.list_value_length(item), 0) for item in lists]
    if not lengths[0].equals(lengths[1]):
        raise ValueError("COYO-Labeled has a row with more labels than probabilities.")
    rows = pc.list_parent_indices(lists[0]).to_numpy()
    ids, values = (pc.list_flatten(item).to_numpy(False) for item in lists)
    class_of = {i: place for place, rule in enumerate(rules) for i in rule.label_ids}
    kept = np.isin(ids, list(class_of)) & (values >= min_prob)
    rows, ids, values = rows[kept], ids[kept], values[kept]
    order = np.lexsort((-values, rows))
    rows, first = np.unique(rows[order], return_index=True)
    result = np.full(len(labels), NO_CLASS)
    result[rows] = [class_of[i] for i in ids[order][first]]
    return result


def has_script(
    texts: pa.ChunkedArray, scripts: Sequence[str], share: float
) -> np.ndarray:
    """Returns whether so many of a text's letters are of these scripts, bool [n].

    A text without a letter has no script, and so none of these.

    Args:
        texts: strings.
        scripts: names of Unicode scripts, as RE2 knows them: `Latin`, `Han`.
        share: of the letters, 0 to 1.

    Raises:
        ValueError: there is no such script.
    """
    pattern = "[" + "".join(rf"\p{{{name}}}" for name in scripts) + "]"
    try:
        known = pc.count_substring_regex(texts, pattern)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"'scripts' must name Unicode scripts such as Latin, Cyrillic or Han. "
            f"Received: {', '.join(scripts)}"
        ) from error
    letters = pc.count_substring_regex(texts, r"\p{L}")
    known, letters = (pc.fill_null(item, 0).to_numpy() for item in (known, letters))
    return (letters > 0) & (known >= share * letters)


def mask_keywords(
    texts: pa.ChunkedArray, rules: Sequence[ClassRule]
) -> pa.ChunkedArray:
    """Returns the texts without the keywords of any class, white space tidied."""
    words = [word for rule in rules for word in rule.keywords]
    if words:
        pattern = f"(?i){_make_pattern(words)}"
        for _ in range(2):  # a match takes the space that the next one starts with
            texts = pc.replace_substring_regex(texts, pattern, r"\1 \2")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))


def _find_words(texts: pa.ChunkedArray, phrases: Sequence[str]) -> np.ndarray:
    hits = pc.match_substring_regex(texts, _make_pattern(phrases), ignore_case=True)
    return pc.fill_null(hits, False).to_numpy()


def _make_pattern(phrases: Sequence[str]) -> str:
    spelled = (r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return rf"(^|{_NO_WORD})(?:{'|'.join(spelled)})({_NO_WORD}|$)"
