"""The loss of a replica whose share of the batch is larger or smaller than others'."""

from typing import Any

import keras
from keras import ops


class ShareOfBatch(keras.losses.Loss):
    """Weighs a replica's gradient by its share of the global batch.

    Keras divides a replica's mean loss by the number of replicas, so that the sum
    over the replicas is the global batch's mean where all shares are equal. Here the
    gradient is scaled by `rows * num_replicas / batch_size`, and the sum is the
    global batch's whatever the shares. The value stays the mean over the replica's
    rows, since Keras's loss metric weighs it by the rows itself.

    Args:
        loss: of a batch; its value is a sum over the rows, divided by their number.
        batch_size: rows of the global batch.
        num_replicas: that it is divided among.
    """

    def __init__(
        self, loss: keras.losses.Loss, batch_size: int, num_replicas: int
    ) -> None:
        super().__init__(name=loss.name, dtype=loss.dtype)
        self.loss, self.batch_size, self.num_replicas = loss, batch_size, num_replicas

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss's value, with the scaled gradient."""
        value = self.loss(y_true, y_pred, sample_weight)
        rows = ops.cast(ops.shape(y_pred)[0], value.dtype)
        factor = rows * self.num_replicas / self.batch_size
        return value + (factor - 1) * (value - ops.stop_gradient(value))

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": keras.losses.serialize(self.loss),
            "batch_size": self.batch_size,
            "num_replicas": self.num_replicas,
        }
