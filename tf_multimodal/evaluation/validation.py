"""Evaluation while a run trains: one data set and one graph, used many times.

Weighted by `source.weights`, as `evaluate` is.
"""

from typing import Any

import numpy as np

from tf_multimodal.data import pipeline
from tf_multimodal.data.source import Source
from tf_multimodal.evaluation import metrics, scores
from tf_multimodal.inference import predictions
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

NAMES = ("loss", "accuracy", "macro_f1")


class Validation:
    """Metrics of a model, as it is at the moment, on some rows of a source.

    Args:
        model: may have its preprocessor detached.
        preprocessor: the model's.
        source: the rows.
        indices: int64 [n], which of them; each counts by its weight.
        batch_size: rows of a batch.

    Raises:
        ValueError: all rows have weight 0.
    """

    def __init__(
        self,
        model: ImageTextClassifier,
        preprocessor: Any,
        source: Source,
        indices: np.ndarray,
        batch_size: int,
    ) -> None:
        self.model, self.source, self.indices = model, source, indices
        self.max_image_px = preprocessor.max_image_px
        splits = " and ".join(sorted(set(source.splits[indices])))
        name = f"the split {splits} of {source.name}"
        metrics.check_weights(source.weights[indices], name)
        self.dataset = pipeline.make_eval_dataset(
            source, indices, preprocessor, batch_size=batch_size
        )

    def compute_metrics(self) -> dict[str, float]:
        """Returns `loss` (without smoothing), `accuracy`, `macro_f1`; {} of no rows.

        Of label sets the accuracy is that of `label_set_metrics`: all of a row's.
        """
        if not len(self.indices):
            return {}
        batches = predictions.predict_dataset(
            self.model, self.source, self.dataset, self.max_image_px
        )
        found = predictions.concatenate(list(batches), self.model.num_classes)
        values = scores.compute_metrics(self.source, found)
        return {name: float(values[name]) for name in NAMES}
