"""A classifier cut where attributions look in: at a feature map and at embeddings."""

import functools
from typing import Any

import keras
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.models.image_text_backbone import FEATURE_MAP, TOKEN_STATES
from tf_multimodal.models.image_text_classifier import (
    FEATURES,
    JOINT,
    ImageTextClassifier,
)
from tf_multimodal.models.layers import TOKEN_KEYS, fold_pixels

# The last maps of a small network have 2 x 2 cells, which show no place; much earlier
# ones show edges. On openclipart (64 px), covering the hottest quarter of an image with
# white took 0.91 from the score, and the coldest 0.36, with maps of 4 x 4; with 2 x 2
# 0.55 and 0.45, with 8 x 8 1.10 and 0.73.
_MIN_CELLS = 4  # a side


class CutModel:
    """Parts of a classifier, which share its weights; nothing of it is copied.

    Inputs are a dict of tensors by key of `data/spec.py`. Nothing runs in training
    mode.

    Args:
        model: with functional encoders, on the TensorFlow backend.

    Raises:
        ValueError: another backend, or an encoder that cannot be cut.
    """

    def __init__(self, model: ImageTextClassifier) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "Explanations need gradients of TensorFlow. Received: Keras on "
                f"{keras.backend.backend()}. Set KERAS_BACKEND=tensorflow; a run "
                "trained on another backend loads there too."
            )
        self.model = model
        backbone = model.backbone
        self.joint = backbone.joint
        if backbone.image_branch is not None:
            self._lower, self._upper = _cut_image_encoder(backbone.image_branch.encoder)
        if backbone.text_branch is not None:
            self._embed, self._read = _cut_text_encoder(backbone.text_branch.encoder)

    @property
    def reads_images(self) -> bool:
        """Whether the model has an image encoder."""
        return self.model.backbone.image_branch is not None

    @property
    def reads_texts(self) -> bool:
        """Whether the model has a text encoder."""
        return self.model.backbone.text_branch is not None

    def make_maps(self, inputs: dict[str, Any]) -> Any:
        """Returns the maps that Grad-CAM weighs, float [b, h, w, d]."""
        images = inputs[spec.IMAGES]
        if self.model.backbone.space_to_depth > 1:
            images = fold_pixels(images, self.model.backbone.space_to_depth)
        return self._lower(images, training=False)

    def finish_maps(self, maps: Any) -> Any:
        """Returns the image encoder's last feature map of `make_maps`' maps."""
        return self._upper(maps, training=False)

    def embed(self, inputs: dict[str, Any]) -> Any:
        """Returns the embeddings of the word pieces, float [b, t, e]."""
        return self._embed(inputs[spec.TOKEN_IDS], training=False)

    def read(self, embeddings: Any, inputs: dict[str, Any]) -> Any:
        """Returns the token states float [b, t, u] of embeddings [b, t, e]."""
        tokens = [inputs[key] for key in TOKEN_KEYS]
        return self._read([embeddings, *tokens], training=False)

    def encode(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns what `score` needs: feature map and token states, where read."""
        states = {}
        if self.reads_images:
            states[FEATURE_MAP] = self.finish_maps(self.make_maps(inputs))
        if self.reads_texts:
            states[TOKEN_STATES] = self.read(self.embed(inputs), inputs)
        return states

    def compute_logits(self, states: dict[str, Any], inputs: dict[str, Any]) -> Any:
        """Returns the logits float32 [b, classes] of feature map and token states."""
        keys = (spec.HAS_IMAGE, spec.PADDING_MASK, spec.HAS_TEXT)
        rest = {key: inputs[key] for key in keys if key in self.joint.input}
        features = self.joint({**states, **rest}, training=False)
        heads = self.model.heads
        names = [JOINT] if JOINT in heads else list(heads)
        return tf.add_n([heads[name](features[FEATURES[name]]) for name in names])

    def score(self, states: dict[str, Any], inputs: dict[str, Any], target: Any) -> Any:
        """Returns what is attributed: how far a class is ahead, float32 [b].

        With softmax the class's logit less the mean of all: what moves all logits
        alike moves no probability. With sigmoid the logit itself.

        Args:
            states: of `encode`.
            inputs: the batch.
            target: int32 [b], the classes.
        """
        logits = self.compute_logits(states, inputs)
        chosen = tf.gather(logits, target, batch_dims=1)
        if self.model.multi_label:
            return chosen
        return chosen - tf.reduce_mean(logits, axis=1)

    def differentiate(
        self, embeddings: Any, inputs: dict[str, Any], rest: dict[str, Any], target: Any
    ) -> Any:
        """Returns the gradients of the score by embeddings, float [b, t, e].

        Args:
            embeddings: of `embed`, or others.
            inputs: the batch.
            rest: of `encode`, without the token states.
            target: int32 [b], the classes.
        """
        arguments = (embeddings, inputs, rest, target)
        # One graph for any number of rows: most calls differ in it.
        specs = tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), arguments
        )
        return self._differentiate.get_concrete_function(*specs)(*arguments)

    @functools.cached_property
    def _differentiate(self) -> Any:
        @tf.function
        def differentiate(embeddings: Any, inputs: Any, rest: Any, target: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                states = {**rest, TOKEN_STATES: self.read(embeddings, inputs)}
                score = self.score(states, inputs, target)
            return tape.gradient(score, embeddings)

        return differentiate


def _cut_image_encoder(encoder: Any) -> tuple[keras.Model, Any]:
    """Cuts in front of the last map of enough cells, else behind the last one."""
    maps = [encoder.output]
    for tensor in reversed(list(getattr(encoder, "pyramid_outputs", {}).values())):
        if tensor is not encoder.output:
            maps.append(tensor)
    sizes = [tensor.shape[1:3] for tensor in maps]
    wide = [i for i, size in enumerate(sizes) if None not in size]
    enough = [i for i in wide if min(sizes[i]) >= _MIN_CELLS]
    chosen = maps[enough[0] if enough else 0]
    if chosen is encoder.output:
        return encoder, _keep
    lower = keras.Model(encoder.input, chosen, name="lower_image_encoder")
    return lower, keras.Model(chosen, encoder.output, name="upper_image_encoder")


def _keep(maps: Any, training: bool = False) -> Any:
    return maps


def _cut_text_encoder(encoder: Any) -> tuple[keras.Model, Any]:
    """Cuts behind the layer that looks token ids up."""
    inputs = encoder.input
    if not isinstance(inputs, dict) or set(inputs) != set(TOKEN_KEYS):
        raise ValueError(
            "Word scores need a functional text encoder with the inputs "
            f"{', '.join(TOKEN_KEYS)}. {type(encoder).__name__} has: {inputs!r}"
        )
    token_ids = inputs[spec.TOKEN_IDS]
    found = [
        node.outputs[0]
        for operation in encoder.operations
        for node in operation._inbound_nodes
        if any(tensor is token_ids for tensor in node.input_tensors)
    ]
    embeddings = [
        tensor for tensor in found if len(tensor.shape) == 3 and _is_float(tensor)
    ]
    if len(embeddings) != 1:
        raise ValueError(
            "Word scores need one layer that turns token ids into embeddings [b, t, e]."
            f" {type(encoder).__name__} has {len(embeddings)}."
        )
    output = encoder.output
    states = output["sequence_output"] if isinstance(output, dict) else output
    tokens = [inputs[key] for key in TOKEN_KEYS]
    embed = keras.Model(token_ids, embeddings[0], name="token_embeddings")
    if states is embeddings[0]:
        return embed, _keep_first
    return embed, keras.Model([embeddings[0], *tokens], states, name="text_reader")


def _keep_first(tensors: list[Any], training: bool = False) -> Any:
    return tensors[0]


def _is_float(tensor: Any) -> bool:
    return keras.backend.is_float_dtype(tensor.dtype)


@functools.lru_cache(maxsize=2)  # of a model in use: cutting and tracing take seconds
def cut_model(model: ImageTextClassifier) -> CutModel:
    """Returns the parts of a model; its weights may change afterwards."""
    return CutModel(model)
