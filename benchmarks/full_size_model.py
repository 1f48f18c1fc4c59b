"""The model that the serving benchmark measures, and requests for it."""

import pathlib
import string
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from configs import paper
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.training.model_builder import build_classifier, build_preprocessor

CLASSES = tuple(f"class_{number}" for number in range(20))
_VOCABULARY_SIZE = 30_522  # of BERT's English vocabulary
_WORDS = 24  # of a text; some 40 tokens
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_predictor(folder: pathlib.Path, seed: int = 0) -> Predictor:
    """Builds the model of `configs/paper.py` with random weights, in float32.

    ResNet50 at 224 px, a BERT of 6 layers of 384 over 64 tokens, LSTM(256).

    Args:
        folder: the vocabulary is written there.
        seed: of the vocabulary's words.
    """
    vocabulary = folder / "vocab.txt"
    words = _draw_words(np.random.default_rng(seed))
    vocabulary.write_text("\n".join(words) + "\n", encoding="utf-8")
    config = _make_config(vocabulary)
    preprocessor = build_preprocessor(config, [])
    model = build_classifier(config, preprocessor, len(CLASSES), "float32")
    return Predictor(model, CLASSES, config, folder)


def make_requests(predictor: Predictor, rows: int, seed: int = 1) -> dict[str, Any]:
    """Makes photo-like JPEGs of 300 x 400 px or a little more, and texts.

    Args:
        predictor: of `build_predictor`; its vocabulary has the words.
        rows: number of pairs.
        seed: of what is drawn.

    Returns:
        `image_bytes` and `text`, string [rows].
    """
    draw = np.random.default_rng(seed)
    vocabulary = predictor.preprocessor.tokenizer.get_vocabulary()
    images, texts = [], []
    for _ in range(rows):
        size = [int(x) for x in (300, 400) + draw.integers(0, 40, 2)]
        shapes = draw.integers(0, 256, (12, 16, 3)).astype(np.float32)
        smooth = tf.image.resize(shapes, size, "bicubic").numpy()
        pixels = np.clip(smooth + draw.normal(0, 6, smooth.shape), 0, 255)
        images.append(tf.io.encode_jpeg(pixels.astype(np.uint8), quality=90).numpy())
        # Two words typed together are cut into pieces again.
        words = draw.choice(vocabulary[-20_000:], (_WORDS, 2))
        glued = draw.random(_WORDS) < 0.3
        words[~glued, 1] = ""
        texts.append(" ".join(map("".join, words)))
    return {"image_bytes": tf.constant(images), "text": tf.constant(texts)}


def _make_config(vocabulary: pathlib.Path) -> ml_collections.ConfigDict:
    config = paper.get_config()
    image, text = config.model.image, config.model.text
    image.preset = text.preset = ""  # random weights: no hub is asked
    image.space_to_depth = 1
    image.resnet.input_conv_kernel_sizes = (7,)
    image.resnet.stackwise_num_filters = (64, 128, 256, 512)
    image.resnet.stackwise_num_blocks = (3, 4, 6, 3)
    image.resnet.stackwise_num_strides = (1, 2, 2, 2)
    image.resnet.block_type = "bottleneck_block"
    text.vocabulary = str(vocabulary)
    text.bert.num_layers = 6
    text.bert.num_heads = 12
    text.bert.hidden_dim = 384
    text.bert.intermediate_dim = 1536
    return config


def _draw_words(draw: np.random.Generator) -> list[str]:
    """Returns a vocabulary: special tokens, letters, pieces and words."""
    letters = list(string.ascii_lowercase)
    found = dict.fromkeys([*_SPECIAL, *letters, *(f"##{x}" for x in letters)])
    while len(found) < _VOCABULARY_SIZE:
        word = "".join(draw.choice(letters, int(draw.integers(3, 9))))
        found["##" + word if len(found) < _VOCABULARY_SIZE // 5 else word] = None
    return list(found)
