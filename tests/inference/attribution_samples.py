"""Small predictors, images and texts that the tests of attributions share."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.source import Source
from tf_multimodal.data.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer
from tf_multimodal.inference.attributions.explanation import Explanation, explain_rows
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
TARGET = np.array([0, 1, 2, 0, 1])


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


@keras.saving.register_keras_serializable(package="tests")
class PatchEncoder(keras_hub.models.Backbone):
    """A filter bank over patches of 4 x 4 pixels: maps of 8 x 8 cells."""

    def __init__(self, **kwargs: Any) -> None:
        images = keras.Input((SIDE_PX, SIDE_PX, 3))
        filters = keras.layers.Conv2D(16, 4, strides=4, activation="relu")
        super().__init__(images, filters(images))
        self.filters = filters


def make_predictor(
    modalities: str = "image_text",
    fusion: str = "late",
    encoder: str = "bert",
    activation: str = "softmax",
    image_encoder: Any = None,
    dtype: str | None = None,
    seed: int = 1,
    width: int = 8,
) -> Predictor:
    """Returns a predictor with random weights."""
    if image_encoder is None and modalities != "text":
        image_encoder = make_image_encoder(dtype)
    backbone = ImageTextBackbone(
        image_encoder=image_encoder,
        text_encoder=None
        if modalities == "image"
        else make_encoder(encoder, dtype, width),
        image_shape=(SIDE_PX, SIDE_PX, 3),
        fusion=fusion,
        lstm_units=width,
        dtype=dtype,
    )
    preprocessor = make_preprocessor(modalities)
    model = ImageTextClassifier(
        backbone, len(CLASSES), preprocessor=preprocessor, activation=activation
    )
    randomise(model, seed)
    return wrap(model)


@functools.cache
def share_predictor(*arguments: str) -> Predictor:
    """Returns `make_predictor`'s for tests that leave its weights as they are."""
    return make_predictor(*arguments)


@functools.cache
def explain_samples(*arguments: str) -> list[Explanation]:
    """Returns what a shared predictor says of `make_rows`, for TARGET."""
    predictor = share_predictor(*arguments)
    return explain_rows(predictor, make_rows(), np.arange(len(TEXTS)), TARGET)


@functools.cache
def explain_missing() -> dict[str, Explanation]:
    """Returns a shared predictor's explanations of rows that lack something."""
    image = encode_png(make_pixels(1)[0])
    rows = {
        "image alone": (image, None),
        "text alone": (None, "a cat"),
        "nothing": (None, None),
        "bad image": (b"no image", "a cat"),
    }
    source = make_source(*zip(*rows.values(), strict=True), CLASSES)
    predictor = share_predictor("image_text", "late", "embedding")
    return dict(zip(rows, explain_rows(predictor, source, np.arange(4)), strict=True))


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


def plant_patches(predictor: Predictor) -> None:
    """Makes a class of each of three patches; needs a `PatchEncoder` alone."""
    filters = predictor.model.backbone.image_branch.encoder.filters.kernel
    kernel = np.random.RandomState(2).normal(0, 0.05, filters.shape)
    kernel[..., :3] = np.moveaxis(make_patches(), 0, -1) / 48
    filters.assign(kernel)
    head = predictor.model.heads["joint"]
    head.kernel.assign(np.eye(16, 3) * 64)  # one cell of 64 decides
    head.bias.assign(np.zeros(3))


def make_patches() -> np.ndarray:
    """Returns a patch of -1 and 1 for each class, [3, 4, 4, 3]."""
    return np.random.RandomState(5).choice([-1.0, 1.0], (len(CLASSES), 4, 4, 3))


def make_patch_images(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns noise with the patch of row n's class n % 3 in one of the 8 x 8 cells.

    Returns:
        uint8 [n, s, s, 3]; the classes int32 [n]; the cells int [n, 2].
    """
    generator = np.random.RandomState(11)
    images = generator.uniform(-0.6, 0.6, (count, SIDE_PX, SIDE_PX, 3))
    target = np.arange(count, dtype=np.int32) % len(CLASSES)
    cells = generator.randint(0, SIDE_PX // 4, (count, 2))
    for image, label, (row, column) in zip(images, target, cells * 4, strict=True):
        image[row : row + 4, column : column + 4] = make_patches()[label]
    return ((images + 1) * 127.5).astype(np.uint8), target, cells


def plant_words(predictor: Predictor) -> None:
    """Makes each class's name speak for it, and all other words a little for any.

    Needs an EmbeddingTextBackbone alone. The LSTM's gates stay open, so that its cells
    add the words up.
    """
    model = predictor.model
    table = model.backbone.text_branch.encoder.token_embedding.embeddings
    values = np.random.RandomState(4).normal(0, 0.25, table.shape)
    for number, name in enumerate(CLASSES):
        values[VOCABULARY.index(name), number] = 1
    values[0] = 0  # [PAD]
    table.assign(values)
    cell = model.backbone.joint.get_layer("lstm").cell
    units = cell.units
    cell.kernel.assign(np.eye(units, 4 * units, 2 * units))  # the third is the input's
    cell.recurrent_kernel.assign(np.zeros(cell.recurrent_kernel.shape))
    cell.bias.assign(np.repeat([5.0, 5.0, 0.0, 5.0], units))
    head = model.heads["joint"]
    head.kernel.assign(np.eye(units, len(CLASSES)) * 4)
    head.bias.assign(np.zeros(len(CLASSES)))


def make_named_texts(count: int) -> tuple[list[str], np.ndarray]:
    """Returns texts at random that name row n's class n % 3, and the classes."""
    generator = np.random.RandomState(0)
    fillers = ["a", "red", "green", "two", "dog", "runs", "over", "the", ","]
    target = np.arange(count, dtype=np.int32) % len(CLASSES)
    texts = []
    for label in target:
        words = [CLASSES[label], *generator.permutation(fillers)]
        texts.append(" ".join(generator.permutation(words)))
    return texts, target


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


def make_encoder(
    kind: str, dtype: str | None = None, width: int = 8
) -> keras_hub.models.Backbone:
    if kind == "embedding":
        return EmbeddingTextBackbone(len(VOCABULARY), width, dtype=dtype)
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


def correlate_after_draws(
    predictor: Predictor,
    draw: Callable[[], Sequence[np.ndarray]],
    pattern: str,
    seeds: Iterable[int],
) -> float:
    """Returns the mean |rank correlation| of attributions to those of other weights.

    Args:
        predictor: its weights are as before afterwards.
        draw: returns a map, or scores, of each row.
        pattern: of `randomise`.
        seeds: of the weights.
    """
    weights, before, found = predictor.model.get_weights(), draw(), []
    for seed in seeds:
        randomise(predictor.model, seed, pattern)
        found += map(correlate_ranks, before, draw())
    predictor.model.set_weights(weights)
    assert len(found) == len(before) * len(list(seeds))
    return float(np.mean(np.abs(found)))


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
