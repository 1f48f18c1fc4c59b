"""Rows whose label is likely wrong: what the model is sure that they are not.

Confident learning: Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating
Uncertainty in Dataset Labels, JAIR 70, arXiv:1911.00068; its authors' package
cleanlab computes it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation.report import presence
from tf_multimodal.evaluation.report.collect import Collected

COUNT = 24  # that the page shows first
_SHARE, _MOST = 0.1, 200  # of the rows that are listed
_METHOD = (
    "Ranked by the probability that the model gives to the label, the lowest first "
    "(self-confidence); how many labels are wrong in all is estimated by confident "
    "learning (Northcutt et al. 2021)."
)
_SETS_METHOD = (
    "Ranked by the probabilities that the model gives to the labels, and to the "
    "absence of the others, the lowest counting most (self-confidence); how many rows "
    "are wrong in all is estimated by confident learning, class by class."
)
_SEEN = (
    "The model was trained on these labels, so that it may have learned wrong ones by "
    "heart: fewer are found here than on rows that it has not seen."
)
_JUDGE = (
    "A suspect is not an error: the model may be wrong as well. Look at the row, and "
    "correct the label only where you would have given another."
)


def make_suspects(collected: Collected, count: int | None = None) -> dict[str, Any]:
    """Returns the section `suspects`: rows to look at, the most suspect first.

    It lists 10 % of the rows, at least `COUNT` and at most 200: twice as many as are
    wrong where 5 % are. `shown` is how many of them the page shows at first.

    The ranking is by self-confidence. On the out-of-fold predictions of openclipart
    (2,828 rows, accuracy 74 %) with 5 % of the labels flipped on purpose, the first
    2 x as many suspects held, as the mean of 20 draws, 79 % of those flipped to any
    class and 73 % of those flipped to a class that the model confuses with the true
    one; the 200 that are listed of so many rows held 68 % and 61 %, and the 43 of a
    draw of 424 rows 80 % and 74 %. Of those flipped to any class the normalized margin
    found 70 %, the weighted entropy 74 %, the candidates that confident learning prunes
    by noise rate 76 %, and self-confidence less the class's mean (for classes of unlike
    difficulty) 50 %.

    `given_probability` is that of the label, `suggested_probability` that of the
    model's answer; of label sets they are those of the class where they
    differ most.

    A row that the model has no input of is left out, as are rows of weight 0 and those
    whose label the model gives, too.

    Args:
        collected: the split.
        count: rows that are listed, at most; None: as above.
    """
    kept = np.flatnonzero((collected.weights > 0) & presence.find_inputs(collected))
    truth, probabilities = collected.truth[kept], collected.probabilities()[kept]
    several = len(np.unique(truth, axis=0)) > 1
    if not several:
        return {
            "not_available": "All rows that could be judged have the same label: there "
            "is nothing that one could be mistaken for."
        }
    scores = (_score_sets if collected.multi_label else _score)(truth, probabilities)
    answers = _find_answers(collected.multi_label, probabilities)
    given = truth > 0 if collected.multi_label else _find_given(truth, probabilities)
    differs = (given != answers).any(axis=1)
    if count is None:
        count = min(max(COUNT, math.ceil(_SHARE * len(kept))), _MOST)
    order = np.argsort(scores, kind="stable")
    order = order[differs[order]][:count]
    estimated = _estimate(truth, probabilities, collected.multi_label)
    return {
        "method": _SETS_METHOD if collected.multi_label else _METHOD,
        "estimated": estimated,
        "estimated_share": estimated / len(kept),
        "shown": COUNT,
        "rows": [
            _make_row(
                int(kept[place]),
                given[place],
                answers[place],
                probabilities[place],
                float(scores[place]),
                collected.classes,
            )
            for place in order
        ],
        "notes": [_JUDGE, *([_SEEN] if collected.split == "train" else [])],
    }


def _score(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the self-confidence of each label, float [n]."""
    from cleanlab import rank

    return rank.get_label_quality_scores(
        truth, probabilities, method="self_confidence", adjust_pred_probs=False
    )


def _score_sets(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the same of label sets: Thyagarajan et al. 2022, arXiv:2211.13895."""
    if truth.shape[1] == 1:  # cleanlab takes none of one class
        return np.where(truth > 0, probabilities, 1 - probabilities)[:, 0]
    from cleanlab import multilabel_classification

    return multilabel_classification.get_label_quality_scores(
        _list_labels(truth), probabilities, method="self_confidence"
    )


def _estimate(truth: np.ndarray, probabilities: np.ndarray, is_sets: bool) -> int:
    """Returns how many rows confident learning counts as wrong.

    Of label sets these are the rows that are in any class; a class that all rows have,
    or none, has no rows that it could be learned from (cleanlab raises there).
    """
    if not is_sets:
        from cleanlab import count

        return int(count.num_label_issues(truth, probabilities))
    from cleanlab import filter as filters

    found = np.zeros(len(truth), bool)
    for given, has in zip((truth > 0).T, probabilities.T, strict=True):
        if given.any() and not given.all():
            both = np.stack([1 - has, has], axis=1)
            # One process: others would be forks of one that holds TensorFlow's threads.
            found |= filters.find_label_issues(given.astype(int), both, n_jobs=1)
    return int(found.sum())


def _list_labels(truth: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in truth]


def _find_given(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return np.arange(probabilities.shape[1]) == truth[:, None]


def _find_answers(is_sets: bool, probabilities: np.ndarray) -> np.ndarray:
    """Returns bool [n, c], the labels that the model would give."""
    if is_sets:
        return probabilities >= spec.THRESHOLD
    return _find_given(probabilities.argmax(axis=1), probabilities)


def _make_row(
    position: int,
    given: np.ndarray,
    answer: np.ndarray,
    probabilities: np.ndarray,
    score: float,
    classes: Sequence[str],
) -> dict[str, Any]:
    def name(found: np.ndarray) -> list[str]:
        return [classes[label] for label in np.flatnonzero(found).tolist()]

    is_one = given.sum() == answer.sum() == 1
    doubted = float(np.where(given, probabilities, 1 - probabilities).min())
    label = float(probabilities[given].sum()) if is_one else doubted
    suggestion = float(probabilities[answer].sum()) if is_one else 1 - doubted
    return {
        "position": position,
        "given": name(given),
        "suggested": name(answer),
        "given_probability": label,
        "suggested_probability": suggestion,
        "score": score,
    }
