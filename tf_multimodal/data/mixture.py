"""The endless order of training rows, of one source or of a weighted mixture.

A mixture is drawn in windows of 1,000 positions: each part has its share of every
window, to the row, in a shuffled order, and goes through its own rows pass by pass.
What stands at a position is a function of (seed, position) alone.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_multimodal.data import seeds
from tf_multimodal.data.source import Part, Source

WINDOW = 1000  # positions in which the shares of a mixture are exact
_PART = 2**32  # parts draw their passes from places so far apart in one stream


class TrainingOrder:
    """Which row stands at a position of the endless run.

    Without a mixture each pass is an exact permutation of the rows; in a mixture
    each pass of a part is one of its rows.
    """

    def __init__(self, source: Source, indices: np.ndarray, seed: int) -> None:
        """Finds the rows of each part.

        Args:
            source: the rows.
            indices: int64 [n], the rows to train on.
            seed: of the run.

        Raises:
            ValueError: a part of the mixture has no row to train on.
        """
        self._seed = seed
        parts = source.parts or (Part(source.name, 1.0, 0, len(source)),)
        stops = np.array([part.stop for part in parts])
        numbers = np.searchsorted(stops, indices, side="right")
        sizes = np.bincount(numbers, minlength=len(parts))
        _check_sizes(parts, sizes)
        self._is_mixture = len(parts) > 1
        self._sizes = tf.constant(sizes, tf.int64)
        self._starts = tf.constant(np.cumsum(sizes) - sizes, tf.int64)
        if self._is_mixture:
            self._draws = compute_draws([part.weight for part in parts])
            self._places = tf.constant(np.argsort(numbers, kind="stable"), tf.int64)

    def get(self, positions: tf.Tensor) -> tf.Tensor:
        """Returns places in `indices`, int64 [b], of positions, int64 [b]."""
        if not self._is_mixture:
            zeros = tf.zeros_like(positions)
            return self._shuffle(positions, zeros)
        parts, draws = self._schedule(positions)
        places = tf.gather(self._starts, parts) + self._shuffle(draws, parts)
        return tf.gather(self._places, places)

    def _schedule(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the part that is drawn from, and how many draws of it came before."""
        windows = positions // WINDOW
        last = tf.fill(tf.shape(positions), tf.constant(WINDOW - 1, tf.int64))
        ranks = self._permute(positions % WINDOW, last, windows, seeds.WINDOWS)
        counts = self._draws
        part_of_rank = np.repeat(np.arange(len(counts)), counts)
        parts = tf.gather(tf.constant(part_of_rank, tf.int64), ranks)
        firsts = tf.constant(np.cumsum(counts) - counts, tf.int64)
        before = windows * tf.gather(tf.constant(counts, tf.int64), parts)
        return parts, before + ranks - tf.gather(firsts, parts)

    def _shuffle(self, draws: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
        """Maps draws of a part to its rows, each pass in an order of its own."""
        sizes = tf.gather(self._sizes, parts)
        numbers = draws // sizes + parts * _PART
        return self._permute(draws % sizes, sizes - 1, numbers, seeds.SHUFFLE)

    def _permute(
        self, places: tf.Tensor, last: tf.Tensor, numbers: tf.Tensor, purpose: int
    ) -> tf.Tensor:
        """Permutes places from 0 to `last`, in an order for each of the numbers.

        The op's keys must look random: with small numbers it hardly shuffles. And
        `tf.random.experimental.index_shuffle`, its wrapper, takes one key only.
        """

        def make_key(number: tf.Tensor) -> tf.Tensor:
            seed = seeds.make_seed(self._seed, purpose, number)
            return tf.random.stateless_uniform([3], seed, None, None, tf.int32)

        different, which = tf.unique(numbers)
        keys = tf.map_fn(make_key, different, fn_output_signature=tf.int32)
        return tf.raw_ops.RandomIndexShuffle(
            index=places, seed=tf.gather(keys, which), max_index=last, rounds=8
        )


def compute_draws(weights: Sequence[float]) -> np.ndarray:
    """Returns how often each part is drawn in a window, int64 [parts].

    The numbers add up to `WINDOW`; each is its share rounded by the largest
    remainders, and at least 1.

    Args:
        weights: positive, relative to each other.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights) * WINDOW
    draws = np.maximum(np.floor(shares), 1).astype(np.int64)
    while draws.sum() < WINDOW:
        draws[np.argmax(shares - draws)] += 1
    draws[np.argmax(draws)] -= draws.sum() - WINDOW  # what the smallest were given
    return draws


def _check_sizes(parts: Sequence[Part], sizes: np.ndarray) -> None:
    for part, size in zip(parts, sizes, strict=True):
        if not size:
            raise ValueError(
                f"There are no rows of {part.name} to train on. Give it rows of the "
                "split train, or take it out of config.data.mixture."
            )
