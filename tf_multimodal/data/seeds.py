"""What the random numbers of a run are for: each purpose has its own stream."""

import tensorflow as tf

SHUFFLE, IMAGE, TOKENS, MODALITIES = range(4)
# Beyond the streams above of any seed.
CAPTIONS, WINDOWS = 2**40, 2**40 + 1


def make_seed(seed: int, purpose: int, number: tf.Tensor) -> tf.Tensor:
    """Returns int64 [2]: a stream of the run's seed, and a place in it.

    Args:
        seed: of the run.
        purpose: one of the constants above.
        number: int64 scalar, what is different in every use.
    """
    return tf.stack([tf.constant(seed * 4 + purpose, tf.int64), number])
