"""What each word piece adds to an answer: integrated gradients over embeddings."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel
from tf_multimodal.models.image_text_backbone import TOKEN_STATES
from tf_multimodal.models.layers import TOKEN_KEYS

TOLERANCE = 0.01  # of the score's difference
# Below this difference in score, rounding of float32 would be a large part of it.
_LEAST_DIFFERENCE = 1e-3
_FIRST_STEPS, _MOST_STEPS = 32, 1024
_POINTS = 128  # points of paths in a call


def compute_piece_scores(
    cut: CutModel,
    inputs: dict[str, Any],
    states: dict[str, Any],
    target: Any,
    pad_token_id: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores of word pieces float32 [b, t], and their gaps float32 [b].

    The scores of a row sum to the class's score with the text less the score with
    [PAD] in the place of every piece between [CLS] and [SEP]: Sundararajan et al.
    2017, Axiomatic Attribution for Deep Networks (arXiv:1703.01365), proposition 1.
    The path's integral is taken by Gauss and Legendre, with twice as many steps until
    the gap is at most TOLERANCE or there are 1024 of them. The gap is the absolute
    difference of the two, relative to the score's difference (or to 0.001, if that is
    less).

    Args:
        cut: a model that reads texts.
        inputs: tensors by key of `spec`, of rows with a text.
        states: of `cut.encode(inputs)`.
        target: int32 [b], the classes.
        pad_token_id: of the tokenizer.
    """
    rows = len(target)
    scores, gaps = np.zeros(inputs[spec.TOKEN_IDS].shape, np.float32), np.ones(rows)
    baseline = _make_baseline(inputs, pad_token_id)
    ends, starts = cut.embed(inputs), cut.embed(baseline)
    score = cut.score(states, inputs, target).numpy()
    blank = {**states, TOKEN_STATES: cut.read(starts, inputs)}
    difference = score - cut.score(blank, inputs, target).numpy()
    open_rows, steps = np.arange(rows), _FIRST_STEPS
    while len(open_rows) and steps <= _MOST_STEPS:
        gradients = _integrate(
            cut, inputs, states, target, starts, ends, open_rows, steps
        )
        ways = tf.gather(ends - starts, open_rows)
        found = tf.reduce_sum(gradients * ways, axis=-1).numpy()
        missed = np.abs(found.sum(axis=1) - difference[open_rows])
        least = np.maximum(np.abs(difference[open_rows]), _LEAST_DIFFERENCE)
        scores[open_rows], gaps[open_rows] = found, missed / least
        open_rows, steps = np.flatnonzero(gaps > TOLERANCE), steps * 2
    return scores, gaps.astype(np.float32)


def _make_baseline(inputs: dict[str, Any], pad_token_id: int) -> dict[str, Any]:
    """Returns the inputs with [PAD] between [CLS], at the front, and [SEP]."""
    token_ids, mask = inputs[spec.TOKEN_IDS], inputs[spec.PADDING_MASK]
    places = tf.range(tf.shape(token_ids)[1])[tf.newaxis]
    last = tf.reduce_sum(mask, axis=1, keepdims=True) - 1
    is_word = tf.logical_and(places > 0, places < last)
    return {**inputs, spec.TOKEN_IDS: tf.where(is_word, pad_token_id, token_ids)}


def _integrate(
    cut: CutModel,
    inputs: dict[str, Any],
    states: dict[str, Any],
    target: Any,
    starts: Any,
    ends: Any,
    rows: np.ndarray,
    steps: int,
) -> Any:
    """Returns the mean gradients [n, t, e] on the straight ways of some rows."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    row = np.repeat(rows, steps)
    share = np.tile((nodes + 1) / 2, len(rows)).astype(np.float32)
    gradients = []
    for first in range(0, len(row), _POINTS):
        chosen = row[first : first + _POINTS]
        place = share[first : first + _POINTS, np.newaxis, np.newaxis]
        start, end = tf.gather(starts, chosen), tf.gather(ends, chosen)
        points = start + tf.cast(place, start.dtype) * (end - start)
        keys = (*TOKEN_KEYS, spec.HAS_TEXT, spec.HAS_IMAGE)
        part = {key: tf.gather(inputs[key], chosen) for key in keys if key in inputs}
        rest = {
            key: tf.gather(value, chosen)
            for key, value in states.items()
            if key != TOKEN_STATES
        }
        gradients.append(
            cut.differentiate(points, part, rest, tf.gather(target, chosen))
        )
    shape = (len(rows), steps, *ends.shape[1:])
    stacked = tf.reshape(tf.cast(tf.concat(gradients, axis=0), tf.float32), shape)
    return tf.einsum("ns...,s->n...", stacked, tf.constant(weights / 2, tf.float32))
