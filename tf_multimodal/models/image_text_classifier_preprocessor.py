"""The preprocessor: raw images and strings to what the backbone reads."""

from typing import Any

import keras
import keras_hub
from keras.src.utils.backend_utils import DynamicBackend
from keras_hub.src.utils.tensor_utils import preprocessing_function

from tf_multimodal.data import spec
from tf_multimodal.data.tokenizer import WordPieceTokenizer
from tf_multimodal.models.image_text_backbone import ImageTextBackbone

TEXT = "text"  # string [b], the key of the raw text
# TensorFlow makes the batches, whatever backend the model runs on.
ops = DynamicBackend("tensorflow")


@keras.saving.register_keras_serializable(package="tf_multimodal")
class ImageTextClassifierPreprocessor(keras_hub.models.Preprocessor):
    """Resizes and scales images, and tokenizes the text beside them.

    Called with a dict `images` ([b, h, w, 3], 0 to 255), `text` (string [b]) and
    `has_image` (bool [b], True where not given), and labels and weights that pass
    through. A text without a word, and a modality that the dict lacks, is marked as
    missing. Returns the dict of `data/spec.py` for its modalities.

    Args:
        image_converter: a `keras_hub.layers.ImageConverter`: the one place that
            knows size, interpolation, aspect ratio and scale. None: no images.
        tokenizer: a `WordPieceTokenizer`. None: no text.
        sequence_length: tokens of a text with [CLS] and [SEP], padding included.
        max_image_px: limit on width times height of an encoded image. What decodes
            images reads it; here they are decoded already.
    """

    backbone_cls = ImageTextBackbone
    tokenizer_cls = WordPieceTokenizer
    image_converter_cls = keras_hub.layers.ResNetImageConverter

    def __init__(
        self,
        image_converter: keras_hub.layers.ImageConverter | None = None,
        tokenizer: WordPieceTokenizer | None = None,
        sequence_length: int = 24,
        max_image_px: int = spec.MAX_IMAGE_PX,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_converter is None and tokenizer is None:
            raise ValueError(
                "ImageTextClassifierPreprocessor needs an `image_converter`, a "
                "`tokenizer` or both. Received: None for both."
            )
        if sequence_length < 3:
            raise ValueError(
                "`sequence_length` must be at least 3, for [CLS], a word piece and "
                f"[SEP]. Received: {sequence_length}"
            )
        if max_image_px < 1:
            raise ValueError(
                f"`max_image_px` must be at least 1. Received: {max_image_px}"
            )
        self.image_converter: Any = image_converter
        self.tokenizer: Any = tokenizer
        self.sequence_length = sequence_length
        self.max_image_px = max_image_px
        self.built = True

    @property
    def modalities(self) -> str:
        """What it prepares: `image`, `text` or `image_text`."""
        parts = {"image": self.image_converter, "text": self.tokenizer}
        return "_".join(name for name, part in parts.items() if part is not None)

    @property
    def image_size_px(self) -> int | None:
        """Side of the square images that come out, None if they are not resized."""
        return self.image_size[0] if self.image_size else None

    def convert_images(self, images: Any) -> Any:
        """Resizes and scales images.

        Args:
            images: uint8 or float [h, w, 3] or [b, h, w, 3], 0 to 255.

        Returns:
            float32 [s, s, 3] or [b, s, s, 3].
        """
        # Cast first: Keras rounds a resized uint8 image in eager calls, not in graphs.
        images = self.image_converter(ops.cast(images, "float32"))
        return ops.cast(images, "float32")

    def tokenize(self, texts: Any) -> dict[str, Any]:
        """Tokenizes texts into [CLS] word pieces [SEP], truncated and padded.

        Args:
            texts: string [b], or a scalar.

        Returns:
            `token_ids`, `padding_mask` and `segment_ids`, int32 [b, t].
        """
        token_ids, padding_mask = self.tokenizer.pack(
            texts, sequence_length=self.sequence_length
        )
        return {
            spec.TOKEN_IDS: token_ids,
            spec.PADDING_MASK: padding_mask,
            spec.SEGMENT_IDS: ops.numpy.zeros_like(token_ids),
        }

    @preprocessing_function
    def call(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        self._check_inputs(x)
        outputs: dict[str, Any] = {}
        if self.image_converter is not None:
            outputs |= self._prepare_images(x)
        if self.tokenizer is not None:
            outputs |= self._prepare_text(x)
        return keras.utils.pack_x_y_sample_weight(outputs, y, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "max_image_px": self.max_image_px,
        }

    def _prepare_images(self, x: dict[str, Any]) -> dict[str, Any]:
        if spec.IMAGES in x:
            images = self.convert_images(x[spec.IMAGES])
            batch = ops.shape(images)[:-3]
            present = x.get(spec.HAS_IMAGE)
            present = ops.numpy.ones(batch, "bool") if present is None else present
        else:
            batch = ops.shape(x[TEXT])
            images = ops.numpy.zeros(
                (*batch, *(self.image_size or (1, 1)), 3), "float32"
            )
            present = ops.numpy.zeros(batch, "bool")
        return {spec.IMAGES: images, spec.HAS_IMAGE: present}

    def _prepare_text(self, x: dict[str, Any]) -> dict[str, Any]:
        if TEXT in x:
            tokens = self.tokenize(x[TEXT])
        else:
            batch = ops.shape(x[spec.IMAGES])[:-3]
            tokens = {
                name: ops.numpy.broadcast_to(value, (*batch, self.sequence_length))
                for name, value in self.tokenize("").items()
            }
        # A text without a word is [CLS] [SEP]: its third place is padding.
        return {**tokens, spec.HAS_TEXT: tokens[spec.PADDING_MASK][..., 2] > 0}

    def _check_inputs(self, x: Any) -> None:
        keys = {spec.IMAGES: self.image_converter, TEXT: self.tokenizer}
        expected = [key for key, part in keys.items() if part is not None]
        if not isinstance(x, dict) or not any(key in x for key in expected):
            received = sorted(x) if isinstance(x, dict) else type(x).__name__
            raise ValueError(
                f"Expected a dict with {' or '.join(map(repr, expected))} "
                f"(modalities: {self.modalities}). Received: {received}"
            )
