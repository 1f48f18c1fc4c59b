"""From a config to the preprocessor and the classifier."""

from collections.abc import Callable, Sequence
from typing import Any

import keras_hub
import ml_collections

from tf_multimodal.data.tokenizer import (
    WordPieceTokenizer,
    learn_vocabulary,
    load_tokenizer,
)
from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.models.image_text_classifier_preprocessor import (
    ImageTextClassifierPreprocessor,
)
from tf_multimodal.training.pretrained import resolve_preset


def build_preprocessor(
    config: ml_collections.ConfigDict, texts: Sequence[str]
) -> ImageTextClassifierPreprocessor:
    """Returns the preprocessor of `config.model`.

    Args:
        config: the whole config.
        texts: the training texts, read for `vocabulary='learn'` alone.
    """
    modalities = config.model.modalities
    return ImageTextClassifierPreprocessor(
        image_converter=_build_image_converter(config.model.image)
        if modalities != "text"
        else None,
        tokenizer=_build_tokenizer(config, texts) if modalities != "image" else None,
        sequence_length=config.model.text.max_tokens,
        max_image_px=config.data.max_image_px,
    )


def build_classifier(
    config: ml_collections.ConfigDict,
    preprocessor: ImageTextClassifierPreprocessor,
    num_classes: int,
    dtype: str,
    multi_label: bool = False,
) -> ImageTextClassifier:
    """Returns the classifier of `config.model`, with its preprocessor attached.

    Args:
        config: the whole config.
        preprocessor: what `build_preprocessor` returned.
        num_classes: number of classes.
        dtype: name of a Keras dtype policy, for every part of the model.
        multi_label: whether a row may have several labels, or none.
    """
    model = config.model
    with_image, with_text = model.modalities != "text", model.modalities != "image"
    size_px = model.image.size_px
    backbone = ImageTextBackbone(
        image_encoder=_build_image_encoder(model.image, dtype) if with_image else None,
        text_encoder=_build_text_encoder(config, preprocessor.tokenizer, dtype)
        if with_text
        else None,
        image_shape=(size_px, size_px, 3),
        fusion=model.fusion,
        space_to_depth=1 if model.image.preset else model.image.space_to_depth,
        token_dropout=model.text.token_dropout,
        lstm_units=model.text.lstm_units,
        bidirectional=model.text.bidirectional,
        dtype=dtype,
    )
    both = model.modalities == "image_text"
    return ImageTextClassifier(
        backbone,
        num_classes,
        preprocessor=preprocessor,
        image_loss=model.image_loss if both else 0.0,
        text_loss=model.text_loss if both else 0.0,
        dropout=model.dropout,
        activation="sigmoid" if multi_label else "softmax",
    )


def _load_preset(
    load: Callable[..., Any], branch: str, preset: str, **arguments: Any
) -> Any:
    """Calls a `from_preset`; an error names the config key and the way out."""
    try:
        return load(preset, **arguments)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"config.model.{branch}.preset={preset!r} cannot be loaded: "
            f"{error}\nWithout a model hub give a local preset "
            "folder, or '' for random weights."
        ) from error


def _build_image_converter(
    image: ml_collections.ConfigDict,
) -> keras_hub.layers.ImageConverter:
    settings = {
        "image_size": (image.size_px, image.size_px),
        "crop_to_aspect_ratio": image.fit == "crop",
        "antialias": True,
    }
    converter = keras_hub.layers.ResNetImageConverter
    if image.preset:
        return _load_preset(converter.from_preset, "image", image.preset, **settings)
    return converter(scale=1 / 127.5, offset=-1.0, **settings)


def _build_image_encoder(
    image: ml_collections.ConfigDict, dtype: str
) -> keras_hub.models.Backbone:
    if image.preset:
        load = keras_hub.models.ResNetBackbone.from_preset
        return _load_preset(load, "image", image.preset, dtype=dtype)
    block = image.space_to_depth
    if image.size_px % block:
        raise ValueError(
            f"config.model.image.size_px={image.size_px} must be a multiple of "
            f"config.model.image.space_to_depth={block}."
        )
    side = image.size_px // block
    return keras_hub.models.ResNetBackbone(
        **image.resnet, image_shape=(side, side, 3 * block**2), dtype=dtype
    )


def _build_tokenizer(
    config: ml_collections.ConfigDict, texts: Sequence[str]
) -> WordPieceTokenizer:
    text = config.model.text
    if text.vocabulary and text.preset and text.encoder == "bert":
        raise ValueError(
            "config.model.text.preset comes with its vocabulary: another one, "
            f"config.model.text.vocabulary={text.vocabulary!r}, would give its words "
            "the numbers of others. Set one of the two to ''."
        )
    if text.vocabulary == "learn":
        vocabulary = learn_vocabulary(texts, text.vocabulary_size)
        return WordPieceTokenizer(vocabulary, lowercase=True)
    if text.vocabulary:
        return WordPieceTokenizer(text.vocabulary, lowercase=True)
    if text.preset:
        preset = resolve_preset(text.preset, config.cache_dir)
        return _load_preset(load_tokenizer, "text", preset)
    raise ValueError(
        "The text branch has no vocabulary: set config.model.text.preset, or "
        "config.model.text.vocabulary to a vocab.txt or to 'learn'."
    )


def _build_text_encoder(
    config: ml_collections.ConfigDict, tokenizer: WordPieceTokenizer, dtype: str
) -> keras_hub.models.Backbone:
    text = config.model.text
    if text.encoder == "lstm":
        return EmbeddingTextBackbone(
            tokenizer.vocabulary_size(), text.embedding_dim, dtype=dtype
        )
    if text.preset:
        preset = resolve_preset(text.preset, config.cache_dir)
        load = keras_hub.models.BertBackbone.from_preset
        return _load_preset(load, "text", preset, dtype=dtype)
    return keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        max_sequence_length=text.max_tokens,
        **text.bert,
        dtype=dtype,
    )
