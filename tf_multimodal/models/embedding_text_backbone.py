"""A text encoder that is an embedding alone: the light branch in front of the LSTM."""

from typing import Any

import keras
import keras_hub

from tf_multimodal.data import spec
from tf_multimodal.models.layers import TOKEN_KEYS


@keras.saving.register_keras_serializable(package="tf_multimodal")
class EmbeddingTextBackbone(keras_hub.models.Backbone):
    """Looks token ids up in a learned table, with the inputs of a BERT encoder.

    Inputs are int32 [b, t] under `token_ids`, `padding_mask` and `segment_ids`
    (only the first is read); the output is `sequence_output`, float [b, t, d].

    Args:
        vocabulary_size: rows of the table.
        embedding_dim: width d of an embedding.
        dtype: dtype or policy of the computation.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        token_embedding = keras.layers.Embedding(
            vocabulary_size, embedding_dim, dtype=dtype, name="token_embedding"
        )

        # === Functional Model ===
        inputs = {
            key: keras.Input((None,), dtype="int32", name=key) for key in TOKEN_KEYS
        }
        outputs = {"sequence_output": token_embedding(inputs[spec.TOKEN_IDS])}
        super().__init__(inputs, outputs, dtype=dtype, **kwargs)

        # === Config ===
        self.token_embedding = token_embedding
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
        }
