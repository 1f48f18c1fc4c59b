"""Layers of the backbone: called encoders, and stand-ins for what is missing."""

from typing import Any

import keras
from keras import ops

from tf_multimodal.data import spec

TOKEN_KEYS = (spec.TOKEN_IDS, spec.PADDING_MASK, spec.SEGMENT_IDS)


def fold_pixels(images: Any, block_size: int) -> Any:
    """Folds square blocks of pixels into channels (space to depth).

    Args:
        images: float [b, h, w, c]; h and w are multiples of `block_size`.
        block_size: side of a block in pixels.

    Returns:
        float [b, h / block_size, w / block_size, c * block_size ** 2].
    """
    _, height, width, channels = images.shape
    rows, columns = height // block_size, width // block_size
    blocks = (-1, rows, block_size, columns, block_size, channels)
    images = ops.transpose(ops.reshape(images, blocks), (0, 1, 3, 2, 4, 5))
    return ops.reshape(images, (-1, rows, columns, channels * block_size**2))


def _select_states(outputs: Any) -> Any:
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


@keras.saving.register_keras_serializable(package="tf_multimodal")
class Encoder(keras.layers.Layer):
    """Calls an encoder; a frozen one never runs in training mode.

    A Keras model with `trainable=False` still drops out when it is called with
    `training=True`. This layer does not: no dropout, no BatchNorm update. Layers of
    the encoder that its output does not need (BERT's pooler) never train.

    Args:
        encoder: the `keras_hub.models.Backbone` to call.
        space_to_depth: side of the pixel blocks that are folded into channels in
            front of an image encoder; 1 folds nothing.
    """

    def __init__(
        self,
        encoder: keras.Model,
        space_to_depth: int = 1,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.encoder = encoder
        self.space_to_depth = space_to_depth
        self.freeze_unused()

    @keras.layers.Layer.trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        self.freeze_unused()

    def freeze_unused(self) -> None:
        """Freezes the layers that the output does not need: no gradient gets there."""
        used = keras.Model(self.encoder.input, _select_states(self.encoder.output))
        needed = {id(layer) for layer in used.layers}
        for layer in self.encoder.layers:
            if id(layer) not in needed:
                layer.trainable = False

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self.space_to_depth > 1:
            inputs = fold_pixels(inputs, self.space_to_depth)
        active = bool(training) and self.trainable and self.encoder.trainable
        return _select_states(self.encoder(inputs, training=active))

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        # By layer: JAX cannot trace a call with two unknown sides, batch and tokens.
        if self.space_to_depth > 1:
            inputs = fold_pixels(inputs, self.space_to_depth)
        return _select_states(self.encoder.compute_output_spec(inputs))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "space_to_depth": self.space_to_depth,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})


@keras.saving.register_keras_serializable(package="tf_multimodal")
class MissingEmbedding(keras.layers.Layer):
    """Puts a learned embedding in the place of features that are missing."""

    def build(self, features_shape: Any, present_shape: Any = None) -> None:
        # Zeros: at first a missing modality says nothing.
        self.embedding = self.add_weight(
            shape=(features_shape[-1],), initializer="zeros", name="embedding"
        )

    def call(self, features: Any, present: Any) -> Any:
        """Returns float [b, d]: `features` [b, d] where `present`, bool [b]."""
        embedding = ops.cast(self.embedding, features.dtype)
        return ops.where(ops.expand_dims(present, -1), features, embedding)
