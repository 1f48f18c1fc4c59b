"""The backbone: an image encoder, a text encoder and the joint part."""

from collections.abc import Mapping
from typing import Any

import keras
import keras_hub
from keras import ops

from tf_multimodal.data import spec
from tf_multimodal.models.layers import TOKEN_KEYS, Encoder, MissingEmbedding

IMAGE_FEATURES = "image_features"
TEXT_FEATURES = "text_features"
JOINT_FEATURES = "joint_features"
FEATURE_MAP = "feature_map"
TOKEN_STATES = "token_states"
FUSIONS = ("late", "concat")


@keras.saving.register_keras_serializable(package="tf_multimodal")
class ImageTextBackbone(keras_hub.models.Backbone):
    """Turns an image and its text into features, each alone and both together.

    Inputs are a dict with the keys of `data/spec.py`; outputs are `image_features`
    float [b, d], `text_features` float [b, u] and `joint_features`, the two side by
    side. With one encoder only, its features are also the joint ones. A row whose
    `has_image` or `has_text` is False gets a learned embedding as its features.

    The model can be cut: `image_branch` (images to feature map), `text_branch`
    (tokens to token states) and `joint` (pooling, LSTM, fusion) are layers of
    their own that share their variables with the whole.

    Args:
        image_encoder: backbone from images to a feature map [b, h, w, d], or None.
            Built for `3 * space_to_depth ** 2` channels.
        text_encoder: backbone with BERT's inputs, from which token states
            [b, t, e] come (as the output or as its `sequence_output`), or None.
        image_shape: (side, side, 3) of the input `images`; not read without an
            image encoder.
        fusion: `concat` or `late`; what a classifier makes of the features.
        space_to_depth: side of the pixel blocks folded into channels; 1 folds none.
        token_dropout: share of the token states' channels dropped in training.
        lstm_units: width of the LSTM over the token states.
        bidirectional: whether a second LSTM reads backwards (u doubles).
        dtype: dtype or policy of the computation.
    """

    def __init__(
        self,
        image_encoder: keras_hub.models.Backbone | None,
        text_encoder: keras_hub.models.Backbone | None,
        image_shape: tuple[int, int, int] | None = None,
        fusion: str = "concat",
        space_to_depth: int = 1,
        token_dropout: float = 0.0,
        lstm_units: int = 128,
        bidirectional: bool = False,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        _check_arguments(
            image_encoder, text_encoder, image_shape, fusion, space_to_depth
        )
        # === Layers ===
        image_branch, text_branch = None, None
        if image_encoder is not None:
            image_branch = Encoder(
                image_encoder, space_to_depth, dtype=dtype, name="image_branch"
            )
        if text_encoder is not None:
            text_branch = Encoder(text_encoder, dtype=dtype, name="text_branch")

        # === Functional Model ===
        inputs, joint_inputs = {}, {}
        if image_branch is not None:
            inputs[spec.IMAGES] = keras.Input(image_shape, name=spec.IMAGES)
            inputs[spec.HAS_IMAGE] = _make_flag(spec.HAS_IMAGE)
            joint_inputs[FEATURE_MAP] = image_branch(inputs[spec.IMAGES])
            joint_inputs[spec.HAS_IMAGE] = inputs[spec.HAS_IMAGE]
        if text_branch is not None:
            tokens = {
                key: keras.Input((None,), dtype="int32", name=key) for key in TOKEN_KEYS
            }
            inputs |= {**tokens, spec.HAS_TEXT: _make_flag(spec.HAS_TEXT)}
            joint_inputs[TOKEN_STATES] = text_branch(tokens)
            joint_inputs[spec.PADDING_MASK] = tokens[spec.PADDING_MASK]
            joint_inputs[spec.HAS_TEXT] = inputs[spec.HAS_TEXT]
        joint = _build_joint(
            joint_inputs, token_dropout, lstm_units, bidirectional, dtype
        )
        super().__init__(inputs, joint(joint_inputs), dtype=dtype, **kwargs)

        # === Config ===
        self.image_branch = image_branch
        self.text_branch = text_branch
        self.joint = joint
        self.image_shape = tuple(image_shape) if image_shape else None
        self.fusion = fusion
        self.space_to_depth = space_to_depth
        self.token_dropout = token_dropout
        self.lstm_units = lstm_units
        self.bidirectional = bidirectional

    @property
    def modalities(self) -> str:
        """What the model reads: `image`, `text` or `image_text`."""
        branches = {"image": self.image_branch, "text": self.text_branch}
        return "_".join(n for n, branch in branches.items() if branch is not None)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_encoder": _serialize_encoder(self.image_branch),
            "text_encoder": _serialize_encoder(self.text_branch),
            "image_shape": self.image_shape,
            "fusion": self.fusion,
            "space_to_depth": self.space_to_depth,
            "token_dropout": self.token_dropout,
            "lstm_units": self.lstm_units,
            "bidirectional": self.bidirectional,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ImageTextBackbone":
        config = dict(config)
        # A dtype asked of `from_preset` holds for the encoders too; None is Keras's.
        config["dtype"] = config.get("dtype") or keras.config.dtype_policy()
        for name in ("image_encoder", "text_encoder"):
            encoder = config[name]
            if isinstance(encoder, Mapping):
                inner = {**encoder["config"], "dtype": config["dtype"]}
                encoder = {**encoder, "config": inner}
                config[name] = keras.saving.deserialize_keras_object(encoder)
        return super().from_config(config)


def _build_joint(
    joint_inputs: dict[str, Any],
    token_dropout: float,
    lstm_units: int,
    bidirectional: bool,
    dtype: Any,
) -> keras.Model:
    """Builds pooling, LSTM and fusion over inputs like the symbolic ones given."""
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in joint_inputs.items()
    }
    features = {}
    if FEATURE_MAP in inputs:
        pooler = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="image_pooler")
        missing = MissingEmbedding(dtype=dtype, name="missing_image")
        pooled = pooler(inputs[FEATURE_MAP])
        features[IMAGE_FEATURES] = missing(pooled, inputs[spec.HAS_IMAGE])
    if TOKEN_STATES in inputs:
        dropout = keras.layers.SpatialDropout1D(
            token_dropout, dtype=dtype, name="token_dropout"
        )
        lstm = _make_lstm(lstm_units, bidirectional, dtype)
        missing = MissingEmbedding(dtype=dtype, name="missing_text")
        mask = ops.cast(inputs[spec.PADDING_MASK], "bool")
        read = lstm(dropout(inputs[TOKEN_STATES]), mask=mask)
        features[TEXT_FEATURES] = missing(read, inputs[spec.HAS_TEXT])
    parts = list(features.values())
    if len(parts) > 1:
        concatenate = keras.layers.Concatenate(dtype=dtype, name=JOINT_FEATURES)
        features[JOINT_FEATURES] = concatenate(parts)
    else:
        features[JOINT_FEATURES] = parts[0]
    joint = keras.Model(inputs, features, name="joint")
    if dtype is not None:  # a functional model takes no dtype argument
        joint.dtype_policy = keras.dtype_policies.get(dtype)
    return joint


def _make_lstm(units: int, bidirectional: bool, dtype: Any) -> keras.layers.Layer:
    policy = keras.dtype_policies.get(dtype)
    # An orthogonal start needs QR, which bfloat16 variables do not have.
    full = policy.variable_dtype in ("float32", "float64")
    lstm = keras.layers.LSTM(
        units,
        recurrent_initializer="orthogonal" if full else "glorot_uniform",
        dtype=dtype,
        name="lstm",
    )
    if not bidirectional:
        return lstm
    return keras.layers.Bidirectional(lstm, dtype=dtype, name="bidirectional_lstm")


def _make_flag(name: str) -> Any:
    return keras.Input((), dtype="bool", name=name)


def _serialize_encoder(branch: Encoder | None) -> dict[str, Any] | None:
    if branch is None:
        return None
    return keras.saving.serialize_keras_object(branch.encoder)


def _check_arguments(
    image_encoder: keras.Model | None,
    text_encoder: keras.Model | None,
    image_shape: tuple[int, int, int] | None,
    fusion: str,
    space_to_depth: int,
) -> None:
    if image_encoder is None and text_encoder is None:
        raise ValueError(
            "ImageTextBackbone needs an `image_encoder`, a `text_encoder` or both. "
            "Received: None for both."
        )
    if fusion not in FUSIONS:
        raise ValueError(
            f"`fusion` must be one of {', '.join(FUSIONS)}. Received: {fusion!r}"
        )
    if image_encoder is None:
        return
    if image_shape is None or len(image_shape) != 3 or None in image_shape:
        raise ValueError(
            "`image_shape` must be (side, side, channels), all known, beside an "
            f"`image_encoder`. Received: {image_shape!r}"
        )
    if image_shape[0] % space_to_depth or image_shape[1] % space_to_depth:
        raise ValueError(
            f"The sides of `image_shape` must be multiples of `space_to_depth`. "
            f"Received: image_shape={tuple(image_shape)}, "
            f"space_to_depth={space_to_depth}"
        )
    channels = image_shape[2] * space_to_depth**2
    if image_encoder.input_shape[-1] != channels:
        raise ValueError(
            f"`image_encoder` must read {channels} channels (those of `image_shape`, "
            f"times space_to_depth ** 2). It reads: {image_encoder.input_shape[-1]}"
        )
