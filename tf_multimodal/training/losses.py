"""The classification loss."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tf_multimodal")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels against logits, with label smoothing.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision"
    (2016), section 7. Computed in float32; the sum over the batch, weighted, is
    divided by the batch size and not by the weights' sum, so that shards of a
    batch add up to the whole.

    Args:
        label_smoothing: float in [0, 1); share of the label's probability that is
            spread over all classes.
    """

    def __init__(
        self, label_smoothing: float = 0.0, name: str = "smoothed_crossentropy"
    ) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):  # type: ignore[no-untyped-def]
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
        own = ops.take_along_axis(log_probabilities, labels, axis=-1)[:, 0]
        spread = ops.mean(log_probabilities, axis=-1)
        return -(1 - self.label_smoothing) * own - self.label_smoothing * spread

    def get_config(self) -> dict:
        return {"name": self.name, "label_smoothing": self.label_smoothing}
