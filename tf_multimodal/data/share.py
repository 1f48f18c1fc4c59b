"""Which rows of each global batch a worker makes."""

from typing import Any, NamedTuple

import tensorflow as tf


class Share(NamedTuple):
    """Rows `start` to `stop` (not included) of every global batch."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Rows of this worker in each batch."""
        return self.stop - self.start

    def cut(self, batch: Any) -> Any:
        """Returns the worker's rows of a global batch, a tensor [b, ...]."""
        return batch[self.start : self.stop]

    def draw(self, batch_size: int, *shape: int, seed: tf.Tensor) -> tf.Tensor:
        """Returns the worker's rows of what is drawn for a whole global batch.

        Args:
            batch_size: rows of the global batch.
            *shape: of what is drawn for a row.
            seed: int64 [2].

        Returns:
            float32 [size, *shape], in [0, 1).
        """
        return self.cut(tf.random.stateless_uniform([batch_size, *shape], seed))
