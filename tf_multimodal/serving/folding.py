"""The model as it is served: with fewer operations, and no cuDNN.

Into the convolutions goes BatchNorm, into the heads the run's temperature.
"""

import collections
from typing import Any

import keras
import numpy as np

from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

IMAGE_ENCODER = "image_encoder"

# By the convolution: the BatchNorm that alone reads it.
Pairs = dict[keras.layers.Layer, keras.layers.Layer]


def fold_batch_norm(
    model: ImageTextClassifier, dtype: str = "float32", temperature: float = 1.0
) -> tuple[ImageTextClassifier, int]:
    """Builds a model that infers the same with fewer operations; for inference only.

    A BatchNorm is `scale * x + shift` by channel, which the convolution in front of
    it can do with its kernel and a bias (Jacob et al., 2018, arXiv:1712.05877,
    section 3.2). One that stands elsewhere stays, as in a pre-activation ResNet. The
    LSTMs of the new model never take cuDNN's operation, also beside a GPU.

    Args:
        model: stays as it is.
        dtype: dtype or policy of the new model; the heads stay in float32. The
            arithmetic of folding is done before the weights are cast to it.
        temperature: of the new model's logits; see `divide_logits`.

    Returns:
        The new model, and how many BatchNorm layers were folded.
    """
    backbone = model.backbone
    pairs: Pairs = {}
    config = {**backbone.get_config(), "dtype": dtype}
    if backbone.image_branch is not None:
        encoder = backbone.image_branch.encoder
        pairs = find_pairs(encoder)
        config[IMAGE_ENCODER] = _build_folded(encoder, pairs, dtype)
    folded = ImageTextClassifier.from_config(
        {
            **model.get_config(),
            "backbone": ImageTextBackbone.from_config(config),
            "preprocessor": model.preprocessor,
        }
    )
    _copy_weights(model, folded)
    divide_logits(folded, temperature)
    _avoid_cudnn(folded.backbone.joint)
    return folded, len(pairs)


def divide_logits(model: ImageTextClassifier, temperature: float) -> None:
    """Divides the heads' weights, so that the model's logits come out divided.

    Every format that is made of the model then has calibrated probabilities, without
    an operation more.

    Args:
        model: is changed.
        temperature: of the run's calibration; 1 changes nothing.
    """
    for head in model.heads.values():
        for variable in head.weights:
            variable.assign(variable / temperature)


def find_pairs(encoder: keras.Model) -> Pairs:
    """Finds the convolutions that only a BatchNorm over their channels reads.

    Args:
        encoder: a functional model. Where it calls a layer more than once, nothing
            is found.
    """
    operations = encoder.operations
    readers = collections.defaultdict(list)
    for operation in operations:
        for tensor in keras.tree.flatten(operation.input):
            readers[id(tensor)].append(operation)
    # `input` and `output` are those of an operation's first call. A tensor that
    # nothing seems to make comes from a second one.
    made = {id(t) for op in operations for t in keras.tree.flatten(op.output)}
    if not made.issuperset(readers):
        return {}
    results = {id(tensor) for tensor in encoder.outputs}
    pairs = {}
    for conv in encoder.layers:
        if _is_linear_convolution(conv) and id(conv.output) not in results:
            found = readers[id(conv.output)]
            if len(found) == 1 and _normalizes_channels(found[0], conv):
                pairs[conv] = found[0]
    return pairs


def _is_linear_convolution(layer: keras.layers.Layer) -> bool:
    # The very class: a subclass may do something else with its kernel.
    return (
        type(layer) is keras.layers.Conv2D
        and layer.activation is keras.activations.linear
    )


def _normalizes_channels(operation: Any, conv: keras.layers.Layer) -> bool:
    channels = 3 if conv.data_format == "channels_last" else 1
    return (
        isinstance(operation, keras.layers.BatchNormalization)
        and operation.axis % 4 == channels
    )


def _build_folded(encoder: keras.Model, pairs: Pairs, dtype: str) -> keras.Model:
    norms = set(pairs.values())

    def clone(operation: Any) -> Any:
        if operation in norms:
            return keras.layers.Identity(name=operation.name)  # left out by `call`
        config = operation.get_config()
        if isinstance(operation, keras.layers.Layer):
            config["dtype"] = dtype
        if operation in pairs:
            config["use_bias"] = True
        return type(operation).from_config(config)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.layers.Identity):
            return args[0]
        return operation(*args, **kwargs)

    folded = keras.models.clone_model(encoder, None, clone, call)
    folded.dtype_policy = keras.dtype_policies.get(dtype)
    for layer in encoder.layers:
        if layer in pairs:
            weights = _fold_weights(layer, pairs[layer])
            folded.get_layer(layer.name).set_weights(weights)
        elif layer.weights and layer not in norms:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _fold_weights(
    conv: keras.layers.Layer, norm: keras.layers.Layer
) -> list[np.ndarray]:
    """Returns kernel and bias of the convolution that does the BatchNorm too."""

    def read(variable: Any, default: float) -> np.ndarray:
        return np.asarray(default if variable is None else variable, np.float64)

    variance = read(norm.moving_variance, 1.0)
    scale = read(norm.gamma, 1.0) / np.sqrt(variance + norm.epsilon)
    shift = (read(conv.bias, 0.0) - read(norm.moving_mean, 0.0)) * scale
    kernel = read(conv.kernel, 0.0) * scale  # output channels are its last axis
    bias = shift + read(norm.beta, 0.0)
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def _copy_weights(source: ImageTextClassifier, target: ImageTextClassifier) -> None:
    """Copies all weights but those of the image encoder."""
    given, made = (
        {
            path: variable
            for path, variable in model.get_variable_paths().items()
            if not path.startswith(f"{IMAGE_ENCODER}/")
        }
        for model in (source, target)
    )
    if given.keys() != made.keys():
        raise ValueError(
            "The model built for serving must have the weights of the given one. "
            f"Only one has: {sorted(given.keys() ^ made.keys())}"
        )
    for path, variable in given.items():
        made[path].assign(keras.ops.convert_to_numpy(variable))


def _avoid_cudnn(joint: keras.Model) -> None:
    for layer in joint.layers:
        lstms = [layer]
        if isinstance(layer, keras.layers.Bidirectional):
            lstms = [layer.forward_layer, layer.backward_layer]
        for lstm in lstms:
            if isinstance(lstm, keras.layers.LSTM):
                lstm.use_cudnn = False
