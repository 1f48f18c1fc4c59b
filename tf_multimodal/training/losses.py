"""The classification losses, and the metric that is shown beside them."""

import keras
import ml_collections
from keras import ops


def make_loss(
    config: ml_collections.ConfigDict, multi_label: bool
) -> keras.losses.Loss:
    """Returns the loss on logits, with `config.train.label_smoothing`.

    Multi-label: binary cross-entropy, averaged over the classes, of labels float
    [b, classes]. Else cross-entropy of labels int [b].

    Args:
        config: the whole config.
        multi_label: whether a row may have several labels, or none.

    Raises:
        ValueError: balanced class weights of rows with several labels.
    """
    smoothing = config.train.label_smoothing
    if not multi_label:
        return SmoothedCrossentropy(smoothing)
    if config.train.class_weights != "none":
        raise ValueError(
            f"config.train.class_weights={config.train.class_weights!r} weighs a row "
            "by its one label, and config.data.columns.labels gives several. Set "
            "config.train.class_weights='none'; config.data.columns.weight can weigh "
            "rows one by one."
        )
    return keras.losses.BinaryCrossentropy(
        from_logits=True, label_smoothing=smoothing, dtype="float32"
    )


def make_metrics(multi_label: bool) -> list[keras.metrics.Metric]:
    """Returns the weighted metrics of training, on logits: `accuracy`.

    Args:
        multi_label: whether a row may have several labels, or none; then a row
            counts as right when all its labels are, each cut at probability 0.5.
    """
    if multi_label:
        return [keras.metrics.MeanMetricWrapper(match_all, name="accuracy")]
    return [keras.metrics.SparseCategoricalAccuracy("accuracy")]


@keras.saving.register_keras_serializable(package="tf_multimodal")
def match_all(y_true, y_pred):  # type: ignore[no-untyped-def]
    """Returns 1 where the logits y_pred have the sign of all labels y_true, [b]."""
    right = ops.equal(ops.cast(y_true, "bool"), ops.greater_equal(y_pred, 0))
    return ops.cast(ops.all(right, axis=-1), "float32")


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
