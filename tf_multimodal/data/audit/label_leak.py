"""How far the text alone gives the label away."""

from typing import Any

import numpy as np

from tf_multimodal.data.audit.finding import list_labels
from tf_multimodal.data.audit.texts import iterate_texts
from tf_multimodal.data.labels import contains_class_word
from tf_multimodal.data.source import Source

SAMPLED_ROWS = 20_000  # more are sampled, so that this takes no more than minutes
MAX_CLASSES = 100  # that the linear model tells apart: the most frequent ones
MAX_WORDS = 50_000
FOLDS = 5
# A word, or a sign of a script that is written without spaces.
TOKEN = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"


def measure_leak(source: Source, seed: int = 0) -> dict[str, Any]:
    """Returns how many texts hold their class name, and what words alone predict.

    Args:
        source: the rows; those with a text and a label are looked at.
        seed: of the sample, where there are more than `SAMPLED_ROWS`.

    Returns:
        `rows` that were looked at, `with_class_name` (count) and its share, and
        `bag_of_words`: accuracy of the linear model on rows of other groups than it
        was fitted on, beside that of always saying the most frequent label; or the
        `reason` why there is none.
    """
    indices = np.arange(len(source))
    if len(indices) > SAMPLED_ROWS:
        generator = np.random.default_rng(seed)
        indices = np.sort(generator.choice(indices, SAMPLED_ROWS, replace=False))
    rows, texts, labels = [], [], []
    for index, captions in iterate_texts(source, indices):
        text = " ".join(t for t in captions if isinstance(t, str) and t.strip())
        row_labels = list_labels(source, index)
        if text and row_labels:
            rows.append(index)
            texts.append(text)
            labels.append(tuple(row_labels))
    named = sum(
        any(contains_class_word(text, source.classes[label]) for label in row_labels)
        for text, row_labels in zip(texts, labels, strict=True)
    )
    return {
        "rows": len(rows),
        "sampled": len(source) > SAMPLED_ROWS,
        "with_class_name": named,
        "with_class_name_share": named / len(rows) if rows else None,
        "bag_of_words": _classify_words(source, np.array(rows, int), texts, labels),
    }


def _classify_words(
    source: Source, rows: np.ndarray, texts: list[str], labels: list[tuple[int, ...]]
) -> dict[str, Any]:
    """Cross-validates a linear model on the words; whole groups are held out."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    # Several labels of a row are one answer: all of them are right, or none is.
    answers, truth, counts = np.unique(
        np.array([" ".join(map(str, row)) for row in labels], object).astype(str),
        return_inverse=True,
        return_counts=True,
    )
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
    chosen = np.flatnonzero(np.isin(truth, frequent))
    truth = truth[chosen]
    groups = np.unique(
        np.asarray(source.groups[rows[chosen]], object).astype(str), return_inverse=True
    )[1]
    folds = min(FOLDS, len(set(groups.tolist())))
    if len(set(truth.tolist())) < 2 or folds < 2:
        return {"reason": "There are not two labels and two groups of rows with texts."}
    smallest = int(np.bincount(truth)[np.unique(truth)].min())
    splitter = StratifiedGroupKFold if smallest >= folds else GroupKFold
    predicted = np.full(len(chosen), -1)
    majority = np.full(len(chosen), -1)
    words = [texts[i] for i in chosen]
    for fit, held_out in splitter(folds).split(words, truth, groups):
        majority[held_out] = np.bincount(truth[fit]).argmax()
        predicted[held_out] = _predict(
            [words[i] for i in fit], truth[fit], [words[i] for i in held_out]
        )
    return {
        "accuracy": float((predicted == truth).mean()),
        "majority_accuracy": float((majority == truth).mean()),
        "rows": len(chosen),
        "labels": len(set(truth.tolist())),
        "other_labels_left_out": len(answers) - len(frequent),
        "folds": folds,
    }


def _predict(texts: list[str], truth: np.ndarray, others: list[str]) -> np.ndarray:
    """Fits on texts and returns the labels of other ones, int64."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    majority = np.bincount(truth).argmax()
    if len(np.unique(truth)) < 2:
        return np.full(len(others), majority)
    model = make_pipeline(
        TfidfVectorizer(token_pattern=TOKEN, sublinear_tf=True, max_features=MAX_WORDS),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    try:
        return model.fit(texts, truth).predict(others)
    except ValueError:  # "empty vocabulary": no text holds a word
        return np.full(len(others), majority)
