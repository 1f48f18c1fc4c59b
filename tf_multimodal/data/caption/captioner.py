"""An image-to-text model of KerasHub: images in, one caption each out."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

_HASH_DIGITS = 16
# The task prefix of the model card of PaliGemma, and the turns of a chat with Gemma 3.
_TASK_PROMPT = "caption en\n"
_CHAT_PROMPT = (
    "<start_of_turn>user\nDescribe this image in one short sentence. "
    "{image}<end_of_turn>\n<start_of_turn>model\n"
)


class Captioner:
    """Writes captions, always the same one for an image (greedy search).

    Args:
        preset: name or folder of a preset of an image-to-text `CausalLM`.
        prompt: what the model is asked. None: "caption en" as PaliGemma was trained,
            or, for a model with a token for the image, a turn of a chat.
        max_tokens: tokens of a caption, at most.
        batch_size: images at once.
        dtype: of the weights; None: as the preset says.

    Attributes:
        name: the preset's name and the hash of its architecture and weights.
        settings: what the captions depend on beside the images.

    Raises:
        ValueError: there is no such preset, or its model reads no images, or the
            prompt has no place for one.
    """

    def __init__(
        self,
        preset: str,
        prompt: str | None = None,
        max_tokens: int = 32,
        batch_size: int = 8,
        dtype: str | None = None,
    ) -> None:
        self.batch_size = batch_size
        self._model = _load_model(preset, dtype)
        self._prompt = _choose_prompt(self._model.preprocessor, prompt)
        self._resize = _make_resizer(self._model.preprocessor.image_converter)
        self._max_length = self._count_prompt_tokens() + max_tokens
        self.name = (
            f"{os.path.basename(os.path.normpath(preset))} "
            f"sha256:{_compute_hash(self._model)[:_HASH_DIGITS]}"
        )
        self.settings = {
            "model": self.name,
            "prompt": self._prompt,
            "max_tokens": max_tokens,
            "dtype": str(self._model.dtype_policy.name),
        }

    def caption(self, images: Sequence[tf.Tensor]) -> list[str]:
        """Returns a caption for each image; empty where the model has no words.

        Args:
            images: at most `batch_size`, each uint8 [h, w, 3].
        """
        # A batch of another size would be compiled anew.
        padded = [*images, *[images[-1]] * (self.batch_size - len(images))]
        texts = self._model.generate(
            self._make_inputs(padded), max_length=self._max_length, strip_prompt=True
        )
        return [" ".join(text.split()) for text in texts[: len(images)]]

    def _make_inputs(self, images: Sequence[tf.Tensor]) -> dict[str, Any]:
        pixels = tf.stack(
            [self._resize(tf.cast(image, tf.float32)) for image in images]
        )
        return {"images": pixels, "prompts": [self._prompt] * len(images)}

    def _count_prompt_tokens(self) -> int:
        """Returns the tokens in front of a caption, those of the image among them."""
        inputs = self._model.preprocessor.generate_preprocess(
            self._make_inputs([tf.zeros((8, 8, 3), tf.uint8)]),
            sequence_length=self._model.preprocessor.sequence_length,
        )
        return int(np.sum(keras.ops.convert_to_numpy(inputs["padding_mask"])))


def _load_model(preset: str, dtype: str | None) -> Any:
    options = {"dtype": dtype} if dtype else {}
    try:
        model = keras_hub.models.CausalLM.from_preset(preset, **options)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"--preset={preset} cannot be loaded as an image-to-text model: {error}\n"
            "Give the name of a KerasHub preset such as pali_gemma_3b_mix_224, or a "
            "folder that save_to_preset() has written."
        ) from error
    if getattr(model.preprocessor, "image_converter", None) is None:
        raise ValueError(
            f"--preset={preset} is a {type(model).__name__} that reads no images. "
            "Expected an image-to-text model such as PaliGemma or Gemma 3 (4B and up)."
        )
    model.compile(sampler="greedy")
    return model


def _choose_prompt(preprocessor: Any, prompt: str | None) -> str:
    token = getattr(preprocessor, "start_of_image_token", None)
    if prompt is None:
        return _CHAT_PROMPT.format(image=token) if token else _TASK_PROMPT
    if token and prompt.count(token) != 1:
        raise ValueError(
            f"--prompt must say once where the image stands, by {token}. "
            f"Received: {prompt!r}"
        )
    return prompt


def _make_resizer(converter: Any) -> Any:
    """Returns the preset's image converter, made to change the size alone.

    Images of several sizes become a batch, which the converter itself then scales.
    """
    settings = converter.get_config() | {"scale": None, "offset": None}
    return type(converter).from_config(settings)


def _compute_hash(model: Any) -> str:
    settings = json.dumps(model.backbone.get_config(), sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode())
    for weight in model.backbone.weights:
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    return digest.hexdigest()
