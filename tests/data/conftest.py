"""Rows, images and preprocessors for the tests of the data room."""

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.data.source import Source

SIZE_PX, TOKENS = 16, 6
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f g red blue cat dog".split()


def encode_picture(number: int, height: int = 20, width: int = 24) -> bytes:
    """A PNG of blocks of colour that differ from number to number."""
    blocks = np.random.RandomState(number).randint(0, 256, (5, 6, 3), np.uint8)
    pixels = blocks.repeat(-(-height // 5), 0).repeat(-(-width // 6), 1)
    return tf.io.encode_png(pixels[:height, :width]).numpy()


@pytest.fixture
def make_source():
    """Makes a source of n rows in memory; images and texts can be given."""

    def make(n, images=None, texts=None):
        images = [encode_picture(i) for i in range(n)] if images is None else images
        texts = [f"{PIECES[5 + i % 7]} cat" for i in range(n)] if not texts else texts
        ids = np.array([f"id{i}" for i in range(n)], object)
        return Source(
            name="pairs.csv",
            classes=("even", "odd"),
            images=np.array(images, object),
            texts=np.array(texts, object),
            labels=np.arange(n, dtype=np.int32) % 2,
            weights=np.ones(n, np.float32),
            ids=ids,
            groups=ids,
            splits=np.array(["train"] * n, object),
            files=np.array([f"{i}.png" for i in range(n)], object),
            rows=np.arange(n, dtype=np.int64) + 2,
        )

    return make


@pytest.fixture(scope="session")
def make_preprocessor():
    """Makes a preprocessor of a modality: image, text or image_text."""
    import keras_hub

    from tf_multimodal.data.tokenizer import WordPieceTokenizer
    from tf_multimodal.models.image_text_classifier_preprocessor import (
        ImageTextClassifierPreprocessor,
    )

    def make(modalities="image_text", **kwargs):
        converter = keras_hub.layers.ResNetImageConverter(
            image_size=(SIZE_PX, SIZE_PX), scale=1 / 127.5, offset=-1.0, **kwargs
        )
        tokenizer = WordPieceTokenizer(vocabulary=PIECES, lowercase=True)
        return ImageTextClassifierPreprocessor(
            converter if "image" in modalities else None,
            tokenizer if "text" in modalities else None,
            sequence_length=TOKENS,
        )

    return make


@pytest.fixture
def config(tmp_path):
    """The defaults with a batch of 4 and without random changes."""
    config = get_default_config()
    config.cache_dir = str(tmp_path / "cache")
    config.train.batch_size = 4
    config.augment.crop = "none"
    config.augment.flip = False
    for key in ("brightness", "contrast", "saturation"):
        config.augment[key] = 0.0
    for key in ("token_drop", "drop_image", "drop_text"):
        config.augment[key] = 0.0
    return config
