"""Evaluation while a run trains: one data set and one graph, used many times.

Weighted by `source.weights`, as `evaluate` is.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_multimodal.data import pipeline
from tf_multimodal.data.share import Share
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
        share: the rows of each batch that this worker predicts; None: all.
        predict: see `predictions.predict_dataset`.
        gather: returns what each of the workers gives, in their order, so that all
            get the same metrics of all rows; None: there is one worker.
        check: called before each batch; what it raises ends the evaluation.

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
        share: Share | None = None,
        predict: predictions.Predict = predictions.predict_logits,
        gather: Callable[[bytes], list[bytes]] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._predict, self._gather, self._check = predict, gather, check
        self.model, self.source, self.indices = model, source, indices
        self.max_image_px = preprocessor.max_image_px
        splits = " and ".join(sorted(set(source.splits[indices])))
        name = f"the split {splits} of {source.name}"
        metrics.check_weights(source.weights[indices], name)
        self.dataset = pipeline.make_eval_dataset(
            source, indices, preprocessor, batch_size=batch_size, share=share
        )

    def compute_metrics(self) -> dict[str, float]:
        """Returns `loss` (without smoothing), `accuracy`, `macro_f1`; {} of no rows.

        Of label sets the accuracy is that of `label_set_metrics`: all of a row's.
        """
        if not len(self.indices):
            return {}
        batches = predictions.predict_dataset(
            self.model, self.source, self._iterate(), self.max_image_px, self._predict
        )
        found = predictions.concatenate(list(batches), self.model.num_classes)
        if self._gather is not None:
            found = _join(self._gather(_pack(found)), found.multi_label)
        values = scores.compute_metrics(self.source, found)
        return {name: float(values[name]) for name in NAMES}

    def _iterate(self) -> Iterator[Any]:
        for batch in self.dataset:
            if self._check is not None:
                self._check()
            yield batch


def _pack(found: predictions.Predictions) -> bytes:
    file = io.BytesIO()
    np.savez(file, index=found.index, probabilities=found.probabilities)
    return file.getvalue()


def _join(parts: list[bytes], multi_label: bool) -> predictions.Predictions:
    """Returns the workers' predictions in the rows' order: what metrics need."""
    loaded = [np.load(io.BytesIO(part), allow_pickle=False) for part in parts]
    index = np.concatenate([part["index"] for part in loaded])
    order = np.argsort(index, kind="stable")
    nothing = [""] * len(index)
    return predictions.Predictions(
        index=index[order],
        probabilities=np.concatenate([part["probabilities"] for part in loaded])[order],
        status=nothing,
        reasons=nothing,
        usable=np.ones(len(index), bool),
        multi_label=multi_label,
    )
