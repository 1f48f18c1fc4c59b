"""Evaluation while a run trains: one data set and one graph, used many times.

Weighted by `source.weights`, as `evaluate` is. Its pictures are made of the same
predictions: of the same weights they are the same to the last pixel.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import pipeline
from tf_multimodal.data.share import Share
from tf_multimodal.data.source import Source
from tf_multimodal.evaluation import metrics, plots, scores
from tf_multimodal.inference import predictions
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

NUM_EXAMPLES = 8
MAX_CONFUSION_CLASSES = 40  # of more a matrix cannot be read
_EXAMPLE_PX = 256  # longest side of an example's image


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
        self._examples = plots.choose_rows(source, indices, NUM_EXAMPLES)
        self._images: list[np.ndarray | None] | None = None
        self._shown: predictions.Predictions | None = None
        self._confusion: list[list[int]] | None = None

    def describe_confusion(self) -> str:
        """Returns why `draw_pictures` has no confusion matrix; empty where it has."""
        if self.source.label_sets is not None:
            return "rows may have several labels"
        if (count := len(self.source.classes)) > MAX_CONFUSION_CLASSES:
            return f"{count} classes are more than {MAX_CONFUSION_CLASSES}"
        return ""

    def compute_metrics(self) -> dict[str, float]:
        """Returns the headline metrics of `scores.compute_metrics`; {} of no rows.

        The loss is without smoothing. Of label sets the accuracy is that of
        `label_set_metrics`: all of a row's.
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
        del values["examples"]  # the same each time
        self._shown = _select(found, np.isin(found.index, self._examples))
        if not self.describe_confusion():
            self._confusion = scores.compute_confusion(self.source, found)
        return {name: float(value) for name, value in values.items()}

    def draw_pictures(self) -> dict[str, np.ndarray]:
        """Returns pictures of what `compute_metrics` found last; {} of no rows.

        Returns:
            uint8 [h, w, 3] by name: `examples`, always the same rows, with label and
            prediction; `confusion_matrix`, counts of rows, unless
            `describe_confusion` says why not.
        """
        if self._shown is None:
            return {}
        if self._images is None:
            images = self.source.images[self._shown.index]
            self._images = [self._read_small(image) for image in images]
        pictures = {
            "examples": plots.render_examples(self.source, self._shown, self._images)
        }
        if self._confusion is not None:
            pictures["confusion_matrix"] = plots.render_confusion(
                self._confusion, self.source.classes
            )
        return pictures

    def _read_small(self, image: bytes | str) -> np.ndarray | None:
        """Returns an example's pixels: few, since they are kept for the next time."""
        pixels = plots.read_image(image, self.max_image_px)
        if pixels is None or max(pixels.shape) <= _EXAMPLE_PX:
            return pixels
        size = (_EXAMPLE_PX, _EXAMPLE_PX)
        small = tf.image.resize(
            pixels, size, "area", preserve_aspect_ratio=True, antialias=True
        )
        return np.asarray(tf.cast(tf.round(small), tf.uint8))

    def _iterate(self) -> Iterator[Any]:
        for batch in self.dataset:
            if self._check is not None:
                self._check()
            yield batch


def _select(
    found: predictions.Predictions, kept: np.ndarray
) -> predictions.Predictions:
    """Returns some rows of predictions, copied; kept: bool [n]."""
    index = found.index[kept]
    nothing = [""] * len(index)
    return predictions.Predictions(
        index=index,
        probabilities=found.probabilities[kept],
        status=nothing,
        reasons=nothing,
        usable=found.usable[kept],
        multi_label=found.multi_label,
    )


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
