"""Holds a model in another format against the run, on prepared tensors."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.pipeline import make_eval_dataset
from tf_multimodal.data.source import Source
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How close the two are.

    Attributes:
        rows: rows compared.
        max_difference: largest difference of a probability.
        label_agreement: share of the rows with the same most likely class; of a
            multi-label model, with the same classes from `spec.THRESHOLD` on.
        accuracy_model: share of the labelled rows that the run classifies rightly;
            None where no row has a label.
        accuracy_format: that of the other format.
    """

    rows: int
    max_difference: float
    label_agreement: float
    accuracy_model: float | None
    accuracy_format: float | None

    def describe(self) -> str:
        """Returns the figures as lines for a person."""
        lines = [
            f"rows                {self.rows}",
            f"largest difference  {self.max_difference:.1e} of a probability",
            f"labels agree        {self.label_agreement:.1%}",
        ]
        if self.accuracy_model is not None and self.accuracy_format is not None:
            lines.append(
                f"accuracy            {self.accuracy_format:.1%}; of the run "
                f"{self.accuracy_model:.1%}"
            )
        return "\n".join(lines)


def compare_format(
    predictor: Predictor,
    source: Source,
    indices: np.ndarray,
    run: Callable[[dict[str, np.ndarray]], np.ndarray],
) -> Comparison:
    """Runs the run's model and another format of it on the same tensors.

    Args:
        predictor: the run, in float32.
        source: the rows.
        indices: int64 [n], which of them; at least one.
        run: takes prepared tensors of b rows by the keys of `data/spec.py`, returns
            probabilities, float32 [b, classes].

    Raises:
        ValueError: there are no rows.
    """
    if not len(indices):
        raise ValueError(f"There are no rows of {source.name} to compare formats on.")
    dataset = make_eval_dataset(
        source, indices, predictor.preprocessor, batch_size=BATCH_SIZE
    )
    expected, received, truth = [], [], []
    for batch in dataset:
        index = batch[spec.INDEX].numpy()
        kept = index >= 0
        x = {key: value.numpy()[kept] for key, value in batch[spec.INPUTS].items()}
        # Not `model.predict_on_batch`, which would apply the preprocessor again.
        logits = keras.Model.predict_on_batch(predictor.model, batch[spec.INPUTS])
        activation = predictor.model.activation
        expected.append(
            compute_probabilities(logits[kept], activation, predictor.temperature)
        )
        received.append(run(x))
        truth.append(source.get_truth(index[kept]))
    return compare_probabilities(*map(np.concatenate, (expected, received, truth)))


def compare_probabilities(
    expected: np.ndarray, received: np.ndarray, truth: np.ndarray
) -> Comparison:
    """Returns how far two answers are apart.

    Args:
        expected: float32 [n, classes], of the run.
        received: float32 [n, classes], of the other format.
        truth: int [n], labels, -1 where a row has none; or [n, classes] of 0 and 1,
            label sets.
    """
    is_sets = truth.ndim == 2
    known = np.ones(len(truth), bool) if is_sets else truth >= 0

    def choose(probabilities: np.ndarray) -> np.ndarray:
        if is_sets:
            return probabilities >= spec.THRESHOLD
        return probabilities.argmax(axis=1, keepdims=True)

    def compute_accuracy(probabilities: np.ndarray) -> float | None:
        if not known.any():
            return None
        correct = choose(probabilities) == truth.reshape(len(truth), -1)
        return float(correct.all(axis=1)[known].mean())

    return Comparison(
        rows=len(truth),
        max_difference=float(np.abs(expected - received).max()),
        label_agreement=float((choose(expected) == choose(received)).all(1).mean()),
        accuracy_model=compute_accuracy(expected),
        accuracy_format=compute_accuracy(received),
    )
