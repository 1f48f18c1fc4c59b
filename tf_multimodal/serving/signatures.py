"""What a served model can be asked: its signatures, as graph functions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.data.pipeline import make_inputs
from tf_multimodal.models.image_text_classifier import FEATURES as HEAD_FEATURES
from tf_multimodal.models.image_text_classifier import JOINT, ImageTextClassifier
from tf_multimodal.serving.conversion import PROBABILITIES, make_input_signature
from tf_multimodal.serving.tensor_rows import mask_bad_rows

SERVING_DEFAULT = "serving_default"
FEATURES = "features"
TENSORS = "tensors"
PREPROCESS = "preprocess"
IMAGE_ONLY = "image_only"
TEXT_ONLY = "text_only"
TOP_LABELS = 5

STATUS = "status"

IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
TEXT = tf.TensorSpec([None], tf.string, name="text")

# What `features` calls the input of a head.
EMBEDDINGS = {
    JOINT: "fused_embedding",
    "image": "image_embedding",
    "text": "text_embedding",
}

Tensors = dict[str, tf.Tensor]


def make_signatures(
    model: ImageTextClassifier, preprocessor: Any, classes: Sequence[str]
) -> dict[str, Any]:
    """Makes the signatures of a SavedModel.

    All return `status`, string [b], one of `spec.STATUSES`. An empty string means
    that the image or the text is missing; a bad one counts as missing.

    - `serving_default(image_bytes, text)` -> `labels`, string [b, k], the most
      likely class first; `scores`, float32 [b, k], their probabilities;
      `probabilities`, float32 [b, classes]. k is 5, or all classes if they are less.
      Of a multi-label model each probability stands alone: they do not sum to 1.
    - `image_only(image_bytes)` and `text_only(text)` -> the same, with the learned
      embedding in the place of what is not asked about.
    - `features(image_bytes, text)` -> `fused_embedding`, `image_embedding` and
      `text_embedding`, float32 [b, d].
    - `preprocess(image_bytes, text)` -> what the model reads, by key of `spec`.
    - `tensors(what preprocess gives)` -> the same as `serving_default`.

    The network is one function that all of them call: it is in the file once.

    Args:
        model: its weights become part of the functions.
        preprocessor: an `ImageTextClassifierPreprocessor`. What a model of one
            modality has no use for is not looked at.
        classes: names of the classes, in the order of the logits.

    Returns:
        `tf.function`s with an input signature, by name; `serving_default` first.
    """
    answers = _Answers(model, preprocessor, classes)
    raw, tensors = [IMAGE_BYTES, TEXT], [make_input_signature(preprocessor)]
    functions: dict[str, tuple[Callable[..., Tensors], list[Any]]] = {
        SERVING_DEFAULT: (answers.classify, raw),
        FEATURES: (answers.embed, raw),
        TENSORS: (answers.classify_tensors, tensors),
        PREPROCESS: (answers.preprocess, raw),
    }
    if preprocessor.modalities != "text":
        functions[IMAGE_ONLY] = (answers.classify_images, [IMAGE_BYTES])
    if preprocessor.modalities != "image":
        functions[TEXT_ONLY] = (answers.classify_texts, [TEXT])
    return {
        name: tf.function(function, input_signature=inputs)
        for name, (function, inputs) in functions.items()
    }


class _Answers:
    """The functions behind the signatures, over one network and one tokenizer."""

    def __init__(
        self, model: ImageTextClassifier, preprocessor: Any, classes: Sequence[str]
    ) -> None:
        self.classes = tf.constant(classes, tf.string)
        self.preprocessor = preprocessor
        # Functions of their own, so that the file holds the network and the
        # vocabulary once.
        self.run_network = tf.function(
            lambda x: _with_a_row(functools.partial(compute_outputs, model), x),
            input_signature=[make_input_signature(preprocessor)],
        )
        self.make_inputs = tf.function(
            lambda images, texts: make_inputs(images, texts, preprocessor),
            input_signature=[IMAGE_BYTES, TEXT],
        )

    def preprocess(self, image_bytes: tf.Tensor, text: tf.Tensor) -> Tensors:
        raw = _check_rows(
            {"image_bytes": image_bytes, "text": text},
            "image_bytes and text must have one entry a row each: send an empty "
            "string for what is missing.",
        )
        x, status = self.make_inputs(raw["image_bytes"], raw["text"])
        return {**x, STATUS: tf.gather(tf.constant(spec.STATUSES), status)}

    def embed(self, image_bytes: tf.Tensor, text: tf.Tensor) -> Tensors:
        x = self.preprocess(image_bytes, text)
        status = x.pop(STATUS)
        outputs = self.run_network(x)
        del outputs[PROBABILITIES]
        return {**outputs, STATUS: status}

    def classify(self, image_bytes: tf.Tensor, text: tf.Tensor) -> Tensors:
        x = self.preprocess(image_bytes, text)
        status = x.pop(STATUS)
        return {**self._rank(x), STATUS: status}

    def classify_images(self, image_bytes: tf.Tensor) -> Tensors:
        return self.classify(image_bytes, tf.fill(tf.shape(image_bytes), ""))

    def classify_texts(self, text: tf.Tensor) -> Tensors:
        return self.classify(tf.fill(tf.shape(text), ""), text)

    def classify_tensors(self, x: Tensors) -> Tensors:
        x = _check_rows(x, "All tensors must have the same number of rows.")
        x, status = mask_bad_rows(x, self.preprocessor)
        status = tf.gather(tf.constant(spec.STATUSES), status)
        return {**self._rank(x), STATUS: status}

    def _rank(self, x: Tensors) -> Tensors:
        probabilities = self.run_network(x)[PROBABILITIES]
        top = min(TOP_LABELS, len(self.classes))
        scores, indices = tf.math.top_k(probabilities, k=top)
        return {
            "labels": tf.gather(self.classes, indices),
            "scores": scores,
            PROBABILITIES: probabilities,
        }


def compute_outputs(model: ImageTextClassifier, x: Tensors) -> Tensors:
    """Returns the embeddings and `probabilities` of prepared rows, all float32.

    Args:
        model: the classifier; its backbone runs once for both.
        x: what the model reads, by key of `data/spec.py`.
    """
    features = model.backbone(x, training=False)
    # Late fusion has no joint head: its logits are the sum of the two.
    names = [JOINT] if JOINT in model.heads else ["image", "text"]
    logits = sum(model.heads[name](features[HEAD_FEATURES[name]]) for name in names)
    outputs = {
        EMBEDDINGS[name]: tf.cast(features[key], tf.float32)
        for name, key in HEAD_FEATURES.items()
        if key in features
    }
    activate = getattr(tf.nn, model.activation)  # softmax or sigmoid
    return {**outputs, PROBABILITIES: activate(tf.cast(logits, tf.float32))}


def _with_a_row(function: Callable[[Tensors], Tensors], x: Tensors) -> Tensors:
    """Calls a function, for an empty batch with a row of zeros.

    Without a row, oneDNN's fused convolutions give a tensor of the wrong shape.
    """
    count = tf.shape(x[next(iter(x))])[0]

    def make_row() -> Tensors:
        return {key: tf.zeros([1, *t.shape[1:]], t.dtype) for key, t in x.items()}

    x = tf.cond(count > 0, lambda: x, make_row)
    return {key: tensor[:count] for key, tensor in function(x).items()}


def _check_rows(tensors: Tensors, message: str) -> Tensors:
    """Returns the tensors; what is made of them waits for the check."""
    counts = [tf.shape(tensor)[0] for tensor in tensors.values()]
    checks = [tf.debugging.assert_equal(n, counts[0], message) for n in counts[1:]]
    with tf.control_dependencies(checks):
        return {key: tf.identity(tensor) for key, tensor in tensors.items()}
