"""Where an image speaks for a class: Grad-CAM over the image encoder's maps."""

from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel
from tf_multimodal.models.image_text_backbone import FEATURE_MAP


def compute_heat_maps(
    cut: CutModel, inputs: dict[str, Any], states: dict[str, Any], target: Any
) -> Any:
    """Returns heat maps float32 [b, s, s] at the network's image size.

    Each is 0 to 1 where something speaks for the class, else all 0; of a row without
    an image it means nothing. Maps are weighted with the mean gradient of the class's
    score, summed, and cut off below 0: Selvaraju et al. 2017, Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization, equations 1 and 2
    (arXiv:1610.02391). Maps are the encoder's last ones, or where these have fewer
    than 4 x 4 cells, the last ones of as many.

    Args:
        cut: a model that reads images.
        inputs: tensors by key of `spec`.
        states: of `cut.encode(inputs)`.
        target: int32 [b], the classes.
    """
    maps = cut.make_maps(inputs)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        seen = {**states, FEATURE_MAP: cut.finish_maps(maps)}
        score = cut.score(seen, inputs, target)
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat = tf.cast(tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)), tf.float32)
    size = inputs[spec.IMAGES].shape[1:3]
    heat = tf.image.resize(heat[..., tf.newaxis], size, method="bilinear")[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))
