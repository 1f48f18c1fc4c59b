"""A model's probabilities for rows of a source, in order.

One rule for bad input, here and in serving: an image or a text that cannot be used
is masked, the row keeps the scores of what is left, and its status says so.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tf_multimodal.data import pipeline, row_status, spec
from tf_multimodal.data.source import Source
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

BATCH_SIZE = 64
Predict = Callable[[keras.Model, dict[str, Any]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says about some rows of a source.

    Attributes:
        index: int64 [n], rows of the source.
        probabilities: float32 [n, classes]; also where `usable` is False, and
            then they hold nothing but the model's prior.
        status: one of spec.STATUSES for each row.
        reasons: a sentence for each row; empty where the status is `ok`.
        usable: bool [n]; False: the model had neither image nor text to go by.
        multi_label: whether a row may have several labels, or none.
    """

    index: np.ndarray
    probabilities: np.ndarray
    status: list[str]
    reasons: list[str]
    usable: np.ndarray
    multi_label: bool = False

    @property
    def labels(self) -> np.ndarray:
        """The most probable class of each row, int64 [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def label_sets(self) -> np.ndarray:
        """Multi-label: the classes that each row is said to have, bool [n, classes]."""
        return self.probabilities >= spec.THRESHOLD

    def __len__(self) -> int:
        return len(self.index)


def predict_source(
    model: ImageTextClassifier,
    preprocessor: Any,
    source: Source,
    indices: np.ndarray,
    *,
    batch_size: int = BATCH_SIZE,
    mask_images: bool = False,
    mask_texts: bool = False,
    temperature: float = 1.0,
) -> Predictions:
    """Returns the predictions for rows of a source, in their order.

    Args:
        model: may have its preprocessor detached.
        preprocessor: the model's.
        source: the rows.
        indices: int64 [n], which of them.
        batch_size: rows of a batch; the last one is padded.
        mask_images: predict as if no row had an image.
        mask_texts: predict as if no row had a text.
        temperature: divides the logits before they become probabilities.
    """
    batches = predict_batches(
        model,
        preprocessor,
        source,
        indices,
        batch_size=batch_size,
        mask_images=mask_images,
        mask_texts=mask_texts,
        temperature=temperature,
    )
    return concatenate(list(batches), model.num_classes)


def predict_batches(
    model: ImageTextClassifier,
    preprocessor: Any,
    source: Source,
    indices: np.ndarray,
    *,
    batch_size: int = BATCH_SIZE,
    mask_images: bool = False,
    mask_texts: bool = False,
    temperature: float = 1.0,
) -> Iterator[Predictions]:
    """Yields the predictions for rows of a source; see `predict_source`."""
    dataset = pipeline.make_eval_dataset(
        source,
        np.asarray(indices, np.int64),
        preprocessor,
        batch_size=batch_size,
        mask_images=mask_images,
        mask_texts=mask_texts,
    )
    limit = preprocessor.max_image_px
    return predict_dataset(model, source, dataset, limit, temperature=temperature)


def predict_logits(model: keras.Model, inputs: dict[str, Any]) -> np.ndarray:
    """Returns logits [b, classes] of a batch, on one device.

    Args:
        model: may have its preprocessor attached.
        inputs: tensors or arrays by key of `spec`.
    """
    # Keras compiles this once a model. Not `model.predict_on_batch`: with a
    # preprocessor attached KerasHub would apply it a second time. As arrays: other
    # backends do not take TensorFlow's tensors.
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    return keras.Model.predict_on_batch(model, arrays)


def predict_dataset(
    model: ImageTextClassifier,
    source: Source,
    dataset: Iterable[Any],
    max_image_px: int,
    predict: Predict = predict_logits,
    temperature: float = 1.0,
) -> Iterator[Predictions]:
    """Yields the predictions for batches of `pipeline.make_eval_dataset`.

    Args:
        model: may have its preprocessor detached.
        source: the rows that the batches are of.
        dataset: the batches.
        max_image_px: the limit that they were made with, for the reasons.
        predict: returns logits [b, classes] of a batch's inputs.
        temperature: divides the logits before they become probabilities.
    """
    for batch in dataset:
        inputs = batch[spec.INPUTS]
        logits = predict(model, inputs)
        index = batch[spec.INDEX].numpy()
        kept = index >= 0
        status = [spec.STATUSES[code] for code in batch[spec.STATUS].numpy()[kept]]
        usable = np.zeros(int(kept.sum()), bool)
        for key in (spec.HAS_IMAGE, spec.HAS_TEXT):
            if key in inputs:
                usable |= inputs[key].numpy()[kept]
        # Of a good row nothing is read again: its image may be large.
        reasons = [
            ""
            if name == spec.OK
            else row_status.explain(
                name, source.images[i], source.texts[i], max_image_px
            )
            for name, i in zip(status, index[kept].tolist(), strict=True)
        ]
        yield Predictions(
            index=index[kept],
            probabilities=compute_probabilities(
                logits[kept], model.activation, temperature
            ),
            status=status,
            reasons=reasons,
            usable=usable,
            multi_label=model.multi_label,
        )


def compute_probabilities(
    logits: np.ndarray, activation: str = "softmax", temperature: float = 1.0
) -> np.ndarray:
    """Returns the probabilities of logits [n, c], computed in float64, as float32.

    Args:
        logits: of the model.
        activation: the model's, `softmax` or `sigmoid`.
        temperature: divides the logits, which changes no decision (Guo et al. 2017,
            On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2).
    """
    logits = np.asarray(logits, np.float64) / temperature
    if activation == "sigmoid":
        return np.exp(-np.logaddexp(0, -logits)).astype(np.float32)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def concatenate(batches: Sequence[Predictions], num_classes: int) -> Predictions:
    """Joins batches of predictions into one."""
    empty = Predictions(
        index=np.zeros(0, np.int64),
        probabilities=np.zeros((0, num_classes), np.float32),
        status=[],
        reasons=[],
        usable=np.zeros(0, bool),
    )
    parts = [empty, *batches]
    return Predictions(
        index=np.concatenate([part.index for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        status=[status for part in parts for status in part.status],
        reasons=[reason for part in parts for reason in part.reasons],
        usable=np.concatenate([part.usable for part in parts]),
        multi_label=any(part.multi_label for part in parts),
    )
