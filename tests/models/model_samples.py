"""Tiny models and inputs that the model tests share."""

from typing import Any

import keras_hub
import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer
from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.models.image_text_classifier_preprocessor import (
    ImageTextClassifierPreprocessor,
)

SIDE_PX, TOKENS, CLASSES, BATCH = 16, 6, 3, 4
VOCABULARY = [*SPECIAL_TOKENS, "red", "green", "cat", "dog", "##s", "##ed"]

# name -> arguments of `make_backbone_kwargs`: one of each kind.
VARIANTS: dict[str, dict[str, Any]] = {
    "late": {"fusion": "late"},
    "concat_embedding_bidirectional": {"encoder": "embedding", "bidirectional": True},
    "image": {"modalities": "image"},
    "text": {"modalities": "text"},
}


def make_backbone_kwargs(
    modalities: str = "image_text",
    fusion: str = "concat",
    encoder: str = "bert",
    bidirectional: bool = False,
    dtype: str | None = None,
) -> dict[str, Any]:
    return {
        "image_encoder": None if modalities == "text" else make_image_encoder(dtype),
        "text_encoder": None
        if modalities == "image"
        else make_text_encoder(encoder, dtype),
        "image_shape": (SIDE_PX, SIDE_PX, 3),
        "fusion": fusion,
        "space_to_depth": 2,
        "token_dropout": 0.2,
        "lstm_units": 5,
        "bidirectional": bidirectional,
        "dtype": dtype,
    }


def make_image_encoder(dtype: str | None = None) -> keras_hub.models.Backbone:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[8],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="bottleneck_block",
        image_shape=(SIDE_PX // 2, SIDE_PX // 2, 12),
        dtype=dtype,
    )


def make_text_encoder(
    kind: str = "bert", dtype: str | None = None
) -> keras_hub.models.Backbone:
    if kind == "embedding":
        return EmbeddingTextBackbone(len(VOCABULARY), 8, dtype=dtype)
    return keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        dropout=0.5,
        max_sequence_length=TOKENS,
        dtype=dtype,
    )


def make_task(
    image_loss: float = 0.0,
    text_loss: float = 0.0,
    dropout: float = 0.0,
    activation: str = "softmax",
    **kwargs: Any,
) -> ImageTextClassifier:
    return ImageTextClassifier(
        ImageTextBackbone(**make_backbone_kwargs(**kwargs)),
        CLASSES,
        preprocessor=make_preprocessor(kwargs.get("modalities", "image_text")),
        image_loss=image_loss,
        text_loss=text_loss,
        dropout=dropout,
        activation=activation,
    )


def make_preprocessor(
    modalities: str = "image_text",
) -> ImageTextClassifierPreprocessor:
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(SIDE_PX, SIDE_PX), scale=1 / 127.5, offset=-1.0, antialias=True
    )
    return ImageTextClassifierPreprocessor(
        image_converter=None if modalities == "text" else converter,
        tokenizer=None if modalities == "image" else WordPieceTokenizer(VOCABULARY),
        sequence_length=TOKENS,
    )


def make_inputs(modalities: str = "image_text") -> dict[str, np.ndarray]:
    """Returns what the backbone reads: `BATCH` rows with texts of 3 to 6 tokens."""
    rng = np.random.RandomState(0)
    padding_mask = (np.arange(TOKENS) < np.array([[3], [4], [5], [6]])).astype("int32")
    token_ids = rng.randint(5, len(VOCABULARY), (BATCH, TOKENS)) * padding_mask
    inputs = {
        spec.IMAGES: rng.randn(BATCH, SIDE_PX, SIDE_PX, 3).astype("float32"),
        spec.HAS_IMAGE: np.ones(BATCH, bool),
        spec.TOKEN_IDS: token_ids.astype("int32"),
        spec.PADDING_MASK: padding_mask,
        spec.SEGMENT_IDS: np.zeros((BATCH, TOKENS), "int32"),
        spec.HAS_TEXT: np.ones(BATCH, bool),
    }
    keys = spec.make_input_spec(modalities, SIDE_PX, TOKENS)
    return {key: inputs[key] for key in keys}


def make_raw_inputs(modalities: str = "image_text") -> dict[str, np.ndarray]:
    """Returns what the preprocessor reads."""
    images = np.random.RandomState(0).randint(0, 256, (BATCH, 20, 30, 3))
    raw = {
        "images": images.astype("uint8"),
        "text": np.array(["red cats", "green dog", "", "cats cats dogs red red"]),
    }
    keys = {"image": ["images"], "text": ["text"]}.get(modalities, list(raw))
    return {key: raw[key] for key in keys}
