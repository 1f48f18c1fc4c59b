"""The task: classes from an image together with the text beside it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import keras_hub
from keras import ops

# Imported for its registration: presets of the light text branch hold it.
from tf_multimodal.models import embedding_text_backbone  # noqa: F401
from tf_multimodal.models.image_text_backbone import (
    IMAGE_FEATURES,
    JOINT_FEATURES,
    TEXT_FEATURES,
    ImageTextBackbone,
)
from tf_multimodal.models.image_text_classifier_preprocessor import (
    ImageTextClassifierPreprocessor,
)

JOINT = "joint"
ACTIVATIONS = ("softmax", "sigmoid")
FEATURES = {"image": IMAGE_FEATURES, "text": TEXT_FEATURES, JOINT: JOINT_FEATURES}


@keras.saving.register_keras_serializable(package="tf_multimodal")
class ImageTextClassifier(keras_hub.models.Task):
    """Classifies an image with its text, or either alone.

    With the backbone's fusion `late` the logits are the sum of an image head's and
    a text head's; with `concat`, and with one modality, those of one head over the
    joint features. Called in training it returns a dict of logits, `joint` and
    those of the branches that have a head; else the joint logits, float32
    [b, classes]. The loss is the compiled loss on `joint`, plus `image_loss` and
    `text_loss` times the same loss on either branch alone.

    Args:
        backbone: an `ImageTextBackbone`.
        num_classes: number of classes.
        preprocessor: an `ImageTextClassifierPreprocessor`, or None where batches
            come prepared.
        image_loss: weight of the loss on the image branch alone, at least 0.
        text_loss: weight of the loss on the text branch alone, at least 0.
        dropout: share of the features dropped in front of the heads, in training.
        activation: what makes probabilities of the logits: `softmax` (a row has one
            label) or `sigmoid` (a row may have several labels, or none).
    """

    backbone_cls = ImageTextBackbone
    preprocessor_cls = ImageTextClassifierPreprocessor
    optimizer: Any

    def __init__(
        self,
        backbone: ImageTextBackbone,
        num_classes: int,
        preprocessor: ImageTextClassifierPreprocessor | None = None,
        image_loss: float = 0.0,
        text_loss: float = 0.0,
        dropout: float = 0.0,
        activation: str = "softmax",
        **kwargs: Any,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {', '.join(ACTIVATIONS)}. "
                f"Received: {activation!r}"
            )
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.activation = activation  # read when `super().__init__` compiles
        late = backbone.fusion == "late" and backbone.modalities == "image_text"
        names = _list_heads(backbone, image_loss, text_loss, late)
        head_dropout = keras.layers.Dropout(
            dropout, dtype=backbone.dtype_policy, name="head_dropout"
        )
        heads = {
            name: keras.layers.Dense(num_classes, dtype="float32", name=f"{name}_head")
            for name in names
        }

        # === Functional Model ===
        inputs = backbone.input
        features = backbone(inputs)
        logits = {n: h(head_dropout(features[FEATURES[n]])) for n, h in heads.items()}
        if late:
            logits[JOINT] = logits["image"] + logits["text"]
        super().__init__(inputs, logits, **kwargs)

        # === Config ===
        self.heads = heads
        self.num_classes = num_classes
        self.image_loss = image_loss
        self.text_loss = text_loss
        self.dropout = dropout

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.activation == "sigmoid"

    @classmethod
    def from_preset(
        cls, preset: str, load_weights: bool = True, **kwargs: Any
    ) -> "ImageTextClassifier":
        """Loads a preset, in Keras's own dtype policy (float32) unless told.

        Args:
            preset: a folder, or a `kaggle://` or `hf://` handle.
            load_weights: False keeps the weights random.
            **kwargs: `dtype`, and arguments of the constructor to replace.
        """
        # KerasHub fails to find a dtype itself for what was saved in a mixed one.
        kwargs.setdefault("dtype", keras.config.dtype_policy())
        return super().from_preset(preset, load_weights, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        logits = super().call(inputs, training=training, mask=mask)
        return logits if training else logits[JOINT]

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Compiles, with defaults for the activation where an argument is `auto`.

        Labels are int [b] with `softmax`, float [b, classes] of 0 and 1 with `sigmoid`.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        losses, accuracies = keras.losses, keras.metrics
        if loss == "auto" and self.multi_label:
            loss = losses.BinaryCrossentropy(from_logits=True)
        elif loss == "auto":
            loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        if metrics == "auto" and self.multi_label:
            metrics = [accuracies.BinaryAccuracy(threshold=0.0)]
        elif metrics == "auto":
            metrics = [accuracies.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the joint loss plus the branches' weighted ones, a scalar."""
        logits = y_pred if isinstance(y_pred, dict) else {JOINT: y_pred}
        total = super().compute_loss(x, y, logits[JOINT], sample_weight, training)
        for name, weight in self._branch_losses().items():
            if name in logits:
                # Not `super().compute_loss`: regularizers must count only once.
                loss = self._compile_loss(y, logits[name], sample_weight)
                total += ops.cast(weight, loss.dtype) * loss
        return total

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Returns the metrics of the joint logits by name."""
        logits = y_pred[JOINT] if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)

    def get_variable_paths(self) -> dict[str, Any]:
        """Returns every weight, BatchNorm's statistics too, by a path of its own.

        Paths start with `image_encoder/`, `text_encoder/`, `joint/` or `head/` and
        stay the same over a preset. Seed generators are not weights.
        """
        backbone = self.backbone
        parts = {
            "image_encoder": backbone.image_branch and backbone.image_branch.encoder,
            "text_encoder": backbone.text_branch and backbone.text_branch.encoder,
            "joint": backbone.joint,
        }
        pairs = [
            (f"{name}/{variable.path}", variable)
            for name, part in parts.items()
            if part is not None
            for variable in part.weights
        ]
        for head in self.heads.values():
            pairs += [(f"head/{variable.path}", variable) for variable in head.weights]
        paths = dict(pairs)
        if len(paths) != len(pairs) or len(pairs) != len(self.weights):
            raise ValueError(
                "The weights' paths must be unique and cover all weights. Received: "
                f"{len(paths)} paths for {len(self.weights)} weights."
            )
        return paths

    def save_task_weights(self, filepath: str) -> None:
        """Saves the heads' weights; the optimizer's belong to a run, not a preset."""
        with self._without_optimizer():
            super().save_task_weights(filepath)

    def load_task_weights(self, filepath: str) -> None:
        """Loads the heads' weights."""
        with self._without_optimizer():
            super().load_task_weights(filepath)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "image_loss": self.image_loss,
            "text_loss": self.text_loss,
            "dropout": self.dropout,
            "activation": self.activation,
        }

    @contextlib.contextmanager
    def _without_optimizer(self) -> Iterator[None]:
        optimizer, self.optimizer = self.optimizer, None
        try:
            yield
        finally:
            self.optimizer = optimizer

    def _branch_losses(self) -> dict[str, float]:
        weights = {"image": self.image_loss, "text": self.text_loss}
        return {name: weight for name, weight in weights.items() if weight > 0}


def _list_heads(
    backbone: ImageTextBackbone, image_loss: float, text_loss: float, late: bool
) -> list[str]:
    """Returns the names of the heads: branches first, then the joint one."""
    if late:
        return ["image", "text"]
    if backbone.modalities != "image_text":
        return [JOINT]
    weights = {"image": image_loss, "text": text_loss}
    return [name for name, weight in weights.items() if weight > 0] + [JOINT]
