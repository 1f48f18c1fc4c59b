"""Small predictors, images and texts that the tests of attributions share."""

import pathlib
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.source import Source
from tf_multimodal.data.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer
from tf_multimodal.inference.predictor import Predictor, make_source
from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.models.image_text_classifier_preprocessor import (
    ImageTextClassifierPreprocessor,
)

SIDE_PX, TOKENS = 32, 12
CLASSES = ("bird", "cat", "sign")
WORDS = "a red green two bird cat dog sign runs over the ,".split()
VOCABULARY = [*SPECIAL_TOKENS, *WORDS, "##s", "##ed"]
TEXTS = (
    "a red bird",
    "two cats, a green dog runs",
    "the sign over the cat",
    "dogs runs over a red bird and the green cats",
    "unknown words only",
)


@keras.saving.register_keras_serializable(package="tests")
class CornerEncoder(keras_hub.models.Backbone):
    """Means of 4 x 4 pixels, of one corner alone: all other cells are 0."""

    def __init__(self, corner: tuple[int, int], **kwargs: Any) -> None:
        images = keras.Input((SIDE_PX, SIDE_PX, 3))
        cells = SIDE_PX // 4
        mask = np.zeros((1, cells, cells, 1), np.float32)
        half = slice(0, cells // 2), slice(cells // 2, cells)
        mask[:, half[corner[0]], half[corner[1]]] = 1
        super().__init__(images, keras.layers.AveragePooling2D(4)(images) * mask)


def make_predictor(
    modalities: str = "image_text",
    fusion: str = "late",
    encoder: str = "bert",
    activation: str = "softmax",
    image_encoder: Any = None,
    dtype: str | None = None,
    seed: int = 1,
) -> Predictor:
    """Returns a predictor with random weights."""
    if image_encoder is None and modalities != "text":
        image_encoder = make_image_encoder(dtype)
    backbone = ImageTextBackbone(
        image_encoder=image_encoder,
        text_encoder=None if modalities == "image" else make_encoder(encoder, dtype),
        image_shape=(SIDE_PX, SIDE_PX, 3),
        fusion=fusion,
        lstm_units=8,
        dtype=dtype,
    )
    preprocessor = make_preprocessor(modalities)
    model = ImageTextClassifier(
        backbone, len(CLASSES), preprocessor=preprocessor, activation=activation
    )
    randomise(model, seed)
    return wrap(model)


def wrap(model: ImageTextClassifier) -> Predictor:
    return Predictor(model, CLASSES, get_default_config(), pathlib.Path("run"))


def randomise(model: ImageTextClassifier, seed: int, pattern: str = "") -> None:
    """Draws the weights whose path begins so: `` is all, `head/` the heads' ones."""
    generator = np.random.RandomState(seed)
    for path, variable in model.get_variable_paths().items():
        if path.startswith(pattern) and "moving" not in path:
            shape = variable.shape
            is_filter = (
                len(shape) == 4
            )  # He's: else the image's logits drown the text's
            scale = np.sqrt(2 / np.prod(shape[:3])) if is_filter else 0.4
            variable.assign(generator.normal(0, scale, shape))


def make_image_encoder(dtype: str | None = None) -> keras_hub.models.Backbone:
    """Maps of 8 x 8, 4 x 4 and 2 x 2 cells."""
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(SIDE_PX, SIDE_PX, 3),
        dtype=dtype,
    )


def make_encoder(kind: str, dtype: str | None = None) -> keras_hub.models.Backbone:
    if kind == "embedding":
        return EmbeddingTextBackbone(len(VOCABULARY), 8, dtype=dtype)
    return keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=TOKENS,
        dtype=dtype,
    )


def make_preprocessor(modalities: str) -> ImageTextClassifierPreprocessor:
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(SIDE_PX, SIDE_PX), scale=1 / 127.5, offset=-1.0, antialias=True
    )
    return ImageTextClassifierPreprocessor(
        image_converter=None if modalities == "text" else converter,
        tokenizer=None if modalities == "image" else WordPieceTokenizer(VOCABULARY),
        sequence_length=TOKENS,
    )


def encode_png(pixels: np.ndarray) -> bytes:
    return tf.io.encode_png(pixels.astype(np.uint8)).numpy()


def make_pixels(count: int = len(TEXTS)) -> np.ndarray:
    """Returns noisy images with a few large shapes, uint8 [n, s, s, 3]."""
    generator = np.random.RandomState(7)
    coarse = generator.randint(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(SIDE_PX // 8, 1).repeat(SIDE_PX // 8, 2)


def make_rows() -> Source:
    """Returns a source of as many pairs as there are texts."""
    return make_source([encode_png(p) for p in make_pixels()], TEXTS, CLASSES)


def read_batch(predictor: Predictor, source: Source) -> dict[str, Any]:
    """Returns all rows of a source as inputs of the model."""
    dataset = pipeline.make_eval_dataset(
        source,
        np.arange(len(source)),
        predictor.preprocessor,
        batch_size=len(source),
    )
    return next(iter(dataset))[spec.INPUTS]


def centre(logits: Any, target: np.ndarray) -> np.ndarray:
    """Returns the logits of classes less the mean of all."""
    logits = np.asarray(logits, np.float64)
    return logits[np.arange(len(logits)), target] - logits.mean(axis=1)


def correlate_ranks(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's rank correlation; 0 where one of the two is constant."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(np.ravel(first), np.ravel(second)).statistic)
