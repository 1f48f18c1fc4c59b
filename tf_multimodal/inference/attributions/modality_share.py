"""How much of an answer is the image's and how much the text's."""

from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel


def compute_contributions(
    cut: CutModel, inputs: dict[str, Any], states: dict[str, Any], target: Any
) -> tuple[Any, Any]:
    """Returns the Shapley values of image and text, float32 [b] each.

    The two are the players; one that is out is replaced by the embedding that the
    model learned for what is missing. Their sum is the score with both less the score
    with neither. Shapley 1953; for modalities: Parcalabescu & Frank 2023, MM-SHAP
    (arXiv:2212.08158), which has each word and each part of the image for a player,
    at the cost of thousands of calls.

    Args:
        cut: a model that reads images and texts.
        inputs: tensors by key of `spec`.
        states: of `cut.encode(inputs)`.
        target: int32 [b], the classes.
    """
    rows = len(target)
    # One call for all: (image, text) in and out.
    states, inputs, target = tf.nest.map_structure(
        lambda tensor: tf.repeat(tensor[tf.newaxis], 4, axis=0),
        (states, inputs, target),
    )
    present = {
        spec.HAS_IMAGE: inputs[spec.HAS_IMAGE] & [[True], [True], [False], [False]],
        spec.HAS_TEXT: inputs[spec.HAS_TEXT] & [[True], [False], [True], [False]],
    }
    flat = tf.nest.map_structure(
        lambda tensor: tf.reshape(tensor, (4 * rows, *tensor.shape[2:])),
        (states, {**inputs, **present}, target),
    )
    both, image, text, none = tf.reshape(cut.score(*flat), (4, rows))
    return (
        ((image - none) + (both - text)) / 2,
        ((text - none) + (both - image)) / 2,
    )


def compute_shares(image: float, text: float) -> tuple[float | None, float | None]:
    """Returns the shares of |image| and |text|, 0 to 1, that sum to 1.

    Args:
        image, text: contributions; of a modality that the model does not read, 0.

    Returns:
        None for both where neither contributes anything.
    """
    total = abs(image) + abs(text)
    if total == 0:
        return None, None
    return abs(image) / total, abs(text) / total
